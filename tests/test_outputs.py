"""Masks on disk: what was assigned is what every reader finds, and a file under its name is whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import ImageLabel

from bench.arrays.protocols import Writable
from bench.config import InputError
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image
from bench.files import name_temporary
from bench.predict import outputs
from bench.predict.outputs import Meaning, check_writable, clear_stale, cut_chunks, writing

NAMES = ("ground", "cell", "other")
MICRO = Meaning(NAMES, (0.5, 0.25), ("micrometer", "micrometer"))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "SIDE", 16)
    monkeypatch.setattr(outputs, "SMALLEST_LEVEL", 16)


def mask(shape: tuple[int, ...] = (45, 70)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)


def written(path: Path, meaning: Meaning = MICRO, shape: tuple[int, ...] = (45, 70)) -> Path:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    with writing(path, shape, meaning, scratch) as out:
        assert (out.shape, out.dtype) == (shape, np.uint8)
        for start in range(0, shape[0], 10):
            out[start : start + 10] = mask(shape)[start : start + 10]
        assert not path.exists()
    return path


@pytest.mark.parametrize("shape", [(45, 70), (16, 32), (3, 20, 17)])
@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr", "m.tif", "m.ome.tif"])
def test_what_was_assigned_is_what_is_read(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path = written(tmp_path / name, Meaning(NAMES), shape)
    np.testing.assert_array_equal(np.asarray(open_mask(path)), mask(shape))
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([name, "scratch"])


@pytest.mark.parametrize("name", ["m.ome.zarr", "m.ome.tif"])
def test_the_pixel_size_of_the_image_is_that_of_the_mask(name: str, tmp_path: Path) -> None:
    opened = open_image(written(tmp_path / name))
    assert (opened.pixel_size, opened.units) == (MICRO.pixel_size, MICRO.units)


def test_a_tiff_is_tiled_and_compressed_and_knows_its_resolution(tmp_path: Path) -> None:
    with tifffile.TiffFile(written(tmp_path / "m.tif")) as tiff:
        [page] = tiff.pages
        assert page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.get_resolution("MICROMETER") == pytest.approx((4, 2))


def test_an_ome_zarr_is_a_valid_label_image_with_halved_levels(tmp_path: Path) -> None:
    group = zarr.open_group(written(tmp_path / "m.ome.zarr"), mode="r")
    labels = ImageLabel.from_zarr(group)
    [multiscale] = labels.ome_attributes.multiscales
    assert [dataset.path for dataset in multiscale.datasets] == ["0", "1", "2", "3"]
    assert [axis.name for axis in multiscale.axes] == ["y", "x"]
    np.testing.assert_array_equal(np.asarray(group["1"]), mask()[::2, ::2])
    np.testing.assert_array_equal(np.asarray(group["2"]), mask()[::4, ::4])
    ome: Any = group.attrs.asdict()["ome"]
    levels = ome["multiscales"][0]["datasets"]
    scales = [level["coordinateTransformations"][0]["scale"] for level in levels]
    assert scales[:2] == [[0.5, 0.25], [1, 0.5]]


def test_many_classes_take_a_wider_type(tmp_path: Path) -> None:
    with writing(tmp_path / "m.zarr", (4, 4), Meaning(tuple(f"{n}" for n in range(257))), tmp_path) as out:
        assert out.dtype == np.uint16


def interrupt(out: Writable, error: type[BaseException]) -> None:
    out[:10] = 1
    raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr", "m.tif"])
def test_interrupted_it_leaves_nothing_and_what_was_there(
    name: str, error: type[BaseException], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(error), writing(tmp_path / name, (45, 70), MICRO, scratch) as out:
        interrupt(out, error)
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    (tmp_path / "keep").mkdir()
    path = written(tmp_path / "keep" / name)
    with pytest.raises(error), writing(path, (45, 70), MICRO, scratch) as out:
        interrupt(out, error)
    np.testing.assert_array_equal(np.asarray(open_mask(path)), mask())


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr", "m.tif"])
def test_a_finished_result_replaces_what_was_there(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    with writing(path, (8, 9), MICRO, tmp_path / "scratch") as out:
        out[...] = 2
    np.testing.assert_array_equal(np.asarray(open_mask(path)), np.full((8, 9), 2))
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([name, "scratch"])


def test_leavings_of_the_dead_are_removed_and_of_the_living_are_not(tmp_path: Path) -> None:
    path = tmp_path / "m.zarr"
    mine = name_temporary(path, "partial")
    mine.mkdir()
    dead = tmp_path / ".m.zarr.999999999-0123456789ab.scratch"
    dead.mkdir()
    clear_stale(path)
    assert [found.name for found in tmp_path.iterdir()] == [mine.name]


def test_blocks_cover_an_array_once() -> None:
    seen = np.zeros((2, 33, 16), int)
    for block in cut_chunks(seen.shape):
        seen[block] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.png", r"out must end in \.ome\.zarr"),
        (".zarr", "out must end in"),
        ("no/m.tif", "is not a folder: make it first"),
        ("there.tif", "exists already"),
    ],
)
def test_a_place_that_cannot_take_it_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there.tif").write_bytes(b"")
    with pytest.raises(InputError, match=sentence):
        check_writable(tmp_path / name, overwrite=False)
    check_writable(tmp_path / "there.tif", overwrite=True)
