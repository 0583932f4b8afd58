"""The median of many numbers that need not be in memory at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.arrays.rows import cut_bands
from bench.arrays.scratch import Storage

AT_ONCE = 1 << 18  # numbers that are read, or sorted, at a time
BITS = 11  # of a number by which it is counted in a pass


def find_median(values: NDArray[np.float64], storage: Storage, at_once: int | None = None) -> float:
    """Return the median of numbers, to the bit that of `numpy.median`.

    Args:
        values: Numbers (N,), at least one, none of them negative or NaN.
        storage: Where they lie; its pages are handed back.
        at_once: How many are read at a time; None: `AT_ONCE`.
    """
    at_once = at_once or AT_ONCE
    if len(values) <= at_once:
        return float(np.median(values))
    middle = len(values) // 2
    upper = _select(values, middle, storage, at_once)
    if len(values) % 2:
        return upper
    return float(np.mean([_select(values, middle - 1, storage, at_once), upper]))


def _select(values: NDArray[np.float64], rank: int, storage: Storage, at_once: int) -> float:
    """Return the number of a rank: the bits of numbers that are not negative are in the order of the numbers.

    Each pass fixes `BITS` more of its first bits, until so few numbers begin with them that they can be sorted.
    """
    prefix, shift = 0, 64
    while True:
        step = min(BITS, shift)
        shift -= step
        counts = np.zeros(1 << step, np.int64)
        for bits in _read(values, storage, at_once):
            inside = bits[(bits >> np.uint64(shift + step)) == prefix] if shift + step < 64 else bits
            numbers = (inside >> np.uint64(shift)) & np.uint64((1 << step) - 1)
            counts += np.bincount(numbers.astype(np.int64), minlength=len(counts))
        ends = np.cumsum(counts)
        chosen = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[chosen] - counts[chosen])
        prefix = prefix << step | chosen
        if counts[chosen] <= at_once or shift == 0:
            break
    if shift == 0:
        return float(np.array([prefix], np.uint64).view(np.float64)[0])
    found = [bits[(bits >> np.uint64(shift)) == prefix] for bits in _read(values, storage, at_once)]
    return float(np.sort(np.concatenate(found))[rank : rank + 1].view(np.float64)[0])


def _read(values: NDArray[np.float64], storage: Storage, at_once: int) -> Iterator[NDArray[np.uint64]]:
    """Yield the bits of the numbers, some at a time."""
    for low, high in cut_bands(values.shape, at_once):
        yield values[low:high].view(np.uint64)
        storage.release()
