"""Scores of a split become rows: pooled over pixels, structures from the spool, every metric and class by name."""

from pathlib import Path

import numpy as np
import pytest

from bench.config import SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.scores import metrics
from bench.scores.scoring import SplitScores
from bench.scores.spool import Spool
from bench.scores.structures import match_structures

TASK = Task(("background", "cell", "wall"), in_channels=1, spatial_axes=2, ignore_index=9)


def masks(seed: int) -> tuple[metrics.Counts, metrics.Counts]:
    """A true mask with ignored pixels and a prediction that agrees in part."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, 3, (12, 8)), 3, axis=1)
    predicted = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 3, truth.shape))
    truth[:2, :2] = 9
    return truth, predicted


def sample(name: str, truth: metrics.Counts) -> Sample:
    return Sample(name, truth[..., None].astype(np.float32), truth)


def add_all(scores: SplitScores) -> dict[tuple[str, str, str], float]:
    """Scores of two images with superpixels of three columns, by image, metric and class."""
    segments = np.tile(np.arange(8).repeat(3), (12, 1)).astype(np.int32)
    for seed in range(2):
        truth, predicted = masks(seed)
        scores.add(sample(str(seed), truth), predicted, segments)
    if scores.spool is not None:
        scores.finish()
    rows = scores.rows()
    assert len(rows) == len({(row["image"], row["metric"], row["class"]) for row in rows})
    return {(str(r["image"]), str(r["metric"]), str(r["class"])): float(r["value"]) for r in rows}


def test_pooling_adds_pixels_not_scores() -> None:
    found = add_all(SplitScores(TASK, 1.0))
    confusion = sum((metrics.confusion_matrix(*masks(seed), 3, 9) for seed in range(2)), np.zeros((3, 3), np.int64))
    for value, name in zip(metrics.dice(confusion), TASK.class_names, strict=True):
        assert found["all", "dice", name] == pytest.approx(value)
    assert found["all", "dice", "macro"] == pytest.approx(metrics.macro_dice(confusion))


def test_rows_name_every_metric_and_class() -> None:
    truth = np.zeros((16, 16), np.int64)
    truth[4:9, 4:9], truth[11, 2:14] = 1, 2
    scores = SplitScores(TASK, 1.0)
    scores.add(sample("one", truth), truth)
    names = (*TASK.class_names, "macro")
    expected = {("accuracy", "macro"), *((metric, name) for metric in metrics.METRICS for name in names)}
    expected |= {("boundary_f1", name) for name in names} | {("cl_dice", name) for name in names[1:]}
    expected |= {("component_ratio", name) for name in names[1:3]}
    rows = [row for row in scores.rows() if row["image"] == "one"]
    assert {(row["metric"], row["class"]) for row in rows} == expected
    assert all(row["value"] == 1.0 for row in rows)


def test_a_class_that_no_prediction_shows_is_named() -> None:
    truth = np.zeros((16, 16), np.int64)
    truth[4:9, 4:9] = 1
    scores = SplitScores(TASK, 1.0)
    scores.add(sample("one", truth), np.zeros_like(truth))
    assert scores.find_unseen() == [TASK.class_names[1]]  # the third class is in no image
    scores.add(sample("two", truth), truth)
    assert scores.find_unseen() == []


def test_rows_of_structures_are_those_of_the_masks() -> None:
    found = add_all(SplitScores(TASK, 1.0))
    for seed in range(2):
        expected = match_structures(*masks(seed), 3, 9)
        for name, structures in zip(TASK.class_names[1:], expected, strict=True):
            assert found[str(seed), "cl_dice", name] == pytest.approx(structures.lines.f1)
            assert found[str(seed), "component_ratio", name] == pytest.approx(structures.component_ratio)
    pooled = [one + two for one, two in zip(*(match_structures(*masks(seed), 3, 9) for seed in range(2)), strict=True)]
    assert found["all", "cl_dice", "macro"] == pytest.approx(np.mean([one.lines.f1 for one in pooled]))
    assert found["all", "oracle_cl_dice", "macro"] > 0


def test_masks_that_waited_in_the_spool_score_as_those_that_did_not(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        scores = SplitScores(TASK, 1.0, SuperpixelsConfig(superpixel_size=9), spool)
        found = add_all(scores)
        assert scores.images
    at_once = add_all(SplitScores(TASK, 1.0, SuperpixelsConfig(superpixel_size=9)))
    np.testing.assert_equal(found, at_once)


def test_an_image_that_is_too_large_is_scored_at_once_and_leaves_its_structures_and_their_pool_empty(
    tmp_path: Path,
) -> None:
    whole = add_all(SplitScores(TASK, 1.0))
    with Spool(tmp_path) as spool:
        found = add_all(SplitScores(TASK, 1.0, spool=spool, large_pixels=12 * 24 - 1))
    empty = {key for key in found if "cl_dice" in key[1] or "ratio" in key[1]}
    assert len(empty) == 2 * 3 * (3 + 2)
    assert np.isnan([found[key] for key in empty]).all()
    np.testing.assert_equal(
        {k: v for k, v in found.items() if k not in empty}, {k: v for k, v in whole.items() if k not in empty}
    )


def test_a_spool_returns_masks_in_any_order(tmp_path: Path) -> None:
    first, second = np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(4, dtype=np.int64)[::-1]
    with Spool(tmp_path) as spool:
        assert [spool.append(first), spool.append(second)] == [0, 1]
        for number, mask in ((1, second), (0, first), (1, second)):
            np.testing.assert_array_equal(spool.read(number), mask)
            assert spool.read(number).dtype == mask.dtype
    assert not list(tmp_path.iterdir())
