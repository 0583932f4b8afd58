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

STRIDE = 32  # of the deepest features of an encoder
MIRRORS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes of (B, C, H, W) that are flipped
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Tiling:
    """Which tiles of an image go through the network. `tile_size` and `overlap` in pixels, as in `cut_windows`."""

    tile_size: int
    overlap: int

    def windows(self, shape: Sequence[int]) -> list[Window]:
        """The tiles of an image of `shape` (*spatial); a tile is one slice thick."""
        slices = [1] * (len(shape) - 2)
        halo, stride = [*(0 for _ in slices), self.overlap, self.overlap], [*slices, STRIDE, STRIDE]
        return tiles.cut_windows(shape, [*slices, self.tile_size, self.tile_size], halo, stride)


@dataclass(frozen=True)
class Inferer:
    """`network` takes (B, C, H, W) float32 to logits (B, K, H, W), in eval mode and on `device` already.

    With `gaussian`, the class probabilities of overlapping tiles are blended; else every pixel has the class that it
    gets furthest inside of a tile. With `flips`, probabilities are means over the four mirror images of a tile.
    """

    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    gaussian: bool = False
    flips: bool = False

    def segment(self, image: Readable, windows: Sequence[Window], out: Writable, progress: Progress) -> None:
        """Class indices of `image` (*spatial, C) into `out` (*spatial), in the order of `windows`.

        `progress` is called with the share of the windows that are done.
        """
        if self.gaussian:
            tiles.blend(windows, self._scored(image, windows, progress), out)
        else:
            tiles.stitch(self._classified(image, windows, progress), out)

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
                yield group, self._forward(to_device(images, self.device))
            done += len(group)
            progress(done / len(windows))

    def _forward(self, images: Tensor) -> Tensor:
        """Logits, or with `flips` the mean of the probabilities in float32."""
        if not self.flips:
            return self.network(images)  # type: ignore[no-any-return]
        total = self._mirrored(images, MIRRORS[0])
        for axes in MIRRORS[1:]:
            total += self._mirrored(images, axes)
        return total.div_(len(MIRRORS))

    def _mirrored(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Probabilities (B, K, H, W) float32, found on the mirror image."""
        if not axes:
            return _probabilities(self.network(images))
        return _probabilities(self.network(images.flip(axes))).flip(axes)

    def _classified(
        self, image: Readable, windows: Sequence[Window], progress: Progress
    ) -> Iterator[tuple[Window, NDArray[np.integer]]]:
        for group, logits in self._batches(image, windows, progress):
            narrow = torch.uint8 if logits.shape[1] <= 256 else torch.int32
            classes = logits.argmax(dim=1).to(narrow).cpu().numpy()  # (B, H, W)
            del logits  # before the next ones are made
            yield from ((window, tile.reshape(window.shape)) for window, tile in zip(group, classes, strict=True))

    def _scored(self, image: Readable, windows: Sequence[Window], progress: Progress) -> Iterator[NDArray[np.float32]]:
        """(K, *tile) probabilities of each window."""
        for group, logits in self._batches(image, windows, progress):
            shares = logits if self.flips else _probabilities(logits)
            scores = shares.contiguous().cpu().numpy()  # (B, K, H, W)
            del logits, shares
            yield from (tile.reshape(-1, *window.shape) for window, tile in zip(group, scores, strict=True))
            del scores  # before the next ones are made


def _probabilities(logits: Tensor) -> Tensor:
    """(B, K, H, W) in float32, with no copy of the logits in that type between."""
    return logits.softmax(dim=1, dtype=torch.float32)


def to_device(images: NDArray[np.float32], device: torch.device) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W) on `device`; the numpy layout is channels_last already."""
    return torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
