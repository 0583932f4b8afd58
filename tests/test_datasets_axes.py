"""One rule for the axes of TIFF and Zarr; several images, pages, frames or files in one are used or refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support import folder_sets as sets

from bench.config import FolderConfig, InputError
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image
from bench.datasets.registry import load

if TYPE_CHECKING:
    import zarr


VALUES = np.random.default_rng(0).integers(0, 60_000, (5, 3, 12, 20)).astype(np.uint16)  # z, c, y, x
FLAT = VALUES[0, 0]


def ome(path: Path, values: np.ndarray, axes: str) -> None:
    tifffile.imwrite(path, values, metadata={"axes": axes}, photometric="minisblack", ome=True)


def imagej(path: Path, values: np.ndarray, axes: str) -> None:
    tifffile.imwrite(path, values, metadata={"axes": axes}, imagej=True)


def named_zarr(path: Path, values: np.ndarray, axes: str) -> None:
    names = [{"s": "channel"}.get(name, name) for name in axes.lower()]
    array = zarr.create_array(path, shape=values.shape, chunks=values.shape, dtype=values.dtype, dimension_names=names)
    array[...] = values


def ome_zarr(path: Path, values: np.ndarray, axes: str) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=values.shape, chunks=values.shape, dtype=values.dtype)[...] = values
    levels = [{"path": "0", "coordinateTransformations": []}]
    named = [{"name": name, "type": {"t": "time", "c": "channel"}.get(name, "space")} for name in axes.lower()]
    group.attrs.update({"multiscales": [{"version": "0.4", "axes": named, "datasets": levels}]})


WRITERS = {"ome.tif": ome, "tif": imagej, "zarr": named_zarr, "ome.zarr": ome_zarr}
KINDS: dict[str, tuple[np.ndarray, str, np.ndarray, int | None]] = {  # stored, its axes, as read, its channel axis
    "plane": (FLAT, "YX", FLAT, None),
    "stack": (VALUES[:, 0], "ZYX", VALUES[:, 0], None),
    "channels": (VALUES[0], "CYX", VALUES[0], 0),
    "hyperstack": (VALUES, "ZCYX", VALUES, 1),
    "one time, one channel": (FLAT[None, None, None], "TZCYX", FLAT, None),
    "one time of a hyperstack": (VALUES[None], "TZCYX", VALUES, 1),
    "one slice of channels": (VALUES[None, :1], "TZCYX", VALUES[0], 0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", WRITERS)
def test_axes_mean_the_same_in_every_kind_of_file(tmp_path: Path, suffix: str, kind: str) -> None:
    stored, axes, expected, channel_axis = KINDS[kind]
    WRITERS[suffix](tmp_path / f"a.{suffix}", stored, axes)
    opened = open_image(tmp_path / f"a.{suffix}")
    assert (opened.array.shape, opened.channel_axis) == (expected.shape, channel_axis)
    np.testing.assert_array_equal(opened.array[...], expected)
    np.testing.assert_array_equal(opened.array[..., 2:5, 7], expected[..., 2:5, 7])


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 12, 20), "TYX"), ((2, 3, 12, 20), "TCYX"), ((2, 5, 1, 12, 20), "TZCYX")]
)
def test_time_is_not_taken_for_depth(tmp_path: Path, suffix: str, shape: tuple[int, ...], axes: str) -> None:
    WRITERS[suffix](tmp_path / f"a.{suffix}", np.ones(shape, np.uint16), axes)
    for read in (open_image, open_mask):
        with pytest.raises(InputError, match=rf"a\..* holds {shape[0]} points in time \(axes T"):
            read(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("axes", ["xy", "xyz", "yxz", "zxy", "xyc", "cxy", "ycx", "xzcy"])
@pytest.mark.parametrize("suffix", ["zarr", "ome.zarr"])
def test_named_axes_of_space_are_put_into_order(tmp_path: Path, suffix: str, axes: str) -> None:
    canonical = [name for name in "zyx" if name in axes]
    order = [name if name == "c" else None for name in axes]
    space = iter(canonical)
    expected_axes = [name or next(space) for name in order]
    lengths = {"z": 5, "c": 3, "y": 12, "x": 20}
    expected = np.random.default_rng(1).integers(0, 99, [lengths[name] for name in expected_axes]).astype(np.uint16)
    stored = expected.transpose([expected_axes.index(name) for name in axes])
    WRITERS[suffix](tmp_path / f"a.{suffix}", stored, axes)
    opened = open_image(tmp_path / f"a.{suffix}")
    assert opened.channel_axis == (axes.index("c") if "c" in axes else None)
    np.testing.assert_array_equal(opened.array[...], expected)
    np.testing.assert_array_equal(opened.array[2:, 1], expected[2:, 1])


@pytest.mark.parametrize("shape", [(12, 20, 1), (1, 12, 20), (1, 1, 12, 20), (1, 12, 20, 1)])
def test_axes_of_length_1_are_left_out_of_images_and_masks(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLAT.reshape(shape), photometric="minisblack")
    array = zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=shape, dtype=FLAT.dtype)
    array[...] = FLAT.reshape(shape)
    for path in (tmp_path / "a.tif", tmp_path / "a.zarr"):
        np.testing.assert_array_equal(open_image(path).array[...], FLAT)
        np.testing.assert_array_equal(open_mask(path)[...], FLAT)


def test_an_image_of_one_row_keeps_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLAT[:1])
    assert open_image(tmp_path / "a.tif").array.shape == (1, 20)


def test_two_axes_of_channels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 12, 20, 3), np.uint8), metadata={"axes": "CYXS"}, ome=True)
    with pytest.raises(InputError, match="two axes of channels"):
        open_image(tmp_path / "a.tif")


# ------------------------------------------------------------------------------------ several images in one file


@pytest.mark.parametrize("other", [FLAT, FLAT[:6], FLAT.astype(np.uint8)], ids=["same", "smaller", "other type"])
def test_appended_images_are_refused(tmp_path: Path, other: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLAT)
    tifffile.imwrite(tmp_path / "a.tif", other, append=True)
    for read in (open_image, open_mask):
        with pytest.raises(InputError, match=r"a\.tif holds 2 images, of the shapes \(12, 20\)"):
            read(tmp_path / "a.tif")


def test_several_images_of_an_ome_tiff_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        for values in VALUES[:3, 0]:
            tiff.write(values, photometric="minisblack", metadata={"axes": "YX"})
    with pytest.raises(InputError, match="holds 3 images"):
        open_image(tmp_path / "a.ome.tif")


def test_pyramid_levels_and_the_label_of_a_slide_do_not_count(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(FLAT, subifds=1, photometric="minisblack", metadata={"axes": "YX", "Name": "scan"})
        tiff.write(FLAT[::2, ::2], subfiletype=1, photometric="minisblack")
        tiff.write(FLAT[:4, :4], photometric="minisblack", metadata={"axes": "YX", "Name": "label image"})
    np.testing.assert_array_equal(open_image(tmp_path / "a.ome.tif").array[...], FLAT)


@pytest.mark.parametrize("suffix", [".svs", ".btf"])
@pytest.mark.parametrize("scanned", [True, False])
def test_a_slide_of_an_aperio_scanner_is_its_largest_image(tmp_path: Path, scanned: bool, suffix: str) -> None:
    """As such scanners write them: the slide, its thumbnail, smaller copies, the label and the macro image."""
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    text = "Aperio Image Library v12.0.16\r\n128x96 [0,0 128x96] (16x16)"
    with tifffile.TiffWriter(tmp_path / f"a{suffix}", bigtiff=True) as tiff:
        shared: Any = {"photometric": "rgb", "metadata": None}
        tiff.write(image, tile=(16, 16), description=f"{text}|AppMag = 20|MPP = 0.4990", **shared)
        if scanned:
            tiff.write(image[::4, ::4], rowsperstrip=8, description=text, **shared)
            tiff.write(image[::2, ::2], tile=(16, 16), description=text, **shared)
            tiff.write(image[:8, :12], rowsperstrip=8, subfiletype=1, description="Aperio\r\nlabel 12x8", **shared)
            tiff.write(image[:8, :16], rowsperstrip=8, subfiletype=9, description="Aperio\r\nmacro 16x8", **shared)
    opened = open_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(opened.array[...], image)
    np.testing.assert_array_equal(opened.array[16:40, 32:64], image[16:40, 32:64])


def test_pages_of_one_shape_are_a_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for values in VALUES[:, 0]:
            tiff.write(values, photometric="minisblack", contiguous=False, metadata=None)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").array[...], VALUES[:, 0])


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(sets.picture(seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for read in (open_image, open_mask):
        with pytest.raises(InputError, match=r"a\.png is an animation of 3 frames"):
            read(tmp_path / "a.png")


def test_several_images_of_a_store_are_refused(tmp_path: Path) -> None:
    ome_zarr(tmp_path / "a.ome.zarr", FLAT, "yx")
    group = zarr.open_group(tmp_path / "a.ome.zarr")
    content: Any = group.attrs["multiscales"]
    group.attrs["multiscales"] = content * 2
    with pytest.raises(InputError, match="holds 2 images"):
        open_image(tmp_path / "a.ome.zarr")


# ----------------------------------------------------------------------------------------------- sets of OME files


def plane(file: str, uuid: int, axis: str = "C", place: int = 0) -> str:
    return (
        f'<TiffData First{axis}="{place}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{file}">urn:uuid:00000000-0000-0000-0000-{uuid:012}</UUID></TiffData>'
    )


def image_of(planes: str, sizes: dict[str, int]) -> str:
    shape = " ".join(f'Size{axis}="{length}"' for axis, length in ({"C": 1, "Z": 1, "T": 1} | sizes).items())
    return (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="20" SizeY="12" {shape}>'
        f"{planes}</Pixels></Image>"
    )


def ome_member(path: Path, uuid: int, values: np.ndarray, images: str) -> None:
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:00000000-0000-0000-0000-{uuid:012}">{images}</OME>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, description=text, metadata=None, photometric="minisblack")


def two_channels(folder: Path, stem: str, number: int, second: np.ndarray) -> None:
    """An image whose second channel lies in a file of its own, in the folder `more`."""
    files = (f"{stem}.ome.tif", f"more/{stem}.ome.tif")
    images = image_of("".join(plane(file, 2 * number + n, "C", n) for n, file in enumerate(files)), {"C": 2})
    ome_member(folder / files[0], 2 * number, sets.picture(number, (12, 20), np.uint16), images)
    ome_member(folder / files[1], 2 * number + 1, second, images)


def test_a_set_is_read_from_all_its_files_and_all_are_in_the_content(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n, stem in enumerate(sets.STEMS):
        two_channels(root / "images", stem, n, VALUES[n, 1])
        sets.write(root / "masks" / f"{stem}.png", sets.classes((12, 20)))
    (root / "images" / "more").rename(root / "more")  # beside the images, where they are not images themselves
    (root / "images" / "more").symlink_to(root / "more")
    with pytest.raises(InputError, match="lies outside its folder"):
        open_image(root / "images" / "a.ome.tif")
    (root / "images" / "more").unlink()
    shutil.rmtree(root / "more")
    for n, stem in enumerate(sets.STEMS):
        images = image_of(plane(f"{stem}.ome.tif", 2 * n) + plane(f"{stem}_C1.ome.tif", 2 * n + 1, "C", 1), {"C": 2})
        ome_member(root / "images" / f"{stem}.ome.tif", 2 * n, sets.picture(n, (12, 20), np.uint16), images)
        ome_member(root / "images" / f"{stem}_C1.ome.tif", 2 * n + 1, VALUES[n, 1], images)
    first = load(FolderConfig(root=str(root), normalization="none"))
    assert first.task.in_channels == 2
    np.testing.assert_allclose(np.asarray(first.train[1].image)[..., 1] * 65535, VALUES[1, 1], rtol=1e-6)
    images = image_of(plane("b.ome.tif", 2) + plane("b_C1.ome.tif", 3, "C", 1), {"C": 2})
    ome_member(root / "images" / "b_C1.ome.tif", 3, VALUES[4, 2], images)
    assert load(FolderConfig(root=str(root))).facts["dataset.content"] != first.facts["dataset.content"]


def test_a_missing_member_of_a_set_is_refused_by_name(tmp_path: Path) -> None:
    two_channels(tmp_path, "a", 0, VALUES[0, 1])
    (tmp_path / "more" / "a.ome.tif").unlink()
    with pytest.raises(InputError, match=r"is part of a set, and its file more/a\.ome\.tif is missing"):
        open_image(tmp_path / "a.ome.tif")


def test_a_member_of_another_set_is_refused(tmp_path: Path) -> None:
    for number, stem in enumerate("ab"):
        two_channels(tmp_path, stem, number, VALUES[number, 1])
    (tmp_path / "more" / "b.ome.tif").replace(tmp_path / "more" / "a.ome.tif")
    with pytest.raises(InputError, match=r"a\.ome\.tif beside it belongs to another one"):
        open_image(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("name", ["../outside.ome.tif", "/etc/hostname", "", "..\\outside.ome.tif"])
def test_a_member_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / "outside.ome.tif", VALUES[0, 0])
    images = image_of(plane("a.ome.tif", 0) + plane(name, 1, "C", 1), {"C": 2})
    ome_member(tmp_path / "set" / "a.ome.tif", 0, FLAT, images)
    with pytest.raises(InputError, match="lies outside its folder"):
        open_image(tmp_path / "set" / "a.ome.tif")


def test_a_renamed_file_is_still_itself(tmp_path: Path) -> None:
    ome_member(tmp_path / "renamed.ome.tif", 0, FLAT, image_of(plane("as_it_was_called.ome.tif", 0), {}))
    np.testing.assert_array_equal(open_image(tmp_path / "renamed.ome.tif").array[...], FLAT)


def test_each_file_of_a_set_of_positions_is_its_own_position(tmp_path: Path) -> None:
    """Every file names all images of the set; reading the first of them would make all images of a data set equal."""
    images = "".join(image_of(plane(f"{stem}.ome.tif", n), {}) for n, stem in enumerate("abc"))
    for n, stem in enumerate("abc"):
        ome_member(tmp_path / f"{stem}.ome.tif", n, VALUES[n, 0], images)
    for n, stem in enumerate("abc"):
        np.testing.assert_array_equal(open_image(tmp_path / f"{stem}.ome.tif").array[...], VALUES[n, 0])


def test_images_that_share_files_are_refused(tmp_path: Path) -> None:
    """Points in time in files of their own, read as channels because the user says so: all images would be equal."""
    root = tmp_path / "set"
    planes = "".join(plane(f"{stem}.ome.tif", n, "T", n) for n, stem in enumerate(sets.STEMS))
    for n, stem in enumerate(sets.STEMS):
        ome_member(root / "images" / f"{stem}.ome.tif", n, VALUES[n, 0], image_of(planes, {"T": 5}))
        sets.write(root / "masks" / f"{stem}.png", sets.classes((12, 20)))
    with pytest.raises(InputError, match=r"a\.ome\.tif holds 5 points in time"):
        load(FolderConfig(root=str(root)))
    with pytest.raises(InputError, match=r"hold the same pixels|both take pixels from"):
        load(FolderConfig(root=str(root), channel_axis=0))


def test_planes_whose_meaning_lies_in_another_file_are_refused(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", VALUES[:, 0], description=text, metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match=r"holds 5 planes, and another file says what they are"):
        open_image(tmp_path / "a.ome.tif")
    tifffile.imwrite(tmp_path / "b.ome.tif", FLAT, description=text, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(open_image(tmp_path / "b.ome.tif").array[...], FLAT)


@pytest.mark.parametrize(("size", "refused"), [((20, 12), True), ((10, 6), False)], ids=["stereo", "preview"])
def test_a_jpeg_of_several_pictures(tmp_path: Path, size: tuple[int, int], refused: bool) -> None:
    first, second = Image.fromarray(sets.picture(0, (12, 20))), Image.new("L", size)
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    if refused:
        with pytest.raises(InputError, match=r"a\.jpg is an animation of 2 frames"):
            open_image(tmp_path / "a.jpg")
    else:
        assert open_image(tmp_path / "a.jpg").array[...].shape == (12, 20)


@pytest.mark.parametrize("kind", ["imagej", "planar", "setting"])
def test_channels_beside_as_many_planes_of_a_mask_are_no_volume(tmp_path: Path, kind: str) -> None:
    """One mask for each channel: neither the file's word nor the user's is overheard."""
    root = sets.make(tmp_path, ".tif", (3, 6, 8))
    options: dict[str, dict[str, Any]] = {
        "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
        "planar": {"photometric": "rgb", "planarconfig": "separate"},
        "setting": {},
    }
    for n, stem in enumerate(sets.STEMS):
        sets.write(root / "images" / f"{stem}.tif", sets.picture(n, (3, 6, 8)), **options[kind])
        (root / "masks" / f"{stem}.png").unlink()
        sets.write(root / "masks" / f"{stem}.tif", sets.classes((3, 6, 8)))
    config = FolderConfig(root=str(root), channel_axis=0 if kind == "setting" else None)
    with pytest.raises(
        InputError, match=r"masks/a\.tif has 3 planes where .*images/a\.tif has 3 channels: .*"
    ) as caught:
        load(config)
    assert ("leave out dataset.channel_axis" in str(caught.value)) == (kind == "setting")
    if kind == "setting":
        assert load(FolderConfig(root=str(root))).task.spatial_axes == 3


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_two_channels_last_are_channels_beside_a_flat_mask_and_no_volume_beside_a_mask_of_two(
    tmp_path: Path, suffix: str, planes: bool
) -> None:
    """Floating point without a word on its axes, as two-colour fluorescence is saved from Python."""
    root = sets.make(tmp_path, ".tif", (20, 24))
    for n, stem in enumerate(sets.STEMS):
        (root / "images" / f"{stem}.tif").unlink()
        (root / "masks" / f"{stem}.png").unlink()
        save_plain(root / "images" / f"{stem}{suffix}", sets.picture(n, (20, 24, 2)).astype(np.float32))
        save_plain(root / "masks" / f"{stem}{suffix}", sets.classes((20, 24)))
    task = load(FolderConfig(root=str(root), planes=planes)).task
    assert (task.spatial_axes, task.in_channels) == (2, 2)
    for stem in sets.STEMS:
        save_plain(root / "masks" / f"{stem}{suffix}", sets.classes((20, 24, 2)))
    with pytest.raises(InputError, match=rf"a\{suffix} has the shape \(20, 24, 2\) and would be a volume 2 columns"):
        load(FolderConfig(root=str(root), planes=planes))


def save_plain(path: Path, array: NDArray[Any]) -> None:
    """Save an array without names of its axes."""
    if path.suffix == ".zarr":
        zarr.create_array(path, data=array, overwrite=True)
    else:
        sets.write(path, array)


@pytest.mark.parametrize(("shape", "axis", "planarconfig"), [((6, 8, 4), -1, "contig"), ((4, 6, 8), 0, "separate")])
def test_a_stated_axis_makes_channels_of_what_a_tiff_calls_transparency(
    tmp_path: Path, shape: tuple[int, ...], axis: int, planarconfig: str
) -> None:
    """Writers of TIFF take the last of four channels for transparency, whatever was measured."""
    root = sets.make(tmp_path, ".tif", shape)
    for n, stem in enumerate(sets.STEMS):
        sets.write(
            root / "images" / f"{stem}.tif",
            sets.picture(n, shape),
            photometric="rgb",
            planarconfig=planarconfig,
            extrasamples=["unassalpha"],
        )
    with pytest.raises(InputError, match=r"varies: .*set dataset\.channel_axis=-1 .*photometric='minisblack'"):
        load(FolderConfig(root=str(root)))
    splits = load(FolderConfig(root=str(root), channel_axis=axis, normalization="none"))
    assert splits.task.in_channels == 4
    expected = np.moveaxis(sets.picture(0, shape), axis, -1)
    np.testing.assert_allclose(np.asarray(splits.train[0].image), expected / np.float32(255))


@pytest.mark.parametrize(("planes", "depth"), [(5, False), (10, True)])
def test_a_long_axis_beside_a_flat_mask_may_be_depth(tmp_path: Path, planes: int, depth: bool) -> None:
    root = sets.make(tmp_path, ".tif", (planes, 6, 8))
    with pytest.raises(InputError, match=r"set dataset\.channel_axis=0") as caught:
        load(FolderConfig(root=str(root)))
    said = "if its 10 planes are channels, or make a mask of as many planes if they are depth"
    assert (said in str(caught.value)) == depth


def test_planes_of_a_mask_that_its_file_calls_channels_are_named(tmp_path: Path) -> None:
    root = sets.make(tmp_path, ".tif", (10, 6, 8))
    planes = np.random.default_rng(0).integers(0, 2, (10, 6, 8)).astype(np.uint8)
    for stem in sets.STEMS:
        (root / "masks" / f"{stem}.png").unlink()
        imagej(root / "masks" / f"{stem}.tif", planes, "CYX")
    with pytest.raises(InputError, match=r"masks/\w+\.tif calls its planes channels where .*: name that axis z"):
        load(FolderConfig(root=str(root)))
    for stem in sets.STEMS:
        imagej(root / "masks" / f"{stem}.tif", planes, "ZYX")
    assert load(FolderConfig(root=str(root))).task.spatial_axes == 3


def test_grey_beside_colour_is_said_how_to_mend(tmp_path: Path) -> None:
    root = sets.make(tmp_path)
    sets.write(root / "images" / "b.png", sets.picture(1, (6, 8, 3)))
    with pytest.raises(InputError, match=r"has 3 channels and .* has 1: save all as grey or all as RGB"):
        load(FolderConfig(root=str(root)))
