"""A convolutional network over an image of any size: tiles through the network in batches, classes stitched or blended.

All that is held is a batch of tiles, and with Gaussian blending the sums of scores where two rows of tiles overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.arrays import tiles
from bench.arrays.protocols import Readable, Writable
from bench.arrays.rows import prefetch
from bench.arrays.tiles import Window
from bench.learning.devices import autocast_to
from bench.pipelines.cnn.resolution import reduce_images, restore_scores

STRIDE = 32  # of the deepest features of an encoder
MIRRORS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes of (B, C, H, W) that are flipped
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Tiling:
    """Which tiles of an image go through the network.

    Attributes:
        tile_size: Side of a tile in pixels of the network, as in `cut_windows`.
        overlap: Halo of a tile in pixels of the network.
        scale: Pixels of the image along one pixel of the network.
    """

    tile_size: int
    overlap: int
    scale: int = 1

    def cut(self, shape: Sequence[int]) -> list[Window]:
        """The tiles of an image of `shape` (*spatial); a tile is one slice thick."""
        slices = [1] * (len(shape) - 2)
        tile, halo, stride = (self.scale * length for length in (self.tile_size, self.overlap, STRIDE))
        edges = [*(0 for _ in slices), halo, halo]
        return tiles.cut_windows(shape, [*slices, tile, tile], edges, [*slices, stride, stride])


@dataclass(frozen=True)
class Inferer:
    """`network` takes (B, C, H, W) float32 to logits (B, K, H, W), in eval mode and on `device` already.

    With `gaussian`, the class probabilities of overlapping tiles are blended; else every pixel has the class that it
    gets furthest inside of a tile. With `flips`, probabilities are means over the four mirror images of a tile. With
    `scale`, the network sees means of so many pixels along either axis, and its logits are interpolated.
    """

    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    gaussian: bool = False
    flips: bool = False
    scale: int = 1

    def segment(self, image: Readable, windows: Sequence[Window], out: Writable, progress: Progress) -> None:
        """Write the class of every pixel.

        Args:
            image: (*spatial, C).
            windows: Tiles, in the order in which they are predicted.
            out: (*spatial), receives class numbers.
            progress: Called with the share of the windows that are done, in [0, 1].
        """
        if self.gaussian:
            tiles.blend(windows, self._score_tiles(image, windows, progress), out)
        else:
            tiles.stitch(self._classify_tiles(image, windows, progress), out)

    def score(self, image: Readable, windows: Sequence[Window], out: Writable, progress: Progress) -> None:
        """Write the class probabilities of an image, or with `gaussian` sums of them that lack a common factor.

        Args:
            image: Grey values (*spatial, C).
            windows: Its tiles.
            out: Array (*spatial) that is given the scores (K, *part) of each part, as `ScoreWriter` is.
            progress: Receives the share of the windows that are done.
        """
        scored = self._score_tiles(image, windows, progress)
        if self.gaussian:
            tiles.blend(windows, scored, out, lambda sums: sums)
            return
        for window, tile in zip(windows, scored, strict=True):
            out[window.keep] = tile[(slice(None), *window.inner)]

    def _read(self, image: Readable, windows: Sequence[Window]) -> Iterator[tuple[list[Window], NDArray[np.float32]]]:
        """Windows in groups of the batch size, with their images (B, H, W, C)."""
        lead = (0,) * (len(image.shape) - 3)
        for start in range(0, len(windows), self.batch_size):
            group = list(windows[start : start + self.batch_size])
            yield group, np.stack([tiles.read_padded(image, window.read)[lead] for window in group])

    def _batches(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[tuple[list[Window], Tensor]]:
        """Windows in groups of the batch size, and logits or scores (B, K, H, W); files are read one group ahead."""
        done, groups = 0, self._read(image, windows)
        if len(windows) > self.batch_size and (type(image) is not np.ndarray or self.device.type != "cpu"):
            groups = prefetch(groups)  # what is at hand, for the processor that would fetch it, needs no thread
        for group, images in groups:
            with torch.inference_mode(), autocast_to(self.device, self.dtype):
                yield group, self._forward(reduce_images(to_device(images, self.device), self.scale))
            done += len(group)
            progress(done / len(windows))

    def _forward(self, images: Tensor) -> Tensor:
        """Logits, or with `flips` the mean of the probabilities in float32."""
        if not self.flips:
            return self.network(images)  # type: ignore[no-any-return]
        total = self._predict_mirrored(images, MIRRORS[0])
        for axes in MIRRORS[1:]:
            total += self._predict_mirrored(images, axes)
        return total.div_(len(MIRRORS))

    def _predict_mirrored(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Probabilities (B, K, H, W) float32, found on the mirror image."""
        if not axes:
            return _probabilities(self.network(images))
        return _probabilities(self.network(images.flip(axes))).flip(axes)

    def _classify_tiles(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[tuple[Window, NDArray[np.integer]]]:
        for group, logits in self._batches(image, windows, progress):
            narrow = torch.uint8 if logits.shape[1] <= 256 else torch.int32
            if self.scale > 1:  # tile by tile: restored logits of a whole batch would be the largest thing in memory
                classes = np.stack([self._restore(one).argmax(dim=0).to(narrow).cpu().numpy() for one in logits])
            else:
                classes = logits.argmax(dim=1).to(narrow).cpu().numpy()  # (B, H, W)
            del logits  # before the next ones are made
            yield from ((window, tile.reshape(window.shape)) for window, tile in zip(group, classes, strict=True))

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
            scores = shares.contiguous().cpu().numpy()  # (B, K, H, W)
            del logits, shares
            yield from (tile.reshape(-1, *window.shape) for window, tile in zip(group, scores, strict=True))
            del scores  # before the next ones are made

    def _restore(self, scores: Tensor) -> Tensor:
        """Scores (K, h, w) at the resolution of the image; in inference mode, as the network's were made."""
        with torch.inference_mode():
            return restore_scores(scores, self.scale)


def _probabilities(logits: Tensor) -> Tensor:
    """(B, K, H, W) in float32, with no copy of the logits in that type between."""
    return logits.softmax(dim=1, dtype=torch.float32)


def to_device(images: NDArray[np.float32], device: torch.device) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W) on `device`; the numpy layout is channels_last already."""
    return torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
