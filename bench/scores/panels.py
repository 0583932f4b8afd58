"""A small crop of each test image with its truth and prediction, kept for the figures. Pure numpy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.sample import Sample

SIDE = 384  # pixels of a crop's longer side, at most
MOST = 3  # images kept per run


@dataclass
class Panels:
    """Collects the first few test images; every arm keeps the same crops, chosen from the truth alone."""

    class_names: tuple[str, ...]
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    count: int = 0

    def add(self, sample: Sample, predicted: NDArray[np.integer]) -> None:
        """Keep a crop of one image; the middle plane of a volume."""
        if self.count == MOST:
            return
        truth = np.asarray(sample.mask)
        plane = (truth.shape[0] // 2,) if truth.ndim == 3 else ()
        window = (*plane, *busiest_window(truth[plane]))
        crop = {"image": display(sample.image[window]), "truth": truth[window], "predicted": predicted[window]}
        self.arrays |= {f"{name}_{self.count}": array for name, array in crop.items()}
        self.arrays[f"name_{self.count}"] = np.array(sample.name)
        self.count += 1

    def save(self, path: Path) -> None:
        """Write what was kept, compressed; text is stored without pickling."""
        arrays: dict[str, Any] = {"class_names": np.array(self.class_names), **self.arrays}
        np.savez_compressed(path, **arrays)


def busiest_window(mask: NDArray[np.integer], side: int = SIDE) -> tuple[slice, slice]:
    """The window of at most side x side pixels, among half-overlapping ones, with the most class boundaries."""
    rows, columns = (_starts(length, side) for length in mask.shape)
    edges = np.zeros(mask.shape, bool)
    edges[1:] |= mask[1:] != mask[:-1]
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    windows = [(slice(r, r + side), slice(c, c + side)) for r in rows for c in columns]
    return max(windows, key=lambda window: int(edges[window].sum()))


def _starts(length: int, side: int) -> list[int]:
    return sorted({min(start, max(0, length - side)) for start in range(0, max(1, length - side // 2), side // 2)})


def display(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(H, W, C) as grey (H, W) or RGB (H, W, 3) uint8, stretched between the 0.5th and 99.5th percentile."""
    shown = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    low, high = np.percentile(shown, (0.5, 99.5))
    scaled = (shown - low) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled * 255, 0, 255), np.uint8)
