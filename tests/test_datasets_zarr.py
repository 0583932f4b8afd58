"""Zarr and OME-Zarr as images: what was stored is what is read, in part or whole, and nothing else is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image
from bench.datasets.registry import load
from bench.datasets.zarr_files import CODECS

if TYPE_CHECKING:
    import zarr


VALUES = np.random.default_rng(0).integers(0, 60_000, (45, 70)).astype(np.uint16)


def write(path: Path, values: np.ndarray = VALUES, **settings: Any) -> Path:
    chunks = settings.pop("chunks", (*(1 for _ in values.shape[:-2]), 16, 16))
    array = zarr.create_array(path, shape=values.shape, chunks=chunks, dtype=values.dtype, **settings)
    array[...] = values
    return path


def level(path: str, scale: float) -> dict[str, Any]:
    return {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [scale] * 3}]}


def write_ome(path: Path, values: np.ndarray, names: str, version: str = "0.5", **image: Any) -> Path:
    """An image with two levels, the second one of zeros."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for level, pixels in (("full", values), ("half", np.zeros_like(values)[..., ::2, ::2])):
        group.create_array(level, shape=pixels.shape, chunks=pixels.shape, dtype=pixels.dtype)[...] = pixels
    named = [{"name": name, "type": "space", "unit": "micrometer"} for name in names]
    scale = {"type": "scale", "scale": [0.5] * len(names)}
    levels = [{"path": name, "coordinateTransformations": [scale]} for name in ("full", "half")]
    content: Any = {"version": version, "multiscales": [{"axes": named, "datasets": levels} | image]}
    group.attrs.update({"ome": content} if version == "0.5" else content)
    return path


@pytest.mark.parametrize("settings", [{"zarr_format": 2}, {"zarr_format": 3}, {"shards": (32, 32)}], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
def test_an_array_is_read_in_part_and_whole(settings: dict[str, Any], dtype: type, tmp_path: Path) -> None:
    values: np.ndarray = (VALUES % 251).astype(dtype)
    opened = open_image(write(tmp_path / "a.zarr", values, **settings))
    assert (opened.array.shape, opened.array.dtype) == (values.shape, values.dtype)
    np.testing.assert_array_equal(opened.array[10:20, 33:], values[10:20, 33:])
    np.testing.assert_array_equal(np.asarray(opened.array), values)


def test_a_big_endian_array_is_read_in_native_order(tmp_path: Path) -> None:
    opened = open_image(write(tmp_path / "a.zarr", VALUES.astype(">u2"), zarr_format=2))
    assert opened.array.dtype.isnative
    np.testing.assert_array_equal(opened.array[3:5], VALUES[3:5])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_image_is_its_full_resolution_without_axes_of_length_1(version: str, tmp_path: Path) -> None:
    opened = open_image(write_ome(tmp_path / "a.ome.zarr", VALUES[None, None, None], "tczyx", version))
    assert (opened.array.shape, opened.channel_axis, opened.pixel_size) == (VALUES.shape, None, (0.5, 0.5))
    assert opened.units == ("micrometer", "micrometer")
    np.testing.assert_array_equal(opened.array[5:9, 60:], VALUES[5:9, 60:])


def test_the_channels_of_an_ome_image_are_named(tmp_path: Path) -> None:
    values = np.stack([VALUES, VALUES + 1, VALUES + 2])
    opened = open_image(write_ome(tmp_path / "a.ome.zarr", values[None], "tcyx"))
    assert (opened.channel_axis, opened.array.shape) == (0, (3, 45, 70))
    np.testing.assert_array_equal(opened.array[1], values[1])


def test_a_group_is_its_only_array_or_its_only_image(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("raw", shape=VALUES.shape, dtype=VALUES.dtype)[...] = VALUES
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").array[:2], VALUES[:2])
    outer = zarr.open_group(tmp_path / "b.zarr", mode="w")
    outer.attrs["ome"] = {"bioformats2raw.layout": 3, "version": "0.5"}
    write_ome(tmp_path / "b.zarr" / "0", VALUES, "yx")
    np.testing.assert_array_equal(open_image(tmp_path / "b.zarr").array[:2], VALUES[:2])


def test_a_folder_data_set_may_be_of_zarr_and_ome_tiff(tmp_path: Path) -> None:
    """The same images and masks in other kinds of files are the same data set, values and moments alike."""
    plain, other = sets.make(tmp_path / "plain"), sets.make(tmp_path / "other")
    for stem in sets.STEMS:
        for folder, values in (("images", sets.picture(sets.STEMS.index(stem))), ("masks", sets.classes())):
            (other / folder / f"{stem}.png").unlink()
            write(other / folder / f"{stem}.zarr", values, chunks=(4, 4))
    (other / "images" / "a.zarr").rename(other / "images" / "x")
    write_ome(other / "images" / "a.ome.zarr", sets.picture(0)[None], "cyx")
    (other / "masks" / "b.zarr").rename(other / "masks" / "y")
    sets.write(other / "masks" / "b.ome.tif", sets.classes())
    one, two = (load(FolderConfig(root=str(root), normalization="dataset")) for root in (plain, other))
    for left, right in zip((*one.train, *one.val, *one.test), (*two.train, *two.val, *two.test), strict=True):
        assert left.name == right.name
        np.testing.assert_array_equal(np.asarray(left.image), np.asarray(right.image))
        np.testing.assert_array_equal(left.image[2:5, 3], right.image[2:5, 3])
        np.testing.assert_array_equal(left.mask[1:4], right.mask[1:4])
    assert one.facts["dataset.content"] != two.facts["dataset.content"]


# ------------------------------------------------------------------------------------------------- what goes wrong


def change(name: str, **values: Any) -> Callable[[Path], object]:
    def damage(store: Path) -> None:
        content = json.loads((store / name).read_text())
        (store / name).write_text(json.dumps(content | values))

    return damage


def drop(name: str, key: str) -> Callable[[Path], object]:
    def damage(store: Path) -> None:
        content = json.loads((store / name).read_text())
        del content[key]
        (store / name).write_text(json.dumps(content))

    return damage


def regular(*chunks: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": chunks}}


PICKLED = [{"name": "bytes"}, {"name": "numcodecs.pickle"}]
SHARDED_PICKLE = [{"name": "sharding_indexed", "configuration": {"chunk_shape": [16, 16], "codecs": PICKLED}}]
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no metadata": (lambda store: (store / "zarr.json").unlink(), "is not a Zarr store"),
    "broken json": (lambda store: (store / "zarr.json").write_text("{"), r"zarr\.json cannot be read as JSON"),
    "json of another kind": (lambda store: (store / "zarr.json").write_text("[]"), r"zarr\.json must hold an object"),
    "no node type": (drop("zarr.json", "node_type"), "must say array or group"),
    "no shape": (drop("zarr.json", "shape"), "shape must be a list"),
    "negative shape": (change("zarr.json", shape=[-4, 8]), "shape must be a list"),
    "nothing in it": (change("zarr.json", shape=[0, 8]), "holds no pixels"),
    "too large": (change("zarr.json", shape=[2**30, 2**30]), "more than"),
    "no chunk grid": (drop("zarr.json", "chunk_grid"), "no regular chunk_grid"),
    "chunks of other axes": (change("zarr.json", chunk_grid=regular(16)), "has 2 axes, and its chunks 1"),
    "chunks of nothing": (change("zarr.json", chunk_grid=regular(16, 0)), "chunk_shape must be a list"),
    "a chunk too large": (
        change("zarr.json", shape=[99999, 99999], chunk_grid=regular(99999, 99999)),
        "write it with smaller chunks",
    ),
    "objects": (change("zarr.json", data_type="object"), "must hold plain numbers"),
    "text": (change("zarr.json", data_type={"name": "fixed_length_utf32"}), "must hold plain numbers"),
    "no codecs": (drop("zarr.json", "codecs"), "no list of codecs"),
    "pickled": (change("zarr.json", codecs=PICKLED), "uses the codec numcodecs.pickle, which is not read"),
    "pickled in shards": (change("zarr.json", codecs=SHARDED_PICKLE), "uses the codec numcodecs.pickle"),
    "shards of nonsense": (
        change("zarr.json", codecs=[{"name": "sharding_indexed", "configuration": 3}]),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr")
    break_it, sentence = DAMAGES[damage]
    break_it(store)
    with pytest.raises(InputError, match=sentence) as caught:
        open_image(store)
    assert str(store) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("dtype", "|O", "plain numbers"),
        ("dtype", [["a", "<u2"]], "plain numbers"),
        ("filters", [{"id": "pickle"}], "uses the codec pickle"),
        ("compressor", {"id": "json2"}, "uses the codec json2"),
    ],
)
def test_version_2_is_no_way_around(key: str, value: Any, sentence: str, tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr", zarr_format=2)
    change(".zarray", **{key: value})(store)
    with pytest.raises(InputError, match=sentence):
        open_image(store)


def test_no_allowed_codec_runs_what_it_reads() -> None:
    assert not any("pickle" in name or "json" in name or "vlen" in name for name in CODECS)


@pytest.mark.parametrize("name", ["../other", "/etc", "", "full/../../x", 3, None])
def test_a_path_cannot_leave_its_store(name: Any, tmp_path: Path) -> None:
    write(tmp_path / "other")
    store = write_ome(tmp_path / "a.ome.zarr", VALUES, "yx", datasets=[{"path": name}])
    with pytest.raises(InputError, match="outside the store"):
        open_image(store)


def test_a_link_cannot_leave_its_store(tmp_path: Path) -> None:
    write(tmp_path / "other")
    store = write_ome(tmp_path / "a.ome.zarr", VALUES, "yx", datasets=[{"path": "link"}])
    (store / "link").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="outside the store"):
        open_image(store)


@pytest.mark.parametrize(
    ("axes", "image", "sentence"),
    [
        ("tyx", {}, "holds 2 points in time"),
        ("yx", {}, "names the axes y, x, and its array has 3"),
        ("zyx", {"datasets": []}, "must be a list of objects"),
        ("zyx", {"datasets": [{"path": "gone"}]}, "that is not there"),
        ("zyx", {"axes": "zyx"}, "axes must be a list"),
        ("zyx", {"datasets": [level("half", 1.0), level("full", 0.5)]}, "names a lower resolution first"),
    ],
)
def test_metadata_of_ome_that_does_not_fit(axes: str, image: Any, sentence: str, tmp_path: Path) -> None:
    store = write_ome(tmp_path / "a.ome.zarr", np.stack([VALUES, VALUES]), axes, **image)
    with pytest.raises(InputError, match=sentence):
        open_image(store)


def test_groups_that_say_too_little(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    with pytest.raises(InputError, match="without an array"):
        open_image(tmp_path / "a.zarr")
    for name in ("one", "two"):
        group.create_array(name, shape=(4, 4), dtype="uint8")
    with pytest.raises(InputError, match=r"holds 2 arrays or images: give one of them, as in .*one"):
        open_image(tmp_path / "a.zarr")
    group.attrs["plate"] = {}
    with pytest.raises(InputError, match="is a plate"):
        open_image(tmp_path / "a.zarr")


def test_a_damaged_chunk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.arrays.chunked.UNIT_VALUES", 1)
    store = write(tmp_path / "a.zarr")
    chunk = store / "c" / "1" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    array = open_image(store).array
    with pytest.raises(InputError, match=r"a\.zarr cannot be read"):
        array[16:20, 16:20]
    np.testing.assert_array_equal(array[:16, :16], VALUES[:16, :16])


def test_a_mask_must_hold_whole_numbers(tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_mask(write(tmp_path / "m.zarr"))[:3], VALUES[:3])
    np.testing.assert_array_equal(open_mask(write(tmp_path / "f.zarr", VALUES.astype(np.float32)))[:3], VALUES[:3])
    with pytest.raises(InputError, match=r"holds 0\.5"):
        open_mask(write(tmp_path / "h.zarr", np.full((16, 16), 0.5)))[...]
    with pytest.raises(InputError, match="has 4 axes"):
        open_mask(write(tmp_path / "g.zarr", np.stack([[VALUES, VALUES]] * 2)))


def test_a_link_out_of_a_store_is_no_part_of_a_data_set(tmp_path: Path) -> None:
    root = sets.make(tmp_path / "set")
    (root / "images" / "a.png").unlink()
    store = write(root / "images" / "a.zarr", sets.picture(0), chunks=(6, 8))
    (tmp_path / "secret").write_bytes((store / "c" / "0" / "0").read_bytes())
    (store / "c" / "0" / "0").unlink()
    (store / "c" / "0" / "0").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="0 is a link, a device or a pipe"):
        load(FolderConfig(root=str(root)))


def test_chunks_that_are_not_there_are_said(tmp_path: Path) -> None:
    root = sets.make(tmp_path / "set")
    (root / "images" / "b.png").unlink()
    store = write(root / "images" / "b.zarr", sets.picture(1) + 1, chunks=(3, 4))
    assert not [note for note in load(FolderConfig(root=str(root))).notes if "chunks" in note]
    (store / "c" / "0" / "1").unlink()
    splits = load(FolderConfig(root=str(root), normalization="none"))
    assert "1 file: b.zarr lacks chunks, whose pixels count as the fill value" in splits.notes
    assert (np.asarray(splits.train[1].image)[:3, 4:] == 0).all()
