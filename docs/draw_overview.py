"""Draw docs/overview.png, the two ways from an image to a mask, from a real image: `python -m docs.draw_overview`.

The masks are the annotation: in the upper row each superpixel has its majority class, in the lower row each pixel its
own. Nothing is trained.
"""

import io
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import center_of_mass
from skimage.segmentation import find_boundaries

from bench.config import SuperpixelsConfig
from bench.superpixels.adjacency import find_adjacency
from bench.superpixels.labels import majority_labels, paint
from bench.superpixels.registry import segment

HERE = Path(__file__).parent
NUCLEI = HERE.parent / "bench" / "datasets" / "embedded" / "nuclei"
NAME, CORNER, SIDE, TILE = "f360_7c015791", (120, 60), 144, 48
GNN, CNN, BACKGROUND, NUCLEUS = "#D55E00", "#0072B2", "#F1F1F1", "#5B4A8A"
WIDTH, HEIGHT = 9.6, 4.6  # inches
PANEL = 1.62  # side of a panel, inches
COLUMNS = (0.1, 2.65, 5.2, 7.75)  # left edges, inches
ROWS = (2.62, 0.2)  # lower edges, inches


def read(folder: str) -> NDArray[np.integer]:
    """The part of the image, or of its mask, that is drawn."""
    whole = np.asarray(Image.open(NUCLEI / folder / f"{NAME}.png"))
    return whole[CORNER[0] : CORNER[0] + SIDE, CORNER[1] : CORNER[1] + SIDE]


def add_panel(figure: Figure, left: float, bottom: float, title: str) -> Axes:
    """A square panel without ticks; `left` and `bottom` in inches."""
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, PANEL / WIDTH, PANEL / HEIGHT))
    axes.set_title(title, fontsize=11.5, pad=4)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
    for spine in axes.spines.values():
        spine.set_color("#888888")
    return axes


def add_arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """An arrow between two places, in inches."""
    places = [(x / WIDTH, y / HEIGHT) for x, y in (start, end)]
    figure.add_artist(FancyArrowPatch(*places, arrowstyle="-|>", mutation_scale=16, linewidth=1.8, color=colour))


def show_image(axes: Axes, image: NDArray[np.integer]) -> None:
    """The image, brightened so that print and screen show it."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=float(np.percentile(image, 99)))


def show_mask(axes: Axes, mask: NDArray[np.integer]) -> None:
    """A mask of two classes."""
    axes.imshow(mask, cmap=matplotlib.colors.ListedColormap([BACKGROUND, NUCLEUS]), vmin=0, vmax=1)


def show_graph(axes: Axes, image: NDArray[np.integer], segments: NDArray[np.int32]) -> None:
    """A node at the middle of each superpixel, in its mean intensity; a line between those that touch."""
    nodes = np.arange(segments.max() + 1)
    places = np.array(center_of_mass(np.ones_like(segments), segments, nodes))[:, ::-1]
    means = np.bincount(segments.ravel(), image.ravel()) / np.bincount(segments.ravel())
    pairs, _, _ = find_adjacency(segments, image[..., None].astype(np.float32))
    axes.add_collection(LineCollection(places[pairs], colors="#9A9A9A", linewidths=0.7))
    axes.scatter(*places.T, c=means, cmap="gray", s=17, edgecolors=GNN, linewidths=0.7, zorder=2)


def show_tiles(axes: Axes, colour: str) -> None:
    """The grid of tiles, and around one of them the margin that the network sees besides."""
    for cut in range(TILE, SIDE, TILE):
        axes.axhline(cut - 0.5, color=colour, linewidth=1.4)
        axes.axvline(cut - 0.5, color=colour, linewidth=1.4)
    margin = TILE // 4
    seen = Rectangle((TILE - margin, TILE - margin), TILE + 2 * margin, TILE + 2 * margin)
    seen.set(fill=False, edgecolor="white", linestyle="--", linewidth=1.3)
    axes.add_patch(seen)


def show_mask_tiles(axes: Axes, mask: NDArray[np.integer]) -> None:
    """The mask of each tile, the tiles apart."""
    show_mask(axes, mask)
    for cut in range(TILE, SIDE, TILE):
        axes.axhline(cut - 0.5, color="white", linewidth=6)
        axes.axvline(cut - 0.5, color="white", linewidth=6)


def draw() -> Figure:
    """The whole drawing."""
    image, mask = read("images"), read("masks")
    scaled = ((image - image.mean()) / image.std()).astype(np.float32)[..., None]
    segments = segment(scaled, SuperpixelsConfig(superpixel_size=100, compactness=0.1))
    voted = paint(majority_labels(mask, segments, 2), segments)
    figure = plt.figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    upper, lower = ROWS
    middle = (upper + lower) / 2
    show_image(add_panel(figure, COLUMNS[0], middle, "image"), image)
    panel = add_panel(figure, COLUMNS[1], upper, f"{segments.max() + 1} superpixels")
    show_image(panel, image)
    edges = np.ma.masked_equal(find_boundaries(segments, mode="inner"), 0)
    panel.imshow(edges, cmap=matplotlib.colors.ListedColormap([GNN]), alpha=0.85)
    show_graph(add_panel(figure, COLUMNS[2], upper, "graph"), image, segments)
    show_mask(add_panel(figure, COLUMNS[3], upper, "mask"), voted)
    panel = add_panel(figure, COLUMNS[1], lower, "tiles")
    show_image(panel, image)
    show_tiles(panel, CNN)
    show_mask_tiles(add_panel(figure, COLUMNS[2], lower, "a mask per tile"), mask)
    show_mask(add_panel(figure, COLUMNS[3], lower, "mask"), mask)
    gap = 0.1
    for row, colour, network in ((upper, GNN, "graph network"), (lower, CNN, "U-Net")):
        height = row + PANEL / 2
        add_arrow(figure, (COLUMNS[0] + PANEL + gap, middle + PANEL / 2), (COLUMNS[1] - gap, height), colour)
        for left, right in pairwise(COLUMNS[1:]):
            add_arrow(figure, (left + PANEL + gap, height), (right - gap, height), colour)
        before = COLUMNS[2] if colour == GNN else COLUMNS[1]
        place = ((before + PANEL + (COLUMNS[1] - COLUMNS[0] - PANEL) / 2) / WIDTH, (height + 0.16) / HEIGHT)
        words = network.replace(" ", "\n")
        figure.text(*place, words, ha="center", va="bottom", fontsize=11, color=colour, fontweight="bold")
    return figure


if __name__ == "__main__":
    canvas = io.BytesIO()
    draw().savefig(canvas, dpi=150)
    Image.open(canvas).convert("RGB").quantize(96).save(HERE / "overview.png", optimize=True)
