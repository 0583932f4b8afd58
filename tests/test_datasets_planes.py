"""A stack is one volume, or its planes are images of their own: what was done is said, and splits keep stacks whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.registry import load
from bench.datasets.sample import Splits

if TYPE_CHECKING:
    import zarr


DEPTH = 4


def stack_of(seed: int, channels: int) -> NDArray[np.uint16]:
    """(z, y, x, c)"""
    return np.random.default_rng(seed).integers(0, 60_000, (DEPTH, 6, 8, channels)).astype(np.uint16)


MASK = np.stack([np.roll(sets.classes(), plane, axis=1) for plane in range(DEPTH)])


def save(path: Path, stack: NDArray[Any], kind: str) -> None:
    """`kind` names the axes in the file, and after a space how they are named there."""
    axes, _, how = kind.partition(" ")
    letters = axes.lower().replace("t", "z")
    stored = stack.transpose(["zyxc".index(letter) for letter in letters]) if "c" in letters else stack[..., 0]
    if how == "zarr":
        names = list(axes.lower())
        array = zarr.create_array(
            path.with_suffix(".zarr"),
            shape=stored.shape,
            chunks=stored.shape,
            dtype=stored.dtype,
            dimension_names=names,
        )
        array[...] = stored
    elif how == "imagej":
        tifffile.imwrite(path.with_suffix(".tif"), stored, imagej=True, metadata={"axes": axes})
    elif how == "ome":
        tifffile.imwrite(path.with_suffix(".ome.tif"), stored, metadata={"axes": axes}, photometric="minisblack")
    else:
        tifffile.imwrite(path.with_suffix(".tif"), stored, photometric="minisblack", compression="zlib")


def make(root: Path, kind: str, channels: int) -> Path:
    sets.make(root)
    for n, stem in enumerate(sets.STEMS):
        for folder in ("images", "masks"):
            (root / folder / f"{stem}.png").unlink()
        save(root / "images" / stem, stack_of(n, channels), kind)
        tifffile.imwrite(root / "masks" / f"{stem}.tif", MASK, photometric="minisblack")
    return root


def raw(root: Path, **settings: object) -> Splits:
    return load(FolderConfig(root=str(root), normalization="none", planes=True, **settings))  # type: ignore[arg-type]


KINDS = [
    *(("ZYX", 1, None), ("ZYX imagej", 1, None), ("TYX imagej", 1, None), ("TYX ome", 1, None), ("TYX zarr", 1, None)),
    *(("ZCYX ome", 2, None), ("CZYX ome", 2, None), ("TCYX imagej", 2, None), ("CZYX zarr", 2, None)),
    *(("ZYXC", 2, None), ("ZYXC", 2, 3), ("ZYXC", 2, -1), ("CZYX", 2, 0), ("ZCYX", 2, 1)),
]


@pytest.mark.parametrize(("kind", "channels", "axis"), KINDS)
def test_every_plane_is_an_image(tmp_path: Path, kind: str, channels: int, axis: int | None) -> None:
    splits = raw(make(tmp_path, kind, channels), channel_axis=axis)
    assert (splits.task.spatial_axes, splits.task.in_channels) == (2, channels)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [12, 4, 4]
    for number, sample in enumerate(splits.train):
        stem, plane = divmod(number, DEPTH)
        assert sample.name == f"{'abc'[stem]}_z{plane:03d}"
        np.testing.assert_allclose(np.asarray(sample.image) * 65535, stack_of(stem, channels)[plane], rtol=1e-6)
        np.testing.assert_array_equal(sample.mask[1:4, 2:], MASK[plane, 1:4, 2:])
    assert "5 stacks were read as 20 planes, each an image (dataset.planes=true)" in splits.notes


def test_without_the_setting_a_stack_is_a_volume_and_that_is_said(tmp_path: Path) -> None:
    splits = load(FolderConfig(root=str(make(tmp_path, "ZYX", 1))))
    assert (splits.task.spatial_axes, len(splits.train)) == (3, 3)
    assert "stacks were read as volumes, the first of 4 x 6 x 8; dataset.planes=true reads their planes as images" in (
        splits.notes
    )


def test_flat_images_stay_as_they_are(tmp_path: Path) -> None:
    root = make(tmp_path, "ZYX", 1)
    for folder, values in (("images", sets.picture(9, dtype=np.uint16)), ("masks", sets.classes())):
        (root / folder / "b.tif").unlink()
        sets.write(root / folder / "b.tif", values)
    splits = raw(root)
    assert [sample.name for sample in splits.train] == [
        *(f"a_z{z:03d}" for z in range(4)),
        "b",
        *(f"c_z{z:03d}" for z in range(4)),
    ]
    np.testing.assert_array_equal(splits.train[4].mask[...], sets.classes())
    assert not raw(sets.make(tmp_path / "flat")).notes[0].startswith("0 stacks")


def test_stacks_are_split_whole(tmp_path: Path) -> None:
    root = make(tmp_path, "ZYX", 1)
    (root / "splits.json").unlink()
    splits = raw(root)
    stems = [{sample.name[0] for sample in split} for split in (splits.train, splits.val, splits.test)]
    assert not stems[0] & stems[1] | stems[0] & stems[2] | stems[1] & stems[2]


def test_each_plane_is_scaled_by_itself_and_remembered(tmp_path: Path) -> None:
    config = FolderConfig(root=str(make(tmp_path / "set", "ZCYX ome", 2)), planes=True)
    first, again = load(config, tmp_path / "results"), load(config, tmp_path / "results")
    for one, other in zip(first.train, again.train, strict=True):
        image = np.asarray(one.image)
        np.testing.assert_allclose(image.mean(axis=(0, 1)), 0, atol=1e-6)
        np.testing.assert_array_equal(image, np.asarray(other.image))
    assert first.facts == again.facts


def test_an_image_that_is_no_stack_beside_a_stack_of_masks_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, "ZYX", 1)
    sets.write(root / "images" / "b.tif", sets.picture(1, dtype=np.uint16)[:, :7])
    with pytest.raises(InputError, match=r"b\.tif"):
        raw(root)
    sets.write(root / "images" / "b.tif", np.concatenate([stack_of(1, 1)[..., 0]] * 2))
    with pytest.raises(InputError, match=r"b\.tif holds 8 planes and its mask 4"):
        raw(root)


@pytest.mark.parametrize(("kind", "axis"), [("CZYX", 0), ("ZCYX", 1)])
def test_channels_that_no_file_names_are_found_by_the_mask(tmp_path: Path, kind: str, axis: int) -> None:
    """The setting that the sentence proposes is the one that helps."""
    root = make(tmp_path, kind, 2)
    with pytest.raises(InputError, match=rf"a\.tif .*: set dataset\.channel_axis={axis}"):
        raw(root)
    assert raw(root, channel_axis=axis).task.in_channels == 2


def test_planes_that_nobody_annotated_are_left_out(tmp_path: Path) -> None:
    """Of a volume often every tenth plane is annotated; a stack without any is refused as any such image is."""
    root = make(tmp_path, "ZYX", 1)
    sparse = MASK.copy()
    sparse[[0, 1, 3]] = 255
    for stem in sets.STEMS:
        tifffile.imwrite(root / "masks" / f"{stem}.tif", sparse, photometric="minisblack")
    splits = raw(root, ignore_index=255)
    names = [sample.name for split in (splits.train, splits.val, splits.test) for sample in split]
    assert names == [f"{stem}_z002" for stem in sets.STEMS]
    assert splits.facts["dataset.images_train"] == 3
    np.testing.assert_array_equal(splits.train[0].mask[...], MASK[2])
    assert any(note.startswith("15 planes hold nothing but dataset.ignore_index = 255") for note in splits.notes)
    tifffile.imwrite(root / "masks" / "a.tif", np.full_like(MASK, 255), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif holds nothing but dataset.ignore_index = 255"):
        raw(root, ignore_index=255)
