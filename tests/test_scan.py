"""Superpixels are chosen on training images, by what their majority labelling reaches and how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import folder_sets as sets

from bench.cli import main, run_verb
from bench.config import InputError, SuperpixelsConfig
from bench.datasets.sample import Sample, Task

if TYPE_CHECKING:
    import pandas as pd

    from bench.scan.ceilings import Ceiling, TrainingCrop, cut_crops, list_combinations, propose, scan_settings

TASK = Task(("background", "cell"), 1, 2)


def squares(side: int = 48) -> TrainingCrop:
    """Bright squares of 8 x 8 pixels on a dark ground, whose edges lie on the grid of 8 pixels."""
    mask = np.kron(np.indices((side // 8, side // 8)).sum(axis=0) % 2, np.ones((8, 8), int))
    return TrainingCrop(mask[..., None].astype(np.float32), mask.astype(np.uint8))


def ceiling(size: float, dice: float, boundary_f1: float = 0.5, compactness: float = 0.1) -> Ceiling:
    return Ceiling("slic", size, compactness, 1.0, 1e6 / size, dice, float("nan"), boundary_f1, 0.1)


def test_a_grid_on_the_edges_of_the_classes_reaches_everything_and_a_coarser_one_half() -> None:
    fine, coarse = scan_settings(
        [squares(), squares()], [SuperpixelsConfig("grid", 64.0), SuperpixelsConfig("grid", 256.0)], TASK, 0.0
    )
    assert (fine.dice, fine.boundary_f1, fine.cl_dice) == (1.0, 1.0, 1.0)
    assert fine.nodes_per_megapixel == pytest.approx(1e6 / 64)
    assert coarse.dice == pytest.approx(1 / 3)  # all pixels have the class of half of them: 2/3 and 0
    assert coarse.nodes_per_megapixel == pytest.approx(1e6 / 256)


def test_the_ceiling_falls_as_superpixels_grow() -> None:
    settings = [SuperpixelsConfig("slic", size, sigma=0.0) for size in (9.0, 64.0, 576.0)]
    scores = [one.dice for one in scan_settings([squares()], settings, TASK, 1.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.99 > scores[-1]


def test_settings_are_all_combinations_and_a_grid_has_one_for_each_size() -> None:
    found = list_combinations(["slic", "grid", "felzenszwalb"], [16, 30], [0.05, 0.1], [0.0, 1.0], 3)
    assert len(found) == len({repr(one) for one in found})
    counts = {method: sum(one.method == method for one in found) for method in ("slic", "grid", "felzenszwalb")}
    assert counts == {"slic": 8, "grid": 2, "felzenszwalb": 8}


def test_the_largest_superpixels_that_are_good_enough_are_proposed() -> None:
    scanned = [ceiling(16, 0.990), ceiling(30, 0.986), ceiling(30, 0.987, 0.9, 0.05), ceiling(60, 0.984)]
    assert propose(scanned) is scanned[2]
    assert propose(scanned).describe().startswith("superpixels.method=slic superpixels.superpixel_size=30 ")


def test_crops_are_the_middles_of_images_spread_over_the_list() -> None:
    images = [np.full((20, 40, 1), number, np.float32) for number in range(5)]
    samples = [Sample(str(n), image, np.zeros(image.shape[:-1], np.uint8)) for n, image in enumerate(images)]
    crops = cut_crops(samples, 3, 200)
    assert [crop.image[0, 0, 0] for crop in crops] == [0, 2, 4]
    assert {crop.mask.shape for crop in crops} == {(10, 20)}
    assert cut_crops(samples[:1], 3, 10**6)[0].mask.shape == (20, 40)


def test_the_command_prints_a_proposal_and_leaves_a_table_and_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets.make(tmp_path / "set")
    words = [f"out={tmp_path / 'out'}", "methods=slic,grid", "sizes=4,9", "compactness=0.1", "sigma=1"]
    assert main(["superpixels", *words, "dataset=folder", f"dataset.root={tmp_path / 'set'}"]) == 0
    printed = capsys.readouterr().out
    assert "proposed: superpixels.method=" in printed
    [table] = (tmp_path / "out").glob("*.csv")
    assert len(pd.read_csv(table)) == 4
    assert table.with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize("word", ["methods=none", "sizes=0", "compactness=0", "sigma=-1", "images=0", "sizes="])
def test_what_cannot_be_scanned_is_refused(word: str) -> None:
    with pytest.raises(InputError, match=word.partition("=")[0]):
        run_verb("superpixels", [word])
