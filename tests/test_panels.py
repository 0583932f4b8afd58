"""What is kept of test images for the figures: the middle of a volume from three sides, as the figures lay it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.datasets.sample import Sample
from bench.scores.panels import Panels, cut_across, display, find_depth

if TYPE_CHECKING:
    from bench.plots.panels import draw_errors, draw_overlay, fit_name, lay_out_cuts, load_crops


SHAPE = (5, 12, 16)


def keep(path: Path, channels: int = 1) -> Sample:
    """Panels of one volume whose voxels are numbered, and whose prediction is wrong in one voxel of each cut."""
    truth = (np.arange(np.prod(SHAPE)).reshape(SHAPE) // 3 % 2).astype(np.uint8)
    sample = Sample("v", np.random.default_rng(0).normal(size=(*SHAPE, channels)).astype(np.float32), truth)
    predicted = truth.copy()
    for voxel in ((2, 0, 0), (0, 6, 3), (4, 1, 8)):
        predicted[voxel] ^= 1
    panels = Panels(("ground", "cell"), find_depth((0.6, 0.2, 0.2)))
    panels.add(sample, predicted)
    panels.save(path)
    return sample


@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_is_kept_as_its_middle_plane_and_two_cuts_across_it(channels: int, tmp_path: Path) -> None:
    sample = keep(tmp_path / "panels.npz", channels)
    names, [crop] = load_crops(tmp_path / "panels.npz")
    truth = np.asarray(sample.mask)
    assert (names, crop.name, round(crop.depth, 6)) == (("ground", "cell"), "v", 3)
    for kept, true in zip((crop, *crop.cuts), (truth[2], truth[:, 6], truth[:, :, 8]), strict=True):
        np.testing.assert_array_equal(kept.truth, true)
        assert (kept.predicted != kept.truth).sum() == 1
        assert kept.image.shape == (true.shape if channels == 1 else (*true.shape, 3))


def test_the_cuts_lie_beside_and_below_the_plane_as_thick_as_in_space(tmp_path: Path) -> None:
    keep(tmp_path / "panels.npz")
    _, [crop] = load_crops(tmp_path / "panels.npz")
    whole = lay_out_cuts(crop)
    assert whole.truth.shape == whole.image.shape == (12 + 4 + 15, 16 + 4 + 15)
    np.testing.assert_array_equal(whole.truth[:12, :16], crop.truth)
    np.testing.assert_array_equal(whole.truth[16::3, :16], crop.cuts[0].truth)
    np.testing.assert_array_equal(whole.truth[:12, 20::3], crop.cuts[1].truth.T)
    wrong = np.ptp(draw_errors(whole.image, whole.truth, whole.predicted, 2), axis=2) > 0.1
    assert wrong.sum() == 1 + 3 + 3  # a plane of the cuts is three pixels thick
    assert (draw_overlay(whole.image, whole.truth, 2)[16:, 20:] == 1).all()
    flat = lay_out_cuts(crop.cuts[0])
    assert flat is crop.cuts[0]


def test_a_thick_volume_is_cut_around_its_middle() -> None:
    cuts = cut_across((100, 40, 30), (slice(10, 20), slice(0, 384)), side=8)
    assert cuts == {
        "rows_": (slice(46, 54), slice(15, 16), slice(0, 30)),
        "columns_": (slice(46, 54), slice(10, 20), slice(15, 16)),
    }


def test_cuts_are_as_bright_as_their_plane() -> None:
    plane = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (10, 1))[..., None]
    assert display(plane[:, :10], plane).max() < 40 < 250 < display(plane[:, :10]).max()


@pytest.mark.parametrize("letters", [0, 6, 9, 10, 22, 40])
def test_a_name_beside_a_picture_keeps_its_ends_and_fits(letters: int) -> None:
    name = "f060_mosaic2x4_dbe5adcd71de"
    short = fit_name(name, letters)
    assert len(short) == min(max(letters, 6), 22)
    begin, end = short.split("…")
    assert name.startswith(begin)
    assert name.endswith(end)
    assert fit_name("plain", letters) == "plain"
