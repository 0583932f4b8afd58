"""Channels that change places, and pixels of several sizes, are seen by what the files say of them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets import task_file
from bench.datasets.channel_names import compare_channels
from bench.datasets.opening import open_image
from bench.datasets.registry import load
from bench.datasets.sample import Splits, Task

STAINS = ("DAPI", "GFP")


def write_set(root: Path, names: Sequence[Sequence[str] | None], sizes: Sequence[float] = (0.5,)) -> FolderConfig:
    """OME-TIFFs of two channels that are called so, with pixels of such sizes in turns."""
    for n, called in enumerate(names):
        about = {"axes": "CYX", "PhysicalSizeX": sizes[n % len(sizes)], "PhysicalSizeY": sizes[n % len(sizes)]}
        about |= {} if called is None else {"Channel": {"Name": list(called)}}
        sets.write(root / f"images/{n}.ome.tif", sets.picture(n, (2, 6, 64)), metadata=about)
        sets.write(root / f"masks/{n}.png", sets.classes((6, 64)))
    return FolderConfig(root=str(root), normalization="none")


def read(*given: object) -> Splits:
    return load(write_set(*given))  # type: ignore[arg-type]


def notes_of(splits: Splits, word: str) -> list[str]:
    return [note for note in splits.notes if word in note]


def test_one_order_of_the_channels_is_known_to_the_task_and_its_file(tmp_path: Path) -> None:
    splits = read(tmp_path, [STAINS, None, STAINS, ("dapi", "gfp")])
    assert [name.upper() for name in splits.task.channel_names] == [*STAINS]
    assert not notes_of(splits, "channels are called")
    task_file.write(tmp_path / "task.json", splits.task, "none", splits.stored)
    assert task_file.read_task(tmp_path / "task.json")[0] == splits.task
    content = json.loads((tmp_path / "task.json").read_text())
    (tmp_path / "task.json").write_text(json.dumps({k: v for k, v in content.items() if k != "channel_names"}))
    assert task_file.read_task(tmp_path / "task.json")[0].channel_names == (), "runs of older code have none"


def test_another_order_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"2\.ome\.tif has its channels in the order GFP, DAPI, and they are DAPI, GFP"
    ):
        read(tmp_path, [STAINS, STAINS, STAINS[::-1], STAINS])


def test_other_names_are_told_and_taken_for_the_same(tmp_path: Path) -> None:
    splits = read(tmp_path, [STAINS, STAINS, ("Hoechst", "GFP"), STAINS])
    [note] = notes_of(splits, "channels are called")
    assert {"DAPI, GFP", "Hoechst, GFP"} == set(re.findall(r"(\w+, GFP) in", note))
    assert splits.task.channel_names == ()


def test_names_that_tell_no_channel_from_another_say_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, [("C", "C"), ("", ""), None, STAINS]).task.channel_names == STAINS


def test_a_new_image_is_compared_with_those_in_training(tmp_path: Path) -> None:
    task = Task(("a", "b"), 2, 2, channel_names=STAINS)
    assert compare_channels(tmp_path, STAINS, task) == ""
    assert compare_channels(tmp_path, (), task) == ""
    assert "calls its channels RFP, GFP" in compare_channels(tmp_path, ("RFP", "GFP"), task)
    with pytest.raises(InputError, match="in the images that the run was trained on"):
        compare_channels(tmp_path, STAINS[::-1], task)


def test_a_zarr_store_names_its_channels_by_labels(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((2, 6, 8), np.uint8))
    group.attrs["multiscales"] = [{
        "version": "0.4", "axes": [{"name": name, "type": "channel" if name == "c" else "space"} for name in "cyx"],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}],
    }]  # fmt: skip
    group.attrs["omero"] = {"channels": [{"label": name} for name in STAINS]}
    assert open_image(tmp_path / "a.zarr").channel_names == STAINS
    for strange in ("x", {"channels": 3}, {"channels": ["a", "b"]}):
        group.attrs["omero"] = strange
        assert open_image(tmp_path / "a.zarr").channel_names == ()


def test_several_sizes_of_pixels_are_told(tmp_path: Path) -> None:
    [note] = notes_of(read(tmp_path / "two", [STAINS] * 4, (0.25, 0.5)), "pixels are")
    assert sorted(re.findall(r"0\.25 x 0\.25 micrometer in|0\.5 x 0\.5 micrometer in|in 2 files:", note))[:2] == [
        "0.25 x 0.25 micrometer in",
        "0.5 x 0.5 micrometer in",
    ]
    [note] = notes_of(read(tmp_path / "three", [STAINS] * 3, (0.25, 0.5, 1.0)), "pixels are")
    assert re.search(
        r"micrometer in \d\.ome\.tif and .* micrometer in \d\.ome\.tif, and of other sizes in 2 files", note
    )
    assert not notes_of(read(tmp_path / "one", [STAINS] * 4), "pixels are")
    assert not notes_of(read(tmp_path / "near", [STAINS] * 4, (0.5, 0.502)), "pixels are")


def test_lengths_of_voxels_of_several_sizes_have_no_unit(tmp_path: Path) -> None:
    for root, factors in ((tmp_path / "one", (1, 1)), (tmp_path / "two", (1, 2))):
        for n in range(4):
            about = {"axes": "ZYX"} | {
                f"PhysicalSize{a}": s * factors[n % 2] for a, s in zip("ZYX", (2, 1, 1), strict=True)
            }
            sets.write(root / f"images/{n}.ome.tif", sets.picture(n, (4, 6, 64)), metadata=about)
            sets.write(root / f"masks/{n}.tif", sets.classes((4, 6, 64)))
    one, two = (load(FolderConfig(root=str(tmp_path / name), normalization="none")) for name in ("one", "two"))
    assert one.task.spacing == (2.0, 1.0, 1.0)
    assert two.task.spacing == (2.0, 1.0, 1.0)
    assert one.facts["dataset.pixel_lengths"] == "2 x 1 x 1 micrometer"
    assert two.facts["dataset.pixel_lengths"] == "2 x 1 x 1"
    assert len(notes_of(two, "pixels are")) == 1
