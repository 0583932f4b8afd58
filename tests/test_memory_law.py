"""The law of memory by size gives back a known law, says how far off it is, and refuses what does not carry it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.config import InputError
from bench.tables.memory_law import fit_memory_law

SIDES = (512, 1024, 2048, 4096)
CONSTANT, PER_PIXEL, PER_NODE = 300e6, 21.0, 1900.0


def known_law() -> tuple[list[float], list[float], list[float]]:
    """Pixels, nodes and peaks of four sizes with superpixels of two sizes each."""
    pixels = [float(side**2) for side in SIDES for _ in range(2)]
    nodes = [count / size for count, size in zip(pixels, (60, 240) * len(SIDES), strict=True)]
    peaks = [CONSTANT + PER_PIXEL * count + PER_NODE * other for count, other in zip(pixels, nodes, strict=True)]
    return pixels, nodes, peaks


def test_a_known_law_is_found_and_has_no_error() -> None:
    law = fit_memory_law(*known_law())
    assert law.constant == pytest.approx(CONSTANT, rel=1e-6)
    assert law.per_pixel == pytest.approx(PER_PIXEL, rel=1e-6)
    assert law.per_node == pytest.approx(PER_NODE, rel=1e-6)
    assert law.error < 1e-6
    assert law.sizes == tuple(float(side**2) for side in SIDES)
    assert law.predict(1e8, 1e6) == pytest.approx(CONSTANT + 21e8 + 19e8, rel=1e-6)


def test_the_largest_image_is_the_one_that_takes_all_the_memory() -> None:
    law = fit_memory_law(*known_law())
    largest = law.find_largest(8 * 2**30, pixels_per_node=60)
    assert law.predict(largest, largest / 60) == pytest.approx(8 * 2**30)
    assert law.find_largest(CONSTANT / 2, 60) == 0
    flat = fit_memory_law([1e6, 2e6, 4e6], [0, 0, 0], [5e8, 5e8, 5e8])
    assert flat.per_pixel == pytest.approx(0, abs=1e-6)
    assert flat.find_largest(6e8) > 1e12 or math.isinf(flat.find_largest(6e8))


def test_an_arm_without_nodes_has_a_line_over_pixels() -> None:
    pixels = [float(side**2) for side in SIDES]
    law = fit_memory_law(pixels, [0.0] * 4, [1e9 + 6 * count for count in pixels])
    assert law.constant == pytest.approx(1e9)
    assert law.per_pixel == pytest.approx(6)
    assert law.per_node == 0


def test_the_error_is_that_of_sizes_left_out() -> None:
    rng = np.random.default_rng(0)
    pixels, nodes, peaks = known_law()
    noisy = [peak * (1 + 0.03 * shift) for peak, shift in zip(peaks, rng.uniform(-1, 1, len(peaks)), strict=True)]
    law = fit_memory_law(pixels, nodes, noisy)
    assert 0.005 < law.error < 0.2
    assert law.per_pixel == pytest.approx(PER_PIXEL, rel=0.3)


def test_coefficients_are_never_negative() -> None:
    law = fit_memory_law([1e6, 2e6, 4e6], [0, 0, 0], [5.2e8, 5.1e8, 5e8])
    assert min(law.constant, law.per_pixel, law.per_node) >= 0


def test_too_few_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3 sizes, and 2 were measured"):
        fit_memory_law([1e6, 1e6, 4e6], [0, 0, 0], [5e8, 5e8, 6e8])


def test_nodes_in_step_with_pixels_are_refused() -> None:
    pixels = [float(side**2) for side in SIDES]
    with pytest.raises(InputError, match="superpixels of two sizes"):
        fit_memory_law(pixels, [count / 60 for count in pixels], [1e9 + count for count in pixels])


def test_peaks_that_follow_another_law_are_refused() -> None:
    pixels = [float(side**2) for side in SIDES]
    with pytest.raises(InputError, match=r"a size left out of the fit is missed by \d+%"):
        fit_memory_law(pixels, [0.0] * 4, [1e8 + count**1.7 / 1e3 for count in pixels])
