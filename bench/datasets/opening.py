"""One way into every kind of image file: PNG, JPEG, BMP, GIF, TIFF, Zarr."""

from collections.abc import Iterable
from pathlib import Path

from bench.config import MAX_PIXELS, require
from bench.datasets import zarr_files
from bench.datasets.stored import Opened

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
TIFFS = (".tif", ".tiff", ".btf", ".svs")  # the last two: BigTIFF, and slides of Aperio scanners
ZARR = ".zarr"
SUFFIXES = (*PICTURES, *TIFFS, ZARR)
CONVERTIBLE = (  # ends of names of microscopes' and other programs' files, which Fiji or its Bio-Formats opens
    *(".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".h5", ".hdf5", ".ims", ".lsm", ".czi", ".lif", ".nd2", ".oib"),
    *(".oif", ".vsi", ".dv", ".ics", ".ids", ".stk", ".zvi", ".mrc", ".rec", ".dcm", ".webp"),
)


def is_image(path: Path) -> bool:
    """Return whether a name, and for Zarr a folder, is of a kind that is read."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and path.is_dir() == (suffix == ZARR)


def advise_conversion(paths: Iterable[Path]) -> str:
    """Return a clause on how files that another program reads become ones that are read here; empty where none are."""
    convertible = any(path.name.lower().endswith(CONVERTIBLE) for path in paths)
    return "; convert it, in Fiji by File > Save As > Tiff" if convertible else ""


def strip_suffix(path: Path) -> str:
    """Return the name without its suffix, `.ome.tif` and `.ome.zarr` being one."""
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return stem[: -len(".ome")] if path.suffix.lower() in (*TIFFS, ZARR) and stem.lower().endswith(".ome") else stem


def open_image(
    path: Path, channel_axis: int | None = None, max_pixels: int = MAX_PIXELS, plane: int | None = None
) -> Opened:
    """Open an image; its values are decoded on access.

    Args:
        path: A file, or the folder of a Zarr store.
        channel_axis: Axis of the channels, counted without axes of length 1; outweighs the file's own word,
            that the last channel is transparency too.
        max_pixels: Most values that may be decoded at once (a chunk, tile or strip, else the whole file), so a file
            that is read in parts may be larger.
        plane: Index of the plane of a stack, of depth or of time, that is meant; None: all of it.

    Returns:
        The image, upright, in the colours that the file means, without axes of length 1.

    Raises:
        InputError: The file cannot be read, or is not one image.
    """
    return _open(path, channel_axis, max_pixels, False, plane)


def open_numbers(path: Path, max_pixels: int = MAX_PIXELS, plane: int | None = None) -> Opened:
    """Open a mask with the numbers as stored: those of a palette, and those of white-is-zero.

    Args:
        path: File or Zarr group of the mask.
        max_pixels: Largest number of pixels that may be opened.
        plane: Which plane of a stack is opened; None: all of it.

    Returns:
        The array, unread, and what its file says of it.

    Raises:
        InputError: The file cannot be used, as with `open_image`.
    """
    return _open(path, None, max_pixels, True, plane)


def _open(path: Path, channel_axis: int | None, max_pixels: int, palette_index: bool, plane: int | None) -> Opened:
    if path.is_dir():
        return zarr_files.open_store(path, max_pixels, channel_axis, plane)
    require(path.is_file(), f"{path} does not exist or is not a file")
    suffix = path.suffix.lower()
    require(
        suffix != ZARR, f"{path} is a file, and a Zarr store is a folder: unpack it, if it was packed into one file"
    )
    require(
        suffix in SUFFIXES,
        f"{path} is of a kind that is not read: use one of {', '.join(SUFFIXES)}{advise_conversion([path])}",
    )
    # each loads a library that a run on other kinds of files does without
    if suffix in TIFFS:
        from bench.datasets.tiffs import open_tiff

        return open_tiff(path, max_pixels, channel_axis, palette_index, plane)
    from bench.datasets.pictures import open_picture_file

    return open_picture_file(path, max_pixels, palette_index)
