"""The one training loop that every learning arm goes through, its seeds and its device."""

import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bench.config import InputError, TrainingConfig
from bench.learning.fitlog import Epoch, FitLog, Interval

Batch = TypeVar("Batch")
VALIDATION_SHARE = 0.2  # of the elapsed time, at most, while a budget in seconds runs
LAST_STRETCH = 0.25  # of what was spent until patience ran out: in it the learning rate falls to 0


class NonFiniteLoss(FloatingPointError):  # noqa: N818
    """The loss became NaN or infinite. The message names the epoch and the step."""


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    validate: Callable[[], float],
    settings: TrainingConfig,
    *,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    device: torch.device,
    description: str,
    steps_per_epoch: int = 0,
    started_ns: int | None = None,
) -> FitLog:
    """Fit `model` in place, leave it on `device` in eval mode with the weights of its best validation.

    `batches(epoch)` yields the batches of an epoch, counted from 1; the time spent waiting for them is
    `data_wait_seconds`. Say `steps_per_epoch` where it is known: a budget in epochs then moves the learning rate
    within the first epoch too. `loss(batch)` is the scalar loss of the model in training mode, `validate()` the pixel
    score (higher is better) of the model in eval mode, under `inference_mode`.

    The budget is `settings.epochs`, `steps` or `seconds`, whichever ends first. A budget in seconds is checked at
    every step and keeps back, for the final validation, the time that the last one took. While it runs, validations
    are skipped that would push their share of the elapsed time above `VALIDATION_SHARE`, except the first and the
    last.

    Patience counts validations. When it runs out, what is left of the schedule passes within `LAST_STRETCH` of what
    was spent so far: weights that stopped getting better at a high rate do so once more as the rate falls.

    Seconds count from `started_ns` (default: now). What lies between it and the first batch is booked as `init`, the
    first step as `warmup`. Raises `NonFiniteLoss`.
    """
    started_ns = time.perf_counter_ns() if started_ns is None else started_ns
    fit = _Fit(settings, started_ns, steps_per_epoch=steps_per_epoch)
    torch.manual_seed(seed)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=amp_dtype(device, settings.amp) is torch.float16)
    fit.book("init", fit.started_ns)
    with _ProgressBar(description) as bar:
        while not fit.stopped:
            fit.begin_epoch()
            for batch in fit.timed(batches(fit.epoch)):
                step_ns = time.perf_counter_ns()
                rate = learning_rate * schedule(fit.progress(), settings.warmup, settings.schedule)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with autocast(device, settings.amp):
                    value = loss(batch)
                scaler.scale(value).backward()  # type: ignore[no-untyped-call]
                if settings.gradient_clip > 0:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                fit.count_step(value.item(), rate, step_ns)  # .item() waits for the device, so the clock is honest
                bar.show(fit)
                if fit.out_of_time() or fit.hurried_to_its_end() or fit.steps == settings.steps:
                    break
            fit.end_epoch(model, validate)
            bar.show(fit)
    if fit.best_weights is not None:
        model.load_state_dict(fit.best_weights)
    model.eval()
    return fit.log(sum(p.numel() for p in model.parameters() if p.requires_grad))


def schedule(progress: float, warmup: float, kind: str = "cosine") -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: a straight rise in `warmup`, then half a cosine to 0,
    or with `kind` constant no fall.

    The rise starts at a hundredth, so that the first step is not lost.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    if kind == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1.0)))


@dataclass
class _Fit:
    """Where a fit stands: its clock, its budget, its best weights and the rows of its history."""

    settings: TrainingConfig
    started_ns: int
    epoch: int = 0
    step: int = 0  # within the epoch
    steps: int = 0  # in all
    steps_per_epoch: int = 0  # 0: not known before the first epoch is over
    stopped: str = ""
    score: float | None = None
    best_score: float | None = None
    best_epoch: int | None = None
    best_weights: dict[str, Tensor] | None = None
    stale: int = 0  # validations since the best
    hurried_from: float | None = None  # share of the budget that was spent when patience ran out
    validating: float = 0.0  # seconds in validation so far
    last_validation: float = 0.0  # seconds
    losses: float = 0.0
    rate: float = 0.0
    waited: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)

    def elapsed(self) -> float:
        return (time.perf_counter_ns() - self.started_ns) / 1e9

    def book(self, phase: str, start_ns: int) -> None:
        self.intervals.append(Interval(phase, start_ns, time.perf_counter_ns()))

    def progress(self) -> float:
        """How far the schedule has come, in [0, 1]: the share that is spent, faster once patience ran out."""
        spent, start = self.spent(), self.hurried_from
        if start is None:
            return spent
        stretch = min(LAST_STRETCH * start, 1 - start)
        return min(start + (1 - start) * (spent - start) / stretch, 1.0) if stretch > 0 else 1.0

    def spent(self) -> float:
        """Share of the budget that is spent, in [0, 1]: of epochs, steps or seconds, whichever is furthest."""
        shares = [self.steps / self.settings.steps if self.settings.steps is not None else 0.0]
        if self.settings.epochs is not None:
            within = min(self.step / self.steps_per_epoch, 1.0) if self.steps_per_epoch else 0.0
            shares.append((self.epoch - 1 + within) / self.settings.epochs)
        if self.settings.seconds is not None:
            left = self.settings.seconds - self.last_validation
            shares.append(self.elapsed() / left if left > 0 else 1.0)
        return min(max(shares), 1.0)

    def out_of_time(self) -> bool:
        """Whether what is left of a budget in seconds is only enough for the final validation."""
        return self.settings.seconds is not None and self.elapsed() + self.last_validation >= self.settings.seconds

    def hurried_to_its_end(self) -> bool:
        """Whether the last stretch is over that began when patience ran out."""
        return self.hurried_from is not None and self.progress() >= 1

    def begin_epoch(self) -> None:
        self.epoch += 1
        self.step, self.losses, self.waited, self.score = 0, 0.0, 0.0, None

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, with the time spent waiting for each added to `waited`."""
        before = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - before
            yield batch
            before = time.perf_counter()

    def count_step(self, loss: float, rate: float, start_ns: int) -> None:
        self.step, self.steps = self.step + 1, self.steps + 1
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss became {loss} in epoch {self.epoch}, step {self.step}; try a lower pipeline.learning_rate"
            )
        if self.epoch == self.step == 1:
            self.book("warmup", start_ns)
        self.losses, self.rate = self.losses + loss, rate

    def end_epoch(self, model: nn.Module, validate: Callable[[], float]) -> None:
        """Decide whether the fit is over, validate where that is due, and write the epoch's row."""
        if self.step == 0:
            raise InputError("there is nothing to train on: an epoch had no batches")
        self.steps_per_epoch = self.steps_per_epoch or self.step
        if self.out_of_time():
            self.stopped = "seconds"
        elif self.steps == self.settings.steps:
            self.stopped = "steps"
        elif self.epoch == self.settings.epochs:
            self.stopped = "epochs"
        elif self.hurried_to_its_end():
            self.stopped = "patience"
        if self.stopped or self.validation_is_due():
            self.keep_best(model, self.validated(model, validate))
            if not self.stopped and self.out_of_time():
                self.stopped = "seconds"  # this was the final validation
        mean_loss = self.losses / self.step
        self.history.append(Epoch(self.epoch, self.elapsed(), mean_loss, self.score, self.rate, self.waited))

    def validation_is_due(self) -> bool:
        if self.epoch % self.settings.validate_every:
            return False
        expected = self.validating + self.last_validation
        return self.settings.seconds is None or expected <= VALIDATION_SHARE * (self.elapsed() + self.last_validation)

    def validated(self, model: nn.Module, validate: Callable[[], float]) -> float:
        start_ns = time.perf_counter_ns()
        model.eval()
        with torch.inference_mode():
            score = validate()
        model.train()
        self.book("validate", start_ns)
        self.last_validation = self.intervals[-1].seconds
        self.validating += self.last_validation
        return score

    def keep_best(self, model: nn.Module, score: float) -> None:
        """Keep the weights on the host where they are the best so far; a NaN score is never the best."""
        self.score, self.stale = score, self.stale + 1
        if score > (-math.inf if self.best_score is None else self.best_score):
            self.best_score, self.best_epoch, self.stale = score, self.epoch, 0
            self.best_weights = {
                name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()
            }
        patience = self.settings.patience
        if (
            self.hurried_from is None
            and patience is not None
            and self.stale >= patience
            and self.epoch >= self.settings.min_epochs
        ):
            self.hurried_from = self.spent()

    def log(self, parameters: int) -> FitLog:
        return FitLog(
            history=tuple(self.history),
            intervals=tuple(self.intervals),
            parameters=parameters,
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            stopped=self.stopped,
        )


class _ProgressBar:
    """Score, best and time left on standard error: a bar on a terminal, elsewhere a line per tenth of the budget."""

    def __init__(self, description: str) -> None:
        self.description, self.tenth, self.score = description, 0, "-"
        self.terminal = sys.stderr.isatty()
        shape = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
        self.bar = tqdm(total=1.0, desc=description, disable=not self.terminal, leave=False, bar_format=shape)

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def show(self, fit: _Fit) -> None:
        progress = 1.0 if fit.stopped else fit.progress()
        self.score = self.score if fit.score is None else f"{fit.score:.4f}"
        if self.terminal:
            self.bar.set_postfix_str(self.status(fit, progress), refresh=False)
            self.bar.update(progress - self.bar.n)
        elif int(progress * 10) > self.tenth:
            self.tenth = int(progress * 10)
            print(f"{self.description} {progress:4.0%}{self.status(fit, progress)}", file=sys.stderr, flush=True)

    def status(self, fit: _Fit, progress: float) -> str:
        best = "-" if fit.best_score is None else f"{fit.best_score:.4f}"
        left = fit.elapsed() * (1 - progress) / max(progress, 1e-6)
        return f" epoch {fit.epoch}, score {self.score}, best {best}, {tqdm.format_interval(left)} left"


# ------------------------------------------------------------------------------------------------ seeds and devices


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python and torch, ask cuDNN for deterministic kernels, and hand on a numpy generator of the same seed."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return np.random.default_rng(seed)


def resolve_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda or cuda:N; auto is the first GPU where there is one.

    Raises `InputError` where the GPU that was asked for is not there.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if available else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise InputError(
            f"device={name} asks for a GPU that torch does not see ({available} found); use device=cpu or auto"
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def amp_dtype(device: torch.device, amp: bool) -> torch.dtype:
    """The type that matrix products are computed in: bfloat16 or float16 with `amp` on a GPU, else float32."""
    if not amp or device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, amp: bool) -> torch.autocast:
    """The mixed-precision context of `train`, for validation and prediction to use as well."""
    return autocast_to(device, amp_dtype(device, amp))


def autocast_to(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which convolutions and matrix products run in `dtype`; with float32 nothing is cast."""
    mixed = dtype is not torch.float32
    return torch.autocast(device.type, dtype=dtype if mixed else torch.bfloat16, enabled=mixed)
