"""Connected components of a label image (faces, not corners): the law that every segment is in one piece."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def connected(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Split `labels` (2 or 3 axes) into face-connected pieces, numbered 0..N-1 in the order of their first pixels."""
    volume = np.ascontiguousarray(labels, dtype=np.int32).reshape((1,) * (3 - labels.ndim) + labels.shape)
    return np.asarray(_components(volume)).reshape(labels.shape)


@njit(cache=True, nogil=True)
def _find(parent, node):  # type: ignore[no-untyped-def]
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent, first, second):  # type: ignore[no-untyped-def]
    first, second = _find(parent, first), _find(parent, second)
    if first < second:
        parent[second] = first
    else:
        parent[first] = second


@njit(cache=True, nogil=True)
def _components(labels):  # type: ignore[no-untyped-def]
    depth, height, width = labels.shape
    parent = np.arange(labels.size).astype(np.int32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                here = (z * height + y) * width + x
                if x and labels[z, y, x] == labels[z, y, x - 1]:
                    _join(parent, here, here - 1)
                if y and labels[z, y, x] == labels[z, y - 1, x]:
                    _join(parent, here, here - width)
                if z and labels[z, y, x] == labels[z - 1, y, x]:
                    _join(parent, here, here - width * height)
    count = 0
    for node in range(labels.size):  # a root is the first pixel of its piece, so it is numbered before the others
        if parent[node] == node:
            parent[node] = ~count
            count += 1
        else:
            above = parent[node]
            while above >= 0:
                above = parent[above]
            parent[node] = above
    return ~parent
