"""Multi-level thresholds of a histogram, by numpy alone: no library that would count as memory of the arm."""

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9  # squared bins: variances closer than this are equal up to rounding


def multi_otsu(counts: NDArray[np.integer], centres: NDArray[np.floating], bands: int) -> NDArray[np.float64]:
    """Thresholds that split a histogram into bands of the highest variance between them.

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9:62, 1979; the best of all splits is found by dynamic
    programming in O(bands * bins^2). Among splits of equal variance, as empty bins make them, the lowest first
    threshold wins, then the lowest second one, and so on, so that a band ends with a bin that holds values.

    Args:
        counts: Values in each bin (B,).
        centres: Centre of each bin (B,), ascending.
        bands: Number of bands, at most the number of bins that hold values.

    Returns:
        Ascending thresholds (bands - 1,), each the centre of the last bin below it.
    """
    shares = counts / counts.sum()
    mass = np.concatenate([[0.0], np.cumsum(shares)])  # (B + 1,)
    moment = np.concatenate([[0.0], np.cumsum(shares * np.arange(len(shares)))])
    size = mass[None, 1:] - mass[:-1, None]  # (first bin, last bin)
    total = moment[None, 1:] - moment[:-1, None]
    between = np.divide(total**2, size, out=np.zeros_like(size), where=size > 0)
    between[np.tri(len(shares), k=-1, dtype=bool)] = -np.inf  # a band ends where it begins, or later
    best, chosen = between[:, -1], []  # of the bins from the first on, in one band
    for _ in range(bands - 1):
        split = between[:, :-1] + best[None, 1:]  # (first bin, last bin of the first band)
        best = split.max(axis=1)
        chosen.append((split >= best[:, None] - TIE).argmax(axis=1))
    last, found = -1, []
    for choice in reversed(chosen):
        last = int(choice[last + 1])
        found.append(last)
    return np.asarray(centres[found], np.float64)
