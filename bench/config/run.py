"""A run as a whole: how it is trained, scored, measured and repeated."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from typing import Any

from bench.config.checks import require, require_one_of
from bench.config.data import DatasetConfig
from bench.config.graphs import GraphConfig, SuperpixelsConfig
from bench.config.pipelines import PipelineConfig


@dataclass
class TrainingConfig:
    """What every learning arm shares: one loss, one optimiser (AdamW), one schedule, one rule for stopping.

    Budgets, warm-up, validations and patience count work, so that scores do not depend on the machine or its load.
    """

    steps: int | None = 10000  # ceiling of optimiser steps; patience usually ends a fit long before
    epochs: int | None = None  # ceiling of epochs
    seconds: float | None = None  # ceiling of seconds: what do I get in five minutes? The clock then decides scores
    patience: int | None = 8  # early stopping: validations without a better score before the cool-down; null: never
    min_gain: float = 0.001  # by which a score must exceed the last better one to count as better
    validate_every: int = 25  # steps, at least: later and costly validations are further apart
    warmup: int = 50  # steps in which the learning rate rises, at most a tenth of a budget in steps
    cooldown: float = 0.2  # share of all steps, at the end, in which the learning rate falls to zero; 0: constant
    forks: bool = False  # also cool down copies at doubling budgets: what fits planned for less work reach
    cross_entropy_weight: float = 1.0  # of cross-entropy in the loss
    dice_weight: float = 1.0  # of soft Dice in the loss
    class_weights: str = "sqrt"  # none | sqrt | inverse: of the class frequencies in the training pixels
    rare_share: float = 0.02  # oversampling: classes of a smaller share of the pixels are drawn more often; 0: none
    gradient_clip: float = 1.0  # largest norm of the gradient; 0: any
    amp: bool = True  # mixed precision, on a GPU and on a CPU with bfloat16 instructions
    replay: bool = True  # record a step once and replay it, on a GPU only: its kernels need not wait for Python

    def __post_init__(self) -> None:
        budgets = (self.steps, self.epochs, self.seconds)
        require(budgets != (None, None, None), "give at least one of training.steps, training.epochs, training.seconds")
        for name, least in (("steps", 1), ("epochs", 1), ("patience", 1), ("validate_every", 1), ("warmup", 0)):
            value = getattr(self, name)
            require(value is None or value >= least, f"training.{name} must be at least {least}, got {value}")
        require(self.seconds is None or self.seconds > 0, f"training.seconds must be positive, got {self.seconds}")
        require(self.min_gain >= 0, f"training.min_gain must not be negative, got {self.min_gain}")
        require(0 <= self.rare_share < 1, f"training.rare_share must lie in [0, 1), got {self.rare_share}")
        require(0 <= self.cooldown < 1, f"training.cooldown must lie in [0, 1), got {self.cooldown}")
        require(self.gradient_clip >= 0, f"training.gradient_clip must not be negative, got {self.gradient_clip}")
        require_one_of("training.class_weights", self.class_weights, ("none", "sqrt", "inverse"))
        require(
            min(self.cross_entropy_weight, self.dice_weight) >= 0 and self.cross_entropy_weight + self.dice_weight > 0,
            "training.cross_entropy_weight and training.dice_weight must not be negative, and one must be positive",
        )


@dataclass
class MetricsConfig:
    """How predictions are scored. `boundary_tolerance` in pixels."""

    boundary_tolerance: float = 2.0  # pixels within which a boundary counts as found
    voted: bool = False  # score a pixel arm's masks also as voted onto the superpixels of the settings: voted_dice

    def __post_init__(self) -> None:
        require(
            self.boundary_tolerance >= 0,
            f"metrics.boundary_tolerance must not be negative, got {self.boundary_tolerance}",
        )


@dataclass
class MeasureConfig:
    """How a run is watched. Times in seconds."""

    timeout: float | None = None  # seconds after which a run is ended; null: never
    threads: int | None = None  # CPU threads of the run; null: as many as the machine gives
    sample_period: float = 0.02  # seconds between two readings of memory
    memory_gib: float | None = None  # GiB that a run on the host may take, at most 90 % of the machine's; null: all
    share_gpu: bool = False  # whether runs at the same time may use one GPU; false: each holds one, or waits for one

    def __post_init__(self) -> None:
        require(self.timeout is None or self.timeout > 0, f"measure.timeout must be positive, got {self.timeout}")
        limit = self.memory_gib
        require(limit is None or limit >= 1, f"measure.memory_gib must be at least 1 GiB, got {limit}")
        require(self.threads is None or self.threads >= 1, f"measure.threads must be at least 1, got {self.threads}")
        require(self.sample_period > 0, f"measure.sample_period must be positive, got {self.sample_period}")


@dataclass
class ParallelConfig:
    """Who prepares the images of superpixel arms: this process, workers of this machine, or a Dask cluster's."""

    workers: int = 0  # images at once; 0: one after the other
    kind: str = "processes"  # threads | processes of this machine
    scheduler: str | None = None  # address of a dask.distributed scheduler, as in tcp://host:8786; outweighs both

    def __post_init__(self) -> None:
        require(self.workers >= 0, f"parallel.workers must not be negative, got {self.workers}")
        require_one_of("parallel.kind", self.kind, ("threads", "processes"))
        address = self.scheduler
        require(
            address is None or "://" in address,
            f"parallel.scheduler must be an address such as tcp://host:8786, got {address!r}",
        )


@dataclass
class ExperimentConfig:
    """A list of sweeps, each a map from settings to values: one run per combination, on top of the command line."""

    name: str = "single"  # also of the results folder
    description: str = ""  # one sentence, for the list of experiments
    kind: str = "runs"  # runs | smallest_memory: of each, the least memory with which it works | tuning: `search`
    resolution_mib: int = 128  # MiB to which the least memory is searched
    budget: str = "small"  # small | full: the runs of `sweeps`, or of `full_sweeps`
    sweeps: list[dict[str, Any]] = field(default_factory=list)  # of settings: a run per combination of the values
    full_sweeps: list[dict[str, Any]] = field(default_factory=list)  # the same, for budget=full
    search: list[dict[str, Any]] = field(default_factory=list)  # per arm: settings and their ranges, for Optuna
    trials: int = 20  # of each arm, for Optuna
    effort: float = 1.0  # every arm's budgets of work times this: 0.1 for a first look, alike for all
    largest: int | None = None  # pixels a side of generated images beyond which a sweep's runs are left out; null: any

    def __post_init__(self) -> None:
        side = self.largest
        require(side is None or side >= 32, f"experiment.largest must be at least 32 pixels a side, got {side}")
        require(self.effort > 0, f"experiment.effort must be positive, got {self.effort}")
        require_one_of("experiment.kind", self.kind, ("runs", "smallest_memory", "tuning"))
        require_one_of("experiment.budget", self.budget, ("small", "full"))
        require(
            self.budget == "small" or len(self.full_sweeps) > 0,
            f"experiment.budget=full is for experiments that have full_sweeps, and {self.name} has none",
        )
        require(self.trials >= 1, f"experiment.trials must be at least 1, got {self.trials}")
        require(self.resolution_mib >= 1, f"experiment.resolution_mib must be at least 1, got {self.resolution_mib}")

    @property
    def chosen_sweeps(self) -> list[dict[str, Any]]:
        """Those of the budget."""
        return self.full_sweeps if self.budget == "full" else self.sweeps

    def scale(self, training: TrainingConfig) -> TrainingConfig:
        """Return the training settings with the budgets of work times `effort`, at least one step or epoch."""
        scaled = {
            name: max(round(value * self.effort), 1)
            for name in ("steps", "epochs")
            if (value := getattr(training, name)) is not None
        }
        return replace(training, **scaled)


@dataclass
class Config:
    """One run, whole."""

    dataset: DatasetConfig
    pipeline: PipelineConfig
    superpixels: SuperpixelsConfig = field(default_factory=SuperpixelsConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    seed: int = 0  # of weights, crops and batches; the data set has seeds of its own
    device: str = "auto"  # auto | cpu | cuda | cuda:N; auto: a GPU where there is one
    results_dir: str = "results/single"  # by default results/ and the experiment's name
    rerun: str = "failed"  # failed | all | none: which of the finished runs are done again
    tracker: str = "none"  # none | tensorboard | mlflow: where finished runs are recorded besides
    tracker_uri: str | None = None  # TensorBoard's folder or MLflow's address; null: in results_dir

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
        require(
            self.results_dir.strip() != "",
            "results_dir must name a folder, got nothing: leave it out for the usual one",
        )
        require_one_of("rerun", self.rerun, ("failed", "all", "none"))
        require(
            self.tracker_uri is None or self.tracker != "none",
            f"tracker_uri is for tracker=tensorboard or tracker=mlflow, got {self.tracker_uri!r} without one",
        )
        require(
            self.tracker != "mlflow" or self.tracker_uri is None or "://" in self.tracker_uri,
            "tracker_uri must be an address such as http://host:5000 or sqlite:///mlflow.db for tracker=mlflow, "
            f"got {self.tracker_uri!r}",
        )
        for name, value in flatten(self).items():
            finite = not isinstance(value, float) or isfinite(value)
            require(finite, f"{name} must be a finite number, got {value}")
        require(
            self.device in ("auto", "cpu", "cuda") or self.device.removeprefix("cuda:").isdigit(),
            f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}",
        )


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Settings as one level of dotted names, e.g. `superpixels.superpixel_size`; lists and dicts stay whole."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[f"{prefix}{item.name}"] = value
    return flat


def walk_subclasses(base: Any) -> Iterator[Any]:
    """Yield all classes below one, such as the settings of every arm below `PipelineConfig`."""
    for child in base.__subclasses__():
        yield child
        yield from walk_subclasses(child)
