"""One reading of an image, band by band: its moments, and whether its values are of use."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.config import require
from bench.datasets.files import Arranged
from bench.datasets.normalization import BAND_VALUES, Moments, moments_of, pool


def examine(path: Path, image: Arranged) -> Moments:
    """Read an image once, band by band: its moments, and that its values are real, finite and opaque."""
    require(image.dtype.kind in "buif", f"{path} holds {image.dtype} values: an image must hold real numbers")
    whole = Arranged(image.array, replace(image.layout, alpha=False))
    opaque, parts = None, []
    for start, stop in cut_bands(image.shape, BAND_VALUES):
        part = whole[start:stop]
        if image.layout.alpha:
            opaque = part[..., -1].flat[0] if opaque is None else opaque
            check_alpha(path, part[..., -1], opaque)
            part = part[..., :-1]
        check_finite(path, part)
        parts.append(moments_of(part))
    return pool(parts)


def check_alpha(path: Path, alpha: NDArray[Any], opaque: Any) -> None:
    """Transparency is no measurement, so it is dropped; but not where it says something."""
    require(
        bool(np.all(alpha == opaque)),
        f"{path} has a transparency channel that varies: save it without, or as a TIFF with plain channels",
    )


def check_finite(path: Path, part: NDArray[Any]) -> None:
    if part.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(part.astype(np.float32, copy=False)).all())
        require(
            finite,
            f"{path} holds NaN or infinite values: replace them, or mark them by dataset.ignore_index in its mask",
        )
