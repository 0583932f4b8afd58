"""Scores agree with scikit-learn, with counts made by hand, and with what the words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.scores import metrics

if TYPE_CHECKING:
    from sklearn import metrics as peers

    from bench.superpixels.labels import count_classes, paint


Mask = NDArray[np.int64]


@pytest.fixture(params=[2, 3, 5])
def masks(request: pytest.FixtureRequest) -> tuple[int, Mask, Mask]:
    rng = np.random.default_rng(request.param)
    truth = rng.integers(0, request.param, (37, 23))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, request.param, truth.shape))
    return request.param, truth, predicted


def test_the_confusion_matrix_is_scikit_learns(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    expected = peers.confusion_matrix(truth.ravel(), predicted.ravel(), labels=range(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, predicted, classes), expected)


@pytest.mark.parametrize(
    ("name", "peer"),
    [("dice", "f1_score"), ("iou", "jaccard_score"), ("precision", "precision_score"), ("recall", "recall_score")],
)
def test_scores_per_class_are_scikit_learns(name: str, peer: str, masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    counts = metrics.confusion_matrix(truth, predicted, classes)
    score = getattr(peers, peer)
    np.testing.assert_allclose(metrics.METRICS[name](counts), score(truth.ravel(), predicted.ravel(), average=None))
    expected = score(truth.ravel(), predicted.ravel(), average="macro")
    assert metrics.macro(metrics.METRICS[name](counts)) == pytest.approx(expected)


def test_accuracy_is_scikit_learns(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    counts = metrics.confusion_matrix(truth, predicted, classes)
    assert metrics.accuracy(counts) == pytest.approx(peers.accuracy_score(truth.ravel(), predicted.ravel()))


def test_ignored_pixels_count_for_nothing() -> None:
    truth = np.array([[0, 1, 255], [255, 1, 0]])
    predicted = np.array([[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, predicted, 2, 255), [[2, 0], [1, 1]])


def test_a_class_that_occurs_nowhere_has_no_score_and_leaves_the_mean_alone() -> None:
    truth = np.array([[0, 0, 1, 1]])
    counts = metrics.confusion_matrix(truth, truth, 3)
    for score in metrics.METRICS.values():
        np.testing.assert_array_equal(score(counts), [1.0, 1.0, np.nan])
        assert metrics.macro(score(counts)) == 1.0


def test_every_prediction_is_averaged_over_the_classes_of_the_truth() -> None:
    """A stray pixel of a class that the truth does not have costs a pixel, and not a class."""
    truth = np.zeros(1000, np.int64)
    truth[:500] = 1
    stray = truth.copy()
    stray[0] = 2
    counts = metrics.confusion_matrix(truth, stray, 3)
    assert np.isnan([metrics.dice(counts)[2], metrics.iou(counts)[2], metrics.recall(counts)[2]]).all()
    assert metrics.precision(counts)[2] == 0
    assert metrics.macro_dice(counts) == pytest.approx((1 + 2 * 499 / 999) / 2)
    assert metrics.macro(metrics.precision(counts), metrics.find_true_classes(counts)) == 1


def test_a_class_that_was_missed_scores_zero() -> None:
    counts = metrics.confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2)
    for score in metrics.METRICS.values():
        assert score(counts)[1] == 0.0


@pytest.mark.parametrize(("truth", "predicted"), [([0, 2], [0, 1]), ([0, 1], [0, -1]), ([0, 1], [0])])
def test_masks_that_do_not_fit_are_refused(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="mask"):
        metrics.confusion_matrix(np.array(truth), np.array(predicted), 2)


def test_a_large_image_is_counted_in_bands(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    whole = metrics.confusion_matrix(truth, predicted, classes)
    banded = metrics.confusion_matrix(truth, predicted, classes, band_pixels=2 * truth[0].size)
    np.testing.assert_array_equal(banded, whole)


def test_macro_dice_is_the_macro_f1_of_the_classes_that_occur() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    confusion = metrics.confusion_matrix(truth, guess, 4)  # class 3 occurs nowhere
    assert metrics.macro_dice(confusion) == pytest.approx(peers.f1_score(truth, guess, average="macro"))
    assert np.isnan(metrics.macro_dice(np.zeros((2, 2), np.int64)))


def test_confusion_of_nodes_is_the_confusion_of_the_painted_mask() -> None:
    rng = np.random.default_rng(0)
    segments = rng.integers(0, 20, (30, 40)).astype(np.int32)
    mask, classes = rng.integers(0, 4, (30, 40)), rng.integers(0, 3, 20)  # class 3 is ignored
    counts = count_classes(mask, segments, 3, ignore_index=3)
    expected = metrics.confusion_matrix(mask, paint(classes, segments), 3, 3)
    np.testing.assert_array_equal(metrics.group_confusion(counts, classes), expected)
