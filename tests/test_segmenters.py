"""Superpixels of other libraries are compared at as many superpixels, and left out where the library is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import folder_sets as sets

from bench.cli import run_verb
from bench.config import InputError, SuperpixelsConfig
from bench.datasets.sample import Task

if TYPE_CHECKING:
    import pandas as pd

    from bench.perf.programs import PROGRAMS, Image, Program, Segments, count_segments, fit_size, number_densely
    from bench.perf.segmenters import compare_segmenters, list_segmenters
    from bench.scan.ceilings import TrainingCrop


def squares(image: Image, size: float) -> Segments:
    """Cut an image into squares of a whole side; the numbers are neither dense nor from 0."""
    side = max(round(size**0.5), 1)
    rows, columns = np.indices(image.shape[:2]) // side
    numbers: Segments = (rows * 1000 + columns) * 3 + 7
    return numbers


def cut_squares(image: Image, config: SuperpixelsConfig) -> Segments:
    return squares(image, config.superpixel_size or 1.0)


def test_the_size_is_found_at_which_there_are_as_many_superpixels() -> None:
    image = np.zeros((60, 60, 1), np.float32)
    for side in (2, 4, 10):
        assert count_segments(squares(image, fit_size(squares, image, (60 // side) ** 2, 30.0))) == (60 // side) ** 2


def test_renumbered_segments_are_the_same_ones_with_all_numbers_used() -> None:
    ids = squares(np.zeros((12, 20, 1), np.float32), 16.0)
    dense = number_densely(ids)
    assert set(np.unique(dense)) == set(range(count_segments(ids)))
    assert len({(int(one), int(other)) for one, other in zip(ids.ravel(), dense.ravel(), strict=True)}) == 15


def test_a_row_holds_the_ceiling_and_the_number_of_superpixels() -> None:
    mask = (np.indices((32, 32)).sum(axis=0) // 8 % 2).astype(np.uint8)
    crop = TrainingCrop(mask[..., None].astype(np.float32), mask)
    chosen = {"fine": squares, "coarse": squares}
    task = Task(("background", "cell"), 1, 2)
    fine, coarse = compare_segmenters(chosen, {"fine": 1.0, "coarse": 256.0}, [crop, crop], task, 2)
    assert (fine["ceiling"], fine["nodes_per_megapixel"], fine["ratio"]) == (1.0, 1e6, 1.0)
    assert coarse["ceiling"] < 0.8
    assert coarse["nodes_per_megapixel"] == pytest.approx(1e6 / 256)
    assert coarse["ratio_min"] <= coarse["ratio"] <= coarse["ratio_max"]


@pytest.mark.parametrize("axes", [2, 3])
def test_installed_libraries_cover_the_image_with_about_so_many_superpixels(axes: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(64, 72, 1) if axes == 2 else (12, 32, 36, 1)).astype(np.float32)
    expected = image[..., 0].size / 64
    tried = list_segmenters(axes)
    assert len(tried) >= 3
    for run in tried.values():
        ids = run(image, 64.0)
        assert ids.shape == image.shape[:-1]
        assert expected / 4 < count_segments(ids) < expected * 4


def test_the_verb_writes_a_row_for_each_size_and_library_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROGRAMS, "strange", Program("Strange", "no_such_module", "no_such_library", cut_squares))
    sets.make(tmp_path / "data")
    words = ["dataset=folder", f"dataset.root={tmp_path / 'data'}", "sizes=[8]", "images=1", "repeats=1"]
    assert run_verb("segmenters", [*words, f"out={tmp_path / 'out'}"]) == 0
    table = pd.read_csv(tmp_path / "out" / "segmenters.csv")
    assert table["segmenter"].iloc[0] == "slic"
    assert table["ratio"].iloc[0] == 1
    assert "no_such_library" in capsys.readouterr().out
    with pytest.raises(InputError, match="sizes must be at least 4"):
        run_verb("segmenters", [*words[:2], "sizes=[1]"])
