"""Scores of large images, which are read band by band: those of the same image in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix
from bench.scores.panels import busiest_window
from bench.scores.scoring import SplitScores

TASK = Task(("background", "one", "two"), in_channels=1, spatial_axes=2, ignore_index=9)


class ByRows:
    """A mask of which some rows are read at a time."""

    def __init__(self, values: Any, most: int) -> None:
        self._values, self._most, self.shape, self.dtype = values, most, values.shape, values.dtype

    def __getitem__(self, key: Any) -> Any:
        rows = key[0] if isinstance(key, tuple) else key
        assert len(range(*rows.indices(self.shape[0]))) <= self._most, "too many rows were read at once"
        return self._values[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise AssertionError("the whole mask was read at once")


def make_masks() -> tuple[Any, Any, Any]:
    """True and predicted classes, and two segmentations."""
    rng = np.random.default_rng(0)
    truth, predicted = (np.kron(rng.integers(0, 3, (16, 10)), np.ones((6, 6), np.uint8)) for _ in range(2))
    truth[:3, :7] = 9
    rows, columns = np.indices(truth.shape)
    segments = np.stack([rows // side * 20 + columns // side for side in (5, 7)])
    segments = np.stack([np.unique(ids, return_inverse=True)[1].reshape(truth.shape) for ids in segments])
    return truth.astype(np.uint8), predicted.astype(np.uint8), segments.astype(np.int32)


@pytest.mark.parametrize("views", [1, 2])
def test_a_large_image_is_scored_in_bands_as_a_small_one_at_once(views: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted, segments = make_masks()
    ids = segments[0] if views == 1 else segments
    image = np.zeros((*truth.shape, 1), np.float32)
    small, large = (SplitScores(TASK, 2.0, large_pixels=most) for most in (truth.size, 1))
    small.add(Sample("one", image, truth), predicted, ids)
    monkeypatch.setattr("bench.scores.ceilings.BAND_PIXELS", 500)
    monkeypatch.setattr("bench.superpixels.labels.BAND_PIXELS", 500)
    monkeypatch.setattr("bench.scores.metrics.confusion_matrix.__defaults__", (None, 500))
    monkeypatch.setattr("bench.scores.boundaries.cut_wide_bands.__defaults__", (None, 500))
    monkeypatch.setattr("bench.scores.boundaries.match_boundaries.__defaults__", (None, None, 500))
    large.add(Sample("one", image, ByRows(truth, 20)), predicted, ids)
    kept = [row for row in small.rows() if "cl_dice" not in str(row["metric"]) and "ratio" not in str(row["metric"])]
    found = [row for row in large.rows() if row["value"] == row["value"]]
    assert found == [row for row in kept if row["value"] == row["value"]]
    assert {"oracle_dice", "boundary_recall", "undersegmentation_error"} <= {str(row["metric"]) for row in found}


def test_the_busiest_window_is_found_in_strips() -> None:
    rng = np.random.default_rng(3)
    for shape in ((50, 40), (9, 30), (33, 8)):
        mask = rng.integers(0, 2, shape).astype(np.uint8)
        edges = np.zeros(shape, bool)
        edges[1:] |= mask[1:] != mask[:-1]
        edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        window = busiest_window(ByRows(mask, 17), 16)
        starts = [[min(start, max(0, length - 16)) for start in range(0, length, 8)] for length in shape]
        best = max(int(edges[r : r + 16, c : c + 16].sum()) for r in starts[0] for c in starts[1])
        assert int(edges[window].sum()) == best
    assert confusion_matrix(mask, mask, 2).sum() == mask.size
