"""`python -m bench export format=nnunet out=Dataset501_nuclei dataset=...`: a data set in nnU-Net's raw layout.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 18, 2021: `imagesTr`, `labelsTr`, `imagesTs`, `dataset.json`, and `splits_final.json`, which nnU-Net looks for
in its folder of preprocessed data. Training and validation images are its training images, told apart by the splits.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.arrays.rows import cut_bands, read_by_rows
from bench.arrays.scratch import reserve
from bench.config import DatasetConfig, require, require_one_of
from bench.console.progress import Progress
from bench.datasets.listing import flatten_name
from bench.datasets.registry import load
from bench.datasets.sample import Sample, Splits, Task
from bench.export.room import explain_full_disk
from bench.files import clear_stale, fill_atomically, write_atomically

FORMATS = ("nnunet",)
NAME = re.compile(r"Dataset\d{3}_\w+")
SUFFIX = ".tif"
BACKGROUND, IGNORED = "background", "ignore"  # names of labels that mean something to nnU-Net
READERS = {2: "NaturalImage2DIO", 3: "Tiff3DIO"}  # of nnU-Net, by the number of spatial axes
BAND_VALUES = 1 << 20  # of an image in memory at a time


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `python -m bench export`; those of the data set are given as for a run."""

    format: str = "nnunet"  # the layout: nnunet
    out: str = ""  # folder to be made, named as nnU-Net wants it: Dataset501_nuclei

    def __post_init__(self) -> None:
        require_one_of("format", self.format, FORMATS)
        path = Path(self.out)
        require(
            NAME.fullmatch(path.name) is not None,
            f"out must end in a name such as Dataset501_nuclei, three digits and a word, got {self.out!r}",
        )
        require(not path.exists(), f"{path} exists already: choose another out")
        require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first")


def main(settings: ExportConfig, dataset: DatasetConfig) -> int:
    """Write the data set and print where it is. Returns the exit code."""
    data, out = load(dataset), Path(settings.out)
    clear_stale(out)
    with explain_full_disk(out), fill_atomically(out) as temporary, Progress(out.name) as bar:
        write_dataset(data, temporary, bar.show)
    print(f"{out}: {len(data.train)} training, {len(data.val)} validation and {len(data.test)} test images")
    print("move it to $nnUNet_raw, and splits_final.json after planning to its folder in $nnUNet_preprocessed")
    return 0


def write_dataset(data: Splits, folder: Path, progress: Any, band_values: int = BAND_VALUES) -> None:
    """Write a data set in nnU-Net's raw layout; in memory is a band of an image at a time.

    Args:
        data: The data set. Its grey values are written as the arms see them, scaled, as float32.
        folder: Folder to be made.
        progress: Called with the share that is done, in [0, 1].
        band_values: About how many values of an image are in memory at a time.

    Raises:
        InputError: Names of classes or images mean something else to nnU-Net, or fall together.
    """
    cases = name_cases([*data.train, *data.val, *data.test])
    description = describe_dataset(data)
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / name).mkdir(parents=True)
    places = [(sample, "Tr") for sample in (*data.train, *data.val)] + [(sample, "Ts") for sample in data.test]
    for done, (sample, part) in enumerate(places, start=1):
        case = cases[sample.name]
        write_image(sample, folder / f"images{part}", case, band_values)
        write_labels(sample, data.task, folder / f"labels{part}" / f"{case}{SUFFIX}", band_values)
        if data.task.spatial_axes == 3:
            for name in (f"images{part}", f"labels{part}"):
                write_spacing(data.task, folder / name / f"{case}.json")
        progress(done / len(places))
    splits = [{"train": [cases[s.name] for s in data.train], "val": [cases[s.name] for s in data.val]}]
    write_atomically(folder / "dataset.json", json.dumps(description, indent=1) + "\n")
    write_atomically(folder / "splits_final.json", json.dumps(splits, indent=1) + "\n")


def describe_dataset(data: Splits) -> dict[str, Any]:
    """Return what `dataset.json` holds. Raises InputError where a class has a name that nnU-Net keeps for itself."""
    task = data.task
    for name in (BACKGROUND, IGNORED):
        require(
            name not in task.class_names[1:],
            f"the class {name!r} cannot be exported, because nnU-Net keeps that name: give another in "
            "dataset.class_names",
        )
    labels = {BACKGROUND: 0} | {name: label for label, name in enumerate(task.class_names) if label}
    require(len(labels) == task.num_classes, f"classes must have different names, got {', '.join(task.class_names)}")
    if task.ignore_index is not None:
        labels[IGNORED] = task.num_classes
    return {
        "name": data.name,
        "description": f"label 0 is {task.class_names[0]}",
        "channel_names": {str(channel): "noNorm" for channel in range(task.in_channels)},
        "labels": labels,
        "numTraining": len(data.train) + len(data.val),
        "file_ending": SUFFIX,
        "overwrite_image_reader_writer": READERS[task.spatial_axes],
    }


def name_cases(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the name of the case of each sample, which a file can have. Raises InputError where two fall together."""
    cases: dict[str, str] = {}
    for sample in samples:
        case = flatten_name(sample.name)
        require(
            case not in cases.values(),
            f"the image {sample.name} would be exported as {case}, as another one is: rename it",
        )
        cases[sample.name] = case
    return cases


def write_image(sample: Sample, folder: Path, case: str, band_values: int = BAND_VALUES) -> None:
    """Write each channel of an image as a TIFF file of float32 of its own, `case_0000.tif` and so on.

    Args:
        sample: The sample.
        folder: Folder of the files.
        case: Name of the case.
        band_values: About how many values are in memory at a time.
    """
    *shape, channels = sample.image.shape
    paths = [folder / f"{case}_{channel:04d}{SUFFIX}" for channel in range(channels)]
    files = [_create_tiff(path, shape, np.dtype(np.float32)) for path in paths]
    image = read_by_rows(sample.image)
    for start, stop in cut_bands(sample.image.shape, band_values):
        band = np.asarray(image[start:stop])
        for channel, file in enumerate(files):
            file[start:stop] = band[..., channel]
    for file in files:
        file.flush()


def write_labels(sample: Sample, task: Task, path: Path, band_values: int = BAND_VALUES) -> None:
    """Write a mask as a TIFF file of whole numbers; what is ignored has the number after the last class.

    Args:
        sample: The sample.
        task: Classes, and which number is ignored.
        path: The file.
        band_values: About how many values are in memory at a time.
    """
    file = _create_tiff(path, sample.mask.shape, np.min_scalar_type(task.num_classes))
    mask = read_by_rows(sample.mask)
    for start, stop in cut_bands(sample.mask.shape, band_values):
        band = np.asarray(mask[start:stop])
        file[start:stop] = (
            band if task.ignore_index is None else np.where(band == task.ignore_index, task.num_classes, band)
        )
    file.flush()


def write_spacing(task: Task, path: Path) -> None:
    """Write the length of a voxel along planes, rows and columns where nnU-Net's reader of TIFF looks for it."""
    write_atomically(path, json.dumps({"spacing": list(task.spacing or (1.0, 1.0, 1.0))}) + "\n")


def _create_tiff(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
    """An uncompressed TIFF file that is written by assigning to its parts."""
    import tifffile

    array = tifffile.memmap(path, shape=tuple(shape), dtype=dtype, photometric="minisblack")
    with path.open("r+b") as file:
        reserve(file.fileno(), path.stat().st_size)
    return array
