"""Images and masks that stay in their files: every access reads the requested part, and nothing is kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, read_key, split_key
from bench.arrays.protocols import Typed
from bench.arrays.rows import cut_bands
from bench.config import MAX_PIXELS
from bench.datasets.masks import open_mask
from bench.datasets.normalization import BAND_VALUES, Scaling
from bench.datasets.opening import open_image
from bench.datasets.sample import Keep
from bench.datasets.strips import Strip


@dataclass(frozen=True)
class Layout:
    """How the stored array of an image becomes (*spatial, C)."""

    channel_axis: int | None  # of the stored array; None: it has no channels
    alpha: bool  # drop the last channel

    def arrange(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return a view of `stored` as (*spatial, C)."""
        if self.channel_axis is None:
            return stored[..., None]
        image = np.moveaxis(stored, self.channel_axis, -1)
        return image[..., :-1] if self.alpha else image

    def cut(self, stored: Typed, strip: Strip | None) -> Typed:
        """Return the part of a stored array that a strip is, all of it for None; nothing is read."""
        return stored if strip is None else strip.cut(stored, self.channel_axis)


class StoredImage(Protocol):
    """Stored values of an image, (*spatial, C), of which boxes can be read with all channels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""

    def block(self, box: Box) -> NDArray[Any]:
        """Return all channels of a box of the spatial axes."""

    def band(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return some rows of the first axis, and their transparency where the file has some."""


@dataclass(frozen=True)
class Arranged:
    """The stored values of an image as (*spatial, C); slicing reads only the values that are selected."""

    array: Typed
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial, C), the channel of transparency left out."""
        stored, axis = self.array.shape, self.layout.channel_axis
        if axis is None:
            return (*stored, 1)
        return (*stored[:axis], *stored[axis + 1 :], stored[axis] - self.layout.alpha)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.array.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return read_key(key, self.shape, lambda box: self.block(box[:-1])[..., box[-1]])

    def block(self, box: Box) -> NDArray[Any]:
        """Return all channels of a box of the spatial axes."""
        return self.layout.arrange(self.array[self._find_stored_box(box)])

    def band(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return some rows of the first axis, and their transparency where the file has some."""
        box = (rows, *(slice(0, length) for length in self.shape[1:-1]))
        image = replace(self.layout, alpha=False).arrange(self.array[self._find_stored_box(box)])
        return (image[..., :-1], image[..., -1]) if self.layout.alpha else (image, None)

    def _find_stored_box(self, box: Box) -> Box:
        axis = self.layout.channel_axis
        return box if axis is None else (*box[:axis], slice(None), *box[axis:])


@dataclass(frozen=True)
class Joined:
    """An image whose channels lie in files of their own, all of one shape and type: (*spatial, C)."""

    parts: tuple[StoredImage, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial, C), with the channels of all files."""
        return (*self.parts[0].shape[:-1], sum(part.shape[-1] for part in self.parts))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values, the same in all files."""
        return self.parts[0].dtype

    def block(self, box: Box) -> NDArray[Any]:
        """Return all channels of a box of the spatial axes."""
        return np.concatenate([part.block(box) for part in self.parts], axis=-1)

    def band(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return some rows of the first axis, and their transparency where the file has some."""
        images, alphas = zip(*(part.band(rows) for part in self.parts), strict=True)
        stated = [alpha for alpha in alphas if alpha is not None]
        return np.concatenate(images, axis=-1), np.stack(stated, axis=-1) if stated else None


@dataclass(frozen=True)
class Scaled:
    """An image that is read on access, (*spatial, C) float32: bands of the requested part are read and scaled."""

    stored: StoredImage
    scaling: Scaling
    holes: bool = False  # values that are not finite become 0: their pixels are ignored

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (*spatial, C), that of the stored image."""
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the scaled values: float32."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        found = split_key(key, self.shape)
        if found is None:
            return np.asarray(self[...][key])
        (first, *others, channels), rest = found
        lengths = tuple(part.stop - part.start for part in (first, *others, channels))
        out = np.empty(lengths, np.float32)
        for start, stop in cut_bands(lengths, BAND_VALUES):
            rows = slice(first.start + start, first.start + stop)
            scaled = self.scaling.apply(self.stored.block((rows, *others)), (..., channels))
            out[start:stop] = np.nan_to_num(scaled, copy=False, posinf=0, neginf=0) if self.holes else scaled
        return np.asarray(out[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class ImageFile:
    """An image in a file, (*spatial, C) float32: every access opens the file and scales the requested part."""

    path: Path
    layout: Layout
    scaling: Scaling
    shape: tuple[int, ...]
    max_pixels: int = MAX_PIXELS
    others: tuple[Path, ...] = ()  # files of further channels, of the same layout
    holes: bool = False  # as in `Scaled`
    channel_axis: int | None = None  # as in `open_image`
    plane: int | None = None  # as in `open_image`
    strip: Strip | None = None  # the part of the image that is meant; None: all of it

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the scaled values: float32."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return self._scale_with(lambda array: array)[key]

    def hold(self, keep: Keep = np.ascontiguousarray) -> Scaled:
        """Return the same image with what `keep` makes of the stored values, in the file's own type.

        They are in memory unless it puts them elsewhere, and are scaled on access.
        """
        return self._scale_with(lambda array: keep(array[...]))

    def _scale_with(self, stored: Callable[[Typed], Typed]) -> Scaled:
        arrays = [
            open_image(path, self.channel_axis, self.max_pixels, self.plane).array for path in (self.path, *self.others)
        ]
        parts = tuple(Arranged(stored(self.layout.cut(array, self.strip)), self.layout) for array in arrays)
        return Scaled(parts[0] if len(parts) == 1 else Joined(parts), self.scaling, self.holes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Classes:
    """How the numbers in mask files become class indices."""

    mapping: tuple[tuple[int, int], ...] | None  # (number, class), sorted; None: they are the same
    dtype: np.dtype[Any]
    foreground: bool = False  # every number above 0 is class 1, but for `kept`
    kept: int | None = None  # the number of ignored pixels, which `foreground` leaves as it is

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the class indices of a part of a mask whose numbers are all mapped."""
        if self.foreground:
            classes = (numbers > 0).astype(self.dtype)
            return classes if self.kept is None else np.where(numbers == self.kept, self.dtype.type(self.kept), classes)
        if self.mapping is None:
            return numbers.astype(self.dtype, copy=False)
        known, classes = (np.array(side) for side in zip(*self.mapping, strict=True))
        return np.asarray(classes.astype(self.dtype)[np.searchsorted(known, numbers)])


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file, (*spatial) class indices: every access reads the file."""

    path: Path
    classes: Classes
    shape: tuple[int, ...]
    max_pixels: int
    plane: int | None = None  # as in `open_mask`
    colours: tuple[str, ...] = ()  # as in `open_mask`
    strip: Strip | None = None  # the part of the mask that is meant; None: all of it

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the class indices."""
        return self.classes.dtype

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        mask = open_mask(self.path, self.max_pixels, self.plane, self.colours)
        return self.classes.of(mask.cut(self.strip)[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)
