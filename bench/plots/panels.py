"""Images beside their true mask, each arm's mask and what it got wrong, from the crops that the runs kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bench.arms import ceiling_arms
from bench.plots.colours import CLASSES, choose_colours, find_outline
from bench.plots.style import WRONG, Annotated, NoDataError
from bench.tables.chosen import choose_shown
from bench.tables.comparison import rank_arm
from bench.tables.folders import find_run_file
from bench.tables.names import name_run

Rgb = NDArray[np.float64]
MOST = 2  # images per figure
LETTERS = 140  # of titles side by side over the width of the figure
LETTER = 0.075  # inches of a label along the side of a picture that a letter takes, wide ones included


@dataclass(frozen=True)
class Crop:
    """What one arm made of one crop: `image` (H, W) or (H, W, 3) uint8, `truth` and `predicted` (H, W) classes.

    That of a volume is its middle plane, and has `cuts` across the planes: along its rows (D, W) and its columns
    (D, H). `depth` is how many times a plane is as thick as a pixel is wide.
    """

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.integer[Any]]
    predicted: NDArray[np.integer[Any]]
    cuts: tuple["Crop", ...] = ()
    depth: float = 1.0


@dataclass(frozen=True)
class ArmCrops:
    """The crops of the run that stands for an arm, and what the arm is called in a heading."""

    title: str
    is_ceiling: bool
    class_names: tuple[str, ...]
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class KeptCrops:
    """The crops of each arm that has some, and for each file that is damaged a clause that names it."""

    arms: tuple[ArmCrops, ...]
    damaged: tuple[str, ...] = ()


def load_crops(path: Path) -> tuple[tuple[str, ...], tuple[Crop, ...]]:
    """Read class names and crops of a `panels.npz`; nothing is unpickled.

    Raises:
        NoDataError: It is missing or damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            count = sum(key.startswith("name_") for key in file.files)
            names = tuple(str(name) for name in file["class_names"])
            crops = tuple(_read_crop(file, i) for i in range(count))
    except Exception as error:  # a damaged archive makes its readers raise almost anything
        raise NoDataError(f"{path.name} of {path.parent.name} cannot be read ({error})") from error
    return names, crops


def _read_crop(file: Any, number: int) -> Crop:
    """Read one crop with its cuts, which a volume has."""
    parts, name = ("image", "truth", "predicted"), str(file[f"name_{number}"])
    kinds = [kind for kind in ("rows_", "columns_") if f"{kind}image_{number}" in file.files]
    cuts = tuple(Crop(name, *(file[f"{kind}{part}_{number}"] for part in parts)) for kind in kinds)
    depth = float(file[f"depth_{number}"]) if cuts else 1.0
    image, truth, predicted = (file[f"{part}_{number}"] for part in parts)
    return Crop(name, image, truth, predicted, cuts, depth)


def load_arm_crops(folders: Sequence[Path], runs: pd.DataFrame) -> KeptCrops:
    """Read crops of each arm's chosen configuration, of arms that kept the same crops as the first.

    The run with the lowest seed stands for its arm; where its file is missing or damaged, the next one does.

    Args:
        folders: Results folders in which a run's directory may lie.
        runs: Rows of `list_configurations` of one data set and machine.

    Returns:
        The crops of at least one arm, and which files were passed over as they are damaged.

    Raises:
        NoDataError: No run kept crops that can be read.
    """
    arms: list[ArmCrops] = []
    damaged: list[str] = []
    for pipeline, group in sorted(choose_shown(runs).items(), key=lambda item: rank_arm(item[0])):
        found = _load_first(folders, group.sort_values("seed"), damaged)
        if found is None:
            continue
        run, classes, crops = found
        size = run["superpixel_size"]
        title = name_run(run.to_dict()) + ("" if math.isnan(size) else f"\n{size:g} px")
        if crops and (not arms or _have_same_crops(arms[0].crops, crops)):
            arms.append(ArmCrops(title, pipeline in ceiling_arms(), classes, crops))
    if not arms:
        raise NoDataError(damaged[0] if damaged else "no finished run kept crops of its test images (panels.npz)")
    return KeptCrops(tuple(arms), tuple(damaged))


def _load_first(
    folders: Sequence[Path], runs: pd.DataFrame, damaged: list[str]
) -> tuple["pd.Series[Any]", tuple[str, ...], tuple[Crop, ...]] | None:
    """Return the first run whose file can be read, its class names and its crops; `damaged` receives the sentences."""
    for _, run in runs.iterrows():
        path = find_run_file(folders, str(run["run_id"]), "panels.npz")
        try:
            if path.exists():
                return run, *load_crops(path)
        except NoDataError as error:
            damaged.append(str(error))
    return None


def _have_same_crops(one: tuple[Crop, ...], other: tuple[Crop, ...]) -> bool:
    """Whether two runs kept the same crops of the same images."""
    return len(one) == len(other) and all(
        a.name == b.name and np.array_equal(a.truth, b.truth) for a, b in zip(one, other, strict=True)
    )


def draw_kept(folders: Sequence[Path], runs: pd.DataFrame) -> Annotated:
    """Draw the crops that runs kept; the note names the files that are damaged. Arguments as `load_arm_crops`."""
    kept = load_arm_crops(folders, runs)
    return Annotated(plot_panels(kept.arms), f"Left out: {'; '.join(kept.damaged)}." if kept.damaged else "")


def plot_panels(arms: Sequence[ArmCrops]) -> Figure:
    """Draw two rows per image: masks over it (truth first), then the image itself and each arm's wrong pixels."""
    arms = [replace(arm, crops=tuple(map(lay_out_cuts, arm.crops))) for arm in arms]
    crops = arms[0].crops[:MOST]
    columns = 1 + len(arms)
    shape = crops[0].truth.shape
    width = 10.0
    side = 0.93 * width / columns * shape[0] / shape[1]  # of a picture, in inches
    height = 2 * len(crops) * (side + 0.06) + 0.8
    figure = Figure(
        figsize=(width, height), dpi=100, layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02, hspace=0, wspace=0)
    )
    names, colours = arms[0].class_names, choose_colours([crop.image for crop in crops])
    grid: Any = figure.subplots(2 * len(crops), columns, squeeze=False)
    for index, crop in enumerate(crops):
        top, bottom = grid[2 * index], grid[2 * index + 1]
        truth = draw_overlay(crop.image, crop.truth, len(names), colours)
        _show(top[0], truth, "truth" if index == 0 else "", fit_name(crop.name, int(side / LETTER)))
        _show(bottom[0], convert_to_rgb(crop.image), "", "image")
        for column, arm in enumerate(arms, start=1):
            predicted = arm.crops[index].predicted
            title = _wrap_title(arm.title, int(LETTERS / columns)) if index == 0 else ""
            _show(top[column], draw_overlay(crop.image, predicted, len(names), colours), title)
            wrong = draw_errors(crop.image, crop.truth, predicted, len(names))
            _show(bottom[column], wrong, "", "wrong pixels" if column == 1 else "")
    _legend(figure, names, colours)
    return figure


def lay_out_cuts(crop: Crop) -> Crop:
    """Return the crop of a volume with its cuts beside it: that along the columns at its right, along the rows below.

    Planes are as thick as they are in space, at least a pixel. What lies between and in the corner is white, and of no
    class. The crop of a flat image comes back as it is.
    """
    if not crop.cuts:
        return crop
    thick = max(round(crop.depth), 1)
    below, beside = ([np.repeat(part, thick, axis=0) for part in (c.image, c.truth, c.predicted)] for c in crop.cuts)
    beside = [part.swapaxes(0, 1) for part in beside]
    blanks: tuple[Any, ...] = (255, -1, -1)  # white; a number of no class
    own = (crop.image, crop.truth, crop.predicted)
    joined = [_join(*four) for four in zip(own, beside, below, blanks, strict=True)]
    return replace(crop, image=joined[0], truth=joined[1], predicted=joined[2], cuts=())


def _join(middle: NDArray[Any], beside: NDArray[Any], below: NDArray[Any], blank: int, gap: int = 4) -> NDArray[Any]:
    """Put three pictures into one, `gap` pixels apart, the rest `blank`."""
    height, width = middle.shape[:2]
    whole = (height + gap + below.shape[0], width + gap + beside.shape[1], *middle.shape[2:])
    out = np.full(whole, blank, np.uint8 if blank >= 0 else np.int64)
    out[:height, :width], out[:height, width + gap :], out[height + gap :, :width] = middle, beside, below
    return out


def _wrap_title(title: str, letters: int) -> str:
    """Break the lines of a title between words, so that each has at most so many letters."""
    return "\n".join(part for line in title.split("\n") for part in wrap(line, max(letters, 8), break_long_words=False))


def _show(axes: Axes, picture: Rgb, title: str, side: str = "") -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9)
    axes.set_ylabel(side, fontsize=8)


def fit_name(name: str, letters: int) -> str:
    """Leave out the middle of a name that has more letters than fit beside its picture, or than anybody reads."""
    most = max(min(letters, 22), 6)
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[len(name) - (most - most // 2) :]}"


def _legend(figure: Figure, class_names: tuple[str, ...], colours: Sequence[str]) -> None:
    """The classes from 1 on, whatever their names begin with, and the wrong pixels."""
    names = [*class_names[1:], "predicted class differs from the truth"]
    faces = [*(colours[number % len(colours)] for number in range(len(class_names) - 1)), WRONG]
    handles = [Patch(color=face) for face in faces]
    blank = ["x" * len(name) for name in names]  # a label that begins with _ would be left out
    legend = figure.legend(handles, blank, loc="outside lower center", ncols=min(5, len(handles)))
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def convert_to_rgb(image: NDArray[np.uint8]) -> Rgb:
    """Return an image (H, W) or (H, W, 3) uint8 as (H, W, 3) in [0, 1]."""
    scaled = np.asarray(image, np.float64) / 255
    return np.repeat(scaled[..., None], 3, axis=2) if scaled.ndim == 2 else scaled


def draw_overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.integer[Any]],
    classes: int,
    colours: Sequence[str] = CLASSES,
    strength: float = 0.35,
) -> Rgb:
    """Tint an image by its classes and outline them.

    Args:
        image: Image (H, W) or (H, W, 3).
        mask: Classes (H, W); class 0 and ignored pixels (no class at all) stay as they are.
        classes: Number of classes.
        colours: Of the classes from 1 on, in turn.
        strength: Opacity of the tint, in [0, 1]; outlines have the full colour.

    Returns:
        The picture (H, W, 3) in [0, 1].
    """
    picture, edge = convert_to_rgb(image), find_outline(mask)
    for label in range(1, classes):
        color = np.array(to_rgb(colours[(label - 1) % len(colours)]))
        inside = mask == label
        picture[inside] = (1 - strength) * picture[inside] + strength * color
        picture[inside & edge] = color
    return picture


def draw_errors(
    image: NDArray[np.uint8], truth: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> Rgb:
    """Pale an image in grey and colour every pixel whose predicted class is not the true one; ignored pixels are right.

    Args:
        image: Image (H, W) or (H, W, 3).
        truth: True classes (H, W).
        predicted: Predicted classes (H, W).
        classes: Number of classes; a true value beyond them is ignored.

    Returns:
        The picture (H, W, 3) in [0, 1].
    """
    grey = convert_to_rgb(image).mean(axis=2, keepdims=True)
    picture = np.repeat(0.5 + 0.5 * grey, 3, axis=2)
    picture[(truth != predicted) & (truth >= 0) & (truth < classes)] = to_rgb(WRONG)
    return picture
