"""How one tree of gradient boosting grows on bin numbers: best split first, as in scikit-learn and LightGBM.

Ke et al., "LightGBM", NeurIPS 2017; second-order gains after Chen and Guestrin, "XGBoost", KDD 2016. Sums within a
histogram run in the order of the rows and threads share out whole features, so that a tree is the same to the last bit
whatever the threads.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import WORTH_THREADS, Workers, split_range
from bench.pipelines.trees.bins import MOST_BINS
from bench.pipelines.trees.ensemble import Tree

LEAST_HESSIAN = 1e-3  # in a child
TINY = 1e-15  # keeps a ratio of sums finite
HELD_BYTES = 37 << 20  # of histograms, which is enough for all that a tree of 31 leaves can use of 350 features


@dataclass(frozen=True)
class TreeSettings:
    """How a tree grows: leaves at most, rows in a leaf at least, L2 penalty on its value, and the step it is given."""

    leaves: int = 31
    least_rows: int = 20
    penalty: float = 0.0
    learning_rate: float = 0.1


class Split(NamedTuple):
    """The best split of a node: rows of bin number at most `code` go left; sums of the left side. Gain 0: none."""

    gain: float
    feature: int
    code: int
    gradient: float
    hessian: float


class Open(NamedTuple):
    """A node that can be split: its place in the tree, its rows, their sums, its histogram and its best split."""

    node: int
    start: int
    stop: int
    gradient: float
    hessian: float
    histogram: NDArray[np.float64] | None
    best: Split


class Histograms:
    """Room for histograms (F, MOST_BINS, 3), used again and again.

    Attributes:
        made: How many there are, `kept` and two more at most.
        kept: Nodes that may keep theirs until their turn comes; a node without one has those of its children counted
            both, where otherwise the larger child has the rest of its parent's.
    """

    def __init__(self, features: int, held_bytes: int = HELD_BYTES) -> None:
        """Make room for histograms of so many features, in about `held_bytes`."""
        self.made = 0
        self.kept = max(held_bytes // (features * MOST_BINS * 3 * 8) - 2, 1)
        self._shape, self._free = (features, MOST_BINS, 3), list[NDArray[np.float64]]()

    def take(self) -> NDArray[np.float64]:
        """Return a histogram of zeros."""
        if not self._free:
            self.made += 1
            return np.zeros(self._shape)
        histogram = self._free.pop()
        histogram[...] = 0
        return histogram

    def give_back(self, histogram: NDArray[np.float64]) -> None:
        """Take a histogram that is not needed any more."""
        self._free.append(histogram)


class Growth:
    """One tree while it grows. `rows` (N,) holds the rows of each node side by side, in their first order."""

    def __init__(
        self,
        codes: NDArray[np.uint8],
        gradient: NDArray[np.float32],
        hessian: NDArray[np.float32],
        settings: TreeSettings,
        workers: Workers,
        histograms: Histograms,
    ) -> None:
        self.codes, self.gradient, self.hessian = codes, gradient, hessian
        self.settings, self.workers, self.histograms = settings, workers, histograms
        self.rows = np.arange(codes.shape[1], dtype=np.int32)
        most = 2 * settings.leaves - 1
        self.feature, self.code = np.full(most, -1, np.int16), np.zeros(most, np.uint8)
        self.left, self.value = np.zeros(most, np.int32), np.zeros(most, np.float64)

    def grow(self) -> tuple[Tree, list[tuple[int, int, float]]]:
        """Return the tree, and the first and last row (exclusive) and the value of each leaf."""
        open_nodes: list[tuple[float, int, Open]] = []
        places = {0: (0, len(self.rows))}
        whole = self._histogram(0, len(self.rows))
        gradient, hessian = whole[0, :, :2].sum(axis=0)
        self.value[0] = self._value(gradient, hessian)
        self._open(open_nodes, 0, places[0], gradient, hessian, whole)
        nodes = 1
        while open_nodes and len(places) < self.settings.leaves:
            _, _, parent = heappop(open_nodes)
            self._split(parent, nodes, places, open_nodes)
            nodes += 2
            self._close_hopeless(open_nodes, self.settings.leaves - len(places))
            self._forget_last(open_nodes)
        return self._tree(nodes), [(*places[node], float(np.float32(self.value[node]))) for node in sorted(places)]

    def _split(
        self, parent: Open, child: int, places: dict[int, tuple[int, int]], open_nodes: list[tuple[float, int, Open]]
    ) -> None:
        """Split a node into the nodes `child` and `child + 1`."""
        best, (start, stop) = parent.best, places.pop(parent.node)
        spare = np.empty(stop - start, self.rows.dtype)
        middle = start + int(partition_rows(self.codes[best.feature], self.rows[start:stop], best.code, spare))
        self.feature[parent.node], self.code[parent.node] = best.feature, best.code
        self.left[parent.node] = child
        sides = [(start, middle), (middle, stop)]
        sums = [(best.gradient, best.hessian), (parent.gradient - best.gradient, parent.hessian - best.hessian)]
        for node, place, (gradient, hessian) in zip((child, child + 1), sides, sums, strict=True):
            places[node], self.value[node] = place, self._value(gradient, hessian)
        if len(places) == self.settings.leaves or stop - start < 3 * self.settings.least_rows:
            self._give_back(parent)
            return
        small = int(middle - start >= stop - middle)  # the side with fewer rows is counted, the other is the rest
        fewer = self._histogram(*sides[small])
        histograms = {small: fewer, 1 - small: self._histogram_of_rest(parent, fewer, sides[1 - small])}
        for side in (0, 1):
            self._open(open_nodes, child + side, sides[side], *sums[side], histograms[side])

    def _histogram_of_rest(
        self, parent: Open, fewer: NDArray[np.float64], place: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Histogram of the larger child, at `place`: its parent's less that of the smaller one, or counted anew."""
        if parent.histogram is None:
            return self._histogram(*place)
        parent.histogram[...] -= fewer
        return parent.histogram

    def _open(
        self,
        open_nodes: list[tuple[float, int, Open]],
        node: int,
        place: tuple[int, int],
        gradient: float,
        hessian: float,
        histogram: NDArray[np.float64],
    ) -> None:
        """Put a node among those that can be split, if it can."""
        if place[1] - place[0] >= 2 * self.settings.least_rows and hessian >= LEAST_HESSIAN:
            best = Split(*_best_split(histogram, gradient, hessian, self.settings.least_rows, self.settings.penalty))
            if best.gain > 0:
                heappush(open_nodes, (-best.gain, node, Open(node, *place, gradient, hessian, histogram, best)))
                return
        self.histograms.give_back(histogram)

    def _close_hopeless(self, open_nodes: list[tuple[float, int, Open]], splits: int) -> None:
        """Keep the best nodes, as many as there are splits left: no other can come to its turn any more."""
        open_nodes.sort(key=lambda entry: entry[:2])  # a sorted list is a heap
        while len(open_nodes) > splits:
            self._give_back(open_nodes.pop()[2])

    def _forget_last(self, open_nodes: list[tuple[float, int, Open]]) -> None:
        """Of the sorted nodes, let those that come last go without their histograms, where memory has no more room."""
        for place in range(self.histograms.kept, len(open_nodes)):
            gain, number, node = open_nodes[place]
            self._give_back(node)
            open_nodes[place] = gain, number, node._replace(histogram=None)

    def _give_back(self, node: Open) -> None:
        """Take the histogram of a node, if it has one."""
        if node.histogram is not None:
            self.histograms.give_back(node.histogram)

    def _histogram(self, start: int, stop: int) -> NDArray[np.float64]:
        """Sums of gradient, hessian and rows in each bin of each feature, (F, MOST_BINS, 3)."""
        features, rows = len(self.codes), self.rows[start:stop]
        histogram = self.histograms.take()
        gradient, hessian = self.gradient[rows], self.hessian[rows]
        pieces = self.workers.threads if rows.size * features >= WORTH_THREADS else 1

        def add(low: int, high: int) -> None:
            _fill(self.codes, rows, gradient, hessian, histogram, low, high)

        self.workers.run(add, split_range(features, pieces))
        return histogram

    def _value(self, gradient: float, hessian: float) -> float:
        return -gradient / (hessian + self.settings.penalty + TINY) * self.settings.learning_rate

    def _tree(self, nodes: int) -> Tree:
        leaf = np.where(self.feature[:nodes] < 0, self.value[:nodes], 0.0)
        return Tree(self.feature[:nodes], self.code[:nodes], self.left[:nodes], leaf.astype(np.float32)[:, None])


@njit(cache=True, nogil=True)
def _fill(codes, rows, gradient, hessian, histogram, low, high):  # type: ignore[no-untyped-def]
    """Add up the rows of a node by bin, for the features low..high.

    Args:
        codes: (F, N) uint8 bin numbers, a line per feature.
        rows: (M,) the node's rows.
        gradient: (M,) of the loss at each.
        hessian: (M,) of the loss at each.
        histogram: (F, MOST_BINS, 3): gradient, hessian, rows; added to.
        low: First feature.
        high: Feature after the last one.
    """
    for feature in range(low, high):
        own, bins = codes[feature], histogram[feature]
        for place in range(rows.size):
            to = bins[own[rows[place]]]
            to[0] += gradient[place]
            to[1] += hessian[place]
            to[2] += 1.0


@njit(cache=True, nogil=True)
def _best_split(histogram, gradient, hessian, least_rows, penalty):  # type: ignore[no-untyped-def]
    """The first of the best splits by feature, then bin, as in scikit-learn."""
    count = 0.0
    for code in range(histogram.shape[1]):
        count += histogram[0, code, 2]
    whole = gradient * gradient / (hessian + penalty + TINY)
    best = (0.0, 0, 0, 0.0, 0.0)
    for feature in range(histogram.shape[0]):
        rows, g, h = 0.0, 0.0, 0.0
        for code in range(histogram.shape[1] - 1):
            rows += histogram[feature, code, 2]
            g += histogram[feature, code, 0]
            h += histogram[feature, code, 1]
            if rows < least_rows or h < LEAST_HESSIAN:
                continue
            if count - rows < least_rows or hessian - h < LEAST_HESSIAN:
                break
            right = gradient - g
            gain = g * g / (h + penalty + TINY) + right * right / (hessian - h + penalty + TINY) - whole
            if gain > best[0]:
                best = (gain, feature, code, g, h)
    return best


@njit(cache=True, nogil=True)
def partition_rows(codes, rows, code, spare):  # type: ignore[no-untyped-def]
    """Put the rows that go left before the others, either in their order; return how many there are.

    Args:
        codes: (N,) uint8 bin numbers of one feature.
        rows: The rows of a node, sorted in place.
        code: Rows whose bin number is at most this go left.
        spare: Room for as many rows.
    """
    left, right = 0, 0
    for place in range(rows.size):
        row = rows[place]
        if codes[row] <= code:
            rows[left] = row
            left += 1
        else:
            spare[right] = row
            right += 1
    rows[left:] = spare[:right]
    return left
