"""The one training loop that every learning arm goes through."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from bench.config import InputError, LearningConfig, TrainingConfig
from bench.learning.devices import amp_dtype, autocast
from bench.learning.fitlog import FitLog, Interval, Validation, rise_late
from bench.learning.forks import fork_budgets, load_state, save_state
from bench.learning.pace import flag_pace
from bench.learning.prefetch import prefetch
from bench.learning.progress import FitBar
from bench.learning.recording import FixedInputs, StepRecorder
from bench.learning.schedule import Schedule

Batch = TypeVar("Batch")
FORK_EPOCHS = 1 << 20  # number of the first epoch of a forked cool-down


class NonFiniteLoss(FloatingPointError):  # noqa: N818
    """The loss became NaN or infinite. The message names the step."""


@dataclass(frozen=True)
class Learner(Generic[Batch]):
    """What an arm brings to the training loop.

    Attributes:
        model: The network; it is fitted in place.
        batches: The batches of an epoch, counted from 1; they may be made in another thread. The time spent waiting for
            them is recorded apart.
        loss: The scalar loss of a batch, with the model in training mode.
        validate: The pixel score of the model on the validation images, higher is better; called in eval mode under
            `inference_mode`.
        steps_per_epoch: Number of batches of an epoch, the expected one where it varies between epochs.
        validation_cost: What one validation costs, in optimiser steps, counted in work and not in time.
        fixed: The same loss from tensors of one shape, with which a GPU replays its steps; None where there is no such.
    """

    model: nn.Module
    batches: Callable[[int], Iterable[Batch]]
    loss: Callable[[Batch], Tensor]
    validate: Callable[[], float]
    steps_per_epoch: int
    validation_cost: float = 0.0
    fixed: FixedInputs[Batch] | None = None


def train(
    learner: Learner[Batch],
    training: TrainingConfig,
    pipeline: LearningConfig,
    *,
    seed: int,
    device: torch.device,
    started_ns: int | None = None,
    earlier_seconds: float = 0.0,
) -> FitLog:
    """Fit a learner's model in place; leave it on `device` in eval mode with the weights of its best validation.

    Args:
        learner: Model, batches, loss and validation.
        training: Budgets, schedule and rules that all arms share.
        pipeline: The arm's name, learning rate and weight decay.
        seed: Of torch's generator.
        device: Where the model is trained.
        started_ns: `time.perf_counter_ns()` from which seconds count (default: now). What lies between it and the first
            batch is recorded as `init`, the first step as `warmup`.
        earlier_seconds: Seconds of stages of the same arm that were fitted before: the history counts them too.

    Returns:
        The log of the fit.

    Raises:
        NonFiniteLoss: The loss became NaN or infinite.
        InputError: An epoch has no batches.
    """
    started_ns = time.perf_counter_ns() if started_ns is None else started_ns
    torch.manual_seed(seed)
    learner.model.to(device).train()
    optimizer = build_optimizer(learner.model, pipeline, device)
    fit = _Fit(learner, training, pipeline, device, optimizer, started_ns, earlier_seconds)
    fit.record("init", started_ns)
    with FitBar(pipeline.name) as bar:
        while not fit.schedule.find_end():
            for batch in fit.next_epoch():
                fit.step(batch)
                if fit.schedule.is_validation_due:
                    fit.validate()
                bar.show(fit.schedule, fit.epoch, fit.score, fit.best_score, fit.elapsed())
                if fit.schedule.find_end():
                    break
                fit.fork_if_due(seed)
    return fit.finish()


def build_optimizer(model: nn.Module, pipeline: LearningConfig, device: torch.device) -> torch.optim.AdamW:
    """Build the optimiser of all arms, fused, which is a tenth faster; on a GPU its learning rate can be replayed.

    Args:
        model: The network, on the device.
        pipeline: The arm's learning rate and weight decay.
        device: Where the weights are.

    Returns:
        AdamW, whose learning rate is a number, or on a GPU a tensor.
    """
    is_gpu = device.type == "cuda"
    rate = torch.tensor(pipeline.learning_rate, device=device) if is_gpu else pipeline.learning_rate
    decay = pipeline.weight_decay
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True, capturable=is_gpu)


@dataclass
class _Fit(Generic[Batch]):
    """Where a fit stands: its schedule, its best weights and the rows of its history."""

    learner: Learner[Batch]
    training: TrainingConfig
    pipeline: LearningConfig
    device: torch.device
    optimizer: torch.optim.Optimizer
    started_ns: int
    earlier_seconds: float
    epoch: int = 0
    score: float | None = None
    best_score: float | None = None
    best_step: int | None = None
    best_weights: dict[str, Tensor] | None = None
    trunk: list[tuple[int, float]] = field(default_factory=list)  # steps and scores before the cool-down
    trunk_steps: int = 0
    losses: list[float] = field(default_factory=list)  # since the last row
    rate: float = 0.0
    waited: float = 0.0  # seconds, since the last row
    forked: float = 0.0  # seconds spent in cool-downs of other budgets
    last_validation: float = 0.0  # seconds, which a budget in seconds keeps back for the final one
    history: list[Validation] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)

    def __post_init__(self) -> None:
        cost = self.learner.validation_cost
        self.schedule = Schedule(self.training, self.learner.steps_per_epoch, cost)
        self.forks = fork_budgets(self.training, self.schedule.ceiling)  # step to the budget it would serve
        scaled = amp_dtype(self.device, self.training.amp) is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.recorder: StepRecorder[Batch] | None = None
        fixed = self.learner.fixed
        if fixed is not None and self.training.replay and self.device.type == "cuda" and not scaled:
            self.recorder = StepRecorder(fixed, self.step_optimizer, self.device)

    def elapsed(self) -> float:
        """Seconds since the arm began to learn, without those of forked cool-downs."""
        return self.earlier_seconds + (time.perf_counter_ns() - self.started_ns) / 1e9 - self.forked

    def record(self, phase: str, start_ns: int) -> None:
        """Note that the fit has been in `phase` since `start_ns`."""
        self.intervals.append(Interval(phase, start_ns, time.perf_counter_ns()))

    def next_epoch(self) -> Iterator[Batch]:
        """Begin an epoch and yield its batches, timing the wait for each."""
        self.epoch += 1
        before, count = time.perf_counter(), 0
        for batch in self.draw_batches(self.epoch):
            self.waited += time.perf_counter() - before
            yield batch
            before, count = time.perf_counter(), count + 1
        if count == 0:
            raise InputError("there is nothing to train on: an epoch had no batches")

    def draw_batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; a GPU need not wait for the next one, which a thread makes while it works."""
        batches = iter(self.learner.batches(epoch))
        return batches if self.device.type == "cpu" else prefetch(batches)

    def step(self, batch: Batch) -> None:
        """Make one optimiser step at the schedule's learning rate."""
        start_ns = time.perf_counter_ns()
        self.rate = self.pipeline.learning_rate * self.schedule.rate
        loss = self.run_step(batch, self.rate)
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss became {loss} in step {self.schedule.steps + 1}: try a lower pipeline.learning_rate"
            )
        if not self.schedule.is_cooling:
            self.trunk_steps = self.schedule.steps + 1
        self.schedule.count_step(self.elapsed() + self.last_validation)
        if self.schedule.steps == 1:
            self.record("warmup", start_ns)
        self.losses.append(loss)

    def run_step(self, batch: Batch, rate: float) -> float:
        """Move the weights down the gradient of the batch's loss, and return the loss."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        return self.replay_or_run(batch).item()  # waits for the device, so that the clock is honest

    def replay_or_run(self, batch: Batch) -> Tensor:
        """Start a step, by a replay where the batch has the shapes of the recorded one, and return its loss."""
        loss = None if self.recorder is None else self.recorder.run(batch)
        return self.step_optimizer(lambda: self.learner.loss(batch)) if loss is None else loss

    def step_optimizer(self, find_loss: Callable[[], Tensor]) -> Tensor:
        """Move the weights down the gradient of a loss, and return the loss."""
        with autocast(self.device, self.training.amp):
            loss = find_loss()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.training.gradient_clip > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.learner.model.parameters(), self.training.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def validate(self) -> None:
        """Score the model, keep it if it is the best so far, and write a row of the history."""
        score = self.score = self.measure_score()
        if score > (-math.inf if self.best_score is None else self.best_score):
            self.best_score, self.best_step = score, self.schedule.steps
            self.best_weights = {
                name: value.detach().to("cpu", copy=True) for name, value in self.learner.model.state_dict().items()
            }
        if self.schedule.steps == self.trunk_steps:
            self.trunk.append((self.schedule.steps, score))
        self.schedule.count_validation(score)
        loss = sum(self.losses) / len(self.losses)
        row = (self.schedule.steps, self.epoch, self.elapsed(), loss, score, self.rate, self.waited)
        self.history.append(Validation(*row))
        self.losses, self.waited = [], 0.0

    def measure_score(self) -> float:
        """Return the validation score of the model as it is."""
        start_ns = time.perf_counter_ns()
        self.learner.model.eval()
        with torch.inference_mode():
            score = self.learner.validate()
        self.learner.model.train()
        self.record("validate", start_ns)
        self.last_validation = self.intervals[-1].seconds
        return score

    def fork_if_due(self, seed: int) -> None:
        """Cool down a copy of the model where a smaller budget would end, then go on as if nothing had happened."""
        budget = self.forks.get(self.schedule.steps, 0)
        if not budget or self.schedule.is_cooling:
            return
        start_ns, before = time.perf_counter_ns(), self.elapsed()
        with save_state(self.learner.model, self.optimizer, self.scaler) as state:
            score, losses = self.cool_down(budget, seed)
            spent = before + (time.perf_counter_ns() - start_ns) / 1e9
            row = (budget, self.epoch, spent, sum(losses) / len(losses), score, 0.0, 0.0, budget)
            self.history.append(Validation(*row))
            load_state(state, self.learner.model, self.optimizer, self.scaler)
        self.record("fork", start_ns)
        self.forked += self.intervals[-1].seconds

    def cool_down(self, budget: int, seed: int) -> tuple[float, list[float]]:
        """Take the rate to zero over the rest of `budget` steps; return the score reached and the losses."""
        torch.manual_seed(seed + budget)
        left = budget - self.schedule.steps
        losses: list[float] = []
        epoch = FORK_EPOCHS  # batches that no epoch of the fit itself sees
        while len(losses) < left:
            for batch in self.draw_batches(epoch):
                losses.append(self.run_step(batch, self.pipeline.learning_rate * (1 - len(losses) / left)))
                if len(losses) == left:
                    break
            epoch += 1
        self.learner.model.eval()
        with torch.inference_mode():
            score = self.learner.validate()
        self.learner.model.train()
        return score, losses

    def finish(self) -> FitLog:
        """Put the best weights back, let the recorded step go with its memory, and return the log."""
        self.recorder = None
        if self.best_weights is not None:
            self.learner.model.load_state_dict(self.best_weights)
        self.learner.model.eval()
        log = FitLog(
            history=tuple(self.history),
            intervals=tuple(self.intervals),
            parameters=sum(p.numel() for p in self.learner.model.parameters() if p.requires_grad),
            steps=self.schedule.steps,
            steps_per_epoch=self.learner.steps_per_epoch,
            best_step=self.best_step,
            best_score=self.best_score,
            late_gain=rise_late(self.trunk, self.trunk_steps),
            stopped=self.schedule.find_end(),
        )
        return replace(log, flags=tuple(flag_pace(log, self.device.type != "cpu", self.earlier_seconds)))
