"""Labels and colours: no label lies on another or on a point, no name ends a figure, every class can be told."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.results import make_run

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation, Text
    from matplotlib.transforms import Bbox

    from bench.plots.colours import CLASSES, choose_colours, find_outline
    from bench.plots.decomposition import plot_decomposition
    from bench.plots.frontier import plot_frontier
    from bench.plots.labels import Label, place_labels
    from bench.plots.panels import ArmCrops, Crop, draw_errors, draw_overlay, plot_panels
    from bench.plots.style import WRONG, apply_style, make_figure, save
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations
    from bench.tables.frontier import TRAINING


def extents(figure: Figure) -> list[Bbox]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    found = [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]
    return [Text.get_window_extent(text, canvas.get_renderer()) for text in found]  # type: ignore[no-untyped-call]


def overlaps(boxes: list[Bbox]) -> int:
    return sum(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize("spread", [1.0, 0.05, 0.01])
def test_labels_keep_clear_of_one_another_and_of_points(spread: float) -> None:
    rng = np.random.default_rng(0)
    points = [(0.5 + spread * x, 0.5 + spread * y) for x, y in rng.uniform(-0.5, 0.5, (9, 2))]
    with apply_style():
        figure, axes = make_figure()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        place_labels(axes, [Label(f"{n}00 px", x, y, "black") for n, (x, y) in enumerate(points)], points)
        boxes = extents(figure)
    assert len(boxes) == 9
    assert overlaps(boxes) == 0
    middles = axes.transData.transform(points)
    assert not any(box.contains(x, y) for box in boxes for x, y in middles)
    assert all(axes.get_window_extent().contains(*corner) for box in boxes for corner in box.corners())


def test_a_label_away_from_its_point_has_a_line_to_it() -> None:
    with apply_style():
        figure, axes = make_figure()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        place_labels(axes, [Label("wide label", 0.5, 0.5, "black")] * 12, [(0.5, 0.5)])
    lines = [text.arrow_patch.get_visible() for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch]
    assert lines[0] is False
    assert lines[-1] is True
    assert overlaps(extents(figure)) == 0


def test_close_configurations_of_a_front_can_be_told(tmp_path: Path) -> None:
    for size in (50, 100):
        make_run(tmp_path, "superpixel_gnn", 0, size)
    for number in range(5):
        name = f"c{number}"
        slow, gain = 1 + number / 100, number / 1000
        make_run(tmp_path, "tiled_cnn", 0, run_id=name, run_key=name, pipeline__batch_size=number, slow=slow, gain=gain)
    with apply_style():
        boxes = extents(plot_frontier(list_configurations(collect(tmp_path)), TRAINING))
    assert len(boxes) >= 6
    assert overlaps(boxes) == 0


def test_the_steps_of_the_decomposition_can_be_read(tmp_path: Path) -> None:
    for seed in range(3):
        for pipeline in ("superpixel_gnn", "superpixel_mlp", "oracle"):
            make_run(tmp_path, pipeline, seed)
        make_run(tmp_path, "tiled_cnn", seed, voted=0.977)
    with apply_style():
        figure = plot_decomposition(list_configurations(collect(tmp_path)))
        assert overlaps(extents(figure)) == 0


# ------------------------------------------------------------------------------------------------------------- names


def crops(*class_names: str, name: str = "a") -> list[ArmCrops]:
    image, mask = np.full((8, 8), 90, np.uint8), np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 1
    return [ArmCrops("GNN", False, class_names, (Crop(name, image, mask, mask),))]


def test_no_name_is_a_formula_and_every_class_is_in_the_legend(tmp_path: Path) -> None:
    names = ("background", "_nucleus", "$x^{$", "__")
    with apply_style():
        figure = plot_panels(crops(*names, name="$\\frac{$"))
        save(figure, tmp_path, "panels")
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*names[1:], "predicted class differs from the truth"]
    faces = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len(set(faces)) == len(faces) == 4


# ----------------------------------------------------------------------------------------------------------- colours


def test_wrong_pixels_have_the_colour_of_no_class() -> None:
    assert WRONG not in CLASSES
    assert len(set(CLASSES)) == len(CLASSES)


def test_the_classes_of_a_stained_image_contrast_with_it() -> None:
    rng = np.random.default_rng(0)
    base = np.array([200, 120, 170])  # as purple as PURPLE
    image = (base + rng.normal(0, 8, (32, 32, 3))).clip(0, 255).astype(np.uint8)
    first, *_, last = choose_colours([image])
    assert first != CLASSES[0] or choose_colours([image]) != CLASSES
    distances = {c: float(np.abs(np.array(to_rgb(c)) * 255 - base).sum()) for c in CLASSES[:-1]}
    assert distances[first] > distances["#CC79A7"]
    assert last == CLASSES[-1]
    assert sorted(choose_colours([image])) == sorted(CLASSES)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.full((4, 4, 3), 130, np.uint8)])
def test_grey_images_keep_the_usual_colours(image: Any) -> None:
    assert choose_colours([image]) == CLASSES


def test_an_outline_is_where_neighbours_differ() -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 1:4] = 1
    expected = np.zeros((5, 5), bool)
    expected[0:5, 1:4] = expected[1:4, 0:5] = True
    expected[2, 2] = False
    np.testing.assert_array_equal(find_outline(mask), expected)
    picture = draw_overlay(np.full((5, 5), 100, np.uint8), mask, 2)
    assert np.allclose(picture[1, 1], to_rgb(CLASSES[0]))
    assert not np.allclose(picture[2, 2], to_rgb(CLASSES[0]))


def test_errors_stand_on_grey_whatever_the_stain() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[..., 0] = 200
    picture = draw_errors(image, np.array([[0, 1]]), np.array([[0, 0]]), 2)
    assert np.ptp(picture[0, 0]) == 0
    assert np.allclose(picture[0, 1], to_rgb(WRONG))
