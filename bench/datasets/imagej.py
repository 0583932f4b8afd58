"""What ImageJ writes into a TIFF of how large a pixel is."""

from typing import Any

import numpy as np

from bench.datasets import ome

UNITS = {
    **ome.UNITS, "micron": "micrometer", "microns": "micrometer", "um": "micrometer", "\\u00b5m": "micrometer",
    "μm": "micrometer", "cm": "centimeter",
}  # fmt: skip
X_RESOLUTION, Y_RESOLUTION = 282, 283  # numbers of the tags: pixels per unit, as a fraction


def read_imagej_sizes(
    metadata: dict[str, Any], tags: Any, axes: str
) -> tuple[tuple[float, ...] | None, tuple[str | None, ...] | None]:
    """Return the pixel size and unit of each axis of an image that ImageJ or Fiji wrote.

    Args:
        metadata: What the file's description says, by name.
        tags: The tags of its page, by number.
        axes: One upper-case letter per axis.

    Returns:
        Sizes (1 along axes that are not of space) and units; None where a size is missing or its unit is not known.
    """
    unit = UNITS.get(str(metadata.get("unit", "")).strip().lower())
    spacing = metadata.get("spacing")
    depth = abs(float(spacing)) if isinstance(spacing, int | float) else 0.0
    sizes = {"X": _invert(tags, X_RESOLUTION), "Y": _invert(tags, Y_RESOLUTION), "Z": depth}
    found = tuple(sizes.get(letter, 1.0) for letter in axes)
    if unit is None or not all(np.isfinite(one) and one > 0 for one in found):
        return None, None
    return found, tuple(unit if letter in sizes else None for letter in axes)


def _invert(tags: Any, number: int) -> float:
    """Return the length of a pixel from a tag that holds pixels per unit; 0 where there is none."""
    if number not in tags:
        return 0.0
    pixels, units = tags[number].value
    return units / pixels if pixels else 0.0
