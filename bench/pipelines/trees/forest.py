"""A random forest on bin numbers: Breiman, "Random forests", Machine Learning 45, 2001, with Gini impurity."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import Workers, list_singles, start_workers
from bench.pipelines.trees.bins import MOST_BINS, find_bins
from bench.pipelines.trees.ensemble import Tree, join_trees
from bench.pipelines.trees.growth import partition_rows


@dataclass(frozen=True)
class ForestSettings:
    """How a forest grows."""

    trees: int = 100
    features: int | None = None  # tried at a node; None: the square root of all
    least_rows: int = 1  # in a leaf


def grow_forest(
    codes: NDArray[np.uint8],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating],
    num_classes: int,
    settings: ForestSettings,
    seed: int,
    workers: Workers,
) -> list[Tree]:
    """Grow trees on bootstrap samples of the rows; each draws from its own seed, so that threads change nothing.

    Args:
        codes: Bin numbers (F, N), a row per feature.
        labels: Classes (N,).
        weights: Of the rows, (N,).
        num_classes: K.
        settings: How trees grow.
        seed: Of the bootstrap samples and of the features tried.
        workers: Threads that grow a tree each.

    Returns:
        Trees whose leaves hold the shares of the classes, divided by the number of trees: their sum is the forest's.
    """
    tried = settings.features or max(round(len(codes) ** 0.5), 1)
    seeds = np.random.default_rng(seed).integers(1, 2**63, settings.trees, dtype=np.uint64)
    classes = labels.astype(np.int64)

    def grow(low: int, _: int) -> Tree:
        feature, code, left, shares = _grow(
            codes, classes, weights.astype(np.float64), num_classes, tried, settings.least_rows, seeds[low]
        )
        return Tree(feature, code, left, (shares / settings.trees).astype(np.float32))

    return workers.run(grow, list_singles(settings.trees))


def warm_up_forest() -> None:
    """Compile what growing and adding up trees needs, on four rows."""
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    bins = find_bins(rows)
    codes = bins.encode(rows)
    for layout in (codes, np.empty(codes.shape[::-1], np.uint8).T):
        bins.encode_feature(np.ravel(rows[:, 0]), 0, layout)
    with start_workers(codes.shape) as workers:
        labels, settings = np.arange(4) % 2, ForestSettings(trees=1)
        trees = grow_forest(np.ascontiguousarray(codes.T), labels, np.ones(4), 2, settings, 0, workers)
    join_trees(bins, np.zeros(2), trees, [0]).sum_trees(codes)


@njit(cache=True, nogil=True)
def _grow(codes, labels, weights, classes, tried, least_rows, seed):  # type: ignore[no-untyped-def]
    """Grow a tree, depth first. A node's rows lie side by side, and splitting a node sorts them in place.

        rows    [ ... start | left child's rows | middle | right child's rows | stop ... ]

    Args:
        codes: (F, N) uint8 bin numbers, a line per feature.
        labels: (N,) class of each row.
        weights: (N,) pixels that each row stands for.
        classes: K.
        tried: Features drawn for a split.
        least_rows: Fewest rows of a child.
        seed: Of the draws.

    Returns:
        feature (nodes,), -1 for a leaf; code (nodes,), rows above it go right; left (nodes,), the left child, which
        the right one follows; shares (nodes, K) of the classes.
    """
    state = np.array([seed], dtype=np.uint64)
    drawn = _bootstrap(state, labels.size, weights)
    rows = np.flatnonzero(drawn > 0).astype(np.int32)
    most = 2 * (rows.size // least_rows) + 1
    feature, code = np.full(most, -1, dtype=np.int16), np.zeros(most, dtype=np.uint8)
    left = np.zeros(most, dtype=np.int32)
    shares = np.zeros((most, classes), dtype=np.float64)
    order = np.arange(codes.shape[0])
    histogram = np.zeros((MOST_BINS, classes + 1))
    spare = np.empty(rows.size, dtype=np.int32)
    stack_node, stack_start, stack_stop = [0], [0], [rows.size]
    nodes = 1
    while len(stack_node) > 0:
        node, start, stop = stack_node.pop(), stack_start.pop(), stack_stop.pop()
        for row in rows[start:stop]:
            shares[node, labels[row]] += drawn[row]
        own, totals = rows[start:stop], shares[node]
        gain, best, cut = _best_of_some(state, codes, labels, drawn, own, totals, order, tried, least_rows, histogram)
        shares[node] /= shares[node].sum()
        if gain <= 0:
            continue
        middle = start + partition_rows(codes[best], own, cut, spare)
        feature[node], code[node], left[node] = best, cut, nodes
        stack_node.append(nodes + 1)
        stack_start.append(middle)
        stack_stop.append(stop)
        stack_node.append(nodes)
        stack_start.append(start)
        stack_stop.append(middle)
        nodes += 2
    return feature[:nodes].copy(), code[:nodes].copy(), left[:nodes].copy(), shares[:nodes].copy()


@njit(cache=True, nogil=True)
def _draw(state, count):  # type: ignore[no-untyped-def]
    """A random number in [0, count): Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003."""
    word = state[0]
    word ^= word << np.uint64(13)
    word ^= word >> np.uint64(7)
    word ^= word << np.uint64(17)
    state[0] = word
    return np.int64((word >> np.uint64(11)) % np.uint64(count))


@njit(cache=True, nogil=True)
def _bootstrap(state, size, weights):  # type: ignore[no-untyped-def]
    """As many draws as there are rows, with replacement: how often each was drawn, times its weight."""
    drawn = np.zeros(size)
    for _ in range(size):
        drawn[_draw(state, size)] += 1.0
    return drawn * weights


@njit(cache=True, nogil=True)
def _best_of_some(state, codes, labels, drawn, rows, totals, order, tried, least_rows, histogram):  # type: ignore[no-untyped-def]
    """Return gain, feature and bin of the best split among features drawn at random, and more while none splits.

    Args:
        state: (1,) of the random numbers, moved on.
        codes: (F, N) uint8 bin numbers.
        labels: (N,) class of each row.
        drawn: (N,) weight of each row.
        rows: The node's rows.
        totals: (K,) weight of each class in the node.
        order: (F,) the features, shuffled as they are drawn.
        tried: Features that can split, among which the best is taken.
        least_rows: Fewest rows of a child.
        histogram: (MOST_BINS, K + 1) room for weights by bin and class, and rows by bin; zero before and after.
    """
    classes = totals.size
    best_gain, best_feature, best_code = 0.0, 0, 0
    if rows.size < 2 * least_rows or np.count_nonzero(totals) < 2:
        return best_gain, best_feature, best_code
    total = totals.sum()
    whole = (totals * totals).sum() / total
    split = 0
    for place in range(order.size):
        if split >= tried:
            break
        other = place + _draw(state, order.size - place)
        order[place], order[other] = order[other], order[place]
        feature = order[place]
        own = codes[feature]
        low, high = own[rows[0]], own[rows[0]]
        for row in rows:
            bin_ = own[row]
            low, high = min(low, bin_), max(high, bin_)
            histogram[bin_, labels[row]] += drawn[row]
            histogram[bin_, classes] += 1.0
        if low < high:
            gain, code = _scan(histogram[low : high + 1], totals, total, whole, least_rows, rows.size)
            split += 1
            if gain > best_gain:
                best_gain, best_feature, best_code = gain, feature, low + code
        histogram[low : high + 1] = 0.0
    return best_gain, best_feature, best_code


@njit(cache=True, nogil=True)
def _scan(histogram, totals, total, whole, least_rows, count):  # type: ignore[no-untyped-def]
    """Return the best gain and bin of one feature: of squared class weights over weights, what two sides add.

    Args:
        histogram: (bins, K + 1) weights by bin and class, and rows by bin.
        totals: (K,) weight of each class in the node.
        total: Their sum.
        whole: Squared class weights over weights of the node.
        least_rows: Fewest rows of a child.
        count: Rows of the node.
    """
    classes = totals.size
    left = np.zeros(classes)
    rows, weight = 0.0, 0.0
    best_gain, best_code = 0.0, 0
    for code in range(histogram.shape[0] - 1):
        if histogram[code, classes] == 0:
            continue
        rows += histogram[code, classes]
        for label in range(classes):
            left[label] += histogram[code, label]
            weight += histogram[code, label]
        if rows < least_rows:
            continue
        if count - rows < least_rows:
            break
        one, two = 0.0, 0.0
        for label in range(classes):
            one += left[label] * left[label]
            two += (totals[label] - left[label]) ** 2
        gain = one / weight + two / (total - weight) - whole
        if gain > best_gain * (1 + 1e-12) + 1e-12 * whole:
            best_gain, best_code = gain, code
    return best_gain, best_code
