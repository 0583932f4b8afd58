"""Masks on disk: what was assigned is what every reader finds, and a file under its name is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.arrays.protocols import Writable
from bench.config import InputError
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image
from bench.predict.meaning import Meaning, choose_colour
from bench.predict.ome_zarr import list_blocks
from bench.predict.outputs import (
    check_folder,
    check_name,
    check_parent,
    name_overlay,
    name_probabilities,
    write_mask,
    write_probabilities,
)
from bench.predict.png_files import find_edges, lay_over, thin_pixels, write_overlay
from bench.scores.panels import display

if TYPE_CHECKING:
    import zarr
    from ome_zarr_models.v05 import ImageLabel


SIDE = 16  # of chunks and tiles: small, so that there are several
NAMES = ("ground", "cell", "other")
MICRO = Meaning(NAMES, (0.5, 0.25), ("micrometer", "micrometer"))


def mask(shape: tuple[int, ...] = (45, 70)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)


def written(path: Path, meaning: Meaning = MICRO, shape: tuple[int, ...] = (45, 70)) -> Path:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    with write_mask(path, shape, meaning, scratch, SIDE) as out:
        assert (out.shape, out.dtype) == (shape, np.uint8)
        for start in range(0, shape[0], 10):
            out[start : start + 10] = mask(shape)[start : start + 10]
        assert not path.exists()
    return path


@pytest.mark.parametrize("shape", [(45, 70), (16, 32), (3, 20, 17)])
@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr", "m.tif", "m.ome.tif", "m.png"])
def test_what_was_assigned_is_what_is_read(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    if name == "m.png" and len(shape) == 3:
        return  # a plane; predict refuses it before any work
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


def test_a_plain_tiff_of_any_unit_knows_its_resolution_and_the_distance_of_planes(tmp_path: Path) -> None:
    nano = Meaning(NAMES, (40.0, 8.0, 4.0), ("nanometer", "nanometer", "nanometer"))
    with tifffile.TiffFile(written(tmp_path / "m.tif", nano, (3, 20, 17))) as tiff:
        assert tiff.pages[0].get_resolution("MICROMETER") == pytest.approx((250, 125))
        [described] = tiff.shaped_metadata
        assert described["pixel_size"] == [40, 8, 4]
        assert described["pixel_size_units"] == ["nanometer"] * 3


def test_lengths_of_no_known_unit_are_no_resolution(tmp_path: Path) -> None:
    with tifffile.TiffFile(written(tmp_path / "m.tif", Meaning(NAMES, (2.0, 2.0), (None, None)))) as tiff:
        assert tiff.pages[0].get_resolution() == (1, 1)


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
    with write_mask(tmp_path / "m.zarr", (4, 4), Meaning(tuple(f"{n}" for n in range(257))), tmp_path) as out:
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
    with pytest.raises(error), write_mask(tmp_path / name, (45, 70), MICRO, scratch) as out:
        interrupt(out, error)
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    (tmp_path / "keep").mkdir()
    path = written(tmp_path / "keep" / name)
    with pytest.raises(error), write_mask(path, (45, 70), MICRO, scratch, SIDE) as out:
        interrupt(out, error)
    np.testing.assert_array_equal(np.asarray(open_mask(path)), mask())


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr", "m.tif"])
def test_a_finished_result_replaces_what_was_there(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    with write_mask(path, (8, 9), MICRO, tmp_path / "scratch") as out:
        out[...] = 2
    np.testing.assert_array_equal(np.asarray(open_mask(path)), np.full((8, 9), 2))
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([name, "scratch"])


def test_blocks_cover_an_array_once() -> None:
    seen = np.zeros((2, 33, 16), int)
    for block in list_blocks(seen.shape, SIDE):
        seen[block] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.jpg", r"out must end in \.ome\.zarr"),
        (".zarr", "out must end in"),
        ("no/m.tif", "is not a folder: make it first"),
        ("there.tif", "exists already"),
    ],
)
def test_a_place_that_cannot_take_it_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there.tif").write_bytes(b"")
    with pytest.raises(InputError, match=sentence):
        check_place(tmp_path / name)
    check_name(tmp_path / "there.tif", overwrite=True)


def check_place(path: Path) -> None:
    check_name(path, overwrite=False)
    check_parent(path)


def test_a_folder_that_can_be_made_is_none_to_refuse(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deeper")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written to"):
        check_folder(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["m.tif", "m.png"])
def test_viewers_show_the_classes_in_colour(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB"))
    for number in range(3):
        assert (shown[mask() == number] == choose_colour(number)).all()


def test_colours_of_classes_differ_and_the_background_has_none() -> None:
    assert choose_colour(0) == (0, 0, 0)
    assert len({choose_colour(number) for number in range(22)}) == 22


@pytest.mark.parametrize(
    ("name", "kind"),
    [("m.zarr", np.float16), ("m.ome.zarr", np.float16), ("m.tif", np.float32), ("m.ome.tif", np.float32)],
)
def test_probabilities_lie_beside_the_mask_with_the_classes_first(name: str, kind: type, tmp_path: Path) -> None:
    shares: np.ndarray = np.random.default_rng(0).random((3, 45, 70)).astype(kind)
    place, scratch = name_probabilities(tmp_path / name), tmp_path / "scratch"
    scratch.mkdir()
    with write_probabilities(place, (45, 70), MICRO, scratch, SIDE) as out:
        out[...] = shares
    opened = open_image(place)
    assert opened.array.dtype == kind
    assert opened.channel_axis in (0, None)
    np.testing.assert_array_equal(np.asarray(opened.array), shares)
    assert place.name == name.replace("m.", "m.probabilities.")
    assert name_probabilities(tmp_path / "m.png").name == "m.probabilities.tif"
    if name == "m.ome.zarr":
        assert opened.pixel_size == (1.0, *(MICRO.pixel_size or ()))
        levels = zarr.open_group(place, mode="r")
        np.testing.assert_array_equal(np.asarray(levels["1"]), shares[:, ::2, ::2])


def test_an_overlay_shows_the_image_where_nothing_was_found_and_the_boundary_in_full_colour(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((40, 50, 1)).astype(np.float32)
    classes = np.zeros((40, 50), np.uint8)
    classes[10:30, 10:30] = 2
    drawn = lay_over(image, classes)
    assert (drawn[classes == 0] == drawn[classes == 0][:, :1]).all(), "grey"
    assert (drawn[10, 10:30] == choose_colour(2)).all()
    assert (drawn[10:30, 11] == choose_colour(2)).all()
    inside = drawn[15, 15].astype(float)
    grey = display(image)[15, 15]
    np.testing.assert_allclose(inside, grey + 0.35 * (np.array(choose_colour(2)) - float(grey)), atol=1)
    write_overlay(name_overlay(tmp_path / "m.ome.tif"), image, classes)
    with Image.open(tmp_path / "m.overlay.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), drawn)


def test_edges_lie_on_both_sides_of_a_boundary() -> None:
    row = np.array([[0, 0, 0, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(find_edges(row), [[False, True, True, True, True, False, False, False]])
    np.testing.assert_array_equal(find_edges(row.T), find_edges(row).T)
    assert not find_edges(np.ones((1, 1), int)).any()


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_large_overlay_has_every_so_many_th_pixel(step: int) -> None:
    array = np.arange(23 * 31).reshape(23, 31)
    np.testing.assert_array_equal(thin_pixels(array, step, band_pixels=5 * 31), array[::step, ::step])
