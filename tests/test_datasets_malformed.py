"""What users get wrong: each mistake is one sentence that names the culprit, before anything is trained."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import folder_sets as sets

from bench.config import DatasetConfig, FolderConfig, InputError
from bench.datasets.registry import load

Break = Callable[[Path], dict[str, object] | None]


def replace_image(array: np.ndarray, name: str = "b.tif") -> Break:
    def break_it(root: Path) -> None:
        (root / "images" / "b.png").unlink()
        sets.write(root / "images" / name, array)

    return break_it


def replace_mask(array: np.ndarray, name: str = "b.tif") -> Break:
    def break_it(root: Path) -> None:
        (root / "masks" / "b.png").unlink()
        sets.write(root / "masks" / name, array)

    return break_it


def splits(content: object) -> Break:
    def break_it(root: Path) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (root / "splits.json").write_text(text, encoding="utf-8")

    return break_it


def setting(**settings: object) -> Break:
    return lambda _: settings


def csv_file(text: str) -> Break:
    def break_it(root: Path) -> dict[str, object]:
        (root / "list.csv").write_text(text, encoding="utf-8")
        return {"manifest": "list.csv"}

    return break_it


def cut(name: str, keep: float) -> Break:
    def break_it(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return break_it


def cut_tiff(compression: str | None, keep: float) -> Break:
    def break_it(root: Path) -> None:
        (root / "images" / "b.png").unlink()
        sets.write(root / "images" / "b.tif", sets.picture(1), compression=compression)
        cut("images/b.tif", keep)(root)

    return break_it


def alpha_varies(root: Path) -> None:
    rgba = sets.picture(1, (6, 8, 4))
    Image.fromarray(rgba, "RGBA").save(root / "images" / "b.png")


def class_5(root: Path) -> dict[str, object]:
    sets.write(root / "masks" / "b.png", sets.classes() * 5)
    return {"class_names": ["background", "cell"]}


def promise_much(root: Path) -> None:
    path = root / "images" / "b.png"
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))


def remove(name: str) -> Break:
    return lambda root: (root / name).unlink()


def overwrite(name: str, content: bytes) -> Break:
    def break_it(root: Path) -> None:
        (root / name).write_bytes(content)

    return break_it


def empty_folder(name: str) -> Break:
    def break_it(root: Path) -> None:
        for path in (root / name).iterdir():
            path.unlink()

    return break_it


def not_a_number(value: float) -> np.ndarray:
    image = sets.picture(1, dtype=np.float32)
    image[3, 4] = value
    return image


S = sets.SPLITS
MISTAKES: dict[str, tuple[Break, str]] = {
    "root not set": (setting(root=""), "dataset.root is not set"),
    "root missing": (setting(root="no/such/folder"), "no/such/folder is not a folder"),
    "no folder of images": (setting(images="pictures"), "pictures is not a folder"),
    "no folder of masks": (setting(masks="labels"), "labels is not a folder"),
    "no images at all": (empty_folder("images"), "images holds no images"),
    "image without mask": (remove("masks/b.png"), r"images/b\.png has no mask"),
    "duplicate stems": (lambda root: sets.write(root / "images" / "b.tif", sets.picture(1)), r"b\.png and b\.tif"),
    "duplicate masks": (lambda root: sets.write(root / "masks" / "b.tif", sets.classes()), r"b\.png and b\.tif"),
    "image is no image": (
        overwrite("images/b.png", b"hello"),
        r"b\.png cannot be read",
    ),
    "image is empty": (overwrite("images/b.png", b""), r"b\.png cannot be read as an image: the file is empty"),
    "truncated png": (cut("images/b.png", 0.6), r"images/b\.png cannot be read"),
    "truncated mask": (cut("masks/b.png", 0.6), r"masks/b\.png cannot be read"),
    "truncated tiff": (cut_tiff(None, 0.9), r"b\.tif .*truncated"),
    "truncated compressed tiff": (cut_tiff("zlib", 0.9), r"b\.tif "),
    "truncated tiff header": (cut_tiff(None, 0.03), r"b\.tif cannot be read"),
    "shapes differ": (replace_image(sets.picture(1, (6, 9))), r"b\.tif has the shape \(6, 9\) and its mask \(6, 8\)"),
    "shapes transposed": (replace_mask(sets.classes((8, 6))), r"b\.png has the shape .*its mask \(8, 6\)"),
    "channel axis first": (replace_image(sets.picture(1, (5, 6, 8))), r"b\.tif .*set dataset.channel_axis=0"),
    "channel axis wrong": (
        setting(channel_axis=3, _rgb=True),
        r"dataset.channel_axis = 3 does not exist in .*a\.tif",
    ),
    "too many axes": (replace_image(sets.picture(1, (2, 3, 6, 8))), r"b\.tif has 4 axes and its mask 2"),
    "channel counts differ": (replace_image(sets.picture(1, (6, 8, 3)), "b.png"), r"b\.png has 3 channels"),
    "mask of fractions": (replace_mask(sets.classes() * np.float32(0.5)), r"masks/b\.tif holds 0\.5"),
    "mask of nan": (replace_mask(np.where(sets.classes(), np.nan, 0.0)), r"masks/b\.tif holds nan"),
    "complex mask": (replace_mask(sets.classes().astype(np.complex64)), r"masks/b\.tif holds complex64 values"),
    "coloured mask": (replace_mask(sets.picture(1, (6, 8, 3)), "b.png"), r"masks/b\.png is a coloured picture"),
    "jpeg mask": (replace_mask(sets.classes(), "b.jpg"), r"masks/b\.jpg is compressed by JPEG"),
    "negative class": (replace_mask(sets.classes().astype(np.int16) - 1), r"masks/b\.tif holds class -1"),
    "class out of range": (class_5, r"masks/b\.png holds class 5, outside 0 to 1"),
    "one class name": (setting(class_names=["cell"]), r"dataset.class_names must name at least 2"),
    "values of 0 and 255": (replace_mask(sets.classes() * 255), r"a\.png holds 0 and 1, and .*b\.tif 0 and 255"),
    "cell numbers": (
        replace_mask(np.arange(48, dtype=np.uint16).reshape(6, 8)),
        "seem to number objects, 1 to 47 in an image",
    ),
    "grey values": (replace_mask(sets.picture(1, (6, 8)) % 60), r"hold classes up to 5\d \(as b\.tif does\)"),
    "a gap in the classes": (replace_mask(sets.classes() * 3), r"hold 0, 1, 3 and never 2"),
    "one class only": (setting(mask_values={0: 0, 1: 0}), "hold only one class"),
    "unmapped value": (
        setting(mask_values={0: 0, 255: 1}),
        r"masks/a\.png holds 1, which dataset.mask_values does not",
    ),
    "nan": (replace_image(not_a_number(np.nan)), r"images/b\.tif holds NaN at pixel \(3, 4\)"),
    "infinity": (replace_image(not_a_number(np.inf)), r"images/b\.tif holds infinity at pixel \(3, 4\)"),
    "complex numbers": (replace_image(sets.picture(1, dtype=np.complex64)), r"images/b\.tif holds complex64"),
    "transparency that varies": (alpha_varies, r"images/b\.png has a transparency channel"),
    "a header that promises too much": (promise_much, r"images/b\.png says that it has 10000000000 values"),
    "no pixels allowed": (setting(max_pixels=47), r"a\.png says that it has 48 values.* give dataset\.max_pixels=48"),
    "unknown stem": (splits(S | {"test": ["e", "f"]}), r"splits\.json names f, and no image"),
    "stem in two splits": (splits(S | {"test": ["e", "a"]}), r"splits\.json names a 2 times"),
    "stem left and excluded": (splits(S | {"excluded": ["a"]}), r"splits\.json names a 2 times"),
    "stem in no split": (splits(S | {"train": ["a", "b"]}), r"images/c\.png is in no split"),
    "empty split": (splits(S | {"val": ["d", "e"], "test": []}), r"splits\.json leaves the split test"),
    "missing split": (splits({"train": ["a", "b", "c"], "val": ["d", "e"]}), r"splits\.json leaves the split test"),
    "images too small for a strip": (splits(S | {"val": [], "test": ["d", "e"]}), r"a\.png is 8 pixels long"),
    "broken json": (splits("{"), r"splits\.json cannot be read as JSON"),
    "json of another kind": (splits(["a"]), r"splits\.json must be an object"),
    "split is no list": (splits(S | {"train": "a"}), r"splits\.json must have a list of names under train"),
    "csv missing": (setting(manifest="none.csv"), r"dataset\.manifest: there is no file .*none\.csv"),
    "csv of names without endings": (
        csv_file("image,mask,split\na.png,a.png,train\nb,b,test\n"),
        r"list\.csv, line 3: image is b, which is neither in .*: give the name with its ending",
    ),
    "csv without rows": (csv_file("image,mask,split\n"), r"list\.csv holds no rows"),
    "csv without column": (csv_file("image,split\nimages/a.png,train\n"), r"list\.csv has no column mask"),
    "csv with an empty cell": (
        csv_file("image,mask,split\nimages/a.png,,train\n"),
        r"list\.csv, line 2: .*mask is empty",
    ),
    "csv with a short row": (csv_file("image,mask,split\nimages/a.png\n"), r"list\.csv, line 2: .*mask is empty"),
    "csv with another split": (
        csv_file("image,mask,split\na.png,a.png,dev\n"),
        r"line 2: split must be one of .*got dev",
    ),
    "csv with an image twice": (
        csv_file("image,mask,split\n" + "a.png,a.png,val\n" * 2),
        r"names images/a\.png 2 times",
    ),
    "csv with a missing file": (
        csv_file(
            "image,mask,split\n"
            + "".join(f"{n}.png,m{n}.png,{s}\n" for n, s in ((1, "train"), (2, "val"), (3, "test")))
        ),
        r"line \d: image is 1\.png, which is neither in .* nor in its folder images$",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_by_name(mistake: str, tmp_path: Path) -> None:
    break_it, sentence = MISTAKES[mistake]
    root = sets.make(tmp_path / "set")
    settings: dict[str, object] = {"root": str(root)} | (break_it(root) or {})
    if settings.pop("_rgb", False):
        sets.write(root / "images" / "a.tif", sets.picture(0, (6, 8, 3)))
        (root / "images" / "a.png").unlink()
    with pytest.raises(InputError, match=sentence) as caught:
        load(FolderConfig(**settings))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_unbroken_set_loads(tmp_path: Path) -> None:
    assert len(load(FolderConfig(root=str(sets.make(tmp_path)))).train) == 3


@pytest.mark.parametrize(
    ("left", "strip", "sentence"), [("abc", 0.0, "holds 2 images"), ("abcd", 0.2, "holds 1 image:")]
)
def test_the_seeded_split_needs_images(tmp_path: Path, left: str, strip: float, sentence: str) -> None:
    root = sets.make(tmp_path / "set")
    for path in [root / "splits.json", *(root / "images").glob(f"[{left}].png")]:
        path.unlink()
    with pytest.raises(InputError, match=sentence):
        load(FolderConfig(root=str(root), val_strip=strip))


def test_an_unknown_data_set_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"dataset\.name must be one of synthetic, .*, public, got 'imagenet'"):
        load(DatasetConfig(name="imagenet"))
