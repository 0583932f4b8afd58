"""What a network sees of an image: the image itself, one plane of a volume, a plane and its neighbours, or a box."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.arrays.protocols import Readable

STRIDE = 32  # of the deepest features of an encoder over two axes


@dataclass(frozen=True)
class Sight:
    """The part of an image that goes through a network at once.

    Attributes:
        axes: Axes over which the network convolves, the last ones of the image: 2 or 3. The planes along any axis
            before them are images of their own.
        context: Planes on each side of such a plane that the network sees as further channels.
        strides: Total stride of the network along each of its axes, in pixels as it sees them.
    """

    axes: int = 2
    context: int = 0
    strides: tuple[int, ...] = (STRIDE, STRIDE)

    @property
    def has_depth(self) -> bool:
        """Whether the network sees more than one plane of a volume."""
        return self.axes == 3 or self.context > 0

    @property
    def mirrors(self) -> list[tuple[int, ...]]:
        """Axes of a batch (B, C, *axes) that are flipped for each of its mirror images, none of them first."""
        flippable = range(2, 2 + self.axes)
        return [chosen for count in range(self.axes + 1) for chosen in combinations(flippable, count)]

    def count_channels(self, in_channels: int) -> int:
        """Return the channels that the network sees of an image with `in_channels`."""
        return in_channels * (2 * self.context + 1)

    def list_planes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the leading index of each image of its own in an image of `shape` (*spatial); one empty index if none.

        Args:
            shape: Spatial shape.
        """
        return [(index,) for index in range(shape[0])] if len(shape) > self.axes else [()]

    def read(self, image: Readable, where: Sequence[slice]) -> NDArray[np.float32]:
        """Read a part of an image as the network sees it; beyond the edges, its reflection.

        Args:
            image: Image (*spatial, C).
            where: A slice per spatial axis, of length 1 along an axis of planes.

        Returns:
            Array (*axes, channels); of neighbouring planes, the channels of the first one first.
        """
        lead = len(where) - self.axes
        if lead and self.context:
            where = [slice(where[0].start - self.context, where[0].stop + self.context), *where[1:]]
            block = tiles.read_padded(image, where)  # (planes, H, W, C)
            beside: NDArray[np.float32] = np.moveaxis(block, 0, -2).reshape(*block.shape[1:-1], -1)
            return beside
        own: NDArray[np.float32] = tiles.read_padded(image, where)[(0,) * lead]
        return own

    def read_labels(self, mask: Readable, where: Sequence[slice]) -> NDArray[np.int64]:
        """Read a part of a mask (*spatial) as the network is to predict it, (*axes)."""
        labels: NDArray[np.int64] = tiles.read_padded(mask, where)[(0,) * (len(where) - self.axes)].astype(np.int64)
        return labels

    def reverse_planes(
        self, image: NDArray[np.float32], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return an image (*axes, channels) and its labels (*axes, ...) with the order of the planes reversed."""
        if self.axes == 3:
            return image[::-1], labels[::-1]
        planes = image.reshape(*image.shape[:-1], 2 * self.context + 1, -1)
        return planes[..., ::-1, :].reshape(image.shape), labels


PLANE = Sight()
