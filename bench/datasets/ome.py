"""What the OME metadata of a TIFF says: other files of its pixels, how large a pixel is, what channels are called."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from bench.config import require

UNITS = {"µm": "micrometer", "nm": "nanometer", "mm": "millimeter"}


def find_siblings(path: Path, metadata: str) -> dict[Path, str]:
    """Return the other files that hold pixels of the image at `path`, and the UUID that each must have.

    Args:
        path: The file with the metadata.
        metadata: OME-XML.

    Returns:
        Paths in the folder of `path`, and UUIDs; empty where all pixels lie in the file itself.

    Raises:
        InputError: A file lies outside the folder of `path`, or is not there.
    """
    found: dict[Path, str] = {}
    for name, uuid in list_foreign(path.name, ElementTree.fromstring(metadata)):
        other = path.parent / name
        proper = name != "" and not PurePosixPath(name).is_absolute() and "\\" not in name
        require(
            proper and other.resolve().is_relative_to(path.parent.resolve()),
            f"{path} takes pixels from {name!r}, which lies outside its folder: put the file beside it",
        )
        require(
            other.is_file(),
            f"{path} is part of a set, and its file {name} is missing: put it beside the others, or save the image "
            "as one file",
        )
        found[other] = uuid
    return found


def list_foreign(own: str, root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Yield names and UUIDs of the files other than `own` that the elements TiffData refer to."""
    own_uuid = root.get("UUID")
    for element in root.iter():
        if not element.tag.endswith("}UUID") and element.tag != "UUID":
            continue
        name, uuid = element.get("FileName", ""), (element.text or "").strip()
        if own_uuid is None and name.lower() == own.lower():
            own_uuid = uuid
        if uuid != own_uuid:
            yield name, uuid


def read_uuid(metadata: str) -> str | None:
    """Return the UUID of the file that holds this OME-XML, where it states one."""
    return ElementTree.fromstring(metadata).get("UUID")


def find_pixels(metadata: str, image: int) -> ElementTree.Element | None:
    """Return the element Pixels of an image in OME-XML, by its index; None where there is none."""
    found = [element for element in ElementTree.fromstring(metadata).iter() if element.tag.endswith("}Pixels")]
    return found[image] if image < len(found) else None


def read_pixel_sizes(
    pixels: ElementTree.Element, axes: str
) -> tuple[tuple[float, ...] | None, tuple[str | None, ...] | None]:
    """Return the pixel size and unit of each axis.

    Args:
        pixels: The element of the image.
        axes: One upper-case letter per axis.

    Returns:
        Sizes (1 along axes that are not of space) and units; None where an axis of space has none.
    """
    stated = {one: pixels.get(f"PhysicalSize{one}") for one in axes if one in "XYZ"}
    if not stated or None in stated.values():
        return None, None
    lengths = tuple(float(stated.get(letter) or 1) for letter in axes)
    units = [pixels.get(f"PhysicalSize{letter}Unit", "µm") if letter in stated else None for letter in axes]
    usable = all(np.isfinite(length) and length > 0 for length in lengths)
    return (lengths, tuple(UNITS.get(unit or "", unit) for unit in units)) if usable else (None, None)


def read_channel_names(pixels: ElementTree.Element) -> tuple[str, ...]:
    """Return the names of the channels of an image; that of one without is empty."""
    return tuple(one.get("Name", "") for one in pixels if one.tag.endswith("}Channel"))
