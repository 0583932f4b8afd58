"""Random crops of images, mirrored, turned and jittered: what a network on tiles is trained with. Numpy only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.protocols import Readable
from bench.pipelines.cnn.blocks import average_blocks, count_in_blocks
from bench.pipelines.cnn.foreground import Foreground
from bench.pipelines.cnn.sight import PLANE, Sight

IGNORED = -1  # label of pixels that count for nothing

Labels = NDArray[Any]  # classes (*size), int64; at lower resolution the pixels of each class, (*size, K), float32
Batch = tuple[NDArray[np.float32], Labels]  # (B, *size, C), (B, *size) or (B, *size, K)
Crop = tuple[NDArray[np.float32], Labels]


@dataclass(frozen=True)
class Labelled:
    """An image (*spatial, C) and its mask (*spatial)."""

    image: Readable
    mask: Readable


@dataclass(frozen=True)
class CropSampler:
    """Batches of crops that see, per epoch, about as many pixels as the images have.

    Labels equal to `ignore_index`, and what a crop shows beyond the edge of its image, are `IGNORED`. A share `focus`
    of the crops has a pixel of `foreground` at its centre, as far as the image reaches around it; the rest are drawn
    as if there was none.

    Attributes:
        images: Images and masks.
        size: Size of a crop in pixels of the image, one per axis of `sight`; height and width are equal.
        batch_size: Crops of a batch.
        jitter: Strength of the random gain, offset and noise on intensities, in units of the normalised image; 0: none.
        ignore_index: Label that is ignored.
        foreground: Where the pixels of the rarer classes are.
        focus: Share of crops around them.
        sight: What the network sees of an image.
        scale: Side of the blocks of pixels, along height and width, that are a pixel of the network.
        num_classes: K, which only labels of such blocks need.
    """

    images: Sequence[Labelled]
    size: tuple[int, ...]
    batch_size: int
    jitter: float = 0.0
    ignore_index: int | None = None
    foreground: Foreground | None = None
    focus: float = 0.0
    sight: Sight = PLANE
    scale: int = 1
    num_classes: int = 0

    def __len__(self) -> int:
        """Batches per epoch; every one is full."""
        pixels = sum(int(np.prod(labelled.mask.shape)) for labelled in self.images)
        return max(-(-pixels // (prod(self.size) * self.batch_size)), 1)

    def draw_epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch, drawn by `rng`."""
        places = self._places(rng)
        for _ in range(len(self)):
            crops = [self._crop(*place, rng) for place in islice(places, self.batch_size)]
            yield stack_crops(crops)

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
        axes = self.sight.axes
        for labelled, plane in self._planes(rng):
            if self.foreground is not None and rng.random() < self.focus:
                which, position = self.foreground.draw(rng)
                chosen, lead, position = self.images[which], position[:-axes], position[-axes:]
                places = zip(position, self._lengths(chosen), self.size, strict=True)
                starts = [self._around(*place) for place in places]
            else:
                chosen, lead = labelled, plane
                pairs = zip(self._lengths(labelled), self.size, strict=True)
                starts = [self._origin(length, side, rng) for length, side in pairs]
            where = [slice(index, index + 1) for index in lead]
            parts = zip(starts, self.size, strict=True)
            yield chosen, [*where, *(slice(start, start + side) for start, side in parts)]

    def _lengths(self, labelled: Labelled) -> tuple[int, ...]:
        """Length of an image along each axis of the network."""
        return labelled.mask.shape[-self.sight.axes :]

    def _planes(self, rng: np.random.Generator) -> list[tuple[Labelled, tuple[int, ...]]]:
        """One plane, or image, per crop, in random order, each in proportion to its pixels (systematic sampling)."""
        planes = [(one, plane) for one in self.images for plane in self.sight.list_planes(one.mask.shape)]
        shares = np.cumsum([np.prod(self._lengths(labelled)) for labelled, _ in planes], dtype=np.float64)
        crops = len(self) * self.batch_size
        marks = (np.arange(crops) + rng.random()) / crops * shares[-1]
        return [planes[index] for index in rng.permutation(np.searchsorted(shares, marks, side="right"))]

    def _crop(self, labelled: Labelled, where: list[slice], rng: np.random.Generator) -> Crop:
        image, labels = self.sight.read(labelled.image, where), self._labels(labelled, where)
        turned = _turn(*self._reduce(image, labels), rng)
        if self.sight.has_depth and rng.integers(2):
            turned = self.sight.reverse_planes(*turned)
        return self._jitter(*turned, rng)

    def _reduce(self, image: NDArray[np.float32], labels: NDArray[np.int64]) -> Crop:
        """A crop at the network's resolution: means of its blocks, and the pixels of each class in them."""
        if self.scale == 1:
            return image, labels
        return average_blocks(image, self.scale), count_in_blocks(labels, self.num_classes, self.scale)

    def _around(self, position: int, length: int, side: int) -> int:
        """Where a crop starts that has `position` in its middle, as far as the image allows."""
        if length <= side:
            return (length - side) // 2
        return int(np.clip(position - side // 2, 0, length - side))

    def _origin(self, length: int, side: int, rng: np.random.Generator) -> int:
        """Draw where a crop starts on an axis: anywhere, the ends more often, as few crops reach them."""
        if length <= side:
            return (length - side) // 2
        margin = side // 4
        return int(np.clip(rng.integers(-margin, length - side + margin + 1), 0, length - side))

    def _labels(self, labelled: Labelled, where: list[slice]) -> NDArray[np.int64]:
        labels = self.sight.read_labels(labelled.mask, where)
        if self.ignore_index is not None:
            labels[labels == self.ignore_index] = IGNORED
        lengths = self._lengths(labelled)
        for axis, (length, part) in enumerate(zip(lengths, where[-len(lengths) :], strict=True)):
            positions = np.arange(part.start, part.stop)
            outside: Any = (*(slice(None) for _ in range(axis)), (positions < 0) | (positions >= length))
            labels[outside] = IGNORED
        return labels

    def _jitter(self, image: NDArray[np.float32], labels: Labels, rng: np.random.Generator) -> Crop:
        """Vary the intensities; the noise has the deviation that it has in the mean of the pixels of a block."""
        if self.jitter == 0:
            return image.astype(np.float32, copy=False), labels
        gain, offset = np.exp(rng.normal(0, self.jitter)), rng.normal(0, self.jitter)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(rng.uniform(0, self.jitter / 2) / self.scale)
        return image * np.float32(gain) + np.float32(offset) + noise, labels


def stack_crops(crops: Sequence[Crop]) -> Batch:
    """Make a batch of crops, images and labels."""
    return np.stack([image for image, _ in crops]), np.stack([labels for _, labels in crops])


def _turn(image: NDArray[np.float32], labels: Labels, rng: np.random.Generator) -> Crop:
    """Both in one of the eight orientations of a square, the last two spatial axes."""
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    rows, columns = image.ndim - 3, image.ndim - 2
    image, labels = np.rot90(image, quarters, (rows, columns)), np.rot90(labels, quarters, (rows, columns))
    return (np.flip(image, rows), np.flip(labels, rows)) if mirrored else (image, labels)
