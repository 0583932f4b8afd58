"""Cool-downs forked from a fit at doubling budgets: what the same arm reaches when it is planned for less work.

A score that a long fit passes on its way says little about a short one, whose learning rate would have fallen by then.
Because the rate is constant between warm-up and cool-down, one trunk serves all budgets: at four fifths of each, a copy
of the model cools down and is validated. The trunk warms up for as long as its own budget wants, which is most of the
smallest ones: there a fit that was planned for the budget would have warmed up sooner, and may score more. Doubling
budgets cost a fifth of twice the longest: 1.4 fits instead of 2 (with a cool-down of a fifth). The copy lies on disk,
not in the memory that is measured.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.config import TrainingConfig

SMALLEST_BUDGET = 50  # optimiser steps
REST = "rest.pt"  # a file with what is no tensor of the network or the optimiser


def fork_budgets(training: TrainingConfig, ceiling: int | None) -> dict[int, int]:
    """Return where a fit is forked: the step at which a cool-down begins, and the budget in steps that it ends.

    Budgets double from `SMALLEST_BUDGET` as long as they lie below the fit's own `ceiling`.
    """
    if not training.forks or ceiling is None or training.cooldown == 0:
        return {}
    budgets = [SMALLEST_BUDGET]
    while budgets[-1] * 2 < ceiling:
        budgets.append(budgets[-1] * 2)
    return {round(budget * (1 - training.cooldown)): budget for budget in budgets if budget < ceiling}


@contextmanager
def save_state(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> Iterator[Path]:
    """Keep the state of a fit in temporary files, which are there for the `with` block.

    Each tensor has a file of its own. Those of a network and its moments, read at once, would take three times the
    network's memory, and count as the memory of the fit.

    Args:
        model: The network.
        optimizer: Its optimiser, with moments.
        scaler: The scaler of the loss.

    Yields:
        Their folder, which `load_state` takes back.
    """
    rest = {
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with tempfile.TemporaryDirectory(prefix="gnn-vs-cnn-") as name:
        folder = Path(name)
        torch.save(rest, folder / REST)
        for place, tensor in _list_tensors(model, optimizer):
            torch.save(tensor, folder / place)
        yield folder


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Put weights, optimiser, loss scale and torch's random state back as `save_state` found them, each in its place.

    A step that a GPU replays goes on with the same tensors. The learning rate is left: the schedule gives it anew.

    Args:
        folder: The folder that `save_state` filled.
        model: Takes its weights and buffers.
        optimizer: Takes its moments.
        scaler: Takes its loss scale.
    """
    moving = {int(path.name.split(".")[1]) for path in folder.glob("moment.*")}
    for number, weight in enumerate(_list_weights(optimizer)):
        if number not in moving:
            optimizer.state.pop(weight, None)  # it had no gradient yet
    with torch.no_grad():
        for place, tensor in _list_tensors(model, optimizer):
            tensor.copy_(torch.load(folder / place, map_location="cpu", weights_only=True, mmap=True))
    rest = torch.load(folder / REST, map_location="cpu", weights_only=True)
    scaler.load_state_dict(rest["scaler"])
    torch.set_rng_state(rest["random"])
    if rest["cuda"]:
        torch.cuda.set_rng_state_all(rest["cuda"])


def _list_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield weights, buffers and moments, each with the name of its file."""
    for name, tensor in model.state_dict().items():
        yield f"model.{name}.pt", tensor
    for number, weight in enumerate(_list_weights(optimizer)):
        for name, tensor in optimizer.state.get(weight, {}).items():
            yield f"moment.{number}.{name}.pt", tensor


def _list_weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
