"""Many decision trees as plain arrays: prediction on bin numbers, and a file that holds numbers and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.arrays.threads import split_range, start_workers
from bench.pipelines.trees.bins import Bins

BLOCK = 1 << 14  # rows that go through a tree together, while it lies in the cache
GROUP = 8  # of them, at the same time


@dataclass(frozen=True)
class Tree:
    """One tree of M nodes, node 0 the root.

    Attributes:
        feature: Feature that an inner node splits on, (M,); -1 in a leaf.
        code: Rows whose bin number is at most this go left, (M,).
        left: Left child of an inner node, (M,); the right one comes next.
        value: What a leaf adds, (M, V).
    """

    feature: NDArray[np.int16]
    code: NDArray[np.uint8]
    left: NDArray[np.int32]
    value: NDArray[np.float32]


@dataclass(frozen=True)
class Ensemble:
    """T trees whose leaves add up.

    Attributes:
        edges: Of the bins, as in `Bins`.
        start: What the sum starts from, (K,) float64.
        roots: First node of each tree, (T,).
        column: Where the values of each tree are added, (T,): columns `column` to `column + V`.
        feature, code, left, value: As in `Tree`, of all trees after one another; children count within their tree.
    """

    edges: NDArray[np.float32]
    start: NDArray[np.float64]
    roots: NDArray[np.int64]
    column: NDArray[np.int64]
    feature: NDArray[np.int16]
    code: NDArray[np.uint8]
    left: NDArray[np.int32]
    value: NDArray[np.float32]

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    @property
    def parameters(self) -> int:
        """Learned numbers: a feature and a threshold of each inner node, and the values of the leaves."""
        inner = int((self.feature >= 0).sum())
        return 2 * inner + (len(self.feature) - inner) * int(self.value.shape[1])

    @cached_property
    def _splits(self) -> NDArray[np.int64]:
        """All of a node in one word, (M,): left child, feature (16 bits), code (8 bits); -1 of a leaf."""
        words = (self.left.astype(np.int64) << 24) | (self.feature.astype(np.int64) << 8) | self.code
        return np.where(self.feature >= 0, words, -1)

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the bin numbers (N, F) of features (N, F)."""
        return Bins(self.edges).encode(rows)

    def add_trees(self, codes: NDArray[np.uint8], sums: NDArray[np.float64], first: int = 0) -> None:
        """Add the values of trees to sums, in the order of the trees.

        No sum depends on the threads or on the other rows.

        Args:
            codes: (N, F) bin numbers.
            sums: (N, K), changed in place.
            first: Number of the first tree that counts.
        """
        nodes = (self.roots[first:], self.column[first:], self._splits, self.value)
        blocks = max(-(-len(codes) // BLOCK), 1)
        with start_workers(codes.shape) as workers:
            workers.run(lambda low, high: _add_trees(codes, *nodes, sums, low, high), split_range(len(codes), blocks))

    def sum_trees(self, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the sums (N, K) of rows of bin numbers (N, F)."""
        sums = np.tile(self.start, (len(codes), 1))
        self.add_trees(codes, sums)
        return sums

    def keep_trees(self, trees: int) -> "Ensemble":
        """Return the first so many trees."""
        end = int(self.roots[trees]) if trees < self.trees else len(self.feature)
        parts = (self.feature[:end], self.code[:end], self.left[:end], self.value[:end])
        return replace(
            self,
            roots=self.roots[:trees],
            column=self.column[:trees],
            feature=parts[0],
            code=parts[1],
            left=parts[2],
            value=parts[3],
        )

    def save(self, path: Path) -> None:
        """Write the arrays to an `.npz` file at `path`, whatever its suffix."""
        with path.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_ensemble(path: Path) -> Ensemble:
    """Read what `Ensemble.save` wrote. Raises ValueError for any other content: no array may lead astray."""
    with np.load(path, allow_pickle=False) as archive:
        missing = [field.name for field in fields(Ensemble) if field.name not in archive.files]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}, so it does not hold trees")
        found = Ensemble(**{field.name: archive[field.name] for field in fields(Ensemble)})
    if not _is_sound(found):
        raise ValueError("its arrays do not fit together, so it does not hold trees")
    return found


def _is_sound(ensemble: Ensemble) -> bool:
    """Whether every path from a root ends in a leaf of the same tree, and reads and writes what there is."""
    nodes, roots = len(ensemble.feature), ensemble.roots
    lengths = {len(array) for array in (ensemble.code, ensemble.left, ensemble.value)}
    ordered = len(roots) > 0 and roots[0] == 0 and bool((np.diff(roots, append=nodes) > 0).all())
    if lengths != {nodes} or len(ensemble.column) != len(roots) or not ordered:
        return False
    sizes = np.diff(roots, append=nodes)
    place, size = np.arange(nodes) - np.repeat(roots, sizes), np.repeat(sizes, sizes)
    inner = ensemble.feature >= 0
    ahead = (ensemble.left > place) & (ensemble.left + 1 < size)  # children come later, so that paths end
    columns = ensemble.column + ensemble.value.shape[1]
    return bool(
        ahead[inner].all()
        and ensemble.feature.max() < len(ensemble.edges)
        and ensemble.column.min() >= 0
        and columns.max() <= len(ensemble.start)
    )


def join_trees(bins: Bins, start: NDArray[np.float64], trees: Sequence[Tree], columns: Sequence[int]) -> Ensemble:
    """Put trees after one another.

    Args:
        bins: Of the features.
        start: What the sum starts from, (K,).
        trees: The trees, at least one.
        columns: Where the values of each are added.

    Returns:
        The ensemble.
    """
    sizes = [len(tree.feature) for tree in trees]
    return Ensemble(
        bins.edges,
        start,
        np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        np.asarray(columns, np.int64),
        np.concatenate([tree.feature for tree in trees]),
        np.concatenate([tree.code for tree in trees]),
        np.concatenate([tree.left for tree in trees]),
        np.concatenate([tree.value for tree in trees]),
    )


class EnsembleKeeper:
    """What arms of trees share: the ensemble that was fitted or loaded, and its file."""

    ensemble: Ensemble | None = None

    def save(self, path: Path) -> None:
        """Write the trees beside `path`, as arrays in an `.npz` file."""
        self.fitted().save(path.with_suffix(".npz"))

    def load(self, path: Path) -> None:
        """Take the trees that lie beside `path`."""
        self.ensemble = load_ensemble(path.with_suffix(".npz"))

    def fitted(self) -> Ensemble:
        """Return the trees. Raises RuntimeError where there are none yet."""
        if self.ensemble is None:
            raise RuntimeError("this pipeline has no trees yet: fit or load it first")
        return self.ensemble


@njit(cache=True, nogil=True)
def _add_trees(codes, roots, column, splits, value, sums, low, high):  # type: ignore[no-untyped-def]
    """Add the values of trees to the rows low..high, which go down a tree in groups: the processor waits for several.

        splits[node] = left child, counted from the root (40 bits) | feature (16 bits) | bin (8 bits); -1: a leaf
        the right child follows the left one; a row whose bin number of the feature is above `bin` goes there

    Args:
        codes: (N, F) uint8 bin numbers.
        roots: (T,) the first node of each tree.
        column: (T,) the first class that a tree adds to.
        splits: (nodes,) int64, as drawn.
        value: (nodes, k) what a leaf adds to the k classes from there on.
        sums: (N, K) float64, added to.
        low: First row.
        high: Row after the last one.
    """
    nodes = np.empty(GROUP, dtype=np.int64)
    for tree in range(roots.size):
        root, to = roots[tree], column[tree]
        for first in range(low, high, GROUP):
            count = min(GROUP, high - first)
            nodes[:] = root
            going = True
            while going:
                going = False
                for member in range(count):
                    split = splits[nodes[member]]
                    if split >= 0:
                        going = True
                        right = codes[first + member, (split >> 8) & 0xFFFF] > (split & 0xFF)
                        nodes[member] = root + (split >> 24) + right
            for member in range(count):
                for part in range(value.shape[1]):
                    sums[first + member, to + part] += value[nodes[member], part]
