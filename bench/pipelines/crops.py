"""Random square crops of images, mirrored, turned and jittered: what a network on tiles is trained with. Numpy only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import tiles
from bench.tiles import Readable

IGNORED = -1  # label of pixels that count for nothing

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]  # (B, size, size, C), (B, size, size)


@dataclass(frozen=True)
class Labelled:
    """An image (*spatial, C) and its mask (*spatial); of three spatial axes the first one counts slices."""

    image: Readable
    mask: Readable

    def planes(self) -> list[tuple[int, ...]]:
        """The leading index of every slice; one empty index for a flat image."""
        return [(index,) for index in range(self.mask.shape[0])] if len(self.mask.shape) == 3 else [()]


@dataclass(frozen=True)
class CropSampler:
    """Batches of crops that see, per epoch, about as many pixels as the images have.

    `size` is a crop's side in pixels, `jitter` the strength of the random gain, offset and noise on intensities (in
    units of the normalised image; 0: none). Labels equal to `ignore_index`, and what a crop shows beyond the edge of
    its image, are `IGNORED`.
    """

    images: Sequence[Labelled]
    size: int
    batch_size: int
    jitter: float = 0.0
    ignore_index: int | None = None

    def __len__(self) -> int:
        """Batches per epoch; every one is full."""
        pixels = sum(int(np.prod(labelled.mask.shape)) for labelled in self.images)
        return max(-(-pixels // (self.size**2 * self.batch_size)), 1)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        chosen = self._planes(rng)
        for start in range(0, len(chosen), self.batch_size):
            crops = [self._crop(*plane, rng) for plane in chosen[start : start + self.batch_size]]
            yield np.stack([image for image, _ in crops]), np.stack([mask for _, mask in crops])

    def _planes(self, rng: np.random.Generator) -> list[tuple[Labelled, tuple[int, ...]]]:
        """One plane per crop, in random order, each in proportion to its pixels (systematic sampling)."""
        planes = [(labelled, plane) for labelled in self.images for plane in labelled.planes()]
        shares = np.cumsum([np.prod(labelled.mask.shape[-2:]) for labelled, _ in planes], dtype=np.float64)
        crops = len(self) * self.batch_size
        marks = (np.arange(crops) + rng.random()) / crops * shares[-1]
        return [planes[index] for index in rng.permutation(np.searchsorted(shares, marks, side="right"))]

    def _crop(
        self, labelled: Labelled, plane: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        spatial = labelled.mask.shape[-2:]
        where = [slice(index, index + 1) for index in plane]
        where += [slice(start, start + self.size) for start in (self._origin(length, rng) for length in spatial)]
        lead = (0,) * len(plane)
        image = tiles.read(labelled.image, where)[lead]
        mask = self._labels(tiles.read(labelled.mask, where)[lead], spatial, where[-2:])
        return self._jittered(_turned(image, mask, rng), rng)

    def _origin(self, length: int, rng: np.random.Generator) -> int:
        """Where a crop starts on an axis: anywhere, the ends more often, as few crops reach them."""
        if length <= self.size:
            return (length - self.size) // 2
        margin = self.size // 4
        return int(np.clip(rng.integers(-margin, length - self.size + margin + 1), 0, length - self.size))

    def _labels(self, mask: NDArray[np.integer], spatial: tuple[int, ...], where: Sequence[slice]) -> NDArray[np.int64]:
        labels = mask.astype(np.int64)
        if self.ignore_index is not None:
            labels[labels == self.ignore_index] = IGNORED
        for axis, (length, part) in enumerate(zip(spatial, where, strict=True)):
            positions = np.arange(part.start, part.stop)
            outside = (positions < 0) | (positions >= length)
            labels[outside if axis == 0 else (slice(None), outside)] = IGNORED
        return labels

    def _jittered(
        self, crop: tuple[NDArray[np.float32], NDArray[np.int64]], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        image, labels = crop
        if self.jitter == 0:
            return image.astype(np.float32, copy=False), labels
        gain, offset = np.exp(rng.normal(0, self.jitter)), rng.normal(0, self.jitter)
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, self.jitter / 2))
        return image * np.float32(gain) + np.float32(offset) + noise, labels


def _turned(
    image: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Both in one of the eight orientations of a square."""
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, quarters), np.rot90(labels, quarters)
    return (image[::-1], labels[::-1]) if mirrored else (image, labels)
