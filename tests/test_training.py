"""The loop keeps its budget and its best weights; the loss is the same for pixels and for nodes that bundle them."""

import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.config import InputError, TrainingConfig
from bench.learning.fitlog import FitLog
from bench.learning.losses import segmentation_loss
from bench.learning.training import VALIDATION_SHARE, NonFiniteLoss, resolve_device, schedule, seed_everything, train

CPU = torch.device("cpu")


class Line(nn.Module):
    """One weight w; the loss (w - batch)^2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def loss(self, target: float) -> Tensor:
        return (self.w - target) ** 2


def fit(
    model: Line,
    settings: TrainingConfig,
    validate: Callable[[], float] = lambda: 0.5,
    batches: Callable[[int], list[float] | Iterator[float]] = lambda _: [1.0, 1.0, 1.0],
    learning_rate: float = 0.1,
    started_ns: int | None = None,
) -> FitLog:
    return train(
        model,
        batches,
        model.loss,
        validate,
        settings,
        learning_rate=learning_rate,
        weight_decay=0.0,
        seed=0,
        device=CPU,
        description="line",
        started_ns=started_ns,
    )


def epochs(count: int, patience: int | None = None, min_epochs: int = 1, validate_every: int = 1) -> TrainingConfig:
    return TrainingConfig(
        epochs=count, seconds=None, patience=patience, min_epochs=min_epochs, validate_every=validate_every
    )


def test_a_budget_in_epochs_runs_them_all_and_learns() -> None:
    model = Line()
    log = fit(model, epochs(20), lambda: -abs(model.w.item() - 1))
    assert [row.epoch for row in log.history] == list(range(1, 21))
    assert log.stopped == "epochs"
    assert log.parameters == 1
    assert model.w.item() == pytest.approx(1, abs=0.1)
    assert not model.training
    seconds = [row.seconds for row in log.history]
    assert seconds == sorted(seconds)


def test_the_learning_rate_follows_the_steps_where_their_number_is_known() -> None:
    """Two epochs of ten steps, a warm-up of a tenth: the first step is at a hundredth, the last near zero."""
    settings = TrainingConfig(epochs=2, seconds=None, warmup=0.1)
    rates: dict[int, list[float]] = {}
    for known in (0, 10):
        rows = train(
            model := Line(),
            lambda _: [1.0] * 10,
            model.loss,
            lambda: 0.0,
            settings,
            learning_rate=1.0,
            weight_decay=0.0,
            seed=0,
            device=CPU,
            description="line",
            steps_per_epoch=known,
        ).history
        rates[known] = [row.learning_rate for row in rows]
    assert rates[10] == pytest.approx([schedule(0.45, 0.1), schedule(0.95, 0.1)])
    assert rates[0] == pytest.approx([0.01, schedule(0.95, 0.1)])


def test_the_best_weights_come_back() -> None:
    model, scores, seen = Line(), iter([0.1, 0.9, 0.3, 0.2]), []

    def validate() -> float:
        assert not model.training
        seen.append(model.w.item())
        return next(scores)

    log = fit(model, epochs(4), validate)
    assert (log.best_epoch, log.best_score) == (2, 0.9)
    assert model.w.item() == seen[1] != seen[3]
    assert [row.val_score for row in log.history] == [0.1, 0.9, 0.3, 0.2]


def test_patience_counts_validations_without_improvement() -> None:
    scores = itertools.chain([0.1, 0.5, 0.4, 0.3, 0.2], itertools.repeat(0.1))
    log = fit(Line(), epochs(50, patience=3), lambda: next(scores))
    assert (log.stopped, len(log.history), log.best_epoch) == ("patience", 7, 2)  # 5 and a quarter of that
    assert len(fit(Line(), epochs(50, patience=3, min_epochs=9)).history) == 12
    assert len(fit(Line(), epochs(50, patience=3, validate_every=2)).history) in (10, 11)


def test_when_patience_runs_out_the_learning_rate_falls_to_nothing_without_a_jump() -> None:
    """And no longer than the budget lasts."""
    for count, patience in ((400, 80), (400, 350)):
        log = fit(Line(), epochs(count, patience=patience), lambda: 0.5)
        rates = [row.learning_rate for row in log.history]
        assert log.stopped == ("patience" if patience < 300 else "epochs")
        assert len(rates) == pytest.approx(min(1.25 * (patience + 1), count), abs=2)
        assert max(abs(a - b) for a, b in itertools.pairwise(rates[40:])) < 0.1 * 0.15
        assert rates[-1] < 0.01 * max(rates)


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    scores = iter([math.nan, 0.2, math.nan])
    log = fit(Line(), epochs(3), lambda: next(scores))
    assert (log.best_epoch, log.best_score) == (2, 0.2)


def test_a_budget_in_steps_ends_within_an_epoch_and_validates_last() -> None:
    log = fit(Line(), TrainingConfig(seconds=None, steps=7), batches=lambda _: iter([1.0] * 5))
    assert log.stopped == "steps"
    assert [row.epoch for row in log.history] == [1, 2]
    assert log.history[-1].val_score == 0.5


def test_a_budget_in_seconds_ends_within_a_step_and_validates_last() -> None:
    def slow(_: int) -> Iterator[float]:
        while True:
            time.sleep(0.01)
            yield 1.0

    log = fit(Line(), TrainingConfig(seconds=0.5), batches=slow)
    assert log.stopped == "seconds"
    assert len(log.history) == 1
    assert log.history[-1].val_score == 0.5
    assert 0.5 <= log.history[-1].seconds < 1.0
    assert log.history[-1].data_wait_seconds > 0.3


def test_slow_validations_are_skipped_but_for_the_last() -> None:
    def validate() -> float:
        time.sleep(0.05)
        return 0.5

    def batches(_: int) -> Iterator[float]:
        time.sleep(0.005)
        yield 1.0

    log = fit(Line(), TrainingConfig(seconds=2.0), validate, batches)
    spent = sum(interval.seconds for interval in log.intervals if interval.phase == "validate")
    assert spent < (VALIDATION_SHARE + 0.1) * log.history[-1].seconds
    assert log.history[0].val_score == log.history[-1].val_score == 0.5
    assert any(row.val_score is None for row in log.history)
    assert log.history[-1].seconds < 2.5


def test_intervals_say_when_the_fit_was_not_training() -> None:
    started = time.perf_counter_ns() - 10**9
    log = fit(Line(), epochs(3), started_ns=started)
    assert [interval.phase for interval in log.intervals] == ["init", "warmup", "validate", "validate", "validate"]
    assert log.intervals[0].start_ns == started
    assert log.history[0].seconds > 1
    ends = [(interval.start_ns, interval.end_ns) for interval in log.intervals]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    with pytest.raises(NonFiniteLoss, match="loss became nan in epoch 2, step 3"):
        fit(Line(), epochs(5), batches=lambda epoch: [1.0, 1.0, math.nan if epoch == 2 else 1.0])


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        fit(Line(), epochs(5), batches=lambda _: [])


def test_the_same_seed_gives_the_same_fit() -> None:
    def losses() -> list[float]:
        seed_everything(3)
        net = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 2))
        x, y = torch.randn(8, 2), torch.arange(8) % 2
        log = train(
            net,
            lambda _: [0, 1],
            lambda _: segmentation_loss(net(x), y, None),
            lambda: 0.0,
            epochs(3),
            learning_rate=0.1,
            weight_decay=0.0,
            seed=3,
            device=CPU,
            description="net",
        )
        return [row.train_loss for row in log.history]

    assert losses() == losses()


def test_the_schedule_rises_then_falls_to_zero() -> None:
    rates = [schedule(progress, 0.2) for progress in np.linspace(0, 1, 101)]
    assert rates[0] == 0.01
    assert max(rates) == rates[20] == 1
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert schedule(0.0, 0.0) == 1


# ------------------------------------------------------------------------------------------------ seeds and devices


def test_seeds_repeat_torch_and_numpy() -> None:
    first = seed_everything(7).random(3), torch.rand(3)
    second = seed_everything(7).random(3), torch.rand(3)
    np.testing.assert_array_equal(first[0], second[0])
    torch.testing.assert_close(first[1], second[1])


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    with pytest.raises(InputError, match="device=cuda:1 asks for a GPU that torch does not see"):
        resolve_device("cuda:1")
