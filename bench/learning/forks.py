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
from torch import nn

from bench.config import TrainingConfig

SMALLEST_BUDGET = 50  # optimiser steps


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
    """Keep the state of a fit in a temporary file, which is there for the `with` block.

    Args:
        model: The network.
        optimizer: Its optimiser, with moments.
        scaler: The scaler of the loss.

    Yields:
        The file, which `load_state` takes back.
    """
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with tempfile.TemporaryDirectory(prefix="gnn-vs-cnn-") as folder:
        path = Path(folder) / "state.pt"
        torch.save(state, path)
        yield path


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Put weights, optimiser, loss scale and torch's random state back as `save_state` found them, each in its place.

    A step that a GPU replays goes on with the same tensors. The learning rate is left: the schedule gives it anew.

    Args:
        path: The file that `save_state` wrote.
        model: Takes its weights and buffers.
        optimizer: Takes its moments.
        scaler: Takes its loss scale.
    """
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    model.load_state_dict(state["model"])
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, weight in enumerate(weights):
        moments = state["optimizer"]["state"].get(number)
        if moments is None:
            optimizer.state.pop(weight, None)  # it had no gradient yet
            continue
        for name, value in moments.items():
            optimizer.state[weight][name].copy_(value)
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"].clone())
    if state["cuda"]:
        torch.cuda.set_rng_state_all([one.clone() for one in state["cuda"]])
