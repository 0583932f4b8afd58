"""Trees on bin numbers are scikit-learn's trees; whatever the threads, and however they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.config import TrainingConfig
from bench.learning.schedule import Schedule

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    from bench.arrays.threads import Workers
    from bench.pipelines.trees.bins import MOST_BINS, Bins, find_bins
    from bench.pipelines.trees.boosting import Booster, boost, derive, log_softmax, start_scores, widen
    from bench.pipelines.trees.drawing import draw_by_class
    from bench.pipelines.trees.ensemble import Ensemble, join_trees, load_ensemble
    from bench.pipelines.trees.forest import ForestSettings, grow_forest
    from bench.pipelines.trees.growth import TreeSettings

Rows = NDArray[np.float32]


def problem(classes: int, rows: int = 900) -> tuple[Rows, NDArray[np.int64], NDArray[np.float64]]:
    """Features of whole numbers, classes that depend on four of them and on chance, and weights."""
    rng = np.random.default_rng(classes)
    features = rng.integers(0, 120, (rows, 6)).astype(np.float32)
    value = features[:, 0] + 2 * features[:, 1] + features[:, 2] * features[:, 3] / 60 + rng.normal(0, 30, rows)
    labels = np.digitize(value, np.quantile(value, np.linspace(0, 1, classes + 1)[1:-1]))
    return features, labels, rng.integers(1, 60, rows).astype(np.float64)


def boosted(classes: int, iterations: int, threads: int = 1) -> tuple[Ensemble, NDArray[np.uint8], Booster]:
    features, labels, weights = problem(classes)
    bins = find_bins(features)
    codes = bins.encode(features)
    with Workers(threads) as workers:
        booster = Booster(np.ascontiguousarray(codes.T), labels, weights, classes, TreeSettings(), workers)
        trees = [tree for _ in range(iterations) for tree in booster.grow_iteration()]
    columns = [tree % len(booster.start) for tree in range(len(trees))]
    return join_trees(bins, booster.start, trees, columns), codes, booster


# -------------------------------------------------------------------------------------------------------- bins


def test_a_bin_is_the_number_of_edges_below_a_value() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    bins = find_bins(rows)
    codes = bins.encode(rows)
    for feature in range(3):
        expected = np.searchsorted(bins.edges[feature], rows[:, feature], side="left")
        np.testing.assert_array_equal(codes[:, feature], expected)
        assert len(np.unique(codes[:, feature])) == MOST_BINS
        assert np.bincount(codes[:, feature]).max() <= 2 * len(rows) / MOST_BINS


def test_few_values_get_a_bin_each_and_one_value_a_single_one() -> None:
    rows = np.array([[5, 1], [7, 1], [-2, 1], [5, 1]], np.float32)
    np.testing.assert_array_equal(find_bins(rows).encode(rows), [[1, 0], [2, 0], [0, 0], [1, 0]])
    np.testing.assert_array_equal(find_bins(rows).encode(np.array([[6.5, 9]], np.float32)), [[2, 0]])


# ---------------------------------------------------------------------------------------------------- boosting


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_boosting_is_scikit_learns(classes: int) -> None:
    features, labels, weights = problem(classes)
    ensemble, codes, _ = boosted(classes, 25)
    peer = HistGradientBoostingClassifier(max_iter=25, early_stopping=False)
    peer.fit(features, labels, sample_weight=weights / weights.mean())
    probabilities = np.exp(log_softmax(widen(ensemble.sum_trees(codes))))
    np.testing.assert_allclose(probabilities, peer.predict_proba(features), atol=1e-6)


def test_threads_change_no_bit_of_a_boosted_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pipelines.trees.growth.WORTH_THREADS", 100)
    one, _, _ = boosted(3, 4, threads=1)
    three, _, _ = boosted(3, 4, threads=3)
    for name in ("feature", "code", "left", "value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_no_more_histograms_are_held_than_half_of_the_leaves() -> None:
    """A node is given up once better ones take all splits that are left; scikit-learn's trees come out all the same."""
    _, _, booster = boosted(4, 12)
    assert booster.settings.leaves == 31
    assert 2 < booster.histograms.made <= 17


def test_trees_are_the_same_where_memory_has_room_for_few_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, codes, _ = boosted(4, 6)
    monkeypatch.setattr("bench.pipelines.trees.growth.Histograms.__init__.__defaults__", (1,))
    few, _, booster = boosted(4, 6)
    assert booster.histograms.made <= 3
    np.testing.assert_allclose(few.sum_trees(codes), whole.sum_trees(codes), atol=1e-5)


def test_trees_add_up_to_the_scores_of_the_fit() -> None:
    ensemble, codes, booster = boosted(3, 6)
    np.testing.assert_array_equal(ensemble.sum_trees(codes), booster.raw)
    log_p = log_softmax(booster.raw)[np.arange(len(codes)), booster.labels]
    assert booster.loss() == pytest.approx(-np.average(log_p, weights=booster.weights))


def test_gradients_are_those_of_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    raw, labels, weights = rng.normal(size=(5, 3)), np.array([0, 1, 2, 1, 0]), rng.uniform(1, 2, 5)

    def loss(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-weights * log_softmax(scores)[np.arange(5), labels])

    step = 1e-4
    gradients, hessians = derive(raw, labels, weights)
    for column in range(3):
        more, less = raw.copy(), raw.copy()
        more[:, column] += step
        less[:, column] -= step
        np.testing.assert_allclose(gradients[column], (loss(more) - loss(less)) / (2 * step), atol=1e-5)
        np.testing.assert_allclose(hessians[column], (loss(more) - 2 * loss(raw) + loss(less)) / step**2, atol=1e-5)


def test_without_trees_the_probabilities_are_the_shares() -> None:
    for shares in (np.array([3.0, 1.0]), np.array([1.0, 2.0, 5.0])):
        probabilities = np.exp(log_softmax(widen(start_scores(shares)[None])))
        np.testing.assert_allclose(probabilities[0], shares / shares.sum())
    assert np.isfinite(start_scores(np.array([4.0, 0.0]))).all()


@pytest.mark.parametrize(("scores", "stopped", "best"), [([1, 2, 3, 3, 3, 3, 3], "patience", 6), ([1, 2], "steps", 4)])
def test_boosting_ends_by_work_and_keeps_the_first_of_the_best(scores: list[int], stopped: str, best: int) -> None:
    features, labels, weights = problem(2, 200)
    bins = find_bins(features)
    codes = bins.encode(features)
    rules = TrainingConfig(steps=2 * len(scores), patience=2, min_gain=0, validate_every=2, warmup=0, cooldown=0)
    coming = iter(scores)
    with Workers(1) as workers:
        booster = Booster(np.ascontiguousarray(codes.T), labels, weights, 2, TreeSettings(), workers)
        ensemble, log = boost(booster, bins, Schedule(rules, 1), lambda _: next(coming), 0, "trees")
    assert (log.stopped, log.best_step, ensemble.trees) == (stopped, best, best)
    assert log.validations == (5 if stopped == "patience" else 2)
    assert log.steps == 2 * log.validations


# ------------------------------------------------------------------------------------------------------ forest


def draws(seed: int, count: int) -> NDArray[np.int64]:
    """How often each of `count` rows is drawn, by the same random numbers as the forest's, in plain Python."""
    word, drawn = seed, np.zeros(count, np.int64)
    for _ in range(count):
        word ^= word << 13 & (1 << 64) - 1
        word ^= word >> 7
        word ^= word << 17 & (1 << 64) - 1
        drawn[(word >> 11) % count] += 1
    return drawn


def impurity(labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Gini impurity times the weight of the rows."""
    shares = np.bincount(labels, weights)
    return float(shares.sum() - (shares**2).sum() / shares.sum())


@pytest.mark.parametrize(("classes", "least"), [(2, 1), (3, 4)])
def test_every_split_of_a_forest_is_as_good_as_scikit_learns(classes: int, least: int) -> None:
    features, labels, weights = problem(classes, 300)
    bins = find_bins(features)
    codes = bins.encode(features)
    settings = ForestSettings(trees=1, features=features.shape[1], least_rows=least)
    with Workers(1) as workers:
        [tree] = grow_forest(np.ascontiguousarray(codes.T), labels, weights, classes, settings, 7, workers)
    drawn = draws(int(np.random.default_rng(7).integers(1, 2**63, dtype=np.uint64)), len(labels)) * weights
    waiting = [(0, np.flatnonzero(drawn))]
    for node, rows in waiting:
        own, before = drawn[rows], impurity(labels[rows], drawn[rows])
        stump = DecisionTreeClassifier(max_depth=1, min_samples_leaf=least).fit(features[rows], labels[rows], own)
        ends = stump.apply(features[rows])
        best = before - sum(impurity(labels[rows[ends == end]], own[ends == end]) for end in np.unique(ends))
        if tree.feature[node] < 0:
            assert best < 1e-9 * drawn.sum()
            np.testing.assert_allclose(tree.value[node], np.bincount(labels[rows], own, classes) / own.sum(), atol=1e-6)
            continue
        left = codes[rows, tree.feature[node]] <= tree.code[node]
        assert min(left.sum(), (~left).sum()) >= least
        gain = before - impurity(labels[rows[left]], own[left]) - impurity(labels[rows[~left]], own[~left])
        assert gain == pytest.approx(best)
        waiting += [(tree.left[node], rows[left]), (tree.left[node] + 1, rows[~left])]
    assert len(waiting) == len(tree.feature) > 20


def test_a_forest_averages_its_trees_whatever_the_threads() -> None:
    features, labels, weights = problem(3, 300)
    bins = find_bins(features)
    codes = bins.encode(features)
    found = []
    for threads in (1, 3):
        with Workers(threads) as workers:
            trees = grow_forest(np.ascontiguousarray(codes.T), labels, weights, 3, ForestSettings(8), 0, workers)
        found.append(join_trees(bins, np.zeros(3), trees, [0] * 8).sum_trees(codes))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-6)
    assert (found[0].argmax(axis=1) == labels).mean() > 0.9
    assert len({len(tree.feature) for tree in trees}) > 1


# ------------------------------------------------------------------------------------------------ kept as arrays


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    ensemble, codes, _ = boosted(3, 3)
    ensemble.save(tmp_path / "trees.npz")
    loaded = load_ensemble(tmp_path / "trees.npz")
    np.testing.assert_array_equal(loaded.sum_trees(codes), ensemble.sum_trees(codes))
    assert loaded.parameters == ensemble.parameters > 0


def test_the_first_trees_are_what_was_grown_first() -> None:
    long, codes, _ = boosted(2, 5)
    short, _, _ = boosted(2, 2)
    np.testing.assert_array_equal(long.keep_trees(2).sum_trees(codes), short.sum_trees(codes))
    rest = long.keep_trees(2).sum_trees(codes)
    long.add_trees(codes, rest, first=2)
    np.testing.assert_array_equal(rest, long.sum_trees(codes))


@pytest.mark.parametrize("damage", ["backwards", "beyond", "feature", "column", "missing", "short", "pickled"])
def test_a_file_that_would_lead_astray_is_refused(damage: str, tmp_path: Path) -> None:
    ensemble, _, _ = boosted(2, 2)
    path = tmp_path / "trees.npz"
    ensemble.save(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    inner = int(np.flatnonzero(arrays["feature"] >= 0)[1])
    if damage == "backwards":
        arrays["left"][inner] = 0
    elif damage == "beyond":
        arrays["left"][inner] = len(arrays["left"])
    elif damage == "feature":
        arrays["feature"][inner] = 99
    elif damage == "column":
        arrays["column"][0] = 1
    elif damage == "short":
        arrays["value"] = arrays["value"][:-1]
    elif damage == "pickled":
        arrays["value"] = np.array([{}], dtype=object)
    else:
        del arrays["roots"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"trees|allow_pickle"):
        load_ensemble(path)


def test_bins_can_be_used_for_some_features_alone() -> None:
    features, _, _ = problem(2, 50)
    bins = find_bins(features)
    np.testing.assert_array_equal(Bins(bins.edges[2:4]).encode(features[:, 2:4]), bins.encode(features)[:, 2:4])


# ------------------------------------------------------------------------------------------------------ draws


def test_a_draw_takes_as_many_of_each_class_and_weighs_them_back() -> None:
    counts = np.array([[500, 3, 0], [200, 4, 60]])
    draw = draw_by_class(counts, 100, np.random.default_rng(0))
    drawn = np.array([[len(members) for members in image] for image in draw.members])
    np.testing.assert_array_equal(drawn.sum(axis=0), [47, 7, 46])
    np.testing.assert_allclose(draw.weights * drawn.sum(axis=0), counts.sum(axis=0))
    for image, own in zip(draw.members, counts, strict=True):
        for members, count in zip(image, own, strict=True):
            assert len(np.unique(members)) == len(members)
            assert not len(members) or 0 <= members.min() <= members.max() < count


def test_a_draw_of_more_than_there_are_takes_all_and_a_class_that_never_occurs_nothing() -> None:
    draw = draw_by_class(np.array([[3, 0], [2, 0]]), 100, np.random.default_rng(0))
    assert [[members.tolist() for members in image] for image in draw.members] == [[[0, 1, 2], []], [[0, 1], []]]
    np.testing.assert_array_equal(draw.weights, [1, 0])
