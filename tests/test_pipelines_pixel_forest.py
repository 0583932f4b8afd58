"""The forest on pixels: filters as scipy has them, windows that are the whole, and what is drawn and learned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import Config, DatasetConfig, InputError, PixelForestConfig
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix, macro_dice

if TYPE_CHECKING:
    from scipy import ndimage

    from bench.arrays.threads import Workers
    from bench.arrays.tiles import Window
    from bench.pipelines.trees.drawing import find_members
    from bench.pipelines.trees.pixel_forest import PixelForest, read_responses
    from bench.pipelines.trees.responses import SMOOTHINGS, count_responses, cut_response_windows, respond

ROOT = Path(__file__).parents[1]
SMALL = {2: 200 * 200, 3: 4 * 190 * 190}  # pixels of a window of these tests


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def filter_all(image: NDArray[np.float32], windows: list[Window], threads: int = 1) -> NDArray[np.float32]:
    """All responses (F, *spatial) of an image, window by window."""
    found = np.full((count_responses(image.ndim - 1, image.shape[-1]), *image.shape[:-1]), np.nan, np.float32)
    with Workers(threads) as workers:
        for window in windows:

            def keep(number: int, response: NDArray[np.float32], window: Window = window) -> None:
                found[number][window.keep] = response

            respond(image[window.read], window.inner, keep, workers)
    return found


def gaussian(plane: NDArray[np.floating], sigma: float, orders: Sequence[int] | int = 0) -> NDArray[np.float64]:
    """The Gaussian of a plane, or a derivative of it, by scipy in double precision."""
    found = ndimage.gaussian_filter(plane.astype(np.float64), sigma, orders, mode="nearest", truncate=3.0)
    return np.asarray(found, np.float64)


def whole(shape: tuple[int, ...]) -> list[Window]:
    everything = tuple(slice(0, length) for length in shape)
    return [Window(everything, everything)]


@pytest.mark.parametrize("shape", [(190, 430, 2), (4, 180, 230, 1)])
def test_responses_of_windows_are_those_of_the_whole_image(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(shape)
    monkeypatch.setattr("bench.pipelines.trees.responses.WINDOW_PIXELS", SMALL)
    windows = cut_response_windows(shape[:-1])
    assert len(windows) > 1
    found = filter_all(image, windows, threads=3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, filter_all(image, whole(shape[:-1])))


@pytest.mark.parametrize("shape", [(24, 31), (9, 14, 17)])
def test_responses_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    image, axes = noise((*shape, 2), 1), len(shape)
    found = filter_all(image, whole(shape))
    each = len(found) // 2
    for channel, scale in ((0, 1), (1, 3)):
        sigma, plane = SMOOTHINGS[scale], image[..., channel].astype(np.float64)
        own = found[channel * each + scale * (3 + 2 * axes) - (2 + 2 * axes) :]
        smooth, laplacian, magnitude, hessian, tensor = np.split(own[: 3 + 2 * axes], [1, 2, 3, 3 + axes])
        np.testing.assert_allclose(smooth[0], gaussian(plane, sigma), atol=1e-5)
        expected = ndimage.gaussian_laplace(plane, sigma, mode="nearest", truncate=3.0)
        np.testing.assert_allclose(laplacian[0], expected, atol=1e-5)
        units = np.eye(axes, dtype=int)
        gradient = [gaussian(plane, sigma, unit.tolist()) for unit in units]
        np.testing.assert_allclose(magnitude[0], np.linalg.norm(gradient, axis=0), atol=1e-5)
        second, products = np.empty((2, *shape, axes, axes))
        for one, other in combinations_with_replacement(range(axes), 2):
            orders = (units[one] + units[other]).tolist()
            second[..., one, other] = second[..., other, one] = gaussian(plane, sigma, orders)
            both = gaussian(gradient[one] * gradient[other], sigma / 2)
            products[..., one, other] = products[..., other, one] = both
        for values, matrices in ((hessian, second), (tensor, products)):
            descending = np.linalg.eigvalsh(matrices)[..., ::-1]
            np.testing.assert_allclose(np.moveaxis(values, 0, -1), descending, atol=3e-5)


def test_smoothings_without_derivatives_come_first() -> None:
    image = noise((20, 22, 1), 2)
    found = filter_all(image, whole((20, 22)))
    np.testing.assert_allclose(found[0], gaussian(image[..., 0], SMOOTHINGS[0]), atol=1e-6)
    assert len(found) == 7 + 6 * 6


# ------------------------------------------------------------------------------------------------------- drawing


def test_members_of_a_class_are_found_in_bands() -> None:
    mask = np.random.default_rng(0).integers(0, 3, (7, 5))
    drawn = [np.array([0, 3, 4]), np.array([], np.int64), np.array([1, 2])]
    for band_values in (5, 12, 1000):
        places, labels = find_members(mask, drawn, band_values)
        assert (np.diff(places) > 0).all()
        for label, members in enumerate(drawn):
            np.testing.assert_array_equal(places[labels == label], np.flatnonzero(mask == label)[members])


@pytest.mark.parametrize("channel", [0, 1])
def test_responses_at_places_are_those_of_their_windows(channel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, each = noise((30, 420, 2), 3), count_responses(2, 1)
    places = np.array([0, 5, 419, 420 * 29 + 200, 420 * 15 + 210])
    once, again = np.full((2, each, len(places)), np.nan, np.float32)
    with Workers(1) as workers:
        read_responses(image, channel, places, once, workers)
        monkeypatch.setattr("bench.pipelines.trees.responses.WINDOW_PIXELS", {2: 30 * 200})
        read_responses(image, channel, places, again, workers)
    np.testing.assert_array_equal(again, once)
    expected = filter_all(image, whole((30, 420)))[channel * each : (channel + 1) * each]
    np.testing.assert_array_equal(once, expected.reshape(each, -1)[:, places])


# ------------------------------------------------------------------------------------------------------- the arm


def disc(seed: int, shape: tuple[int, ...], classes: int = 2) -> Sample:
    """Discs of noise that varies more or less, on noise: nothing that a threshold could tell; a corner is ignored."""
    rng = np.random.default_rng(seed)
    place = np.indices(shape)
    square = sum((axis - length / 2) ** 2 for axis, length in zip(place, shape, strict=True))
    mask = (square < min(shape) ** 2 / 9).astype(np.int64)
    mask[square < min(shape) ** 2 / 36] = classes - 1
    image = rng.normal(0, 1 + 2 * mask)[..., None].astype(np.float32)
    mask[:3, :3] = 9
    return Sample(str(seed), image, mask)


def fitted(shape: tuple[int, ...], classes: int = 2, **settings: int) -> PixelForest:
    config = Config(DatasetConfig(), replace(PixelForestConfig(trees=20, sample_pixels=3000), **settings))  # type: ignore[arg-type]
    arm = PixelForest(config, Task(tuple("abc"[:classes]), 1, len(shape), 9))
    log = arm.fit([arm.prepare(disc(seed, shape, classes)) for seed in (1, 2)], [])
    assert (log.steps, log.stopped, log.validations) == (arm.settings.trees, "steps", 0)
    return arm


@pytest.mark.parametrize(("shape", "classes"), [((60, 70), 2), ((90, 80), 3), ((20, 24, 30), 2)])
def test_it_learns_what_differs_in_texture_alone(shape: tuple[int, ...], classes: int) -> None:
    arm, new = fitted(shape, classes), disc(7, shape, classes)
    predicted = arm.predict(arm.prepare(new))
    assert macro_dice(confusion_matrix(np.asarray(new.mask), predicted, classes, 9)) > (0.9 if classes == 2 else 0.7)


@pytest.mark.parametrize("ignored", [-1, -5, 255])
def test_the_number_of_ignored_pixels_changes_no_tree(ignored: int) -> None:
    """A negative one counts from no end of the classes."""
    samples = [disc(seed, (60, 70)) for seed in (1, 2)]
    arm = PixelForest(
        Config(DatasetConfig(), PixelForestConfig(trees=20, sample_pixels=3000)), Task(("a", "b"), 1, 2, ignored)
    )
    masks = [np.asarray(one.mask) for one in samples]
    changed = [np.where(mask == 9, ignored, mask) for mask in masks]
    arm.fit([arm.prepare(replace(one, mask=mask)) for one, mask in zip(samples, changed, strict=True)], [])
    for name in ("edges", "feature", "code", "left", "value"):
        np.testing.assert_array_equal(getattr(arm.fitted(), name), getattr(fitted((60, 70)).fitted(), name))


def test_windows_and_large_images_give_the_same_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm, new = fitted((60, 70)), disc(7, (190, 430))
    expected = arm.predict(arm.prepare(new))
    monkeypatch.setattr("bench.pipelines.trees.responses.WINDOW_PIXELS", SMALL)
    np.testing.assert_array_equal(arm.predict(arm.prepare(new)), expected)
    monkeypatch.setattr("bench.pipelines.in_memory.HELD_VALUES", 100)
    np.testing.assert_array_equal(arm.predict(arm.prepare(new)), expected)
    out: NDArray[np.int16] = np.full(expected.shape, -1, np.int16)
    arm.predict_into(new.image, out, tmp_path, lambda _: None)
    np.testing.assert_array_equal(out, expected)
    assert list(tmp_path.iterdir()) == []


def test_the_same_forest_grows_from_images_in_files_and_with_any_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    forests = [fitted((60, 70)).fitted()]
    monkeypatch.setattr("bench.pipelines.trees.pixel_forest.count_threads", lambda: 3)
    monkeypatch.setattr("bench.pipelines.in_memory.HELD_VALUES", 100)
    monkeypatch.setattr("bench.pipelines.trees.pixel_forest.BAND_VALUES", 300)
    forests.append(fitted((60, 70)).fitted())
    for name in ("edges", "feature", "code", "left", "value"):
        np.testing.assert_array_equal(getattr(forests[0], name), getattr(forests[1], name))


def test_a_class_that_no_image_has_is_never_predicted() -> None:
    arm = fitted((60, 70), classes=3, trees=3)
    only = Sample("two", disc(1, (60, 70)).image, disc(1, (60, 70)).mask)
    arm.fit([arm.prepare(only)], [])
    assert set(np.unique(arm.predict(arm.prepare(only)))) == {0, 1}


def test_no_torch_and_no_library_of_learning_is_loaded() -> None:
    code = (
        "import sys; from bench.config import *; from bench.datasets.sample import Task;"
        "from bench.pipelines.registry import build_pipeline;"
        "build_pipeline(Config(DatasetConfig(), PixelForestConfig()), Task(('a', 'b'), 1, 2));"
        "sys.exit(bool({'torch', 'sklearn', 'skimage', 'pandas', 'dask'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("wrong", [{"trees": 0}, {"least_pixels": 0}, {"sample_pixels": 1}])
def test_settings_that_cannot_be_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"pipeline.{next(iter(wrong))}"):
        replace(PixelForestConfig(), **wrong)  # type: ignore[arg-type]


def test_effort_scales_the_trees() -> None:
    assert PixelForestConfig().scale_work(0.1) == PixelForestConfig(trees=10)
