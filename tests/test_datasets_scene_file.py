"""A scene on disk is the scene, and what cannot be asked for is refused."""

from pathlib import Path

import numpy as np
import pytest

from bench.cli import run_verb
from bench.config import InputError
from bench.datasets.opening import open_image
from bench.datasets.scene import Region, generate_block
from bench.datasets.scene_file import draw_scene, write_zarr


def test_the_file_is_the_scene_in_16_bits(tmp_path: Path) -> None:
    out, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    assert run_verb("scene", [f"out={out}", "shape=100x150", "seed=3", "modality=phase_contrast"]) == 0
    write_zarr(other, (100, 150), 3, "phase_contrast", side=64)
    expected, _ = generate_block(draw_scene((100, 150), 3, "phase_contrast"), Region(0, 0, 100, 150))
    for path in (out, other):
        stored = np.asarray(open_image(path).array)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, np.rint(expected * 65535))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("out=a.tif", r"must end in \.zarr"),
        ("out=no/a.zarr", "is not a folder"),
        ("shape=100", "must look like 4096x4096"),
        ("shape=0x5", "must be positive"),
        ("seed=-1", "seed must not be negative"),
        ("seed=one", "seed must be a whole number"),
        ("modality=x", "modality must be one of"),
        ("num_classes=4", "must be 2 or 3"),
        ("size=3", "is not a setting of scene"),
    ],
)
def test_what_cannot_be_asked_for(
    override: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        run_verb("scene", [*(["out=a.zarr"] if "out=" not in override else []), override])
