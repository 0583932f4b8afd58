"""Distances between borders: by hand, in the unit of the pixels' lengths, and as rows beside the other scores."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.datasets.sample import Sample, Task
from bench.scores.scoring import SplitScores
from bench.scores.surfaces import SurfaceDistances, measure_surfaces

LENGTHS = (3.0, 0.5, 0.5)


def slab(start: int) -> NDArray[np.uint8]:
    """A volume of class 0 before plane `start`, class 1 from there on."""
    volume = np.zeros((9, 6, 7), np.uint8)
    volume[start:] = 1
    return volume


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parallel_borders_are_as_far_apart_as_their_planes_are_long(axis: int) -> None:
    one, other = (np.moveaxis(slab(start), 0, axis) for start in (3, 5))
    both = measure_surfaces(one, other, 2, LENGTHS)
    assert len(both) == 2
    for found in both:
        assert found.mean == pytest.approx(2 * LENGTHS[axis])


def test_distances_agree_with_all_pairs_and_are_symmetric() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.kron(rng.integers(0, 3, (3, 4, 5)), np.ones((2, 3, 2))).astype(np.uint8) for _ in range(2))
    found = measure_surfaces(one, other, 3, LENGTHS)
    again = measure_surfaces(other, one, 3, [2 * length for length in LENGTHS])
    for label, (forth, back) in enumerate(zip(found, again, strict=True)):
        border = [np.argwhere(_touches_another(mask, label)) * LENGTHS for mask in (one, other)]
        pairs = np.linalg.norm(border[0][:, None] - border[1][None], axis=-1)
        expected = (pairs.min(axis=0).sum() + pairs.min(axis=1).sum()) / sum(pairs.shape)
        assert forth.mean == pytest.approx(expected)
        assert back.mean == pytest.approx(2 * expected)


def _touches_another(mask: NDArray[np.uint8], label: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1, mode="edge")
    middle = (slice(1, -1),) * mask.ndim
    shifted = [np.roll(padded, step, axis)[middle] != label for axis in range(mask.ndim) for step in (-1, 1)]
    border: NDArray[np.bool_] = (mask == label) & np.any(shifted, axis=0)
    return border


def test_a_border_on_one_side_only_is_as_far_away_as_the_image_is_long() -> None:
    """An arm that finds nothing in one of two images must not be nearer than one that is a plane off."""
    diagonal = np.linalg.norm(np.multiply((9, 6, 7), LENGTHS))
    missed = measure_surfaces(slab(3), slab(9), 2, LENGTHS)[1]
    assert missed.mean == pytest.approx(diagonal)
    found = measure_surfaces(slab(3), slab(3), 2, LENGTHS)[1]
    assert (found + missed).mean > (found + measure_surfaces(slab(3), slab(4), 2, LENGTHS)[1]).mean
    assert np.isnan(measure_surfaces(slab(9), slab(9), 2, LENGTHS)[1].mean)


def test_ignored_pixels_make_no_borders() -> None:
    truth = slab(3)
    truth[:, 0] = 7
    assert measure_surfaces(truth, slab(3), 2, LENGTHS, ignore_index=7)[1].mean == 0
    assert (SurfaceDistances(6.0, 3) + SurfaceDistances(0.0, 1)).mean == 1.5


def test_rows_are_there_where_lengths_are_known_and_pool_the_pixels_of_all_images() -> None:
    known = Task(("back", "cell"), 1, 3, spacing=LENGTHS)
    for task, metrics in ((known, 1), (Task(("back", "cell"), 1, 3), 0)):
        scores = SplitScores(task, 1.0)
        for name, start in (("a", 5), ("b", 3)):
            scores.add(Sample(name, slab(3)[..., None].astype(np.float32), slab(3)), slab(start))
        rows = [row for row in scores.rows() if row["metric"] == "surface_distance"]
        assert len(rows) == metrics * 3 * 3
        found = {(row["image"], row["class"]): row["value"] for row in rows}
        if rows:
            assert found["a", "cell"] == pytest.approx(6)
            assert found["b", "macro"] == 0
            assert found["all", "macro"] == pytest.approx(3)


def test_of_a_large_image_nothing_is_measured() -> None:
    scores = SplitScores(Task(("back", "cell"), 1, 3, spacing=LENGTHS), 1.0, large_pixels=9)
    scores.add(Sample("a", slab(3)[..., None].astype(np.float32), slab(3)), slab(3))
    values = [row["value"] for row in scores.rows() if row["metric"] == "surface_distance"]
    assert len(values) == 6
    assert np.isnan(np.array(values, float)).all()
