"""The loop keeps its budget and its best weights, and forks leave no trace; scores do not depend on the clock."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.config import InputError, LearningConfig, TrainingConfig
from bench.learning.fitlog import FitLog

if TYPE_CHECKING:
    import torch
    from support.networks import Line
    from torch import Tensor, nn

    from bench.learning.devices import resolve_device, seed_everything
    from bench.learning.forks import load_state, save_state
    from bench.learning.losses import segmentation_loss
    from bench.learning.training import Learner, NonFiniteLoss, _Fit, train


def fit(
    model: Line,
    settings: TrainingConfig,
    validate: Callable[[], float] = lambda: 0.5,
    batches: Callable[[int], list[float] | Iterator[float]] = lambda _: [1.0, 1.0, 1.0],
    started_ns: int | None = None,
) -> FitLog:
    learner = Learner(model, batches, model.loss, validate, steps_per_epoch=3)
    arm = LearningConfig("line", learning_rate=0.1, weight_decay=0.0)
    return train(learner, settings, arm, seed=0, device=torch.device("cpu"), started_ns=started_ns)


def budget(steps: int | None, **changed: object) -> TrainingConfig:
    settings: dict[str, object] = {"steps": steps, "patience": None, "validate_every": 1, "warmup": 0} | changed
    return TrainingConfig(**settings)  # type: ignore[arg-type]


def test_a_budget_in_steps_makes_them_all_and_learns() -> None:
    model = Line()
    log = fit(model, budget(20), lambda: -abs(model.w.item() - 1))
    assert [row.step for row in log.history] == list(range(1, 21))
    assert [row.epoch for row in log.history] == [1 + (step - 1) // 3 for step in range(1, 21)]
    assert (log.stopped, log.steps, log.validations, log.parameters) == ("steps", 20, 20, 1)
    assert model.w.item() == pytest.approx(1, abs=0.1)
    assert not model.training
    seconds = [row.seconds for row in log.history]
    assert seconds == sorted(seconds)


def test_a_budget_in_epochs_ends_after_the_last_of_them() -> None:
    log = fit(Line(), budget(None, epochs=4))
    assert (log.stopped, log.steps, log.history[-1].epoch) == ("epochs", 12, 4)


def test_the_best_weights_come_back() -> None:
    model, scores, seen = Line(), iter([0.1, 0.9, 0.3, 0.2]), []

    def validate() -> float:
        assert not model.training
        seen.append(model.w.item())
        return next(scores)

    log = fit(model, budget(4), validate)
    assert (log.best_step, log.best_score) == (2, 0.9)
    assert model.w.item() == seen[1] != seen[3]
    assert [row.val_score for row in log.history] == [0.1, 0.9, 0.3, 0.2]


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    scores = iter([math.nan, 0.2, math.nan])
    log = fit(Line(), budget(3), lambda: next(scores))
    assert (log.best_step, log.best_score) == (2, 0.2)


def test_patience_ends_the_fit_after_a_cool_down() -> None:
    scores = itertools.chain([0.1, 0.5, 0.4, 0.3, 0.2], itertools.repeat(0.1))
    log = fit(Line(), budget(500, patience=3, cooldown=0.5), lambda: next(scores))
    assert (log.stopped, log.steps, log.best_step) == ("patience", 10, 2)
    assert [row.learning_rate for row in log.history] == pytest.approx([0.1] * 5 + [0.1, 0.08, 0.06, 0.04, 0.02])
    assert log.late_gain == 0


def test_a_fit_that_was_cut_while_it_rose_says_so() -> None:
    scores = iter(np.linspace(0.1, 0.9, 10))
    log = fit(Line(), budget(10), lambda: float(next(scores)))
    assert log.late_gain == pytest.approx(2 * 0.8 / 9)


def test_a_budget_in_seconds_ends_within_a_step_and_validates_last() -> None:
    def slow(_: int) -> Iterator[float]:
        while True:
            time.sleep(0.01)
            yield 1.0

    log = fit(Line(), TrainingConfig(steps=None, seconds=0.5, validate_every=1000), batches=slow)
    assert (log.stopped, len(log.history)) == ("seconds", 1)
    assert log.history[-1].val_score == 0.5
    assert 0.5 <= log.history[-1].seconds < 1.0
    assert log.history[-1].data_wait_seconds > 0.3


def test_intervals_tell_when_the_fit_was_not_training() -> None:
    started = time.perf_counter_ns() - 10**9
    log = fit(Line(), budget(3), started_ns=started)
    assert [interval.phase for interval in log.intervals] == ["init", "warmup", "validate", "validate", "validate"]
    assert log.intervals[0].start_ns == started
    assert log.history[0].seconds > 1
    ends = [(interval.start_ns, interval.end_ns) for interval in log.intervals]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    with pytest.raises(NonFiniteLoss, match="loss became nan in step 6"):
        fit(Line(), budget(50), batches=lambda epoch: [1.0, 1.0, math.nan if epoch == 2 else 1.0])


def test_epochs_without_batches_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        fit(Line(), budget(5), batches=lambda _: [])


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # of which only the name is looked at
def test_a_gpu_does_not_wait_for_batches_which_are_the_same(device: str) -> None:
    makers = set()

    def batches(epoch: int) -> Iterator[float]:
        for number in range(4):
            makers.add(threading.current_thread())
            yield epoch + number / 4

    stand_in = SimpleNamespace(learner=Learner(Line(), batches, Line().loss, lambda: 0.5, 4))
    stand_in.device = torch.device(device)
    assert list(_Fit.draw_batches(stand_in, 3)) == [3, 3.25, 3.5, 3.75]  # type: ignore[arg-type]
    assert (threading.current_thread() in makers) == (device == "cpu")


# --------------------------------------------------------------------------------------------- forks, seeds, the clock


def noisy_fit(**changed: object) -> tuple[FitLog, list[Tensor]]:
    """A small network with dropout and a batch normalisation, on batches that differ by epoch."""
    seed_everything(3)
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    x, y = torch.randn(8, 2), torch.arange(8) % 2

    def loss(shift: float) -> Tensor:
        return segmentation_loss(net(x + shift), y, None)

    def batches(epoch: int) -> list[float]:
        return list(np.random.default_rng(epoch).normal(size=5))

    learner = Learner(net, batches, loss, lambda: float(net(x)[:, 0].mean()), steps_per_epoch=5)
    settings = budget(240, **({"validate_every": 20} | changed))
    log = train(learner, settings, LearningConfig("net"), seed=3, device=torch.device("cpu"))
    return log, [value.clone() for value in net.state_dict().values()]


def test_forked_cool_downs_change_nothing_but_add_their_rows() -> None:
    (plain, weights), (forked, same) = noisy_fit(), noisy_fit(forks=True)
    own = [row for row in forked.history if row.budget is None]
    assert [(row.step, row.train_loss, row.val_score) for row in own] == [
        (row.step, row.train_loss, row.val_score) for row in plain.history
    ]
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))
    assert [(row.step, row.budget) for row in forked.history if row.budget] == [(50, 50), (100, 100), (200, 200)]
    assert [interval.phase for interval in forked.intervals].count("fork") == 3


def test_a_state_is_put_back_into_the_same_tensors() -> None:
    """A GPU that replays its steps knows no others. A weight that had no gradient yet has no moments again."""
    net, late = nn.Linear(2, 2), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([*net.parameters(), late], lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step(also: Tensor | float) -> None:
        (net(torch.ones(1, 2)).sum() + also).backward()
        optimizer.step()
        optimizer.zero_grad()

    def list_state() -> list[Tensor]:
        moments = [value for weight in net.parameters() for value in optimizer.state[weight].values()]
        return [*net.parameters(), *moments]

    step(0.0)
    before, places = [value.detach().clone() for value in list_state()], [value.data_ptr() for value in list_state()]
    with save_state(net, optimizer, scaler) as path:
        assert len(list(path.iterdir())) == len(before) + 1, "no two tensors are read at once"
        step(late.sum())
        assert late in optimizer.state
        assert not any(torch.equal(one, other) for one, other in zip(before, list_state(), strict=True))
        load_state(path, net, optimizer, scaler)
    assert all(torch.equal(one, other) for one, other in zip(before, list_state(), strict=True))
    assert [value.data_ptr() for value in list_state()] == places
    assert late not in optimizer.state


def test_a_fork_is_the_fit_that_was_planned_for_its_budget() -> None:
    """Up to its cool-down the two make the same steps; what follows sees other batches of the same kind."""
    [row] = [row for row in noisy_fit(forks=True)[0].history if row.budget == 100]
    short = noisy_fit(epochs=20)[0]
    assert (row.step, row.learning_rate) == (short.steps, 0.0)
    assert row.val_score != noisy_fit(forks=True)[0].history[0].val_score


def test_seconds_of_forks_are_not_those_of_the_fit() -> None:
    log, _ = noisy_fit(forks=True)
    spent = sum(interval.seconds for interval in log.intervals if interval.phase == "fork")
    whole = (log.intervals[-1].end_ns - log.intervals[0].start_ns) / 1e9
    assert log.history[-1].seconds <= whole - spent + 1e-3


def test_the_same_seed_gives_the_same_fit_beside_other_work() -> None:
    """Whatever else runs: three busy processes on the same cores change no bit of history and weights."""
    log, weights = noisy_fit()
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        again, same = noisy_fit()
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert [(r.step, r.train_loss, r.val_score) for r in log.history] == [
        (r.step, r.train_loss, r.val_score) for r in again.history
    ]
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))


def test_seeds_repeat_torch_and_numpy() -> None:
    first = seed_everything(7).random(3), torch.rand(3)
    second = seed_everything(7).random(3), torch.rand(3)
    np.testing.assert_array_equal(first[0], second[0])
    torch.testing.assert_close(first[1], second[1])


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="device=cuda:1 is a GPU that torch does not see"):
        resolve_device("cuda:1")
