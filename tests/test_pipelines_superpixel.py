"""Laws of the superpixel arms: scores without painting, weights that come back, controls that know what they should."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    OracleConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    ThresholdConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.learning.losses import macro_dice
from bench.pipelines.controls import Bands, LabelledSegments, Oracle, Threshold, dice_of_counts
from bench.pipelines.gnn.graph import SuperpixelGraph
from bench.pipelines.gnn.superpixel_gnn import (
    Item,
    SuperpixelGnn,
    node_confusion,
    painted_bands,
    without_kernels_per_shape,
)
from bench.scores.metrics import confusion_matrix
from bench.superpixels.labels import count_classes, paint

TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)
SIZE = SuperpixelsConfig(superpixel_size=20)


def sample(name: str, grey: Any, mask: Any) -> Sample:
    image: Any = np.asarray(grey, np.float32)[..., None]
    return Sample(name, image, mask)


def disc(seed: int, contrast: float = 2.0) -> Sample:
    """A disc on noise, with ignored pixels in a corner."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((48, 48))
    mask = ((rows - 24) ** 2 + (columns - rng.integers(15, 33)) ** 2 < 150).astype(np.int64)
    image = mask * contrast + rng.normal(0, 0.2, mask.shape)
    mask[:5, :5] = 9
    return sample(str(seed), image, mask)


def graph_of(item: Item) -> Data:
    assert isinstance(item, SuperpixelGraph)
    return item.data


def gnn(
    targets: str = "fractions",
    epochs: int = 2,
    seed: int = 0,
    conv: str = "sage",
    device: str = "cpu",
    predict_nodes: int | None = None,
) -> SuperpixelGnn:
    model = GnnConfig(conv, hidden_channels=8, num_layers=2, dropout=0.0)
    pipeline = SuperpixelGnnConfig(model=model, targets=targets, batch_nodes=200, predict_nodes=predict_nodes)
    training = TrainingConfig(epochs=epochs, steps=None, patience=None, warmup=0)
    graph = GraphConfig(features=["intensity", "shape"])
    return SuperpixelGnn(Config(DatasetConfig(), pipeline, SIZE, graph, training, seed=seed, device=device), TASK)


def test_confusion_of_nodes_is_the_confusion_of_the_painted_mask() -> None:
    rng = np.random.default_rng(0)
    segments = rng.integers(0, 20, (30, 40)).astype(np.int32)
    mask, classes = rng.integers(0, 4, (30, 40)), rng.integers(0, 3, 20)  # class 3 is ignored
    counts = count_classes(mask, segments, 3, ignore_index=3)
    expected = confusion_matrix(mask, paint(classes, segments), 3, 3)
    np.testing.assert_array_equal(node_confusion(counts, classes), expected)


def test_the_validation_score_is_the_pooled_pixel_score_of_the_predictions() -> None:
    pipeline, samples = gnn(), [disc(seed) for seed in range(4)]
    items = [pipeline.prepare(sample) for sample in samples]
    log = pipeline.fit(items[:2], items[2:])
    pooled = np.zeros((2, 2), np.int64)
    for sample, item in zip(samples[2:], items[2:], strict=True):
        pooled += confusion_matrix(np.asarray(sample.mask), pipeline.predict(item), 2, 9)
    assert log.best_score == pytest.approx(macro_dice(pooled))


@pytest.mark.parametrize("targets", ["fractions", "majority"])
@pytest.mark.parametrize("conv", ["sage", "none"])
def test_it_learns_a_bright_disc(targets: str, conv: str) -> None:
    pipeline = gnn(targets, epochs=25, conv=conv)
    items = [pipeline.prepare(disc(seed)) for seed in range(4)]
    log = pipeline.fit(items[:3], items[3:])
    assert log.best_score is not None
    assert log.best_score > 0.9


def test_weights_come_back_with_the_statistics_of_the_features(tmp_path: Path) -> None:
    first, second = gnn(), gnn()
    items = [first.prepare(disc(seed)) for seed in range(3)]
    first.fit(items[:2], items[2:])
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    np.testing.assert_array_equal(second.predict(items[0]), first.predict(items[0]))
    weights = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    features = torch.cat([graph_of(item).x for item in items[:2]])
    torch.testing.assert_close(weights["feature_mean"], features.mean(dim=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("predict_nodes", [None, 30])
def test_a_large_image_gets_the_classes_of_a_small_one(tmp_path: Path, predict_nodes: int | None) -> None:
    pipeline, seen = gnn(predict_nodes=predict_nodes), disc(0)
    items = [pipeline.prepare(disc(seed)) for seed in range(2)]
    pipeline.fit(items[:1], items[1:])
    out, told = np.full((48, 48), 7, np.uint8), list[float]()
    pipeline.predict_into(np.asarray(seen.image), out, tmp_path, told.append)
    np.testing.assert_array_equal(out, pipeline.predict(items[0]))
    assert told == sorted(told)
    assert told[-1] == 1


def test_painted_bands_cover_the_rows_once() -> None:
    for shape in ((2000, 3), (2000, 1), (5, 4000), (1500, 2)):
        bands = list(painted_bands(shape, 700 * 3))
        np.testing.assert_array_equal(np.concatenate([np.arange(*band) for band in bands]), np.arange(shape[0]))
        assert all((stop - start) % 512 == 0 for start, stop in bands[:-1]) == (shape[1] < 4)


def jain(weights: Path | None = None) -> SuperpixelGnn:
    model = GnnConfig("jain2024", hidden_channels=32, num_layers=3, dropout=0.5, norm="none")
    given = None if weights is None else str(weights)
    pipeline = SuperpixelGnnConfig(model=model, targets="majority", batch_nodes=None, learning_rate=1e-2, weights=given)
    training = TrainingConfig(epochs=20, steps=None, patience=10, class_weights="inverse", dice_weight=0)
    graph = GraphConfig(features=["intensity"], edges=["knn"], neighbours=10, edge_weight="normalised")
    return SuperpixelGnn(Config(DatasetConfig(), pipeline, SIZE, graph, training, device="cpu"), TASK)


def test_published_weights_are_replayed_without_training(tmp_path: Path) -> None:
    trained = jain()
    items = [trained.prepare(disc(seed)) for seed in range(3)]
    log = trained.fit(items[:2], items[2:])
    assert log.best_score is not None
    assert log.best_score > 0.8
    trained.save(tmp_path / "model.pt")
    replayed = jain(tmp_path / "model.pt")
    silent = replayed.fit(items[:2], items[2:])
    assert silent.history == ()
    assert silent.facts == log.facts
    assert silent.facts["edge_flip_share"] > 0
    np.testing.assert_array_equal(replayed.predict(items[2]), trained.predict(items[2]))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv_first.lin_rel.bias": torch.zeros(32)}, tmp_path / "model.pt")
    items = [jain().prepare(disc(0))]
    with pytest.raises(InputError, match=r"missing conv1\.lin_rel\.bias"):
        jain(tmp_path / "model.pt").fit(items, items)
    with pytest.raises(InputError, match="there is no file"):
        jain(tmp_path / "nothing.pt").fit(items, items)


def test_a_network_that_does_not_exist_is_refused_before_anything_is_prepared() -> None:
    with pytest.raises(InputError, match=r"pipeline\.model\.conv must be one of gcn, .*jain2024"):
        gnn(conv="sagee")


def test_what_the_edges_do_is_told_and_has_its_own_time() -> None:
    for conv, told in (("sage", {"edge_message_share", "edge_flip_share"}), ("none", set[str]())):
        pipeline = gnn(conv=conv)
        items = [pipeline.prepare(disc(seed)) for seed in range(2)]
        log = pipeline.fit(items[:1], items[1:])
        assert set(log.facts) == told
        assert [span.phase for span in log.intervals].count("inspect") == bool(told)


def test_kernels_that_are_kept_for_every_shape_are_off_while_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.backends.mkldnn.enabled
    with without_kernels_per_shape():
        assert not torch.backends.mkldnn.enabled
        with without_kernels_per_shape():
            pass
        assert not torch.backends.mkldnn.enabled
    assert torch.backends.mkldnn.enabled
    seen: list[bool] = []
    pipeline = gnn()
    loss = pipeline._loss

    def watched(batch: Data) -> torch.Tensor:
        seen.append(bool(torch.backends.mkldnn.enabled))
        return loss(batch)

    monkeypatch.setattr(pipeline, "_loss", watched)
    items = [pipeline.prepare(disc(seed)) for seed in range(2)]
    pipeline.fit(items, items)
    assert set(seen) == {False}
    assert torch.backends.mkldnn.enabled


def test_seeds_decide_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        pipeline = gnn(seed=seed)
        items = [pipeline.prepare(disc(number)) for number in range(3)]
        pipeline.fit(items[:2], items[2:])
        assert pipeline.model is not None
        return torch.cat([value.flatten() for value in pipeline.model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_prepared_graphs_stay_on_the_host_when_a_gpu_learns_from_them() -> None:
    pipeline = gnn(device="cuda")
    items = [pipeline.prepare(disc(seed)) for seed in range(3)]
    pipeline.fit(items[:2], items[2:])
    assert pipeline.predict(items[0]).shape == (48, 48)
    assert {value.device.type for item in items for _, value in graph_of(item)} == {"cpu"}


def test_predicting_before_fitting_is_an_error() -> None:
    pipeline = gnn()
    with pytest.raises(RuntimeError, match="fit or load"):
        pipeline.predict(pipeline.prepare(disc(0)))


def test_the_pixels_of_a_sample_are_let_go() -> None:
    pipeline, seen = gnn(), disc(0)
    item = pipeline.prepare(seen)
    arrays = [value.numpy() for _, value in graph_of(item) if isinstance(value, torch.Tensor)]
    assert not any(np.shares_memory(array, np.asarray(seen.image)) for array in arrays)
    assert graph_of(item).y_counts.sum() == 48 * 48 - 25


def test_the_oracle_beats_any_other_labelling_of_its_superpixels() -> None:
    config = Config(DatasetConfig(), OracleConfig(), SIZE)
    oracle, seen = Oracle(config, TASK), disc(0)
    item = oracle.prepare(seen)
    assert isinstance(item, LabelledSegments)
    assert oracle.fit([item], [item]).history == ()
    mask = np.asarray(seen.mask)
    best = np.trace(confusion_matrix(mask, oracle.predict(item), 2, 9))
    for node in range(0, len(item.labels), 7):
        flipped = item.labels.copy()
        flipped[node] = 1 - flipped[node]
        assert np.trace(confusion_matrix(mask, paint(flipped, item.segments), 2, 9)) <= best


def threshold(task: Task = TASK, channel: int = 0) -> Threshold:
    return Threshold(Config(DatasetConfig(), ThresholdConfig(channel=channel)), task)


def test_a_threshold_separates_two_well_separated_classes(tmp_path: Path) -> None:
    arm, samples = threshold(), [disc(seed) for seed in range(3)]
    items = [arm.prepare(sample) for sample in samples]
    log = arm.fit(items[:2], items[2:])
    assert log.best_score == pytest.approx(1, abs=0.02)
    counted = np.asarray(samples[2].mask) != 9
    assert (arm.predict(items[2])[counted] == np.asarray(samples[2].mask)[counted]).mean() > 0.99
    arm.save(tmp_path / "checkpoint.pt")
    assert "thresholds" in (tmp_path / "checkpoint.json").read_text()


def test_classes_that_alternate_in_brightness_take_several_bands() -> None:
    bright = np.repeat(np.array([0.0, 1.0, 2.0], np.float32), 300).reshape(30, 30)
    mask = np.repeat([0, 1, 0], 300).reshape(30, 30)
    arm = threshold()
    item = arm.prepare(sample("bands", bright, mask))
    arm.fit([item], [item])
    np.testing.assert_array_equal(arm.predict(item), mask)


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_a_constant_image_is_all_of_the_commonest_class(value: float) -> None:
    mask = np.zeros((8, 8), np.int64)
    mask[:6] = 1
    arm = threshold()
    item = arm.prepare(sample("flat", np.full((8, 8), value), mask))
    arm.fit([item], [item])
    assert (arm.predict(item) == 1).all()


def test_bands_are_closed_above() -> None:
    bands = Bands(np.array([1.0, 2.0]), np.array([0, 2, 1]))
    np.testing.assert_array_equal(bands.predict(np.array([0.5, 1.0, 1.5, 2.0, 2.5])), [0, 0, 2, 2, 1])


def test_dice_of_groups_is_the_dice_of_their_confusion() -> None:
    rng = np.random.default_rng(0)
    counts: NDArray[np.int64] = rng.integers(0, 50, (12, 3))
    predicted = rng.integers(0, 3, 12)
    assert dice_of_counts(counts, predicted) == pytest.approx(macro_dice(node_confusion(counts, predicted)))


def test_a_channel_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"pipeline\.channel must lie in \[0, 1\)"):
        threshold(channel=1)


def test_a_volume_is_as_good_as_an_image() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 16, 20), np.int64)
    mask[2:5, 4:12, 6:15] = 1
    volume = sample("volume", mask * 2 + rng.normal(0, 0.2, mask.shape), mask)
    config = gnn().config
    pipeline = SuperpixelGnn(config, Task(("background", "cell"), in_channels=1, spatial_axes=3))
    item = pipeline.prepare(volume)
    pipeline.fit([item], [item])
    assert pipeline.predict(item).shape == mask.shape
    assert graph_of(item).edge_attr.shape[1] == 4 + 3
