"""Random square crops of images, mirrored, turned and jittered: what a network on tiles is trained with. Numpy only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.arrays.protocols import Readable
from bench.pipelines.cnn.foreground import Foreground

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
    its image, are `IGNORED`. A share `focus` of the crops has a pixel of `foreground` at its centre, as far as the
    image reaches around it; the rest are drawn as if there was none.
    """

    images: Sequence[Labelled]
    size: int
    batch_size: int
    jitter: float = 0.0
    ignore_index: int | None = None
    foreground: Foreground | None = None
    focus: float = 0.0

    def __len__(self) -> int:
        """Batches per epoch; every one is full."""
        pixels = sum(int(np.prod(labelled.mask.shape)) for labelled in self.images)
        return max(-(-pixels // (self.size**2 * self.batch_size)), 1)

    def draw_epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch, drawn by `rng`."""
        places = self._places(rng)
        for _ in range(len(self)):
            crops = [self._crop(*place, rng) for place in islice(places, self.batch_size)]
            yield np.stack([image for image, _ in crops]), np.stack([mask for _, mask in crops])

    def count_classes(self, rng: np.random.Generator, num_classes: int, crops: int = 512) -> NDArray[np.int64]:
        """Count the pixels of each class in crops drawn as those of an epoch are.

        Args:
            rng: Draws the crops.
            num_classes: K.
            crops: About how many.

        Returns:
            (K,) pixels.
        """
        counts = np.zeros(num_classes, np.int64)
        for _ in range(-(-crops // (len(self) * self.batch_size))):
            for labelled, where in islice(self._places(rng), crops):
                labels = self._labels(labelled, where)
                counts += np.bincount(labels[labels != IGNORED], minlength=num_classes)
        return counts

    def _places(self, rng: np.random.Generator) -> Iterator[tuple[Labelled, list[slice]]]:
        """The crops of an epoch: an image, and a slice per spatial axis."""
        for labelled, plane in self._planes(rng):
            if self.foreground is not None and rng.random() < self.focus:
                which, position = self.foreground.draw(rng)
                chosen, lead = self.images[which], position[:-2]
                starts = [self._around(*pair) for pair in zip(position[-2:], chosen.mask.shape[-2:], strict=True)]
            else:
                chosen, lead = labelled, plane
                starts = [self._origin(length, rng) for length in labelled.mask.shape[-2:]]
            where = [slice(index, index + 1) for index in lead]
            yield chosen, [*where, *(slice(start, start + self.size) for start in starts)]

    def _planes(self, rng: np.random.Generator) -> list[tuple[Labelled, tuple[int, ...]]]:
        """One plane per crop, in random order, each in proportion to its pixels (systematic sampling)."""
        planes = [(labelled, plane) for labelled in self.images for plane in labelled.planes()]
        shares = np.cumsum([np.prod(labelled.mask.shape[-2:]) for labelled, _ in planes], dtype=np.float64)
        crops = len(self) * self.batch_size
        marks = (np.arange(crops) + rng.random()) / crops * shares[-1]
        return [planes[index] for index in rng.permutation(np.searchsorted(shares, marks, side="right"))]

    def _crop(
        self, labelled: Labelled, where: list[slice], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        image = tiles.read_padded(labelled.image, where)[(0,) * (len(where) - 2)]
        return self._jitter(_turn(image, self._labels(labelled, where), rng), rng)

    def _around(self, position: int, length: int) -> int:
        """Where a crop starts that has `position` in its middle, as far as the image allows."""
        if length <= self.size:
            return (length - self.size) // 2
        return int(np.clip(position - self.size // 2, 0, length - self.size))

    def _origin(self, length: int, rng: np.random.Generator) -> int:
        """Draw where a crop starts on an axis: anywhere, the ends more often, as few crops reach them."""
        if length <= self.size:
            return (length - self.size) // 2
        margin = self.size // 4
        return int(np.clip(rng.integers(-margin, length - self.size + margin + 1), 0, length - self.size))

    def _labels(self, labelled: Labelled, where: list[slice]) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = tiles.read_padded(labelled.mask, where)[(0,) * (len(where) - 2)].astype(np.int64)
        if self.ignore_index is not None:
            labels[labels == self.ignore_index] = IGNORED
        for axis, (length, part) in enumerate(zip(labelled.mask.shape[-2:], where[-2:], strict=True)):
            positions = np.arange(part.start, part.stop)
            outside = (positions < 0) | (positions >= length)
            labels[outside if axis == 0 else (slice(None), outside)] = IGNORED
        return labels

    def _jitter(
        self, crop: tuple[NDArray[np.float32], NDArray[np.int64]], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        image, labels = crop
        if self.jitter == 0:
            return image.astype(np.float32, copy=False), labels
        gain, offset = np.exp(rng.normal(0, self.jitter)), rng.normal(0, self.jitter)
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, self.jitter / 2))
        return image * np.float32(gain) + np.float32(offset) + noise, labels


def _turn(
    image: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Both in one of the eight orientations of a square."""
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, quarters), np.rot90(labels, quarters)
    return (image[::-1], labels[::-1]) if mirrored else (image, labels)
