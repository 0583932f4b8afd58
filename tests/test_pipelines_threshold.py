"""Laws of the threshold arm, and of its thresholds beside a search over all of them."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import Config, DatasetConfig, InputError, ThresholdConfig
from bench.datasets.sample import Sample, Task
from bench.pipelines.otsu import multi_otsu
from bench.pipelines.threshold import Bands, Threshold

if TYPE_CHECKING:
    from skimage.filters import threshold_multiotsu


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)


def sample(name: str, grey: Any, mask: Any) -> Sample:
    image: Any = np.asarray(grey, np.float32)[..., None]
    return Sample(name, image, mask)


def disc(seed: int) -> Sample:
    """A disc on noise, with ignored pixels in a corner."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((48, 48))
    mask = ((rows - 24) ** 2 + (columns - rng.integers(15, 33)) ** 2 < 150).astype(np.int64)
    image = mask * 2.0 + rng.normal(0, 0.2, mask.shape)
    mask[:5, :5] = 9
    return sample(str(seed), image, mask)


def between(counts: NDArray[np.int64], last_bins: tuple[int, ...]) -> float:
    """Variance between the bands that end with `last_bins`, up to a constant, in exact integers until the division."""
    ends = (-1, *last_bins, len(counts) - 1)
    bands = [range(low + 1, high + 1) for low, high in pairwise(ends)]
    sizes = [sum(int(counts[i]) for i in band) for band in bands]
    totals = [sum(i * int(counts[i]) for i in band) for band in bands]
    return sum(total * total / size for total, size in zip(totals, sizes, strict=True) if size)


@pytest.mark.parametrize("bands", [2, 3, 4, 5])
@pytest.mark.parametrize("filled", [0.5, 1.0])
def test_thresholds_are_the_best_of_all_and_the_lowest_among_equals(bands: int, filled: float) -> None:
    rng = np.random.default_rng(bands)
    for _ in range(5):
        counts = np.where(rng.random(14) < filled, rng.integers(1, 5, 14), 0)
        counts[:5] += 1  # so that there are as many values as bands
        every = list(combinations(range(len(counts) - 1), bands - 1))
        scores = [between(counts, bins) for bins in every]
        best = next(bins for bins, score in zip(every, scores, strict=True) if score > max(scores) - 1e-9)
        np.testing.assert_array_equal(multi_otsu(counts, np.arange(14.0), bands), best)


def test_thresholds_of_a_histogram_with_clear_modes_are_scikit_images() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(mean, 4, 2000) for mean in (20, 50, 80, 110)])
    counts, edges = np.histogram(values, 128, (0, 128))
    centres = (edges[:-1] + edges[1:]) / 2
    for bands in (2, 3, 4):
        expected = threshold_multiotsu(classes=bands, hist=(counts, centres))
        np.testing.assert_array_equal(multi_otsu(counts, centres, bands), expected)


def threshold(task: Task = TASK, channel: int = 0) -> Threshold:
    return Threshold(Config(DatasetConfig(), ThresholdConfig(channel=channel)), task)


def test_a_threshold_separates_two_well_separated_classes(tmp_path: Path) -> None:
    arm, samples = threshold(), [disc(seed) for seed in range(3)]
    items = [arm.prepare(sample) for sample in samples]
    log = arm.fit(items[:2], items[2:])
    assert log.best_score == pytest.approx(1, abs=0.02)
    counted = np.asarray(samples[2].mask) != 9
    assert (arm.predict(items[2])[counted] == np.asarray(samples[2].mask)[counted]).mean() > 0.99
    arm.save(tmp_path / "checkpoint.pt")
    assert "thresholds" in (tmp_path / "checkpoint.json").read_text()


def test_classes_that_alternate_in_brightness_take_several_bands() -> None:
    bright = np.repeat(np.array([0.0, 1.0, 2.0], np.float32), 300).reshape(30, 30)
    mask = np.repeat([0, 1, 0], 300).reshape(30, 30)
    arm = threshold()
    item = arm.prepare(sample("bands", bright, mask))
    arm.fit([item], [item])
    np.testing.assert_array_equal(arm.predict(item), mask)


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_a_constant_image_is_all_of_the_commonest_class(value: float) -> None:
    mask = np.zeros((8, 8), np.int64)
    mask[:6] = 1
    arm = threshold()
    item = arm.prepare(sample("flat", np.full((8, 8), value), mask))
    arm.fit([item], [item])
    assert (arm.predict(item) == 1).all()


def test_bands_are_closed_above() -> None:
    bands = Bands(np.array([1.0, 2.0]), np.array([0, 2, 1]))
    np.testing.assert_array_equal(bands.predict(np.array([0.5, 1.0, 1.5, 2.0, 2.5])), [0, 0, 2, 2, 1])


def test_a_channel_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"pipeline\.channel must lie in \[0, 1\)"):
        threshold(channel=1)
