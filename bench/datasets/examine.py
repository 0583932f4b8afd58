"""One reading of an image, band by band: its moments and extremes, and whether its values are of use."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.config import require
from bench.datasets.files import StoredImage
from bench.datasets.normalization import BAND_VALUES, Moments, compute_band_moments, pool
from bench.datasets.opening import TIFFS

Ignored = Callable[[slice], NDArray[np.bool_]]  # which pixels of a band of rows count for nothing, (*spatial)


@dataclass(frozen=True)
class Intensities:
    """What the values of an image are: moments and extremes per channel, over pixels that are finite."""

    moments: Moments
    low: tuple[float, ...]
    high: tuple[float, ...]
    holes: int  # pixels that are not finite, all of them ignored
    digest: str  # of shape and values, whatever the file's kind and number type

    @property
    def flat(self) -> bool:
        """Whether every channel holds one value only."""
        return self.low == self.high


def examine(path: Path, image: StoredImage) -> Moments:
    """Read an image once, band by band, and return its moments; its values must be real, finite and opaque."""
    return measure_intensities([path], image).moments


def measure_intensities(paths: Sequence[Path], image: StoredImage, ignored: Ignored | None = None) -> Intensities:
    """Read an image once, band by band.

    Args:
        paths: Its files, for messages.
        image: Its stored values, (*spatial, C).
        ignored: Which pixels of a band need not be finite; None: all must be.

    Returns:
        The statistics of its finite pixels.

    Raises:
        InputError: Its values are not real numbers, not finite, or its transparency varies.
    """
    path = paths[0]
    require(image.dtype.kind in "buif", f"{path} holds {image.dtype} values: an image must hold real numbers")
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    parts, lows, highs, holes, opaque = [], [], [], 0, None
    for start, stop in cut_bands(image.shape, BAND_VALUES):
        band = slice(start, stop)
        part, alpha = image.band(band)
        if alpha is not None:
            opaque = alpha.flat[0] if opaque is None else opaque
            check_alpha(path, alpha, opaque)
        values = part.astype(np.float64)
        digest.update(np.ascontiguousarray(values).tobytes())
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=-1))
        if not finite.all():
            check_holes(path, values, finite, band, ignored)
            holes += int((~finite).sum())
            values = values[finite]
        if values.size:
            parts.append(measure_finite(path, values))
            spatial = tuple(range(values.ndim - 1))
            lows.append(values.min(axis=spatial))
            highs.append(values.max(axis=spatial))
    require(len(parts) > 0, f"{path} holds no finite value")
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return Intensities(pool(parts), tuple(low.tolist()), tuple(high.tolist()), holes, digest.hexdigest())


def measure_finite(path: Path, values: NDArray[np.float64]) -> Moments:
    """Compute the moments of values whose squares must be finite too."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = compute_band_moments(values)
    require(
        bool(np.isfinite(found.variance).all() and np.isfinite(found.mean).all()),
        f"{path} holds {float(np.abs(values).max()):.3g}, whose square is beyond any number: divide the values",
    )
    return found


def check_alpha(path: Path, alpha: NDArray[Any], opaque: Any) -> None:
    """Refuse transparency that varies: it is no measurement and is dropped, unless it says something.

    Args:
        path: The image, for the message.
        alpha: Transparency of a part of it, (*spatial).
        opaque: The value of its first pixel.
    """
    advice = (
        "if it is a channel (or plane) like the others, set dataset.channel_axis=-1 (0 where channels lie on the first "
        "axis), or save the file with plain channels (tifffile: photometric='minisblack'); else save it without"
        if path.suffix.lower() in TIFFS
        else "save it without, or as a TIFF with plain channels"
    )
    require(bool(np.all(alpha == opaque)), f"{path} has a transparency channel that varies: {advice}")


def check_holes(
    path: Path, values: NDArray[np.float64], finite: NDArray[np.bool_], band: slice, ignored: Ignored | None
) -> None:
    """Refuse values that are not finite where the mask does not ignore them.

    Args:
        path: The image, for the message.
        values: A band of it, (*spatial, C).
        finite: Which of its pixels are finite in all channels, (*spatial).
        band: Its place along the first axis.
        ignored: Which pixels of a band count for nothing.
    """
    wrong = ~finite if ignored is None else ~finite & ~ignored(band)
    if wrong.any():
        place = np.argwhere(wrong)[0]
        found = values[tuple(place)]
        kind = "NaN" if np.isnan(found).any() else "infinity"
        at = ", ".join(str(number) for number in (place[0] + band.start, *place[1:]))
        more = f" (and at {int(wrong.sum()) - 1} more of these rows)" if wrong.sum() > 1 else ""
        rest = "" if ignored is None else ", or give its mask the number there that dataset.ignore_index names"
        require(False, f"{path} holds {kind} at pixel ({at}){more}: replace it{rest}")
