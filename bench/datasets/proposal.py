"""Settings that the training images suggest, each with its reason; they are printed and never applied.

How much superpixels cost: painted majority labels of SLIC superpixels lose about `COST` x side / width of Dice, where
side is the edge of a superpixel and width the mean chord of the objects, both in pixels. Over sizes of 8 to 400 pixels
and classes with chords of 8 to 193 pixels in six data sets (colonies, nuclei, axons and myelin, melt pools, retinal
vessels, glomeruli; training images), the factor lay between 0.1 and 0.36, with a median of 0.24.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.arrays.spacing import relate_spacing, spread_size
from bench.config import FolderConfig
from bench.datasets.classes import compute_class_shares, find_class
from bench.datasets.inspection import Inspected
from bench.datasets.sample import Suggestion

COST = 0.25  # Dice lost per side of a superpixel over the width of an object
ACCEPTED = 0.03  # Dice that superpixels may cost
DEAR = 0.15  # Dice above which superpixels as small as these are not worth trying
SIDES = (4.0, 20.0)  # least and largest edge of a superpixel, in pixels
RARE = 1e-3  # share of the pixels below which a class does not decide
OBJECTS_PER_CROP = 3  # widths of the largest objects that a crop spans
MULTIPLE = 32  # of crops and tiles, for five halvings in the encoder
CROPS, TILES = (128, 512), (512, 1024)  # least and largest side in pixels
EMPTY = 0.25  # contrast over the median contrast below which an image counts as nearly empty
UNEQUAL = 2.0  # ratio of contrasts, or of spreads of brightness, from which on exposures differ


def propose_settings(
    items: Sequence[Inspected], names: Sequence[str], widths: dict[int, float], spacing: Sequence[float] | None = None
) -> tuple[Suggestion, ...]:
    """Suggest settings from what inspection found in the training images.

    Args:
        items: All images; only those of the split train are looked at.
        names: Names of the classes, background first.
        widths: Mean chords of the classes in pixels, as `measure_objects` gives them.
        spacing: Length of a pixel along each axis; None: pixels are squares or cubes.

    Returns:
        Sizes of superpixels, and of crops and tiles of flat images, and the scaling of grey values.
    """
    train = [item for item in items if item.entry.split == "train"]
    found: list[Suggestion] = []
    if widths:
        found.append(propose_superpixel_size(train, names, widths, spacing))
        if len(train[0].shape) == 3:
            found += propose_crop_and_tile(train, names, widths)
    return (*found, propose_normalization(train))


def measure_objects(
    items: Sequence[Inspected], count: int, config: FolderConfig, spacing: Sequence[float] | None = None
) -> dict[int, float]:
    """Return the mean width of the objects of each class in the training images, by `measure_widths`.

    Args:
        items: All images and masks; only those of the split train are looked at.
        count: Number of classes.
        config: Settings of the data set.
        spacing: Length of a pixel along each axis; None: pixels are squares or cubes.

    Returns:
        Mean chords in pixels by class, without classes that hardly occur, and without class 0, the background, unless
        it is the thinnest, as membranes between cells are.
    """
    train = [item for item in items if item.entry.split == "train"]
    found = measure_widths(train, count, config, spacing)
    others = {index: width for index, width in found.items() if index > 0}
    return found if others and found.get(0, np.inf) < min(others.values()) else others


def measure_widths(
    items: Sequence[Inspected], count: int, config: FolderConfig, spacing: Sequence[float] | None = None
) -> dict[int, float]:
    """Return the mean chord of each class in pixels (their shortest sides), along all axes together.

    Lines along an axis of long pixels lie closer to one another in space than others, and count for less.

    Args:
        items: Images and masks.
        count: Number of classes.
        config: Settings of the data set.
        spacing: Length of a pixel along each axis; None: pixels are squares or cubes.

    Returns:
        Mean chords by class, without classes that hardly occur.
    """
    shares = compute_class_shares(items, count, config)
    pixels, runs = np.zeros(count), np.zeros(count)
    for item in items:
        for number, found in item.numbers.items():
            index = find_class(number, config)
            if index is not None and 0 <= index < count and index != config.ignore_index:
                pixels[index] += found.pixels * len(found.runs)
                runs[index] += np.sum(np.array(found.runs) / relate_spacing(spacing, len(found.runs)))
    return {index: float(pixels[index] / runs[index]) for index in range(count) if shares[index] >= RARE}


def propose_superpixel_size(
    train: Sequence[Inspected], names: Sequence[str], widths: dict[int, float], spacing: Sequence[float] | None = None
) -> Suggestion:
    """Suggest superpixels as large as the thinnest objects allow, as wide in space one way as the other.

    Args:
        train: Training images.
        names: Names of the classes.
        widths: Mean chords of the classes in pixels.
        spacing: Length of a pixel along each axis; None: pixels are squares or cubes.
    """
    index = min(widths, key=lambda index: widths[index])
    pitch = np.array(relate_spacing(spacing, len(train[0].shape) - 1))
    side = float(np.clip(ACCEPTED / COST * widths[index], *SIDES))
    size = round_to_two_digits(float(np.maximum(side / pitch, 1).prod()))  # no superpixel is thinner than a pixel
    cost = COST * float((size * pitch.prod()) ** (1 / len(pitch))) / widths[index]
    edge = " x ".join(f"{one:.0f}" for one in spread_size(size, pitch.tolist()))
    thin = (
        ": objects so thin are better left to pixels (pipeline=tiled_cnn); python -m bench superpixels tells whether a "
        "smaller superpixels.sigma keeps more of them"
    )
    advice = thin if cost > DEAR else ""
    return Suggestion(
        "superpixels.superpixel_size",
        str(size),
        f"{names[index]} is about {describe_width(widths[index], train, spacing)} across, so superpixels of {size} "
        f"pixels, about {edge}, cost about {cost:.2f} of its Dice{advice}",
    )


def describe_width(width: float, train: Sequence[Inspected], spacing: Sequence[float] | None = None) -> str:
    """Return a length in pixels, and in the unit of the files where all of them have one pixel size.

    Args:
        width: The length, in the shortest side of a pixel.
        train: Training images.
        spacing: Length of a pixel along each axis; None: pixels are squares or cubes.
    """
    axes = len(train[0].shape) - 1
    sizes = {item.pixel_size for item in train}
    [size] = sizes if len(sizes) == 1 else [None]
    pitch = relate_spacing(spacing, axes)
    plain = f"{width:.0f} {'pixels' if max(pitch) == 1 else 'times the shortest side of a pixel'}"
    if size is None or relate_spacing(size, axes) != pitch or train[0].unit is None:
        return plain
    real = f"{width * min(size):.3g} {train[0].unit}"
    return f"{plain} ({real})" if max(pitch) == 1 else f"{real} ({plain})"


def propose_crop_and_tile(
    train: Sequence[Inspected], names: Sequence[str], widths: dict[int, float]
) -> Iterator[Suggestion]:
    """Suggest crops that show an object and what is around it, and tiles of twice that, within the images.

    Args:
        train: Training images.
        names: Names of the classes.
        widths: Mean chords of the classes in pixels.
    """
    index = max(widths, key=lambda index: widths[index])
    side = int(np.median([min(item.shape[:-1]) for item in train]))
    most = max(side // MULTIPLE * MULTIPLE, MULTIPLE)
    wanted = round_up_within(OBJECTS_PER_CROP * widths[index], CROPS)
    width = f"{OBJECTS_PER_CROP} times the width of {names[index]}, {widths[index]:.0f} pixels"
    reason = f"{width}, between {CROPS[0]} and {CROPS[1]}"
    if most < wanted:
        reason += f", would be {wanted}, and the shorter side of a usual image is {side}"
    crop = min(wanted, most)
    yield Suggestion("pipeline.crop_size", str(crop), reason)
    longest = max(max(item.shape[:-1]) for item in train)
    wanted, whole = round_up_within(2 * crop, TILES), -(-longest // MULTIPLE) * MULTIPLE
    twice = f"twice the crop, between {TILES[0]} and {TILES[1]}"
    reason = twice if wanted <= whole else f"no image has a side of more than {longest} pixels"
    yield Suggestion("pipeline.tile_size", str(min(wanted, whole)), reason)


def round_up_within(length: float, bounds: tuple[int, int]) -> int:
    """Return the next multiple of `MULTIPLE`, within bounds."""
    return int(np.clip(-(-length // MULTIPLE) * MULTIPLE, *bounds))


def propose_normalization(train: Sequence[Inspected]) -> Suggestion:
    """Suggest a scaling of grey values by how much brightness and contrast differ between images."""
    means, deviations = (np.stack(values) for values in zip(*(read_levels(item) for item in train), strict=True))
    setting = "dataset.normalization"
    if len({str(item.dtype) for item in train}) > 1:
        return Suggestion(setting, "per_image", "the images hold values of several number types")
    contrast = deviations.mean(axis=1)
    if contrast.max() == 0:
        return Suggestion(setting, "centred", "no training image has any contrast: there is nothing to learn from them")
    contrast = contrast / max(float(np.median(contrast)), 1e-300)
    if contrast.min() < EMPTY:
        few = int((contrast < EMPTY).sum())
        return Suggestion(
            setting,
            "centred",
            f"{few} of {len(train)} training images have less than {EMPTY:g} of the usual contrast: z-scores of their "
            "own would blow up what may be empty",
        )
    spread = float((means.std(axis=0) / np.maximum(deviations.mean(axis=0), 1e-300)).max())
    ratio = float(contrast.max() / contrast.min())
    if ratio > UNEQUAL or spread > UNEQUAL:
        return Suggestion(
            setting,
            "per_image",
            f"contrast differs by a factor of {ratio:.1f} between training images, and their brightness by "
            f"{spread:.1f} times the contrast within one",
        )
    return Suggestion(
        setting,
        "centred",
        f"exposure is alike: contrast differs by a factor of {ratio:.1f} between training images, and their brightness "
        f"by {spread:.1f} times the contrast within one",
    )


def read_levels(item: Inspected) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel."""
    return item.moments.mean, np.sqrt(item.moments.variance)


def round_to_two_digits(value: float) -> int:
    """Round to a whole number that is easy to read."""
    digits = max(len(str(int(value))) - 2, 0)
    scale: int = 10**digits
    return round(value / scale) * scale
