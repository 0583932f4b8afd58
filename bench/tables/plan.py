"""`python -m bench plan run=results/headline pixels=4e8 images=20`: what each method will need, from measured rates.

Times are measured rates times pixels. The range is that of the measured runs, which is no prediction interval; what the
tables do not hold is said not to be known. Runs that shared the machine with other work give no times where others
did not; where all did, a caution says so. Runs of `experiment=scale` give the rates of the nearest measured size and a
law of memory by size; without them a peak is given for the size that it was measured at.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.arms import ARMS
from bench.config import require
from bench.tables.collect import Tables
from bench.tables.comparison import GROUP, list_configurations, summarize_arms
from bench.tables.folders import read_folder
from bench.tables.scale import FIELD, LineLaw, fit_lines, is_scale, make_scale_points
from bench.tables.units import MIB

FAR = 10.0  # times the measured size, beyond which a rate is an extrapolation
UNKNOWN = "cannot be said"
Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class PlanConfig:
    """Settings of `python -m bench plan`."""

    run: str = ""  # results folder with finished runs of this machine, on images like those that are planned for
    pixels: float = 0.0  # of one image, as in 4e8
    images: int = 1  # images of that size
    pipeline: str | None = None  # only this method
    dataset: str | None = None  # only runs on this data set

    def __post_init__(self) -> None:
        for name in ("run", "pixels"):
            given = getattr(self, name) not in ("", 0.0)
            require(given, f"plan needs {name}=: python -m bench plan run=results/headline pixels=4e8 images=20")
        require(self.pixels >= 1, f"pixels must be at least 1, as in pixels=4e8, got {self.pixels:g}")
        require(self.images >= 1, f"images must be at least 1, got {self.images}")


@dataclass(frozen=True)
class TimeRange:
    """A time in seconds: the mean over measured runs, and the least and greatest of them; NaN where not measured."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> "TimeRange":
        return TimeRange(self.value * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        if math.isnan(self.value):
            return UNKNOWN
        spread = "" if self.low == self.high else f" ({format_time(self.low)} to {format_time(self.high)})"
        return f"{format_time(self.value)}{spread}"


@dataclass(frozen=True)
class Plan:
    """What one method needs.

    Attributes:
        name: Method, with the settings that tell it from others, data set and machine.
        dice: Pooled Dice of the test images that it was measured on.
        prediction: Of all images, with preparing them.
        preparing: Superpixels and graphs, or tiles, of all images for training.
        training: The fit, as long as it took on the measured images.
        memory: Peak of training, and of prediction where it can be said, in words.
        cautions: What limits the plan.
    """

    name: str
    dice: float
    prediction: TimeRange
    preparing: TimeRange
    training: TimeRange
    memory: tuple[str, ...]
    cautions: tuple[str, ...]


def main(settings: PlanConfig) -> int:
    """Print what each method will need. Returns the exit code."""
    folder = Path(settings.run)
    require(folder.is_dir(), f"{folder} is not a folder: give the results folder of an experiment")
    plans = list(make_plans(read_folder(folder), settings))
    require(len(plans) > 0, f"{folder} holds no finished run of that kind: there is nothing to plan from")
    total = settings.pixels * settings.images / 1e6
    many = f"{settings.images} image{'s' * (settings.images != 1)} of {settings.pixels / 1e6:g} megapixels"
    print(f"{many}, {total:g} in all, from the rates in {folder}; ranges are those of the measured runs")
    shared, rest = share_cautions(plans)
    for sentence in shared:
        print(f"caution, for all: {sentence}")
    for plan in rest:
        print("\n".join(format_plan(plan)))
    return 0


def share_cautions(plans: Sequence[Plan]) -> tuple[list[str], list[Plan]]:
    """Return what limits every one of several plans, and the plans without it."""
    shared = [sentence for sentence in plans[0].cautions if all(sentence in plan.cautions for plan in plans)]
    if len(plans) == 1:
        return [], list(plans)
    return shared, [replace(plan, cautions=tuple(c for c in plan.cautions if c not in shared)) for plan in plans]


def make_plans(tables: Tables, settings: PlanConfig) -> Iterator[Plan]:
    """Yield a plan for each method that learns something and has a finished run, those of `experiment=scale` first.

    Args:
        tables: The tables of a results folder.
        settings: Size and number of images, and which runs count.
    """
    for compared, rows in tables.runs.groupby(~is_scale(tables.runs)):  # or settings of either would name the other
        runs = list_configurations(replace(tables, runs=rows))
        if compared:
            yield from plan_arms(runs, tables.stages, settings)
        else:
            yield from plan_scale(make_scale_points(runs, tables.stages, tables.history), settings)


def plan_arms(runs: pd.DataFrame, stages: pd.DataFrame, settings: PlanConfig) -> Iterator[Plan]:
    """Yield a plan for each method that learns something and has a finished run, in the order of the tables.

    Args:
        runs: Rows of `list_configurations`.
        stages: The table `stages`.
        settings: Size and number of images, and which runs count.
    """
    for row in summarize_arms(runs).to_dict("records"):
        pipeline = str(row["arm"]).split(" ")[0]
        chosen = settings.pipeline in (None, pipeline) and settings.dataset in (None, row["dataset"])
        if not chosen or not row["runs"] or (pipeline in ARMS and ARMS[pipeline].sees_truth):
            continue
        chosen_ids = select_runs(runs, row)["run_id"]
        yield make_plan(row, stages[stages["run_id"].isin(chosen_ids)], settings)


def select_runs(runs: pd.DataFrame, row: Row) -> pd.DataFrame:
    """Return the finished runs that a row of `summarize_arms` is about."""
    same = runs["status"] == "ok"
    for name in GROUP:
        same &= runs[name].isna() if pd.isna(row[name]) else runs[name] == row[name]
    return runs[same]


def make_plan(row: Row, stages: pd.DataFrame, settings: PlanConfig) -> Plan:
    """Return the plan of one method.

    Args:
        row: Its row of `summarize_arms`.
        stages: The rows of the table `stages` of its runs.
        settings: Size and number of images.
    """
    total = settings.pixels * settings.images / 1e6
    learned, single = measure_sizes(stages)
    asked = float(row["superpixel_size"])
    size = "" if math.isnan(asked) else f", superpixels of {asked:g} pixels"
    return Plan(
        f"{row['arm']}{size} ({row['dataset']}, {row['machine']})",
        float(row["dice"]),
        read_range(row, "predict_s_per_mpx") * total,
        read_range(row, "prepare_s") * (total * 1e6 / learned),
        read_range(row, "fit_s"),
        (f"memory in training: {describe_memory(row, learned / 1e6)}",),
        tuple(list_cautions(row, settings.pixels, single)),
    )


def read_range(row: Row, name: str) -> TimeRange:
    """Return mean, least and greatest of a column of `summarize_arms`."""
    return TimeRange(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def measure_sizes(stages: pd.DataFrame) -> tuple[float, float]:
    """Return the pixels that a run learned from, validation included, and those of a test image; NaN where unknown.

    Args:
        stages: Rows of the table `stages` of runs on one data set.
    """
    rows = stages.assign(pixels=pd.to_numeric(stages["pixels"]), images=pd.to_numeric(stages["images"]))
    test = rows["split"] == "test"
    learned = rows[(rows["stage"] == "prepare") & ~test].groupby("run_id")["pixels"].sum()
    predicted = rows[(rows["stage"] == "predict") & test]
    images = float(predicted["images"].sum())
    single = float(predicted["pixels"].sum()) / images if images else math.nan
    return float(learned.mean()) if len(learned) else math.nan, single


def describe_memory(row: Row, learned: float) -> str:
    """Return the measured peak of training in words.

    Args:
        row: A row of `summarize_arms`.
        learned: Megapixels of the training and validation images.
    """
    peak = float(row["peak_memory_bytes"])
    if math.isnan(peak):
        return UNKNOWN
    return f"{UNKNOWN} for other sizes; {peak / MIB:.0f} MiB were measured with {learned:.3g} megapixels to learn from"


def list_cautions(row: Row, pixels: float, measured: float) -> Iterator[str]:
    """Yield what limits a plan, in sentences.

    Args:
        row: A row of `summarize_arms`.
        pixels: Of a planned image.
        measured: Pixels of a measured test image; NaN where not known.
    """
    if pixels > FAR * measured:
        yield (
            f"rates are of images of {measured / 1e6:.2g} megapixels: larger ones cost less per pixel where starting "
            "takes long, and more where they leave the caches"
        )
    alone = row["runs"] - row["contended"]
    if row["runs"] == 1 or alone == 1:
        yield "one run: no range" if row["runs"] == 1 else "one run gives the times: no range"
    if alone == 0:
        yield "every run shared the machine with other work: times are too long"
    elif row["contended"]:
        yield f"{row['contended']} of the {row['runs']} runs shared the machine with other work, and give no times"
    if row["undertrained"]:
        yield "its training was cut short"


# ----------------------------------------------------------------------------------------- from cost against size


def plan_scale(points: pd.DataFrame, settings: PlanConfig) -> Iterator[Plan]:
    """Yield a plan for each line of `experiment=scale`, from its measured size that is nearest to the planned one.

    Of several runs of one size an uncontended one counts. `points` are as `make_scale_points` gives them.
    """
    if points.empty:
        return
    laws = {(law.dataset, law.machine, law.line, law.phase): law for law in fit_lines(points)}
    measured = points[(points["axis"] == FIELD) & (points["status"] == "ok") & points["megapixels"].notna()]
    for (dataset, machine, line), group in measured.groupby(["dataset", "machine", "line"]):
        pipelines = set(group["pipeline"])
        if settings.dataset not in (None, dataset) or (settings.pipeline and settings.pipeline not in pipelines):
            continue
        distance = (group["megapixels"] * 1e6 / settings.pixels).map(math.log).abs()
        ordered = group.assign(distance=distance.round(9)).sort_values(["distance", "contended"], kind="stable")
        nearest = ordered.iloc[0].to_dict()
        phases = {phase: laws[str(dataset), str(machine), str(line), phase] for phase in ("training", "prediction")}
        yield plan_line(f"{line} ({dataset}, {machine})", nearest, phases, settings)


def plan_line(name: str, point: Row, laws: Mapping[str, LineLaw], settings: PlanConfig) -> Plan:
    """Return the plan of one line.

    Args:
        name: Its name for readers.
        point: Its measured point that is nearest in size, a row of `make_scale_points`.
        laws: Its laws of memory by phase.
        settings: Size and number of images.
    """
    total = settings.pixels * settings.images / 1e6
    rates = {column: float(point[column]) for column in ("predict_s_per_mpx", "prepare_s_per_mpx", "train_s")}
    predict, prepare, train = (TimeRange(value, value, value) for value in rates.values())
    return Plan(
        name,
        float(point["dice"]),
        predict * total,
        prepare * total,
        train,
        tuple(f"memory in {phase}: {apply_law(law, settings.pixels)}" for phase, law in laws.items()),
        (
            f"rates are of one image of {point['megapixels']:.3g} megapixels, the nearest measured size",
            *(["the run shared the machine with other work: times are too long"] if point["contended"] else []),
        ),
    )


def apply_law(law: LineLaw, pixels: float) -> str:
    """Return in words what a law of memory says of an image of `pixels`, or why it says nothing."""
    if law.law is None:
        return f"{UNKNOWN}: {law.reason}"
    nodes = 0.0 if math.isnan(law.size) else pixels / law.size
    beyond = pixels > max(law.law.sizes)
    reach = f", extrapolated from at most {max(law.law.sizes) / 1e6:.3g} megapixels" if beyond else ""
    error = f"sizes left out of the fit were missed by up to {law.law.error:.1%}"
    return f"{law.law.predict(pixels, nodes) / MIB:.0f} MiB for one image at a time ({error}{reach})"


# ------------------------------------------------------------------------------------------------------------ words


def format_plan(plan: Plan) -> list[str]:
    """Return the lines that show a plan."""
    dice = "" if math.isnan(plan.dice) else f", Dice {plan.dice:.3f} there"
    return [
        f"\n{plan.name}{dice}",
        f"  predicting all images: {plan.prediction}",
        f"  preparing all images for training: {plan.preparing}",
        f"  training itself: {plan.training} there; steps until the score stops improving depend on the images",
        *(f"  {line}" for line in plan.memory),
        *(f"  caution: {sentence}" for sentence in plan.cautions),
    ]


def format_time(seconds: float) -> str:
    """Return a time in the unit in which it has one to three digits."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
