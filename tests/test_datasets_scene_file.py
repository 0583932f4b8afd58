"""A scene on disk is the scene, and what cannot be asked for is refused."""

from pathlib import Path

import numpy as np
import pytest

from bench.cli import run_verb
from bench.config import InputError
from bench.datasets.opening import open_image
from bench.datasets.random_fields import Region
from bench.datasets.scene import generate_block
from bench.datasets.scene_file import draw_scene, write_zarr
from bench.datasets.volume_scene import generate_volume_block


def test_the_file_is_the_scene_in_16_bits(tmp_path: Path) -> None:
    out, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    assert run_verb("scene", [f"out={out}", "shape=100x150", "seed=3", "modality=phase_contrast"]) == 0
    write_zarr(other, draw_scene((100, 150), 3, "phase_contrast"), side=64)
    expected, _ = generate_block(draw_scene((100, 150), 3, "phase_contrast"), Region(0, 0, 100, 150))
    for path in (out, other):
        stored = np.asarray(open_image(path).array)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, np.rint(expected * 65535))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_three_lengths_make_a_volume(tmp_path: Path) -> None:
    out = tmp_path / "a.zarr"
    assert run_verb("scene", [f"out={out}", "shape=18x40x36", "plane_distance=2", "num_classes=2"]) == 0
    opened = open_image(out).array
    scene = draw_scene((18, 40, 36), 0, "fluorescence", 2, 2.0)
    expected, _ = generate_volume_block(scene, (slice(0, 18), slice(0, 40), slice(0, 36)))
    np.testing.assert_array_equal(np.asarray(opened), np.rint(expected * 65535))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("out=a.tif", r"must end in \.zarr"),
        ("out=no/a.zarr", "is not a folder"),
        ("shape=100", "must be two or three positive numbers"),
        ("shape=0x5", "must be two or three positive numbers"),
        ("shape=5xx", "shape must be a whole number"),
        ("plane_distance=0", "plane_distance must be positive"),
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
