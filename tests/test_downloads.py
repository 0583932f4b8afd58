"""Public data sets by name: fetched once, checked, converted whole or not at all, and refused in one sentence."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray
from PIL import Image
from support.file_server import Served, serve
from support.source import ROOT

from bench.config import InputError, PublicConfig
from bench.datasets.registry import load
from bench.downloads import conversions, download
from bench.downloads.archives import unpack
from bench.downloads.cache import find_cache, find_converted
from bench.downloads.catalogue import CATALOGUE, PublicSet, RemoteFile
from bench.downloads.conversions import Converted
from bench.downloads.provide import provide, share_out, write_folder


def encode(array: NDArray[np.generic], kind: str) -> bytes:
    """An image as a file."""
    target = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(target, array, photometric="minisblack")
    else:
        Image.fromarray(array).save(target, "PNG")
    return target.getvalue()


def pack(files: dict[str, bytes]) -> bytes:
    """A ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def grey(seed: int, shape: tuple[int, ...] = (9, 11)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 250, shape).astype(np.uint8)


def objects(count: int = 3) -> NDArray[np.uint16]:
    """A mask that numbers its objects, 0 between them."""
    return np.asarray(np.arange(99).reshape(9, 11) % (count + 1), np.uint16)


def nuclei() -> bytes:
    """An archive with the folders of the one that StarDist publishes."""
    files = {}
    for part, count in (("train", 8), ("test", 2)):
        for number in range(count):
            image = grey(number + 100 * (part == "test"))
            files[f"dsb2018/{part}/images/{number}.tif"] = encode(image, "tif")
            files[f"dsb2018/{part}/masks/{number}.tif"] = encode(objects(), "tif")
    return pack(files)


def entry_of(address: str, data: bytes, known: bool = True) -> PublicSet:
    """The set of nuclei, at another address."""
    digest = hashlib.sha256(data).hexdigest() if known else None
    file = RemoteFile("dsb2018.zip", f"{address}/dsb2018.zip", digest)
    return replace(CATALOGUE["dsb2018_fluo"], origin=(file,), space=1000)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve({"/dsb2018.zip": nuclei()}) as server:
        yield server


# ---------------------------------------------------------------------------------------------------- the whole way


def test_a_set_is_fetched_once_and_becomes_images_masks_and_splits(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = entry_of(served.address, served.content["/dsb2018.zip"])
    folder = provide(entry, tmp_path)
    assert provide(entry, tmp_path) == folder == find_converted(tmp_path, "dsb2018_fluo")
    assert served.requests == ["/dsb2018.zip"]
    splits = json.loads((folder / "splits.json").read_text())
    assert [len(splits[name]) for name in ("train", "val", "test", "excluded")] == [7, 1, 2, 0]
    assert splits["test"] == ["test_0", "test_1"]
    np.testing.assert_array_equal(tifffile.imread(folder / "images" / "test_1.tif"), grey(101))
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "masks" / "test_1.png")), objects() > 0)
    source = json.loads((folder / "source.json").read_text())
    assert source["files"]["dsb2018.zip"]["sha256"] == entry.files[0].sha256
    assert "downloading dsb2018_fluo from" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "dsb2018_fluo").iterdir()) == ["converted-1", "original"]


def test_a_run_of_it_keeps_licence_and_citation_and_loads_nothing_that_downloads(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(entry_of(served.address, served.content["/dsb2018.zip"]), tmp_path)
    monkeypatch.delitem(sys.modules, "pooch", raising=False)
    data = load(PublicConfig(subset="dsb2018_fluo", cache_dir=str(tmp_path)))
    assert "pooch" not in sys.modules
    assert data.name == "dsb2018_fluo"
    assert data.task.class_names == ("background", "nucleus")
    assert data.facts["dataset.licence"] == "CC0 1.0"
    assert "Caicedo" in str(data.facts["dataset.citation"])
    assert data.notes[0] == "licence: CC0 1.0"
    assert data.notes[1].startswith("please cite Caicedo")
    assert "tiles of one field" in data.notes[2]


def test_a_mirror_has_the_files_below_the_name_of_the_set(served: Served, tmp_path: Path) -> None:
    entry = entry_of("http://127.0.0.1:9", served.content["/dsb2018.zip"])
    served.content["/copy/dsb2018_fluo/dsb2018.zip"] = served.content["/dsb2018.zip"]
    provide(entry, tmp_path, f"{served.address}/copy/", retries=0)
    assert served.requests == ["/copy/dsb2018_fluo/dsb2018.zip"]
    with pytest.raises(InputError, match="http://"):
        PublicConfig(mirror="ftp://somewhere")


def test_the_cache_is_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert find_cache(None) == Path("/somewhere/gnn-vs-cnn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert find_cache(None) == Path.home() / ".cache" / "gnn-vs-cnn"
    assert find_cache("elsewhere") == Path("elsewhere")


# ------------------------------------------------------------------------------------------------------ what goes wrong


def left(folder: Path) -> list[str]:
    """The files of a folder, those below it too."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_cut_off_leaves_nothing_and_the_next_attempt_gets_it(served: Served, tmp_path: Path) -> None:
    entry = entry_of(served.address, served.content["/dsb2018.zip"])
    served.cut["/dsb2018.zip"] = 1000
    with pytest.raises(InputError, match=r"dsb2018\.zip was cut off.*put 1 file into .*original"):
        provide(entry, tmp_path, retries=0)
    assert left(tmp_path) == []
    served.cut.clear()
    assert provide(entry, tmp_path, retries=0).is_dir()


def test_a_truncated_file_is_noticed_without_a_hash_too(served: Served, tmp_path: Path) -> None:
    entry = entry_of(served.address, served.content["/dsb2018.zip"], known=False)
    served.cut["/dsb2018.zip"] = 1000
    with pytest.raises(InputError, match="cut off"):
        provide(entry, tmp_path, retries=0)
    assert left(tmp_path) == []


def test_another_file_than_the_published_one_is_refused(served: Served, tmp_path: Path) -> None:
    entry = entry_of(served.address, served.content["/dsb2018.zip"])
    served.content["/dsb2018.zip"] += b"more"
    with pytest.raises(InputError, match="is not the published one") as caught:
        provide(entry, tmp_path, retries=0)
    assert str(entry.files[0].sha256) in str(caught.value)
    assert left(tmp_path) == []


def test_a_file_without_a_hash_is_pinned_at_the_first_download(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = served.content["/dsb2018.zip"]
    entry = entry_of(served.address, data, known=False)
    provide(entry, tmp_path, retries=0)
    digest, original = hashlib.sha256(data).hexdigest(), tmp_path / "dsb2018_fluo" / "original"
    assert (original / "dsb2018.zip.sha256").read_text() == f"{digest}\n"
    assert f"pinned at SHA-256 {digest}" in capsys.readouterr().err
    (original / "dsb2018.zip").unlink()
    served.content["/dsb2018.zip"] = data + b"more"
    with pytest.raises(InputError, match=r"not the one that was downloaded first.*remove .*dsb2018\.zip\.sha256"):
        download.fetch_files(entry, original, retries=0)


def test_nobody_there_and_nothing_there_say_what_to_put_where(served: Served, tmp_path: Path) -> None:
    entry = entry_of(served.address, served.content.pop("/dsb2018.zip"))
    for address in (served.address, "http://127.0.0.1:9"):
        gone = replace(entry, origin=(replace(entry.files[0], url=f"{address}/dsb2018.zip"),))
        with pytest.raises(InputError, match=r"dataset\.mirror=ADDRESS.*put 1 file into .*original") as caught:
            provide(gone, tmp_path, retries=0)
        assert gone.files[0].url in str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_that_were_put_there_by_hand_are_used_if_they_are_right(tmp_path: Path) -> None:
    entry = entry_of("http://127.0.0.1:9", nuclei())
    place = tmp_path / "dsb2018_fluo" / "original"
    place.mkdir(parents=True)
    (place / "dsb2018.zip").write_bytes(nuclei())
    assert provide(entry, tmp_path, retries=0).is_dir()


def test_a_full_disk_is_one_sentence(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_of(served.address, served.content["/dsb2018.zip"])
    with pytest.raises(InputError, match=r"needs up to .* MB: make room, or give dataset\.cache_dir"):
        provide(replace(entry, space=1 << 60), tmp_path)
    assert served.requests == []

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.core.hash_matches", refuse)
    with pytest.raises(InputError, match=r"original cannot be written \(No space left on device\)"):
        provide(entry, tmp_path, retries=0)
    assert left(tmp_path) == []


def test_a_conversion_that_fails_leaves_no_folder_that_looks_whole(served: Served, tmp_path: Path) -> None:
    served.content["/dsb2018.zip"] = pack({"dsb2018/train/images/0.tif": encode(grey(0), "tif")})
    entry = entry_of(served.address, served.content["/dsb2018.zip"])
    with pytest.raises(InputError, match="the archive is another one"):
        provide(entry, tmp_path)
    assert left(tmp_path) == ["dsb2018.zip"]


# ------------------------------------------------------------------------------------------------------------- archives


def make_link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


SLIPS: dict[str, Callable[[zipfile.ZipFile], None]] = {
    "above": lambda archive: archive.writestr("a/../../evil.txt", "x"),
    "absolute": lambda archive: archive.writestr("/evil.txt", "x"),
    "backslash": lambda archive: archive.writestr("..\\evil.txt", "x"),
    "drive": lambda archive: archive.writestr("c:evil.txt", "x"),
    "link": make_link,
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_zip_file_cannot_leave_its_folder(slip: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        SLIPS[slip](archive)
    with pytest.raises(InputError, match="nothing of the archive is used"):
        unpack(tmp_path / "a.zip", tmp_path / "inner" / "out")
    assert left(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_tar_file_cannot_leave_its_folder_and_brings_no_links(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("../evil.txt" if kind == tarfile.REGTYPE else "inside.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match="nothing of the archive is used"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "inner" / "out")
    assert left(tmp_path) == ["a.tar.gz"]


def test_an_archive_comes_out_as_it_went_in(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(ROOT / "conf" / "dataset", "sets")
    (tmp_path / "a.zip").write_bytes(pack({"sets/one.txt": b"1", "two.txt": b"2"}))
    unpack(tmp_path / "a.tar", tmp_path / "tar")
    unpack(tmp_path / "a.zip", tmp_path / "zip")
    folder = ROOT / "conf" / "dataset" / "folder.yaml"
    assert (tmp_path / "tar" / "sets" / "folder.yaml").read_bytes() == folder.read_bytes()
    assert (tmp_path / "zip" / "sets" / "one.txt").read_bytes() == b"1"


def test_what_is_too_large_or_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(pack({"a": bytes(100), "b": bytes(100)}))
    with pytest.raises(InputError, match="more than 150 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "out", most_bytes=150)
    (tmp_path / "b.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"b\.zip is not an archive"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


# ---------------------------------------------------------------------------------------------------------- conversions


def place(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_tiles_of_nist_are_split_in_blocks(tmp_path: Path) -> None:
    files = {}
    for number in range(10):
        files[f"data/images/img_{number:03d}.tif"] = encode(grey(number).astype(np.uint16) * 200, "tif")
        files[f"data/masks/img_{number:03d}.tif"] = encode(objects(1).astype(np.uint8), "tif")
    items = list(conversions.convert_nist(place(tmp_path, files), tmp_path / "scratch"))
    assert [item.split for item in items] == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    assert items[3].image.dtype == np.uint16
    np.testing.assert_array_equal(items[3].mask, objects(1))


def test_axons_are_split_by_animal_and_noise_between_the_levels_goes_to_the_nearest(tmp_path: Path) -> None:
    files, levels = {}, np.array([[0, 127, 128, 130, 233, 255]], np.uint8)
    for animal in ("sub-rat1", "sub-rat4", "sub-rat5"):
        labels = f"derivatives/labels/{animal}/micr/{animal}_sample_SEM_seg-axonmyelin-manual.png"
        files[f"{animal}/micr/{animal}_sample_SEM.png"] = encode(np.stack([levels, levels // 2 + 99], axis=-1), "png")
        files[labels] = encode(levels, "png")
    items = list(conversions.convert_axondeepseg(place(tmp_path, files), tmp_path))
    assert [(item.name, item.split) for item in items] == [
        *(("sub-rat1_sample", "train"), ("sub-rat4_sample", "val"), ("sub-rat5_sample", "test"))
    ]
    assert items[0].mask.tolist() == [[0, 1, 1, 1, 2, 2]]
    np.testing.assert_array_equal(items[0].image, levels)


def test_bacteria_keep_the_published_test_images(tmp_path: Path) -> None:
    files = {}
    for part, count in (("training", 7), ("test", 1)):
        for number in range(count):
            files[f"data/{part}/source/{number}.tif"] = encode(grey(number), "tif")
            files[f"data/{part}/target/{number}.tif"] = encode(objects(), "tif")
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "bacteria.zip").write_bytes(pack(files))
    items = list(conversions.convert_deepbacs(tmp_path / "original", tmp_path / "scratch"))
    assert [item.split for item in items] == ["train"] * 6 + ["val", "test"]
    assert items[-1].name == "test_0"


def test_the_mask_of_worms_is_the_union_of_theirs(tmp_path: Path) -> None:
    one, other = np.zeros((2, 9, 11), np.uint8)
    one[2, 3], other[4, 5] = 255, 255
    wells = [f"A{number:02d}" for number in range(1, 6)]
    names = {well: f"1649_110000_{well}_w1_ABC.tif" for well in wells}
    images = {names[well]: encode(grey(number), "tif") for number, well in enumerate(wells)}
    images |= {name.replace("_w1_", "_w2_"): data for name, data in images.items()}
    worms = {f"{well}_{n:02d}_ground_truth.png": encode(m, "png") for well in wells for n, m in ((1, one), (2, other))}
    place(tmp_path / "original", {"BBBC010_v2_images.zip": pack(images)})
    place(tmp_path / "original", {"BBBC010_v1_foreground_eachworm.zip": pack(worms)})
    items = list(conversions.convert_bbbc010(tmp_path / "original", tmp_path / "scratch"))
    assert [(item.name, item.split) for item in items] == list(
        zip(wells, ["train", "train", "train", "val", "test"], strict=True)
    )
    assert np.argwhere(items[0].mask).tolist() == [[2, 3], [4, 5]]
    np.testing.assert_array_equal(items[2].image, grey(2))


def test_equal_images_of_two_splits_are_tested_and_not_learned() -> None:
    splits = {"a": "train", "b": "test", "c": "val", "d": "train", "e": "train"}
    digests = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3"}
    assert share_out(splits, digests) == {"train": ["e"], "val": ["c"], "test": ["b"], "excluded": ["a", "d"]}


def test_sizes_that_differ_and_empty_splits_are_refused(tmp_path: Path) -> None:
    mask = np.zeros((9, 11), np.uint8)
    with pytest.raises(InputError, match="its mask"):
        write_folder([Converted("a", grey(0, (9, 12)), mask, "train")], tmp_path / "one", "by hand")
    with pytest.raises(InputError, match="no image for test"):
        write_folder([Converted("a", grey(0), mask, "train")], tmp_path / "two", "by hand")


# ------------------------------------------------------------------------------------------------------------ catalogue


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_entry_is_complete(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.name == name
    assert callable(getattr(conversions, entry.convert))
    assert entry.class_names[0] == "background"
    for text in (entry.licence, entry.citation, entry.trust, entry.rule):
        assert text
    assert len({file.name for file in entry.files}) == len(entry.files) > 0
    for file in entry.files:
        assert file.url.startswith("https://")
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16) > 0)
    pinned = any(file.sha256 is None for file in entry.files)
    assert pinned == ("first download is trusted" in entry.trust)


def test_every_entry_has_a_yaml_file_and_a_line_in_the_documentation() -> None:
    chosen = {}
    for path in (ROOT / "conf" / "dataset").glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if content["name"] == "public":
            chosen[path.stem] = content["subset"]
    assert chosen == {name: name for name in CATALOGUE}
    page = (ROOT / "docs" / "your-images.md").read_text(encoding="utf-8")
    for entry in CATALOGUE.values():
        assert f"`dataset={entry.name}`" in page
        assert entry.licence.split(" (")[0] in page


def test_a_copy_of_the_converted_folder_alone_will_do(tmp_path: Path) -> None:
    write_folder(
        [
            Converted(name, grey(n), objects(1).astype(np.uint8), name)
            for n, name in enumerate(("train", "val", "test"))
        ],
        find_converted(tmp_path / "one", "bbbc010_worms"),
        "by hand",
    )
    copytree(tmp_path / "one", tmp_path / "other")
    data = load(PublicConfig(subset="bbbc010_worms", cache_dir=str(tmp_path / "other")))
    assert [sample.name for sample in data.test] == ["test"]
