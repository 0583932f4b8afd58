"""`python -m bench perf`: the steps from image to graph beside scikit-image's and the published recipe, as ratios.

Both sides run in one process in turn (A B B A), so that a busy machine slows both; memory is measured in a process of
its own for each figure.
"""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.arrays.threads import count_threads
from bench.config import SuperpixelsConfig, SyntheticConfig, require
from bench.datasets.normalization import standardise
from bench.datasets.synthetic import SceneImage, SceneMask, compute_scene_moments, draw_scenes
from bench.measure.isolation import run_isolated
from bench.measure.memory import MemoryProbe
from bench.perf import volumes
from bench.perf.programs import PROGRAMS, Segments, count_segments
from bench.perf.steps import CLASSES, STEPS, Picture
from bench.superpixels.registry import segment
from bench.tables.write import write_rows

Result = TypeVar("Result")
_TILE = 1024  # pixels a side of the generated scene; larger images mirror it


@dataclass
class PerfConfig:
    """Settings of `python -m bench perf`."""

    steps: list[str] = field(default_factory=lambda: list(STEPS))  # what is timed
    sizes: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])  # sides of the images, in pixels
    repeats: int = 5  # pairs of runs per figure
    superpixel_size: float = 100.0  # pixels per superpixel, of every step but graph
    graph_superpixel_size: float = 355.0  # of the step graph: about 10,000 nodes at 2048 x 2048
    graph_rival_superpixel_size: float = 470.0  # as many for the published recipe, which keeps smaller pieces
    compactness: float = 0.1  # of SLIC, with scikit-image's meaning
    iterations: int = 10  # of SLIC
    rival_largest: int = 4096  # sizes beyond it run ours alone
    graph_rival_largest: int = 2048  # the dense distance matrix grows with the fourth power of the side
    volume_sizes: list[int] = field(default_factory=list)  # sides of volumes, beside other programs; []: none
    volume_superpixel_size: float = 125.0  # voxels per superpixel of a volume
    volume_rival_largest: int = 256  # volumes beyond it run ours alone
    memory: bool = True  # measure bytes per pixel too, in a process of its own per figure
    results_dir: str = "results/perf"  # folder for perf.csv
    against: str | None = None  # a perf.csv of before: the exit code is 1 where a ratio fell below its range
    slack: float = 0.7  # share of the least ratio of before that counts as no worse; machines and moments differ

    def __post_init__(self) -> None:
        require(set(self.steps) <= set(STEPS), f"steps must be among {', '.join(STEPS)}, got {self.steps}")
        for name in ("sizes", "volume_sizes"):
            sides = getattr(self, name)
            require(min(sides, default=32) >= 32, f"{name} must be at least 32 pixels, got {sides}")
        require(len(self.steps) == 0 or len(self.sizes) > 0, f"sizes must name a side for the steps {self.steps}")
        require(self.repeats >= 1, f"repeats must be at least 1, got {self.repeats}")
        require(0 < self.slack <= 1, f"slack must lie in (0, 1], got {self.slack}")


def main(config: PerfConfig) -> int:
    """Measure, print the table, write `results_dir/perf.csv`. Returns the exit code, 1 for ratios that fell."""
    folder, before = Path(config.results_dir), read_ratios(config.against)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    print(HEADER)
    for step in config.steps:
        for size in config.sizes:
            rows.append(measure_graph_steps(step, size, config))
            print(format_row(rows[-1]), flush=True)
            write_rows(folder / "perf.csv", rows)
    for size in config.volume_sizes:
        for row in measure_volumes(size, config):
            rows.append(row)
            print(format_row(row), flush=True)
            write_rows(folder / "perf.csv", rows)
    print(f"written to {folder / 'perf.csv'}")
    fallen = list_fallen(rows, before, config.slack)
    print("\n".join(fallen), end="\n" if fallen else "")
    return 1 if fallen else 0


def measure_volumes(side: int, config: PerfConfig) -> Iterator[dict[str, Any]]:
    """Measure superpixels of a volume beside each program that is installed; beyond `volume_rival_largest` ours alone.

    Args:
        side: Of the volume, in voxels.
        config: Settings.

    Yields:
        A row for each program.
    """
    scene, programs = volumes.generate_volume(side), {key: one for key, one in PROGRAMS.items() if 3 in one.axes}
    size, iterations = config.volume_superpixel_size, config.iterations
    asked = SuperpixelsConfig("slic", size, None, config.compactness, iterations=iterations)
    memory = measure_volume_bytes(side, asked) if config.memory else None
    if side == config.volume_sizes[0]:
        for missing in (rival for rival in programs.values() if not rival.is_installed):
            print(f"left out: {missing.name} (pip install {missing.package})")
    rivals = [key for key, rival in programs.items() if rival.is_installed]
    for key in rivals if side <= config.volume_rival_largest else [""]:
        rival = programs.get(key)
        ours, row = (asked, {}) if rival is None else volumes.match_nodes(scene, rival, asked)
        works: list[Callable[[], Segments]] = [partial(segment, scene.image, ours)]
        works += [] if rival is None else [partial(rival.segment, scene.image, asked)]
        seconds, busy, made = alternate(works, config.repeats)
        row = {"num_nodes": count_segments(made[0]), **row, "bytes_per_pixel": memory, "repeats": config.repeats}
        row |= {"step": f"volume_{key}" if key else "volume", "size": side, "threads": count_threads()}
        row |= {"seconds": median(seconds[0]), "ns_per_pixel": median(seconds[0]) * 1e9 / side**3}
        row["cpu_ns_per_pixel"] = median(busy[0]) * 1e9 / side**3
        if rival is not None:
            row |= {"rival": rival.name, **compare_times(seconds, busy)}
        yield row


def measure_volume_bytes(side: int, superpixels: SuperpixelsConfig) -> float | None:
    """Measure the bytes per voxel beyond the volume that our superpixels take in a fresh process; None if unknown."""
    outcome = run_isolated(_find_volume_peak, (side, superpixels))
    return outcome.result / side**3 if outcome.ok and outcome.result is not None else None


def _find_volume_peak(argument: tuple[int, SuperpixelsConfig]) -> int | None:
    side, superpixels = argument
    segment(volumes.generate_volume(32).image, superpixels)
    scene = volumes.generate_volume(side)
    return find_peak(lambda: segment(scene.image, superpixels))


def compare_times(seconds: list[list[float]], busy: list[list[float]]) -> dict[str, float]:
    """Return the columns that compare the rival's runs with ours, pair by pair.

    Args:
        seconds: Of every run of ours, and of the rival's.
        busy: Seconds of CPU time of the same.
    """
    ratios = [theirs / mine for mine, theirs in zip(*seconds, strict=True)]
    row = {"rival_seconds": median(seconds[1]), "cpu_ratio": median(busy[1]) / median(busy[0])}
    return row | {"ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}


def read_ratios(path: str | None) -> dict[tuple[str, int], float]:
    """Read the least ratio of each step and size from a `perf.csv`; none where there is no path.

    Raises InputError where the file does not exist.
    """
    if path is None:
        return {}
    require(
        Path(path).is_file(), f"against={path} is not a file: give the perf.csv of an earlier `python -m bench perf`"
    )
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["step"], int(row["size"])): float(row["ratio_min"]) for row in rows if row.get("ratio_min")}


def list_fallen(rows: list[dict[str, Any]], before: dict[tuple[str, int], float], slack: float) -> list[str]:
    """Return a sentence for each ratio that is lower than before, by more than machines and moments differ.

    Args:
        rows: Rows of `measure_graph_steps`.
        before: Least ratio of each step and size.
        slack: Share of it that counts as no worse.

    Returns:
        The sentences; none where nothing fell, or nothing was measured before.
    """
    fallen = []
    for row in rows:
        least = before.get((str(row["step"]), int(row["size"])))
        if least is not None and "ratio" in row and row["ratio"] < slack * least:
            fallen.append(
                f"{row['step']} at {row['size']} pixels is {row['ratio']:.2f} times as fast as {row['rival']}; "
                f"before it was at least {least:.2f} times"
            )
    return fallen


def generate_scene(size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Generate a fluorescence scene (size, size, 1) and its mask; beyond 1024 pixels the scene is mirrored."""
    side = min(size, _TILE)
    scene = draw_scenes(SyntheticConfig(image_size=[side, side], num_classes=CLASSES), 0, 1)[0]
    image = np.asarray(SceneImage(scene, standardise(compute_scene_moments(scene))))[..., 0]
    rest = (0, size - side)
    image = np.pad(image, (rest, rest), mode="symmetric")[..., None]
    return np.ascontiguousarray(image), np.pad(np.asarray(SceneMask(scene)), (rest, rest), mode="symmetric")


def choose_superpixels(step: str, config: PerfConfig) -> tuple[SuperpixelsConfig, SuperpixelsConfig]:
    """Return the settings of superpixels for a step, and those for its rival."""
    sizes = [config.superpixel_size] * 2
    if step == "graph":
        sizes = [config.graph_superpixel_size, config.graph_rival_superpixel_size]
    ours, rival = (
        SuperpixelsConfig("slic", size, None, config.compactness, iterations=config.iterations) for size in sizes
    )
    return ours, rival


def make_input(step: str, size: int, superpixels: SuperpixelsConfig) -> Picture:
    """Make the input of a step.

    Args:
        step: Name of the step.
        size: Height and width of the image in pixels.
        superpixels: Settings of the superpixels that the step begins with, if it does.

    Returns:
        The image, with its segments where the step needs them.
    """
    scene = Picture(*generate_scene(size))
    return replace(scene, segments=segment(scene.image, superpixels)) if STEPS[step].segmented else scene


def measure_graph_steps(step: str, size: int, config: PerfConfig) -> dict[str, Any]:
    """Measure one step at one size.

    Args:
        step: Key of `STEPS`.
        size: Side of the image in pixels.
        config: Settings.

    Returns:
        A row: median seconds; median, least and greatest ratio of the pairs of runs; nodes; bytes per pixel.
    """
    chosen, (superpixels, of_rival) = STEPS[step], choose_superpixels(step, config)
    works = [(chosen.ours, superpixels)]
    if size <= (config.graph_rival_largest if chosen.dense else config.rival_largest):
        works.append((chosen.rival, of_rival))
    for work, settings in works:
        work(make_input(step, 64, superpixels), settings)  # once before, unmeasured
    scene = make_input(step, size, superpixels)
    seconds, busy, made = alternate([partial(work, scene, settings) for work, settings in works], config.repeats)
    row: dict[str, Any] = {"step": step, "size": size, "threads": count_threads(), "repeats": config.repeats}
    row |= {"seconds": median(seconds[0]), "ns_per_pixel": median(seconds[0]) * 1e9 / size**2, "num_nodes": made[0]}
    row["cpu_ns_per_pixel"] = median(busy[0]) * 1e9 / size**2
    if len(works) > 1:
        row |= {"rival": chosen.rival_name, "rival_num_nodes": made[1], **compare_times(seconds, busy)}
    if config.memory:
        row["bytes_per_pixel"] = measure_bytes_per_pixel(step, size, config)
    return row


def alternate(
    works: Sequence[Callable[[], Result]], repeats: int
) -> tuple[list[list[float]], list[list[float]], list[Result]]:
    """Run several works in turn, forwards and backwards.

    Args:
        works: What is timed.
        repeats: Runs of each.

    Returns:
        Seconds of every run of each work, seconds of CPU time of all threads, and the last result of each.
    """
    seconds: list[list[float]] = [[] for _ in works]
    busy: list[list[float]] = [[] for _ in works]
    returned: dict[int, Result] = {}
    for repeat in range(repeats):
        for which in range(len(works))[:: 1 if repeat % 2 == 0 else -1]:
            start, start_busy = time.perf_counter(), time.process_time()
            returned[which] = works[which]()
            seconds[which].append(time.perf_counter() - start)
            busy[which].append(time.process_time() - start_busy)
    return seconds, busy, [returned[which] for which in range(len(works))]


def measure_bytes_per_pixel(step: str, size: int, config: PerfConfig) -> float | None:
    """Measure the peak of a step beyond its input in a fresh process.

    Args:
        step: Name of the step.
        size: Height and width of the image in pixels.
        config: Settings of the benchmark.

    Returns:
        Bytes per pixel; None where they are unknown.
    """
    outcome = run_isolated(_find_step_peak, (step, size, config))
    return outcome.result / size**2 if outcome.ok and outcome.result is not None else None


def _find_step_peak(argument: tuple[str, int, PerfConfig]) -> int | None:
    step, size, config = argument
    superpixels, work = choose_superpixels(step, config)[0], STEPS[step].ours
    work(make_input(step, 64, superpixels), superpixels)
    scene = make_input(step, size, superpixels)
    return find_peak(lambda: work(scene, superpixels))


def find_peak(work: Callable[[], object]) -> int | None:
    """Return the bytes that this process takes at the peak of some work beyond those before it; None if unknown."""
    probe = MemoryProbe()
    before = probe.rss()
    if not probe.reset():
        return None  # the mark would include what was done before
    work()
    peak = probe.peak()
    return None if peak is None else peak.rss_bytes - before


HEADER = (
    "step        size     made   seconds  ns/pixel  bytes/pixel | rival: seconds     made  times slower (range), in CPU"
)


def format_row(row: dict[str, Any]) -> str:
    """Format a row for the terminal; what was not measured is a dash."""
    memory = row.get("bytes_per_pixel")
    text = f"{row['step']:9} {row['size']:6} {row['num_nodes']:8} {row['seconds']:9.4f} {row['ns_per_pixel']:9.1f}  "
    text += f"{'-' if memory is None else format(memory, '.1f'):>11} | "
    if "ratio" not in row:
        return text + f"{'-':>14}"
    spread = f"({row['ratio_min']:.1f}-{row['ratio_max']:.1f})"
    text += f"{row['rival_seconds']:14.3f} {row['rival_num_nodes']:8}  {row['ratio']:6.1f} {spread}"
    text += f", {row['cpu_ratio']:.1f}"
    if "ceiling" in row:
        text += f"; majority labelling {row['ceiling']:.3f}, {row['rival']}'s {row['rival_ceiling']:.3f}"
    return text
