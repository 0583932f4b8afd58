"""From which image size, number of images or epochs on the GNN costs less time end to end, from the rates measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from bench.config import InputError
from bench.tables.chosen import choose_configurations, find_sides
from bench.tables.convergence import select_timed
from bench.tables.names import name_run
from bench.tables.statistics import break_even

RESAMPLES = 1000
FORMULA = (
    "Seconds from images to masks = start + prepare x megapixels to train and validate on "
    "+ epochs x epoch x megapixels to train on + predict x megapixels to predict. Start is initialisation and "
    "warm-up; prepare builds superpixels and graphs (or tiles), once; epoch is one pass with its validation; "
    "predict includes superpixels and graphs. Starting the program and reading files is left out. "
    "One quantity is varied at a time, the others stay as in these runs; each arm keeps its own number of epochs, but "
    "where epochs are varied both have the same number. Both are taken as they ended, though their scores may "
    "differ, and beyond what was measured the lines are extrapolated."
)


@dataclass(frozen=True)
class Project:
    """What is to be done: images to train on, to validate on and to predict, and megapixels per image (mean)."""

    train: float
    val: float
    predicted: float
    megapixels: float


@dataclass(frozen=True)
class Rates:
    """What one arm was measured to cost, one number per run each.

    start in s; prepare in s per megapixel; epoch in s per epoch and megapixel; epochs as run; predict in s per
    megapixel.
    """

    start: NDArray[np.float64]
    prepare: NDArray[np.float64]
    epoch: NDArray[np.float64]
    epochs: NDArray[np.float64]
    predict: NDArray[np.float64]

    def means(self) -> "Means":
        """Return means over the runs, in the order of the fields."""
        [means] = _list_means(self._rows().mean(axis=0, keepdims=True))
        return means

    def runs(self) -> "list[Means]":
        """Return the rates of each run, in the order of the fields."""
        return _list_means(self._rows())

    def redraw(self, rng: np.random.Generator) -> "list[Means]":
        """Return means over as many runs drawn with replacement, `RESAMPLES` times."""
        drawn = rng.integers(len(self), size=(RESAMPLES, len(self)))
        return _list_means(self._rows()[drawn].mean(axis=1))

    def _rows(self) -> NDArray[np.float64]:
        return np.stack([self.start, self.prepare, self.epoch, self.epochs, self.predict], axis=1)

    def __len__(self) -> int:
        return len(self.start)


Line = tuple[float, float]  # seconds = first + second x
Means = tuple[float, float, float, float, float]


def _list_means(rows: NDArray[np.float64]) -> list[Means]:
    return [(a, b, c, d, e) for a, b, c, d, e in rows.tolist()]


@dataclass(frozen=True)
class Quantity:
    """Something that is varied: its name, what it is in these runs, and an arm's seconds as a line over it.

    `whole`: it comes in whole numbers.
    """

    name: str
    whole: bool
    now: Callable[[Project], float]
    line: Callable[[Means, Project], Line]


def _vary_size(means: Means, project: Project) -> Line:
    start, prepare, epoch, epochs, predict = means
    per_megapixel = prepare * (project.train + project.val) + epochs * epoch * project.train
    return start, per_megapixel + predict * project.predicted


def _vary_images(means: Means, project: Project) -> Line:
    start, prepare, epoch, epochs, predict = means
    share = project.train / (project.train + project.val)
    return start + predict * project.predicted * project.megapixels, project.megapixels * (
        prepare + epochs * epoch * share
    )


def _vary_epochs(means: Means, project: Project) -> Line:
    start, prepare, epoch, _, predict = means
    once = prepare * (project.train + project.val) + predict * project.predicted
    return start + project.megapixels * once, project.megapixels * epoch * project.train


def _vary_predicted(means: Means, project: Project) -> Line:
    start, prepare, epoch, epochs, predict = means
    training = prepare * (project.train + project.val) + epochs * epoch * project.train
    return start + project.megapixels * training, project.megapixels * predict


QUANTITIES = (
    Quantity("megapixels per image", False, lambda project: project.megapixels, _vary_size),
    Quantity("images to train and validate on", True, lambda project: project.train + project.val, _vary_images),
    Quantity("epochs", True, lambda _: math.nan, _vary_epochs),
    Quantity("images to predict", True, lambda project: project.predicted, _vary_predicted),
)


@dataclass(frozen=True)
class Crossing:
    """Where the two arms cost the same over one quantity.

    `outcome` is for the GNN: `always` or `never` the cheaper one, cheaper `from` x on, or cheaper `up to` x. `low` and
    `high` are the 95 % interval of x: an infinite end says that the runs allow no crossing, 0 that they allow one at
    once. `share` is the part of the redrawn runs that have this outcome. All three are NaN where an arm has one run.
    """

    quantity: Quantity
    gnn: Line
    cnn: Line
    outcome: str
    x: float
    low: float = math.nan
    high: float = math.nan
    share: float = math.nan


@dataclass(frozen=True)
class BreakEven:
    """The rates of both arms' chosen configurations on one machine and what follows from them."""

    gnn: Rates
    cnn: Rates
    project: Project
    crossings: tuple[Crossing, ...]
    sides: tuple[str, str]  # their pipelines
    names: tuple[str, str]  # what readers call them


def find_break_evens(runs: pd.DataFrame, stages: pd.DataFrame) -> BreakEven:
    """Compute the rates of both rivals and where they cost the same.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        stages: The table `stages`.

    Returns:
        Rates and crossings of the configurations that stand for the two.

    Raises:
        InputError: An arm is missing, all its runs are flagged, or its times are incomplete.
    """
    found = choose_configurations(runs)
    sides = find_sides(runs)
    used = [_select_uncontended(found.get(name), name) for name in sides]
    gnn, cnn = (_rates(arm, stages, name) for arm, name in zip(used, sides, strict=True))
    project = _project(used[0], stages)
    crossings = tuple(find_crossing(quantity, gnn, cnn, project) for quantity in QUANTITIES)
    names = [name_run(arm.iloc[0].to_dict()) for arm in used]
    return BreakEven(gnn, cnn, project, crossings, sides, (names[0], names[1]))


def _select_uncontended(runs: pd.DataFrame | None, name: str) -> pd.DataFrame:
    if runs is None or runs.empty:
        raise InputError(f"there is no valid run of {name} that converged")
    timed = select_timed(runs)
    if timed["contended"].any():
        raise InputError(f"every run of {name} that counts is flagged as contended, so its times are too long")
    return timed


def _rates(runs: pd.DataFrame, stages: pd.DataFrame, name: str) -> Rates:
    rows = stages[stages["run_id"].isin(runs["run_id"])]
    rows = rows.assign(seconds=pd.to_numeric(rows["seconds"]), megapixels=pd.to_numeric(rows["pixels"]) / 1e6)
    epochs = _count_epochs(runs.set_index("run_id"))

    def total(names: list[str], splits: list[str], column: str = "seconds") -> "pd.Series[float]":
        wanted = rows[rows["stage"].isin(names) & rows["split"].isin(splits)]
        return wanted.groupby("run_id")[column].sum(min_count=1).reindex(runs["run_id"])

    learned, every = ["train", "val"], ["train", "val", "test"]
    size, test = total(["train"], ["train"], "megapixels"), total(["predict"], ["test"], "megapixels")
    columns = (
        total(["init", "warmup"], every).fillna(0.0),
        total(["prepare"], learned) / total(["prepare"], learned, "megapixels"),
        total(["train", "validate"], every) / epochs / size,
        epochs.reindex(runs["run_id"]),
        total(["predict", "prepare"], ["test"]) / test,
    )
    start, prepare, epoch, run, predict = (np.asarray(column.to_numpy(), np.float64) for column in columns)
    rates = Rates(start, prepare, epoch, run, predict)
    if not np.isfinite(rates.means()).all():
        raise InputError(f"the runs of {name} lack times, pixels or epochs of a stage")
    return rates


def _count_epochs(runs: pd.DataFrame) -> "pd.Series[float]":
    """Epochs of each run, of which the last may be a part; of older runs as many as were begun."""
    none = pd.Series(float("nan"), index=runs.index)
    begun, steps, batches = (
        pd.to_numeric(runs[name]) if name in runs else none for name in ("epochs", "steps", "steps_per_epoch")
    )
    return (steps / batches).fillna(begun).where(begun.notna())


def _project(runs: pd.DataFrame, stages: pd.DataFrame) -> Project:
    """The data set of these runs."""
    rows = stages[(stages["run_id"] == runs["run_id"].iloc[0])].assign(images=pd.to_numeric(stages["images"]))
    sizes = {}
    for stage, split in (("prepare", "train"), ("prepare", "val"), ("predict", "test")):
        part = rows[(rows["stage"] == stage) & (rows["split"] == split)]
        sizes[split] = (float(part["images"].sum()), float(pd.to_numeric(part["pixels"]).sum()))
    if not all(images for images, _ in sizes.values()):
        raise InputError("the stages do not say how many images each split had")
    total = sum(images for images, _ in sizes.values()), sum(pixels for _, pixels in sizes.values())
    return Project(sizes["train"][0], sizes["val"][0], sizes["test"][0], total[1] / total[0] / 1e6)


# ---------------------------------------------------------------------------------------------------- crossings


def find_crossing(quantity: Quantity, gnn: Rates, cnn: Rates, project: Project) -> Crossing:
    """Find where both arms cost the same over one quantity, with an interval if both have several runs.

    The interval is the wider, at each end, of the bootstrap's over redrawn runs and the inverted t test's.

    Args:
        quantity: What is varied.
        gnn: Rates of the graph network.
        cnn: Rates of the tiled network.
        project: What stays as it is.
    """
    lines = quantity.line(gnn.means(), project), quantity.line(cnn.means(), project)
    outcome, x = compare_lines(*lines)
    if min(len(gnn), len(cnn)) < 2:
        return Crossing(quantity, *lines, outcome, x)
    redrawn = _redraw_outcomes(quantity, gnn, cnn, project)
    share = sum(kind == outcome for kind, _ in redrawn) / len(redrawn)
    if outcome not in ("from", "up to"):
        return Crossing(quantity, *lines, outcome, x, share=share)
    ends = zip(_bootstrap_crossing(outcome, redrawn), _invert_t_test(quantity, gnn, cnn, project), strict=True)
    (low, other_low), (high, other_high) = ends
    return Crossing(quantity, *lines, outcome, x, min(low, other_low), max(high, other_high), share)


def _bootstrap_crossing(outcome: str, redrawn: list[tuple[str, float]]) -> tuple[float, float]:
    """The percentile interval of a crossing over all redrawn runs, those with another outcome included.

    Of a GNN that is cheaper from x on, redrawn runs in which it always is have their crossing at 0, and those in which
    it is not for large x at infinity; of one that is cheaper up to x the other way round.
    """
    other = {"from": {"always": 0.0}, "up to": {"always": math.inf}}[outcome]
    rest = {"from": math.inf, "up to": 0.0}[outcome]
    crossings = np.array([x if kind == outcome else other.get(kind, rest) for kind, x in redrawn])
    low, high = np.quantile(crossings, 0.025, method="lower"), np.quantile(crossings, 0.975, method="higher")
    return float(low), float(high)  # of infinities no means are taken


def _invert_t_test(quantity: Quantity, gnn: Rates, cnn: Rates, project: Project) -> tuple[float, float]:
    """The least and the greatest x >= 0 at which a t test at 5 % lets both arms cost the same, possibly infinite.

    The bootstrap of few runs is too narrow, as `bench.tables.statistics.estimate_paired_difference` says. This is
    Fieller's interval (Journal of the Royal Statistical Society B 16:175, 1954) of where the difference of two lines is
    0, with Satterthwaite's degrees of freedom at the crossing.
    """
    each = [np.array([quantity.line(run, project) for run in arm.runs()]) for arm in (gnn, cnn)]  # (runs, 2)
    fixed, slope = np.subtract(quantity.line(gnn.means(), project), quantity.line(cnn.means(), project))
    spreads = [np.cov(lines, rowvar=False) / len(lines) for lines in each]
    place = np.array([1.0, -fixed / slope])
    variances = np.array([place @ spread @ place for spread in spreads])
    if variances.sum() <= 0:
        return float(place[1]), float(place[1])
    freedom = variances.sum() ** 2 / sum(variances**2 / [len(lines) - 1 for lines in each])
    spread = float(stdtrit(freedom, 0.975)) ** 2 * (spreads[0] + spreads[1])
    square, mixed, constant = slope**2 - spread[1, 1], slope * fixed - spread[0, 1], fixed**2 - spread[0, 0]
    roots = np.roots([square, 2 * mixed, constant]).real  # where the test is at its limit: it holds between them,
    low = 0.0 if constant <= 0 else float(roots.min() if square > 0 else roots.max())
    return low, float(roots.max()) if square > 0 else math.inf  # or beyond them, if the slopes may be equal


def _redraw_outcomes(quantity: Quantity, gnn: Rates, cnn: Rates, project: Project) -> list[tuple[str, float]]:
    """Outcomes when the runs of each arm are drawn anew with replacement."""
    rng = np.random.default_rng(0)
    pairs = zip(gnn.redraw(rng), cnn.redraw(rng), strict=True)
    return [compare_lines(quantity.line(first, project), quantity.line(second, project)) for first, second in pairs]


def compare_lines(gnn: Line, cnn: Line) -> tuple[str, float]:
    """Return the outcome for the GNN, and the x of the crossing: NaN where there is none for x >= 0."""
    x = break_even(*gnn, *cnn)
    if math.isnan(x):
        end = break_even(*cnn, *gnn)
        return ("up to", end) if end > 0 else ("never", math.nan)  # 0: equal at the start, then dearer
    if math.isinf(x):
        return "never", math.nan
    return ("always", math.nan) if x == 0 else ("from", x)
