"""Which superpixels touch, along how many pixel faces, and with how much contrast across them."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def region_adjacency(
    segments: NDArray[np.int32], image: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of touching segments of `segments` (*spatial) under `image` (*spatial, C).

    Returns `pairs` (E, 2) with i < j in ascending order, `boundary_length` (E,) in pixel faces between them, and
    `contrast` (E,): the mean over those faces and the channels of the absolute difference of intensities.
    """
    if image.shape[:-1] != segments.shape:
        raise ValueError(f"image must be (*spatial, C) over segments {segments.shape}, got {image.shape}")
    lift = (1,) * (3 - segments.ndim)
    volume = np.ascontiguousarray(segments).reshape(lift + segments.shape)
    first, second, length, total = _scan(volume, image.reshape(lift + image.shape), int(segments.max()) + 1)
    order = np.lexsort((second, first))
    length = length[order]
    pairs = np.stack([first[order], second[order]], axis=1).astype(np.int64)
    return pairs, length, total[order] / (length * image.shape[-1])


@njit(cache=True, nogil=True)
def _scan(segments, image, count):  # type: ignore[no-untyped-def]
    """One pass; the edges of node i form a linked list from `head[i]` through `following`."""
    depth, height, width = segments.shape
    head = np.full(count, -1, dtype=np.int64)
    room = 4 * count + 16
    first, second = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
    following = np.empty(room, dtype=np.int64)
    length, total = np.zeros(room, dtype=np.int64), np.zeros(room, dtype=np.float64)
    edges = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                here = segments[z, y, x]
                for axis in range(3):
                    nz, ny, nx = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if nz == depth or ny == height or nx == width or segments[nz, ny, nx] == here:
                        continue
                    there = segments[nz, ny, nx]
                    low, high = min(here, there), max(here, there)
                    edge = head[low]
                    while edge >= 0 and second[edge] != high:
                        edge = following[edge]
                    if edge < 0:
                        if edges == room:
                            room *= 2
                            first, second = _grown(first, room), _grown(second, room)
                            following, length, total = (
                                _grown(following, room),
                                _grown(length, room),
                                _grown(total, room),
                            )
                        edge, edges = edges, edges + 1
                        first[edge], second[edge], following[edge] = low, high, head[low]
                        length[edge], total[edge] = 0, 0.0
                        head[low] = edge
                    length[edge] += 1
                    for channel in range(image.shape[3]):
                        total[edge] += abs(np.float64(image[z, y, x, channel]) - image[nz, ny, nx, channel])
    return first[:edges], second[:edges], length[:edges], total[:edges]


@njit(cache=True, nogil=True)
def _grown(array, room):  # type: ignore[no-untyped-def]
    larger = np.empty(room, dtype=array.dtype)
    larger[: array.size] = array
    return larger
