"""Features as bin numbers of one byte: histograms of them are cheap, and trees split between bins."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import split_range, start_workers

MOST_BINS = 255  # of a feature, as in LightGBM and scikit-learn
BIN_ROWS = 30000  # rows that suffice to find the edges


@dataclass(frozen=True)
class Bins:
    """Upper edges of the bins of each feature but the last, (F, MOST_BINS - 1) float32, ascending, padded with inf.

    A value has the number of edges that are less than it: bin <= b where the value <= edges[b].
    """

    edges: NDArray[np.float32]

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the bin numbers (N, F) of features (N, F)."""
        codes = np.empty(rows.shape, np.uint8)
        with start_workers(rows.shape) as workers:
            tasks = split_range(len(rows), 4 * workers.threads)
            workers.run(lambda low, high: _encode(rows, self.edges, codes, low, high), tasks)
        return codes

    def encode_feature(self, values: NDArray[np.float32], feature: int, codes: NDArray[np.uint8]) -> None:
        """Write the bin numbers of one feature into its column of a table, in the thread of the caller.

        Args:
            values: Values (N,) float32 of the feature.
            feature: Index of the feature, in 0..F-1.
            codes: Bin numbers (N, F) uint8 of all features, of which this column is overwritten.
        """
        columns = slice(feature, feature + 1)
        _encode(values[:, None], self.edges[columns], codes[:, columns], 0, len(values))


def find_bins(rows: NDArray[np.float32]) -> Bins:
    """Place edges so that bins hold about as many of the rows each.

    Args:
        rows: Features (N, F), finite.

    Returns:
        Edges midway between the distinct values of a feature that has at most `MOST_BINS` of them, else at its
        quantiles, as in scikit-learn's histogram gradient boosting.
    """
    edges = np.full((rows.shape[1], MOST_BINS - 1), np.inf, np.float32)
    for feature, values in enumerate(rows.T):
        found = _edges_of(values)
        edges[feature, : len(found)] = found
    return Bins(edges)


def _edges_of(values: NDArray[np.float32]) -> NDArray[np.float64]:
    ordered = np.sort(values).astype(np.float64)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    if len(distinct) <= MOST_BINS:
        return np.asarray((distinct[:-1] + distinct[1:]) / 2)
    places = np.linspace(0, len(ordered) - 1, MOST_BINS + 1)[1:-1]
    return np.asarray((ordered[np.floor(places).astype(int)] + ordered[np.ceil(places).astype(int)]) / 2)


@njit(cache=True, nogil=True)
def _encode(rows, edges, codes, low, high):  # type: ignore[no-untyped-def]
    for feature in range(rows.shape[1]):
        own = edges[feature]
        for row in range(low, high):
            value, first, last = rows[row, feature], 0, own.size
            while first < last:
                middle = (first + last) // 2
                if value <= own[middle]:
                    last = middle
                else:
                    first = middle + 1
            codes[row, feature] = first
