"""A small crop of each test image with its truth and prediction, kept for the figures. Pure numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.datasets.sample import Sample

SIDE = 384  # pixels of a crop's longer side, at most
MOST = 3  # images kept per run
CUTS = {"rows_": 1, "columns_": 2}  # of a volume, by the axis that they have not


@dataclass
class Panels:
    """Collects the first few test images; every arm keeps the same crops, chosen from the truth alone.

    Of a volume it keeps the middle plane and, through the middle of the crop, the cuts along its rows and columns.
    `depth` is how many times a plane is as thick as a pixel is wide.
    """

    class_names: tuple[str, ...]
    depth: float = 1.0
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    count: int = 0

    def add(self, sample: Sample, predicted: NDArray[np.integer]) -> None:
        """Keep a crop of one image; the middle plane of a volume, and its cuts."""
        if self.count == MOST:
            return
        shape = sample.mask.shape
        plane = (shape[0] // 2,) if len(shape) == 3 else ()
        truth: Readable = np.asarray(sample.mask) if plane else sample.mask
        window = (*plane, *busiest_window(truth[plane] if plane else truth))
        whole = np.asarray(sample.image[window])
        self._keep("", display(whole), truth[window], predicted[window])
        if plane:
            for name, cut in cut_across(shape, window[1:]).items():
                image = np.asarray(sample.image[cut]).squeeze(axis=CUTS[name])
                masks = (mask[cut].squeeze(axis=CUTS[name]) for mask in (truth, predicted))
                self._keep(name, display(image, whole), *masks)
            self.arrays[f"depth_{self.count}"] = np.array(self.depth)
        self.arrays[f"name_{self.count}"] = np.array(sample.name)
        self.count += 1

    def _keep(
        self, cut: str, image: NDArray[np.uint8], truth: NDArray[np.integer], predicted: NDArray[np.integer]
    ) -> None:
        crop = {"image": image, "truth": truth, "predicted": predicted}
        self.arrays |= {f"{cut}{name}_{self.count}": array for name, array in crop.items()}

    def save(self, path: Path) -> None:
        """Write what was kept, compressed; text is stored without pickling."""
        arrays: dict[str, Any] = {"class_names": np.array(self.class_names), **self.arrays}
        np.savez_compressed(path, **arrays)


def busiest_window(mask: Readable, side: int = SIDE) -> tuple[slice, slice]:
    """The window of at most side x side pixels, among half-overlapping ones, with the most class boundaries.

    A strip of rows of the mask (H, W) is in memory at a time.
    """
    rows, columns = (_starts(length, side) for length in mask.shape)
    found: dict[tuple[int, int], int] = {}
    for row in rows:
        first = max(row - 1, 0)  # a boundary lies between a pixel and the one above it
        strip = np.asarray(mask[first : row + side])
        edges = np.zeros(strip.shape, bool)
        edges[1:] |= strip[1:] != strip[:-1]
        edges[:, 1:] |= strip[:, 1:] != strip[:, :-1]
        found |= {(row, column): int(edges[row - first :, column : column + side].sum()) for column in columns}
    row, column = max(found, key=lambda place: found[place])
    return slice(row, row + side), slice(column, column + side)


def _starts(length: int, side: int) -> list[int]:
    return sorted({min(start, max(0, length - side)) for start in range(0, max(1, length - side // 2), side // 2)})


def find_depth(spacing: Sequence[float] | None) -> float:
    """Return how many times a plane is as thick as its pixels are wide; 1 where that is not known."""
    return 1.0 if spacing is None else spacing[0] / spacing[-1]


def cut_across(shape: tuple[int, ...], window: Sequence[slice], side: int = SIDE) -> dict[str, tuple[slice, ...]]:
    """Return the cuts through the middle of a window of a plane: along its rows and along its columns.

    Args:
        shape: Shape of the volume, (planes, rows, columns).
        window: The rows and columns of the crop.
        side: Most planes of a cut, around the middle one.

    Returns:
        A slice per axis by the name of the cut, "rows_" or "columns_"; one axis has the length 1.
    """
    first = max((shape[0] - side) // 2, 0)
    planes = slice(first, min(first + side, shape[0]))
    rows, columns = (slice(*part.indices(length)[:2]) for part, length in zip(window, shape[1:], strict=True))
    row, column = ((part.start + part.stop) // 2 for part in (rows, columns))
    return {
        "rows_": (planes, slice(row, row + 1), columns),
        "columns_": (planes, rows, slice(column, column + 1)),
    }


def display(image: NDArray[np.floating], like: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
    """Return an image (H, W, C) as grey (H, W) or RGB (H, W, 3) uint8, stretched between two percentiles.

    Args:
        image: What is shown.
        like: Whose 0.5th and 99.5th percentile become black and white; None: those of `image`.
    """
    low, high = np.percentile(_choose_channels(image if like is None else like), (0.5, 99.5))
    scaled = (_choose_channels(image) - low) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled * 255, 0, 255), np.uint8)


def _choose_channels(image: NDArray[Any]) -> NDArray[Any]:
    chosen = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    return chosen.view(np.uint8) if chosen.dtype == bool else chosen  # of two grey values, which have no percentiles
