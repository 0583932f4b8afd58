"""Tiles and strips of TIFF pages, decoded one by one: of a large file only those that an access touches.

    box of the image -> pages (leading axes) x window of a page -> the tiles or strips that the window touches -> values

Within a page everything is counted on the five axes to which tifffile brings every page: separate samples, depth,
length, width, samples that lie together.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.arrays.chunked import Box, shift_box

JPEG = (6, 7, 34892, 33007)  # compressions whose tables lie outside of the tiles


@dataclass(frozen=True)
class SegmentRead:
    """One tile or strip to be decoded: its page, its number in the page, and where its page lies in the result."""

    page: Any
    number: int
    place: tuple[int, ...]


@dataclass(frozen=True)
class SegmentReader:
    """Reads boxes of a series of equal pages.

    Attributes:
        pages: Pages and frames of tifffile, in the order of the leading axes.
        shape: Shape of the series.
        leading: How many of its axes count pages.
        dtype: Number type of the values.
    """

    pages: Sequence[Any]
    shape: tuple[int, ...]
    leading: int
    dtype: np.dtype[Any]

    @property
    def keyframe(self) -> Any:
        """The page that states what all pages have in common."""
        return self.pages[0].keyframe

    @property
    def sides(self) -> tuple[int, ...]:
        """Lengths of a tile or strip on the five axes of a page."""
        page = self.keyframe
        samples = page.shaped[-1]
        if page.is_tiled:
            return (1, page.tiledepth, page.tilelength, page.tilewidth, samples)
        return (1, 1, page.rowsperstrip, page.imagewidth, samples)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded at once, on the axes of the series."""
        inner = iter(side for side, length in zip(self.sides, self.keyframe.shaped, strict=True) if length > 1)
        own = tuple(next(inner) if length > 1 else 1 for length in self.shape[self.leading :])
        return (*(1,) * self.leading, *(min(pair) for pair in zip(own, self.shape[self.leading :], strict=True)))

    def read(self, box: Box) -> NDArray[Any]:
        """Decode the tiles and strips that a box touches, and return its values."""
        window = self._window(box)
        counts = [part.stop - part.start for part in box[: self.leading]]
        out = np.full((*counts, *(part.stop - part.start for part in window)), self.keyframe.nodata, self.dtype)
        jobs = list(self._list_jobs(box, window))
        with ExitStack() as stack:
            files = {
                path: stack.enter_context(path.open("rb")).fileno() for path in {find_file(job.page) for job in jobs}
            }

            def work(job: SegmentRead) -> None:
                self._decode(job, files[find_file(job.page)], window, out)

            workers = min(max(int(self.keyframe.maxworkers), 1), len(jobs))
            if workers > 1:
                list(stack.enter_context(ThreadPoolExecutor(workers)).map(work, jobs))
            else:
                for job in jobs:
                    work(job)
        return out.reshape([part.stop - part.start for part in box])

    def _window(self, box: Box) -> Box:
        """The part of a box within a page, on the five axes."""
        inner = iter(
            part for part, length in zip(box[self.leading :], self.shape[self.leading :], strict=True) if length > 1
        )
        return tuple(next(inner) if length > 1 else slice(0, 1) for length in self.keyframe.shaped)

    def _list_jobs(self, box: Box, window: Box) -> Iterator[SegmentRead]:
        """The tiles and strips that a window touches, of every page that a box touches."""
        grid = [range(p.start // side, -(-p.stop // side)) for p, side in zip(window, self.sides, strict=True)]
        totals = [-(-length // side) for length, side in zip(self.keyframe.shaped, self.sides, strict=True)]
        numbers = [int(np.ravel_multi_index(place, totals)) for place in product(*grid)]
        for place in product(*(range(part.start, part.stop) for part in box[: self.leading])):
            page = self.pages[int(np.ravel_multi_index(place, self.shape[: self.leading])) if place else 0]
            within = tuple(at - part.start for at, part in zip(place, box[: self.leading], strict=True))
            yield from (SegmentRead(page, number, within) for number in numbers)

    def _decode(self, job: SegmentRead, file: int, window: Box, out: NDArray[Any]) -> None:
        """Decode one tile or strip into its place; one that is not stored leaves the page's value for no data."""
        page, keyframe = job.page, self.keyframe
        data = os.pread(file, page.databytecounts[job.number], page.dataoffsets[job.number])
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if is_jpeg(keyframe) else {}
        values, start, _ = keyframe.decode(data or None, job.number, **tables)
        if values is None:
            return
        whole = [slice(at, at + length) for at, length in zip(start, (1, *values.shape), strict=True)]
        both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(whole, window, strict=True)]
        place: tuple[int | slice, ...] = (*job.place, *shift_box(both, window))
        out[place] = values[None][shift_box(both, whole)]


def open_segments(series: Any, dtype: np.dtype[Any]) -> SegmentReader | None:
    """Return the reader of a series of tifffile; None where its axes are not those of pages and of one page."""
    pages, shape = list(series.pages), tuple(int(length) for length in series.shape)
    wanted = [length for length in pages[0].keyframe.shaped if length > 1]
    for leading in range(len(shape) + 1):
        inner = [length for length in shape[leading:] if length > 1]
        if prod(shape[:leading]) == len(pages) and inner == wanted:
            return SegmentReader(pages, shape, leading, dtype)
    return None


def is_jpeg(page: Any) -> bool:
    """Return whether a page's tiles need tables that lie outside of them."""
    return int(page.compression) in JPEG


def find_file(page: Any) -> Path:
    """Return the file that the pixels of a page lie in."""
    return Path(page.parent.filehandle.path)
