"""Scores agree with scikit-learn, with counts made by hand, and with what the words mean."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from bench.scores import metrics

Mask = NDArray[np.int64]


@pytest.fixture(params=[2, 3, 5])
def masks(request: pytest.FixtureRequest) -> tuple[int, Mask, Mask]:
    rng = np.random.default_rng(request.param)
    truth = rng.integers(0, request.param, (37, 23))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, request.param, truth.shape))
    return request.param, truth, predicted


def test_the_confusion_matrix_is_scikit_learns(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    expected = confusion_matrix(truth.ravel(), predicted.ravel(), labels=range(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, predicted, classes), expected)


@pytest.mark.parametrize(
    ("name", "peer"),
    [("dice", f1_score), ("iou", jaccard_score), ("precision", precision_score), ("recall", recall_score)],
)
def test_scores_per_class_are_scikit_learns(name: str, peer: object, masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    counts = metrics.confusion_matrix(truth, predicted, classes)
    assert callable(peer)
    np.testing.assert_allclose(metrics.METRICS[name](counts), peer(truth.ravel(), predicted.ravel(), average=None))
    expected = peer(truth.ravel(), predicted.ravel(), average="macro")
    assert metrics.macro(metrics.METRICS[name](counts)) == pytest.approx(expected)


def test_accuracy_is_scikit_learns(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    counts = metrics.confusion_matrix(truth, predicted, classes)
    assert metrics.accuracy(counts) == pytest.approx(accuracy_score(truth.ravel(), predicted.ravel()))


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


def square(offset: int, size: int = 32) -> Mask:
    mask = np.zeros((size, size), np.int64)
    mask[8 + offset : 20 + offset, 8:20] = 1
    return mask


@pytest.mark.parametrize(("offset", "tolerance", "expected"), [(0, 0, 1.0), (2, 2, 1.0), (8, 0, 0.087)])
def test_boundary_f1_forgives_what_lies_within_the_tolerance(offset: int, tolerance: float, expected: float) -> None:
    hits = metrics.boundary_hits(square(0), square(offset), 2, tolerance)[1]
    assert hits.f1 == pytest.approx(expected, abs=0.001) if expected == 1.0 else hits.f1 < 0.5


def test_boundary_pixels_by_hand() -> None:
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]])
    expected = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]], bool)
    np.testing.assert_array_equal(metrics.class_boundary(mask, 1), expected)  # the image's edge is no boundary


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 2.0, 3.7, 4.0])
@pytest.mark.parametrize("shape", [(23, 17), (9, 11, 7), (3, 40)])
def test_shifted_edges_reach_as_far_as_a_distance_transform(
    tolerance: float, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = np.random.default_rng(0).random(shape) < 0.03
    assert edge.any()
    shifted = metrics._near(edge, tolerance)
    monkeypatch.setattr(metrics, "SHIFTED", -1.0)
    np.testing.assert_array_equal(shifted, metrics._near(edge, tolerance))


def test_boundaries_of_empty_classes() -> None:
    empty = np.zeros((8, 8), np.int64)
    assert np.isnan(metrics.boundary_hits(empty, empty, 2, 1.0)[1].f1)
    assert metrics.boundary_hits(empty, square(0, 8 + 24)[8:16, 4:12], 2, 1.0)[1].f1 == 0.0


def test_pooling_adds_pixels_not_scores(masks: tuple[int, Mask, Mask]) -> None:
    classes, truth, predicted = masks
    halves = [
        metrics.score_image(str(i), truth[rows], predicted[rows], classes, 1.0)
        for i, rows in enumerate([slice(0, 10), slice(10, None)])
    ]
    pooled = metrics.pool(halves)
    np.testing.assert_array_equal(pooled.confusion, metrics.confusion_matrix(truth, predicted, classes))
    assert pooled.image == "all"


def test_rows_name_every_metric_and_class() -> None:
    truth = np.zeros((16, 16), np.int64)
    truth[4:9, 4:9] = 1
    made = metrics.rows(metrics.score_image("one", truth, truth, 2, 1.0), ["background", "cell"])
    assert {(r["metric"], r["class"]) for r in made} == {("accuracy", "macro")} | {
        (metric, name) for metric in (*metrics.METRICS, "boundary_f1") for name in ("background", "cell", "macro")
    }
    assert all(r["value"] == 1.0 for r in made)
