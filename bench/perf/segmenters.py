"""`python -m bench segmenters`: superpixels of other libraries beside this project's SLIC, at as many superpixels.

Time, and what the majority labelling of them could reach, on training images. Libraries that are not installed
(`bench.perf.programs`) are left out, with a line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig, SuperpixelsConfig, require
from bench.datasets.registry import load
from bench.datasets.sample import Task
from bench.measure.machine import machine_facts
from bench.perf.graph_steps import alternate, compare_times
from bench.perf.programs import PROGRAMS, Image, Segment, Segments, count_segments, fit_size, number_densely
from bench.scan.ceilings import TrainingCrop, cut_crops
from bench.scores.ceilings import count_best
from bench.scores.metrics import macro_dice
from bench.superpixels.registry import segment

OURS, USUAL = "slic", SuperpixelsConfig()
Segmenter = Callable[[Image, float], Segments]  # (image (*spatial, C), pixels of a superpixel) -> segments


def list_segmenters(axes: int) -> dict[str, Segmenter]:
    """List ours, and those of installed libraries that can segment images of so many spatial axes; ours come first."""
    own = {OURS: replace(USUAL), f"{OURS}, 4 iterations": replace(USUAL, iterations=4)}
    found = {name: _fix(segment, config) for name, config in own.items()}
    others = [one for one in PROGRAMS.values() if axes in one.axes and one.is_installed]
    return found | {one.name: _fix(one.segment, USUAL) for one in others}


def _fix(by: Segment, config: SuperpixelsConfig) -> Segmenter:
    """Return a segmentation with all settings but the size fixed."""
    return lambda image, size: by(image, replace(config, superpixel_size=size))


@dataclass(frozen=True)
class SegmentersConfig:
    """Settings of `python -m bench segmenters`; those of the data set are given as for a run."""

    sizes: list[float] = field(default_factory=lambda: [30, 100])  # pixels of a superpixel (areas) of our SLIC
    images: int = 3  # training images that are looked at, at most, evenly spread
    pixels: int = 1_000_000  # of the middle of each that are looked at, at most
    repeats: int = 3  # runs of each, in turn forwards and backwards
    out: str = "results/segmenters"  # folder for the table

    def __post_init__(self) -> None:
        require(len(self.sizes) > 0 and min(self.sizes) >= 4, f"sizes must be at least 4 pixels, got {self.sizes}")
        require(self.images >= 1, f"images must be at least 1, got {self.images}")
        require(self.pixels >= 1024, f"pixels must be at least 1024, got {self.pixels}")
        require(self.repeats >= 1, f"repeats must be at least 1, got {self.repeats}")


def main(settings: SegmentersConfig, dataset: DatasetConfig) -> int:
    """Measure, print the table and write it. Returns the exit code."""
    from bench.tables.write import write_rows

    data = load(dataset)
    crops = cut_crops(data.train, settings.images, settings.pixels)
    axes = data.task.spatial_axes
    chosen, known = list_segmenters(axes), [one for one in PROGRAMS.values() if axes in one.axes]
    missing = sorted({one.package for one in known if not one.is_installed})
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    processor = str(machine_facts().get("cpu", ""))
    print(f"superpixels of {len(crops)} training images of {data.name}, {processor}")
    print(f"not installed and left out: {', '.join(missing)}\n{HEADER}" if missing else HEADER)
    rows: list[dict[str, Any]] = []
    for size in settings.sizes:
        sizes = fit_sizes(chosen, crops[0].image, size)
        for row in compare_segmenters(chosen, sizes, crops, data.task, settings.repeats):
            rows.append({"dataset": data.name, "processor": processor, "size": size, **row})
            print(format_segmenter(rows[-1]), flush=True)
        write_rows(folder / "segmenters.csv", rows)
    print(f"written to {folder / 'segmenters.csv'}")
    return 0


def fit_sizes(chosen: Mapping[str, Segmenter], image: Image, size: float) -> dict[str, float]:
    """Find the size at which each segmenter gives about as many superpixels of an image as ours does at `size`.

    Args:
        chosen: Segmenters by name, ours (`OURS`) among them.
        image: (*spatial, C).
        size: Pixels of a superpixel that ours is asked for; the search for the others starts there.

    Returns:
        Pixels of a superpixel that each is to be asked for, by name.
    """
    wanted = count_segments(chosen[OURS](image, size))
    return {name: fit_size(one, image, wanted, size) for name, one in chosen.items()}


def compare_segmenters(
    chosen: Mapping[str, Segmenter], sizes: Mapping[str, float], crops: Sequence[TrainingCrop], task: Task, repeats: int
) -> list[dict[str, Any]]:
    """Time segmenters in turn, and score the majority labelling of their superpixels.

    Args:
        chosen: Segmenters by name; the first is that with which the others are compared.
        sizes: Size that each is asked for.
        crops: Parts of training images.
        task: Classes, and the number that is none.
        repeats: Runs of each.

    Returns:
        A row for each: superpixels per megapixel, ceiling of the macro Dice, seconds and processor seconds per
        megapixel (medians), and how many times as long as the first one it took (median, least, greatest).
    """
    works = [partial(_segment_all, chosen[name], sizes[name], crops) for name in chosen]
    seconds, busy, found = alternate(works, repeats)
    megapixels = sum(crop.mask.size for crop in crops) / 1e6
    rows = []
    for place, name in enumerate(chosen):
        dense = [number_densely(ids) for ids in found[place]]
        compared = compare_times([seconds[0], seconds[place]], [busy[0], busy[place]])
        rows.append(
            {
                "segmenter": name,
                "nodes_per_megapixel": sum(int(ids.max()) + 1 for ids in dense) / megapixels,
                "ceiling": _score_ceiling(crops, dense, task),
                "seconds_per_megapixel": median(seconds[place]) / megapixels,
                "cpu_seconds_per_megapixel": median(busy[place]) / megapixels,
                **{column: compared[column] for column in ("ratio", "ratio_min", "ratio_max")},
            }
        )
    return rows


def _segment_all(run: Segmenter, size: float, crops: Sequence[TrainingCrop]) -> list[Segments]:
    return [run(crop.image, size) for crop in crops]


def _score_ceiling(crops: Sequence[TrainingCrop], segments: Sequence[NDArray[np.int32]], task: Task) -> float:
    """Return the macro Dice of the majority labelling of segments, pooled over all crops."""
    return macro_dice(
        np.sum([count_best(crop.mask, [ids], task) for crop, ids in zip(crops, segments, strict=True)], axis=0)
    )


HEADER = "segmenter               size nodes/Mpx  ceiling   s/Mpx  CPU s/Mpx | times as long as ours (range)"


def format_segmenter(row: dict[str, Any]) -> str:
    """Format a row for the terminal."""
    text = f"{row['segmenter']:22s} {row['size']:5g} {row['nodes_per_megapixel']:9.0f} {row['ceiling']:8.4f}"
    text += f" {row['seconds_per_megapixel']:7.3f} {row['cpu_seconds_per_megapixel']:10.3f} | "
    return f"{text}{row['ratio']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
