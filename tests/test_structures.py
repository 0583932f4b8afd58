"""Centre lines and components: by hand, beside plain loops, and for classes that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.scores.structures import centre_line, match_structures, pool_structures

if TYPE_CHECKING:
    from skimage import measure


Mask = NDArray[np.int64]
SHAPES = ((40, 36), (14, 16, 15))


def blobs(shape: tuple[int, ...], seed: int, classes: int = 3) -> Mask:
    """Cubes of noise: several components of several sizes of every class."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, [-(-length // 4) for length in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(4, axis=axis)
    return coarse[tuple(slice(length) for length in shape)]


def count_by_flooding(mask: NDArray[np.bool_]) -> int:
    """Connected components across faces, edges and corners, by a walk over a set of pixels."""
    left = set(zip(*(places.tolist() for places in np.nonzero(mask)), strict=True))
    steps = [tuple(step) for step in np.ndindex((3,) * mask.ndim)]
    found = 0
    while left:
        found, waiting = found + 1, [left.pop()]
        while waiting:
            place = waiting.pop()
            near = {tuple(p + s - 1 for p, s in zip(place, step, strict=True)) for step in steps} & left
            left -= near
            waiting += near
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_components_are_counted_as_by_a_walk_and_by_scikit_image(shape: tuple[int, ...]) -> None:
    mask = blobs(shape, 0, classes=5) == 1
    _, count = centre_line(mask)
    assert count == count_by_flooding(mask) == measure.label(mask, connectivity=mask.ndim, return_num=True)[1]
    assert count > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_centre_line_is_thin_and_lies_within_every_component(shape: tuple[int, ...]) -> None:
    mask = blobs(shape, 1) > 0
    line, count = centre_line(mask)
    assert not (line & ~mask).any()
    assert 0 < line.sum() < mask.sum() / 2
    labels = measure.label(mask, connectivity=mask.ndim)
    assert len(np.unique(labels[line])) == count


@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (8, 8, 8), (2, 2, 2)])
def test_a_compact_object_has_a_centre_line(shape: tuple[int, ...]) -> None:
    mask = np.zeros([length + 4 for length in shape], bool)
    mask[tuple(slice(2, 2 + length) for length in shape)] = True
    line, count = centre_line(mask)
    assert count == 1
    assert line.any()


@pytest.mark.parametrize("axes", [2, 3])
def test_lines_of_one_pixel_are_their_own_centre_lines(axes: int) -> None:
    """By hand: the prediction has 6 of the 10 pixels and 2 beside them: precision 6 / 8, sensitivity 6 / 10."""
    truth: Mask = np.zeros((14,) * axes, np.int64)
    predicted = truth.copy()
    line, guess = ((7,) * (axes - 1) + (slice(start, start + length),) for start, length in ((2, 10), (6, 8)))
    truth[line], predicted[guess] = 1, 1
    [found] = match_structures(truth, predicted, 2)
    assert (found.lines.predicted_matched, found.lines.predicted) == (6, 8)
    assert (found.lines.true_matched, found.lines.true) == (6, 10)
    assert found.lines.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))


@pytest.mark.parametrize("shape", SHAPES)
def test_cl_dice_is_the_formula_of_the_paper(shape: tuple[int, ...]) -> None:
    truth, predicted = blobs(shape, 2), blobs(shape, 3)
    predicted[:, : shape[1] // 2] = truth[:, : shape[1] // 2]
    for label, found in zip((1, 2), match_structures(truth, predicted, 3), strict=True):
        true, guess = truth == label, predicted == label
        true_line, guess_line = centre_line(true)[0], centre_line(guess)[0]
        precision = guess_line[true].sum() / guess_line.sum()
        sensitivity = true_line[guess].sum() / true_line.sum()
        assert 0 < found.lines.f1 < 1
        assert found.lines.f1 == pytest.approx(2 * precision * sensitivity / (precision + sensitivity))


def test_a_gap_hurts_the_centre_line_of_a_vessel_as_little_as_its_length_but_breaks_it_in_two() -> None:
    truth = np.zeros((20, 60), np.int64)
    truth[8:12, 4:56] = 1
    broken = truth.copy()
    broken[:, 30:32] = 0
    [found] = match_structures(truth, broken, 2)
    assert found.lines.f1 > 0.95
    assert found.component_ratio == 2


def test_classes_that_one_side_or_neither_has() -> None:
    """The truth has class 1 alone, the prediction class 2 alone, and neither has class 3."""
    truth, predicted = np.zeros((9, 9), np.int64), np.zeros((9, 9), np.int64)
    truth[2:4, 2:7], predicted[6:8, 2:7] = 1, 2
    missed, invented, absent = match_structures(truth, predicted, 4)
    assert (missed.lines.f1, missed.component_ratio) == (0, 0)
    assert invented.lines.f1 == 0
    assert np.isnan([invented.component_ratio, absent.lines.f1, absent.component_ratio]).all()


def test_ignored_pixels_belong_to_no_side() -> None:
    truth, predicted = np.zeros((9, 20), np.int64), np.zeros((9, 20), np.int64)
    truth[4, 2:18], predicted[4, 2:18], predicted[7, 9:11] = 1, 1, 1
    truth[:, 9:11] = 5
    [found] = match_structures(truth, predicted, 2, ignore_index=5)
    assert (found.predicted_components, found.true_components) == (2, 2)
    assert found.lines.f1 == 1


def test_pooling_adds_pixels_and_components() -> None:
    pairs = [(blobs((20, 20), seed), blobs((20, 20), seed + 7)) for seed in range(2)]
    images = [match_structures(*pair, 3) for pair in pairs]
    pooled = pool_structures(images)
    assert pooled is not None
    for label, total in enumerate(pooled):
        parts = [image[label] for image in images]
        assert total.lines.predicted == sum(part.lines.predicted for part in parts)
        ratio = sum(part.predicted_components for part in parts) / sum(part.true_components for part in parts)
        assert total.component_ratio == pytest.approx(ratio)
    assert pool_structures([images[0], None]) is None
