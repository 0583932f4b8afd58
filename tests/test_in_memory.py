"""Images decoded once beside graphs on the disk: the same values, in memory or in a file that goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import FolderConfig
from bench.datasets.registry import load

if TYPE_CHECKING:
    from bench.pipelines.in_memory import hold_small


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("what", ["image", "mask"])
def test_what_was_decoded_once_has_the_values_of_its_file(
    what: str, in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr("bench.pipelines.in_memory.SPARE_VALUES", 1)
    source = getattr(load(FolderConfig(root=str(sets.make(tmp_path / "set", ".tif")))).train[0], what)
    place = tmp_path / "scratch"
    place.mkdir()
    expected = np.asarray(source)
    held = hold_small(source, str(place))
    assert len(list(place.iterdir())) == (not in_memory)
    for stem in sets.STEMS:  # nothing is read from the files of the set any more
        (tmp_path / "set" / f"{what}s" / f"{stem}{'.tif' if what == 'image' else '.png'}").unlink()
    np.testing.assert_array_equal(np.asarray(held), expected)
    for start in range(0, held.shape[0], 2):
        np.testing.assert_array_equal(np.asarray(held[start : start + 2]), expected[start : start + 2])
    assert expected.max() > 0
    del held
    assert list(place.iterdir()) == []


def test_large_images_and_arrays_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((40, 50, 1), np.float32)
    assert hold_small(values, str(tmp_path)) is values
    source = load(FolderConfig(root=str(sets.make(tmp_path / "set")))).train[0].image
    monkeypatch.setattr("bench.pipelines.in_memory.SMALL_VALUES", 1)
    assert hold_small(source, str(tmp_path)) is source
