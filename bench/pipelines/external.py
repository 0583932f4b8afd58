"""Masks that another program made (nnU-Net, ilastik, cellpose ...), scored as those of every other arm. No learning."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Source, Writable
from bench.arrays.rows import cut_bands
from bench.config import Config, ExternalConfig, InputError, require
from bench.datasets.listing import flatten_name, index_by_name, list_images
from bench.datasets.masks import StoredMask, open_mask
from bench.datasets.sample import Sample, Splits, Task
from bench.learning.fitlog import FitLog
from bench.pipelines.stated import read_costs

BAND_VALUES = 1 << 22  # of a mask, mapped at once
SHOWN = 3  # images that a sentence names
FEW = 8  # different numbers up to which a sentence lists them


@dataclass(frozen=True)
class NamedImage:
    """Name and shape (*spatial) of an image, whose mask lies in a file of that name; its pixels are not read."""

    name: str
    shape: tuple[int, ...]
    segments: None = None
    facts: dict[str, float] = field(default_factory=dict)


class External:
    """A pipeline (`bench.pipelines.protocol`) whose predictions are files, one for each validation and test image."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, ExternalConfig)
        self.settings, self.task = config.pipeline, task

    @cached_property
    def files(self) -> dict[str, Path]:
        """The masks by name; the folder is listed once."""
        return list_masks(self.settings)

    def prepare(self, sample: Sample) -> NamedImage:
        """Take name and shape."""
        return NamedImage(sample.name, tuple(sample.mask.shape))

    def fit(self, train_items: Sequence[NamedImage], val_items: Sequence[NamedImage]) -> FitLog:
        """Learn nothing; the log has the costs that the user states, none where there are none."""
        del train_items, val_items
        costs = self.settings.costs
        stated = () if costs is None else read_costs(Path(costs).expanduser())
        source = "is not known" if costs is None else f"is as {Path(costs).name} states it, not measured here"
        flag = f"elsewhere: {self.settings.label} made these masks, and what it cost {source}"
        return FitLog(flags=(flag,), stated=stated)

    def predict(self, item: NamedImage) -> NDArray[np.integer]:
        """Return the classes (*spatial) of the mask of an image."""
        path = find_masks([item.name], self.files, self.settings)[item.name]
        return read_classes(path, item, self.task, self.settings)

    def save(self, path: Path) -> None:
        """Write nothing: this arm has no weights."""

    def load(self, path: Path) -> None:
        """Read nothing: this arm has no weights."""

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Refuse: the other program has made no mask of a new image.

        Args:
            image: (*spatial, C), not read.
            out: Not written.
            scratch: Not used.
            progress: Not called.

        Raises:
            InputError: Always.
        """
        del image, out, scratch, progress
        raise InputError(
            "pipeline external has no mask of a new image: segment it with the program that made the others"
        )


def hash_masks(settings: ExternalConfig, data: Splits) -> str:
    """Read and check the masks of all validation and test images, and the file of costs.

    Args:
        settings: Settings of the arm.
        data: The data set. Training images need no mask.

    Returns:
        The first 12 hexadecimal digits of a hash of the classes in the masks.

    Raises:
        InputError: A mask is missing, has another shape than its image or holds what is no class; the costs are bad.
    """
    if settings.costs is not None:
        read_costs(Path(settings.costs).expanduser())
    samples = [*data.val, *data.test]
    paths = find_masks([sample.name for sample in samples], list_masks(settings), settings)
    digest = hashlib.sha256()
    for sample in samples:
        image = NamedImage(sample.name, tuple(sample.mask.shape))
        digest.update(sample.name.encode() + b"\0")
        digest.update(np.ascontiguousarray(read_classes(paths[sample.name], image, data.task, settings)).data)
    return digest.hexdigest()[:12]


# ------------------------------------------------------------------------------------------------ which file is whose


def list_masks(settings: ExternalConfig) -> dict[str, Path]:
    """Return the files of the folder of masks by the part of their names that `*` stands for. Raises `InputError`."""
    require(settings.masks != "", "pipeline.masks is not set: give the folder of the masks that the other program made")
    folder = Path(settings.masks).expanduser()
    require(folder.is_dir(), f"pipeline.masks = {folder} is not a folder: give that of the other program's masks")
    return index_by_name(list_images(folder), settings.mask_name)


def find_masks(names: Sequence[str], files: Mapping[str, Path], settings: ExternalConfig) -> dict[str, Path]:
    """Find the mask of each image: of the image's own name, or else of the name that an export gives it.

    Args:
        names: Names of images, which may have `/` between folders.
        files: Masks by name, as `list_masks` returns them.
        settings: Folder of the masks and pattern of their names, for messages.

    Returns:
        The files by name of the image.

    Raises:
        InputError: An image has no mask, or two images would have the same.
    """
    keys = {name: name if name in files else flatten_name(name) for name in names}
    missing = [name for name, key in keys.items() if key not in files]
    if missing:
        raise InputError(_explain_missing(missing, keys[missing[0]], settings))
    owners: dict[str, str] = {}
    for name, key in keys.items():
        require(
            owners.setdefault(key, name) == name,
            f"{files[key]} would be the mask of {owners[key]} and of {name}: name the masks as the images",
        )
    return {name: files[key] for name, key in keys.items()}


def _explain_missing(missing: Sequence[str], key: str, settings: ExternalConfig) -> str:
    """Return the sentence that names the first images without a mask, and what would give the first one its mask."""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    last = key.rpartition("/")[2]
    wanted = settings.mask_name.replace("*", last)
    guess = _propose_pattern(last, Path(settings.masks).expanduser())
    advice = guess or f"a file such as {wanted}.png or {wanted}.tif is looked for"
    shown = ", ".join(missing[:SHOWN])
    return f"{settings.masks} holds no mask of {shown}{more}: every validation and test image needs one; {advice}"


def _propose_pattern(name: str, folder: Path) -> str:
    """Return the setting under which some file is the mask of an image, in words; empty where there is none."""
    found = [key.rpartition("/")[2] for key in list_images(folder).files]
    patterns = [other.replace(name, "*", 1) for other in found if name in other and other != name]
    return f"give 'pipeline.mask_name={patterns[0]}' if that is what they are called" if patterns else ""


# -------------------------------------------------------------------------------------------------- numbers to classes


def read_classes(path: Path, image: NamedImage, task: Task, settings: ExternalConfig) -> NDArray[np.integer]:
    """Read a mask and map its numbers to classes, band by band.

    Args:
        path: The file, or the folder of a Zarr store.
        image: Whose mask it is.
        task: The classes.
        settings: `mask_values` says which class a number is; the numbers are the classes where it is null.

    Returns:
        Class indices (*spatial).

    Raises:
        InputError: The file cannot be read or is in colour, has another shape, or holds a number that is no class.
    """
    mask = open_mask(path)
    require(
        mask.shape == image.shape,
        f"{path} has the shape {mask.shape} and the image {image.name} {image.shape}: both must have the same",
    )
    out = np.empty(image.shape, task.mask_dtype)
    for start, stop in cut_bands(image.shape, BAND_VALUES):
        out[start:stop] = map_classes(_read_band(mask, start, stop), path, task, settings)
    return out


def _read_band(mask: StoredMask, start: int, stop: int) -> NDArray[np.integer]:
    try:
        return np.asarray(mask[start:stop])
    except InputError as error:
        if mask.channel_axis is None:
            raise
        raise InputError(f"{mask.path} is in colour: save the number of the class, one for each pixel") from error


def map_classes(numbers: NDArray[np.integer], path: Path, task: Task, settings: ExternalConfig) -> NDArray[np.integer]:
    """Map the numbers of a mask to classes.

    Args:
        numbers: Any part of a mask.
        path: Its file, for messages.
        task: The classes.
        settings: `mask_values` says which class a number is.

    Returns:
        Classes from 0 to K - 1, of the same shape.

    Raises:
        InputError: A number is mapped to nothing, or to what is no class.
    """
    found, places = np.unique(numbers, return_inverse=True)
    mapping = settings.mask_values
    if mapping == "foreground":
        classes = [int(number > 0) if number >= 0 else None for number in found]
    elif mapping is None:
        classes = [int(number) for number in found]
    else:
        classes = [mapping.get(int(number)) for number in found]
    wrong = [
        int(n) for n, label in zip(found, classes, strict=True) if label is None or not 0 <= label < task.num_classes
    ]
    if wrong:
        raise InputError(_explain_numbers(path, wrong, [int(number) for number in found], task, mapping))
    return np.array(classes, task.mask_dtype)[places].reshape(numbers.shape)


def _explain_numbers(path: Path, wrong: list[int], found: list[int], task: Task, mapping: object) -> str:
    """Return the sentence on numbers of a mask that are no classes, with the setting that would make them classes."""
    shown = ", ".join(map(str, wrong[:SHOWN])) + (", ..." if len(wrong) > SHOWN else "")
    classes = f"the classes are 0 to {task.num_classes - 1} ({', '.join(task.class_names)})"
    if mapping is not None:
        return f"{path} holds {shown}, which pipeline.mask_values={mapping} makes no class: {classes}"
    advice = "give pipeline.mask_values=foreground if every number above 0 is class 1"
    if task.ignore_index is not None and wrong == [task.num_classes]:  # as the nnU-Net export numbers ignored pixels
        every = ",".join(f"{label}:{label}" for label in range(task.num_classes))
        advice = (
            f"if {task.num_classes} marks pixels that do not count, as in what `export` wrote, any class will do "
            f"for it, as in 'pipeline.mask_values={{{every},{task.num_classes}:0}}'"
        )
    elif task.num_classes > 2:
        advice = "say which number is which class, as in 'pipeline.mask_values={0:0,7:1}'"
    if len(found) <= min(FEW, task.num_classes):
        pairs = ",".join(f"{number}:{label}" for label, number in enumerate(found))
        advice = f"say which number is which class, as in 'pipeline.mask_values={{{pairs}}}'"
    return f"{path} holds {shown}, and {classes}: {advice}"
