"""Laws of the superpixel arms: what they learn and paint, weights that come back, the ceiling of the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    OracleConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix, macro_dice

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Data

    from bench.pipelines.gnn.graph import SuperpixelGraph
    from bench.pipelines.gnn.items import Item
    from bench.pipelines.gnn.onednn import disable_onednn, round_up
    from bench.pipelines.gnn.superpixel_gnn import SuperpixelGnn
    from bench.pipelines.oracle import LabelledSegments, Oracle
    from bench.pipelines.painting import cut_painting_bands
    from bench.superpixels.labels import paint
    from models.gnn import Gnn


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
    precision: str = "auto",
    norm: str = "layer",
) -> SuperpixelGnn:
    model = GnnConfig(conv, hidden_channels=8, num_layers=2, dropout=0.0, norm=norm)
    pipeline = SuperpixelGnnConfig(
        model=model, targets=targets, batch_nodes=200, predict_nodes=predict_nodes, precision=precision
    )
    training = TrainingConfig(epochs=epochs, steps=None, patience=None, warmup=0)
    graph = GraphConfig(features=["intensity", "shape"])
    return SuperpixelGnn(Config(DatasetConfig(), pipeline, SIZE, graph, training, seed=seed, device=device), TASK)


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("predict_nodes", [None, 30])
def test_a_large_image_gets_the_classes_of_a_small_one(
    tmp_path: Path, predict_nodes: int | None, precision: str
) -> None:
    pipeline, seen = gnn(predict_nodes=predict_nodes, precision=precision), disc(0)
    items = [pipeline.prepare(disc(seed)) for seed in range(2)]
    pipeline.fit(items[:1], items[1:])
    out, told = np.full((48, 48), 7, np.uint8), list[float]()
    pipeline.predict_into(np.asarray(seen.image), out, tmp_path, told.append)
    np.testing.assert_array_equal(out, pipeline.predict(items[0]))
    assert told == sorted(told)
    assert told[-1] == 1


def test_painted_bands_cover_the_rows_once() -> None:
    for shape in ((2000, 3), (2000, 1), (5, 4000), (1500, 2)):
        bands = list(cut_painting_bands(shape, 700 * 3))
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
    assert {**silent.facts, "rare_classes": 0} == log.facts
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
        assert set(log.facts) == {*told, "rare_classes", "stored_bytes"}
        assert [span.phase for span in log.intervals].count("inspect") == bool(told)


def test_numbers_of_rows_are_few_and_a_quarter_is_added_at_most() -> None:
    counts = range(1, 5000)
    rounded = [round_up(count) for count in counts]
    assert all(count <= found < 1.25 * count + 1 for count, found in zip(counts, rounded, strict=True))
    assert [round_up(found) for found in rounded] == rounded
    assert len(set(rounded)) < 50


def test_every_training_step_has_the_same_number_of_rows_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[bool, set[int]] = {True: set(), False: set()}  # in training, and elsewhere
    forward = Gnn.forward

    def note(model: Gnn, x: torch.Tensor, *edges: torch.Tensor) -> torch.Tensor:
        rows[model.training].add(len(x))
        return forward(model, x, *edges)

    monkeypatch.setattr(Gnn, "forward", note)
    pipeline = gnn(precision="bfloat16")
    items = [pipeline.prepare(disc(seed)) for seed in range(4)]
    pipeline.fit(items[:3], items[3:])
    sampler = pipeline.make_sampler([graph for item in items[:3] for graph in item.graphs], np.empty(0, np.intp))
    assert rows[True] == {sampler.most_nodes}
    [nodes] = [len(graph.x) for graph in items[3].graphs]
    assert round_up(nodes) in rows[False]  # a prediction takes no more rows than it needs


def test_bfloat16_is_chosen_where_it_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert gnn().dtype is torch.bfloat16
    assert gnn(precision="float32").dtype is torch.float32
    for other in (gnn(conv="gatv2"), gnn(norm="batch")):
        assert other.dtype is torch.float32
    with pytest.raises(InputError, match=r"pipeline\.precision=bfloat16 is for pipeline\.model\.conv=sage or none"):
        gnn(conv="gatv2", precision="bfloat16")


@pytest.mark.parametrize(("precision", "enabled"), [("float32", False), ("bfloat16", True)])
def test_kernels_that_are_kept_for_every_shape_are_off_while_it_learns(
    monkeypatch: pytest.MonkeyPatch, precision: str, enabled: bool
) -> None:
    assert torch.backends.mkldnn.enabled
    with disable_onednn():
        assert not torch.backends.mkldnn.enabled
        with disable_onednn():
            pass
        assert not torch.backends.mkldnn.enabled
    assert torch.backends.mkldnn.enabled
    seen: list[bool] = []
    pipeline = gnn(precision=precision)
    loss = pipeline.compute_loss

    def watched(batch: Data) -> torch.Tensor:
        seen.append(bool(torch.backends.mkldnn.enabled))
        return loss(batch)

    monkeypatch.setattr(pipeline, "compute_loss", watched)
    items = [pipeline.prepare(disc(seed)) for seed in range(2)]
    pipeline.fit(items, items)
    assert set(seen) == {enabled}
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
@pytest.mark.skipif("not torch.cuda.is_available()", reason="needs a CUDA device")
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
