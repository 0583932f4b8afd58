"""A convolutional network over an image of any size: tiles through the network in batches, classes stitched or blended.

All that is held is a batch of tiles, and with Gaussian blending the sums of scores where two rows of tiles overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.arrays import tiles
from bench.arrays.protocols import Readable, Writable
from bench.arrays.tiles import Window
from bench.learning.devices import autocast_to
from bench.learning.prefetch import prefetch
from bench.pipelines.cnn.resolution import reduce_images, restore_scores
from bench.pipelines.cnn.sight import PLANE, Sight

Progress = Callable[[float], None]
PASS_PIXELS = 1 << 19  # of the tiles that go through the network at once, unless a single one has more


@dataclass(frozen=True)
class Tiling:
    """Which tiles of an image go through the network.

    Attributes:
        tile_size: Side of a tile in pixels of the network, as in `cut_windows`.
        overlap: Halo of a tile in pixels of the network.
        scale: Pixels of the image along one pixel of the network, in height and width.
        planes: Planes of a tile of a network over three axes; they are extended to a multiple of its stride.
        plane_overlap: Halo of such a tile in planes.
        sight: What the network sees of an image; for one that sees a single plane, a tile is one plane thick.
    """

    tile_size: int
    overlap: int
    scale: int = 1
    planes: int = 1
    plane_overlap: int = 0
    sight: Sight = PLANE

    @property
    def thickness(self) -> int:
        """Planes of a tile: a multiple of the network's stride."""
        stride = self.sight.strides[0] if self.sight.axes == 3 else 1
        return -(-self.planes // stride) * stride

    def cut(self, shape: Sequence[int]) -> list[Window]:
        """Return the tiles of an image of `shape` (*spatial)."""
        depth = [(1, 0, 1)] * (len(shape) - self.sight.axes)  # tile, halo and stride along an axis of planes
        if self.sight.axes == 3:
            depth = [(self.thickness, self.plane_overlap, self.sight.strides[0])]
        sides = [tuple(self.scale * one for one in (self.tile_size, self.overlap, s)) for s in self.sight.strides[-2:]]
        tile, halo, strides = zip(*depth, *sides, strict=True)
        return tiles.cut_windows(shape, tile, halo, strides)


def count_tiles_at_once(windows: Sequence[Window], batch_size: int, scale: int) -> int:
    """Count the tiles that go through the network at once.

    Args:
        windows: Tiles of an image, all of one size.
        batch_size: The most that are allowed.
        scale: Pixels of the image along one pixel of the network.

    Returns:
        As many as have `PASS_PIXELS` pixels in the network together, one at least.
    """
    pixels = prod(windows[0].shape) // scale**2
    return max(min(batch_size, PASS_PIXELS // pixels), 1)


@dataclass(frozen=True)
class Inferer:
    """`network` takes (B, C, *axes) float32 to logits (B, K, *axes), in eval mode and on `device` already.

    With `gaussian`, the class probabilities of overlapping tiles are blended; else every pixel has the class that it
    gets furthest inside of a tile. At most `batch_size` tiles are predicted at once. With `flips`, probabilities are
    means over all mirror images of a tile. With `scale`, the network sees means of so many pixels along height and
    width, and its logits are interpolated. `sight` says what it sees of a volume.
    """

    network: Callable[[Tensor], Tensor]
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    gaussian: bool = False
    flips: bool = False
    scale: int = 1
    sight: Sight = PLANE

    def segment(self, image: Readable, windows: Sequence[Window], out: Writable, progress: Progress) -> None:
        """Write the class of every pixel.

        Args:
            image: (*spatial, C).
            windows: Tiles, in the order in which they are predicted.
            out: (*spatial), receives class numbers.
            progress: Called with the share of the windows that are done, in [0, 1].
        """
        self.join(windows, self.make_tiles(image, windows, progress), out)

    def make_tiles(
        self, image: Readable, windows: Sequence[Window], progress: Progress, scores: bool = False
    ) -> Iterator[NDArray[Any]]:
        """Yield what `join` needs of each window, or what `join_scores` does.

        Windows go through the network in batches from the first on: those of whole batches may be made elsewhere.

        Args:
            image: (*spatial, C).
            windows: Tiles.
            progress: Receives the share of the windows that are done.
            scores: Whether it is for `join_scores`.
        """
        scored = scores or self.gaussian
        return (self._score_tiles if scored else self._classify_tiles)(image, windows, progress)

    def join(self, windows: Sequence[Window], made: Iterator[NDArray[Any]], out: Writable) -> None:
        """Write the class of every pixel, given the tiles of all windows.

        Args:
            windows: All windows of the image, in the order of `Tiling.cut`.
            made: What `make_tiles` yields of each: classes (*tile), or with `gaussian` probabilities (K, *tile), which
                are overwritten here.
            out: (*spatial), receives class numbers.
        """
        if self.gaussian:
            tiles.blend(windows, made, out)
        else:
            tiles.stitch(zip(windows, made, strict=True), out)

    def score(self, image: Readable, windows: Sequence[Window], out: Writable, progress: Progress) -> None:
        """Write the class probabilities of an image, or with `gaussian` sums of them that lack a common factor.

        Args:
            image: Grey values (*spatial, C).
            windows: Its tiles.
            out: Array (*spatial) that is given the scores (K, *part) of each part, as `ScoreWriter` is.
            progress: Receives the share of the windows that are done.
        """
        self.join_scores(windows, self.make_tiles(image, windows, progress, scores=True), out)

    def join_scores(self, windows: Sequence[Window], scored: Iterator[NDArray[Any]], out: Writable) -> None:
        """Write the class scores of every pixel, as `score` does, given the tiles of all windows.

        Args:
            windows: All windows of the image, in the order of `Tiling.cut`.
            scored: Probabilities (K, *tile) of each, as `make_tiles` yields them with `scores`; they may be changed.
            out: Array (*spatial) that is given the scores (K, *part) of each part, as `ScoreWriter` is.
        """
        if self.gaussian:
            tiles.blend(windows, scored, out, lambda sums: sums)
            return
        for window, tile in zip(windows, scored, strict=True):
            out[window.keep] = tile[(slice(None), *window.inner)]

    def _read(
        self, image: Readable, windows: Sequence[Window], length: int
    ) -> Iterator[tuple[list[Window], NDArray[np.float32]]]:
        """Windows in groups of `length`, with their images (B, *axes, C)."""
        for start in range(0, len(windows), length):
            group = list(windows[start : start + length])
            yield group, np.stack([self.sight.read(image, window.read) for window in group])

    def _batches(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[tuple[list[Window], Tensor]]:
        """Windows in groups, as `_read`, and logits or scores (B, K, *axes); files are read one group ahead."""
        length = count_tiles_at_once(windows, self.batch_size, self.scale)
        done, groups = 0, self._read(image, windows, length)
        at_hand = type(image) is np.ndarray and self.device.type == "cpu"  # for the processor that would fetch it
        if len(windows) > length and not at_hand:
            groups = prefetch(groups)
        for group, images in groups:
            with torch.inference_mode(), autocast_to(self.device, self.dtype):
                yield group, self._forward(reduce_images(to_device(images, self.device), self.scale))
            done += len(group)
            progress(done / len(windows))

    def _forward(self, images: Tensor) -> Tensor:
        """Logits, or with `flips` the mean of the probabilities in float32."""
        if not self.flips:
            return self.network(images)
        first, *others = self.sight.mirrors
        total = self._predict_mirrored(images, first)
        for axes in others:
            total += self._predict_mirrored(images, axes)
        return total.div_(1 + len(others))

    def _predict_mirrored(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Probabilities (B, K, *axes) float32, found on the mirror image."""
        if not axes:
            return _probabilities(self.network(images))
        return _probabilities(self.network(images.flip(axes))).flip(axes)

    def _classify_tiles(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[NDArray[np.integer]]:
        """Yield class numbers (*tile) of each window."""
        for group, logits in self._batches(image, windows, progress):
            narrow = torch.uint8 if logits.shape[1] <= 256 else torch.int32
            if self.scale > 1:  # tile by tile: restored logits of a whole batch would be the largest thing in memory
                classes = np.stack([_choose_largest(self._restore(one), 0, narrow) for one in logits])
            else:
                classes = _choose_largest(logits, 1, narrow)  # (B, *axes)
            del logits  # before the next ones are made
            yield from (tile.reshape(window.shape) for window, tile in zip(group, classes, strict=True))

    def _score_tiles(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[NDArray[np.float32]]:
        """(K, *tile) probabilities of each window."""
        for group, logits in self._batches(image, windows, progress):
            if self.scale > 1:
                for window, one in zip(group, logits, strict=True):
                    restored = self._restore(one)
                    shares = restored if self.flips else restored.softmax(dim=0)
                    yield shares.contiguous().cpu().numpy().reshape(-1, *window.shape)
                continue
            shares = logits if self.flips else _probabilities(logits)
            scores = shares.contiguous().cpu().numpy()  # (B, K, *axes)
            del logits, shares
            yield from (tile.reshape(-1, *window.shape) for window, tile in zip(group, scores, strict=True))
            del scores  # before the next ones are made

    def _restore(self, scores: Tensor) -> Tensor:
        """Scores (K, *lead, h, w) at the resolution of the image; in inference mode, as the network's were made."""
        with torch.inference_mode():
            return restore_scores(scores, self.scale)


def _choose_largest(scores: Tensor, axis: int, dtype: torch.dtype) -> NDArray[np.integer]:
    """Return the index of the largest score along an axis, the first of equals.

    On a CPU `argmax` takes ten times as long as `max` where the classes do not lie side by side.
    """
    return scores.max(dim=axis).indices.to(dtype).cpu().numpy()


def _probabilities(logits: Tensor) -> Tensor:
    """(B, K, *axes) in float32, with no copy of the logits in that type between."""
    return logits.softmax(dim=1, dtype=torch.float32)


def to_device(images: NDArray[np.float32], device: torch.device) -> Tensor:
    """Move images (B, *axes, C) to `device` as (B, C, *axes), in the layout channels_last that they have already."""
    return torch.from_numpy(images).to(device, non_blocking=True).movedim(-1, 1)
