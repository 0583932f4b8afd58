"""`bench.api`: arrays give what runs give, labels come back to pixels, and the lines of the documentation run."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.documents import read_blocks
from support.results import write_run
from support.source import ROOT

from bench.config import (
    Config,
    FolderConfig,
    GnnConfig,
    InputError,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    ThresholdConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    import torch

    from bench import api
    from bench.datasets import task_file
    from bench.datasets.registry import load
    from bench.export.graphs import GraphsConfig, describe_graphs, write_graphs
    from bench.pipelines.gnn.graph import build_sample_graph
    from bench.pipelines.registry import build_pipeline
    from bench.superpixels.registry import segment


def picture(seed: int = 0, channels: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    shape = (24, 28, channels) if channels else (24, 28)
    disc = (np.indices((24, 28)) - 12 - seed) ** 2
    bright = (disc.sum(axis=0) < 60) * 100
    return np.asarray(rng.integers(0, 60, shape) + (bright[..., None] if channels else bright), np.uint8)


def data_set(root: Path) -> FolderConfig:
    """Three images whose masks are their bright pixels."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for seed, name in enumerate("abc"):
        image = picture(seed)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray((image > 80).astype(np.uint8)).save(root / "masks" / f"{name}.png")
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    return FolderConfig(root=str(root))


def leave_results(folder: Path, pipeline: Any) -> tuple[Path, Config]:
    """A results folder with one finished run."""
    from dataclasses import asdict

    config = Config(
        dataset=data_set(folder / "set"),
        pipeline=pipeline,
        superpixels=SuperpixelsConfig(superpixel_size=20),
        training=TrainingConfig(steps=1),
        device="cpu",
    )
    data, directory = load(config.dataset), folder / "results" / "headline" / "runs" / "one"
    directory.mkdir(parents=True)
    arm = build_pipeline(config, data.task)
    arm.fit(*([arm.prepare(sample) for sample in split] for split in (data.train, data.val)))
    arm.save(directory / "checkpoint.pt")
    (directory / "config.json").write_text(json.dumps(asdict(config)))
    task_file.write(directory / "task.json", data.task, config.dataset.normalization, data.stored)
    row = {"run_id": "one", "run_key": "k", "status": "ok", "reason": "", "pipeline": pipeline.name, "seed": 0}
    score = {"run_id": "one", "split": "val", "image": "all", "metric": "dice", "class": "macro", "value": 0.5}
    write_run(directory, row | {"dataset": "set"}, [], [score], [])
    return directory.parents[1], config


@pytest.fixture(scope="module")
def gnn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    torch.set_num_threads(1)
    arm = SuperpixelGnnConfig(model=GnnConfig(hidden_channels=4, num_layers=1))
    return leave_results(tmp_path_factory.mktemp("gnn"), arm)


def test_what_is_promised_is_there_and_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in api.__all__:
        assert getattr(api, name) is not None
        assert name == "FEATURES" or f"`{name}`" in page, name


def test_importing_it_loads_no_torch_and_no_pandas() -> None:
    code = "import sys; from bench import api; sys.exit(bool({'torch', 'pandas', 'hydra'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_scaled_image_has_mean_0_and_spread_1_whatever_its_units() -> None:
    image = api.scale_image(picture(channels=2))
    assert image.shape == (24, 28, 2)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(image.std(axis=(0, 1)), 1, atol=1e-5)
    np.testing.assert_allclose(api.scale_image(picture() * 3.0 + 7), api.scale_image(picture()), atol=1e-5)


def test_superpixels_features_and_graph_are_those_of_a_run(tmp_path: Path) -> None:
    data = load(data_set(tmp_path / "set"))
    superpixels, settings = SuperpixelsConfig(superpixel_size=20), Config(FolderConfig(), ThresholdConfig()).graph
    expected = build_sample_graph(data.train[0], superpixels, settings, data.task)
    image = api.scale_image(picture(0))
    segments = api.make_superpixels(image, size=20)
    graph = api.make_graph(image, segments)
    np.testing.assert_array_equal(segments, expected.segments)
    np.testing.assert_array_equal(api.measure_superpixels(image, segments), expected.data.x)
    for name in ("x", "edge_index", "edge_attr", "edge_weight", "pos", "num_pixels"):
        assert torch.equal(graph[name], expected.data[name]), name


def test_labels_of_superpixels_come_back_to_pixels() -> None:
    segments = api.make_superpixels(picture(), size=20)
    labels = np.arange(segments.max() + 1) % 3
    mask = api.paint(labels, segments)
    np.testing.assert_array_equal(api.majority_labels(mask, segments, 3), labels)
    assert api.count_classes(mask, segments, 3).sum() == mask.size


def test_volumes_are_segmented_in_three_axes() -> None:
    volume = np.stack([picture(), picture(1), picture(2)])
    segments = api.make_superpixels(volume, size=30, spatial_axes=3)
    np.testing.assert_array_equal(
        segments, segment(volume[..., None].astype(np.float32), SuperpixelsConfig(superpixel_size=30))
    )
    assert api.measure_superpixels(volume, segments, ["position"]).shape == (segments.max() + 1, 3)


def test_lengths_of_pixels_reach_superpixels_features_and_graph() -> None:
    volume, lengths = np.stack([picture(), picture(1), picture(2)]), [3.0, 1.0, 1.0]
    segments = api.make_superpixels(volume, size=30, spatial_axes=3, spacing=lengths)
    settings = SuperpixelsConfig(superpixel_size=30, spacing=lengths)
    np.testing.assert_array_equal(segments, segment(volume[..., None].astype(np.float32), settings))
    graph = api.make_graph(volume, segments, spacing=lengths)
    np.testing.assert_array_equal(api.measure_superpixels(volume, segments, spacing=lengths), graph.x)
    assert not np.array_equal(api.measure_superpixels(volume, segments), graph.x)
    np.testing.assert_allclose(graph.pos[:, 0], 3 * api.make_graph(volume, segments).pos[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: api.make_superpixels(np.zeros(5)), "2 spatial axes"),
        (lambda: api.make_superpixels(np.zeros((3, 4, 5, 1))), "spatial_axes=3"),
        (lambda: api.make_superpixels(np.zeros((0, 5, 1))), r"\(0, 5, 1\), and so no pixel"),
        (lambda: api.make_superpixels(picture(), method="slik"), "did you mean slic"),
        (lambda: api.make_superpixels(picture(), size=0), "superpixel_size"),
        (lambda: api.measure_superpixels(picture(), np.zeros((24, 28), np.int32), ["textur"]), "did you mean texture"),
        (lambda: api.make_graph(picture(), np.zeros((24, 28), np.int32), edges=["near"]), "edges must be one of"),
        (lambda: api.make_graph(picture(), np.zeros((23, 28), np.int32)), r"got \(23, 28\) and an image of \(24, 28\)"),
        (lambda: api.measure_superpixels(picture(), np.zeros((28, 24), np.int32)), "the shape of their image"),
        (
            lambda: api.paint(np.zeros((7, 2), np.int64), np.zeros((24, 28), np.int32)),
            r"one number per superpixel, .* \(7, 2\)",
        ),
        (lambda: api.measure_superpixels(picture(), np.zeros((24, 28), np.int32), []), "at least one"),
        (lambda: api.make_superpixels(picture(), spacing=[3, 1, 1]), "spacing must hold one length for each of 2 axes"),
        (lambda: api.make_superpixels(picture(), spacing=[3, 0]), "spacing must be null or a positive length"),
        (lambda: api.scale_image(np.full((3, 4), np.nan)), "the image"),
        (lambda: api.read_tables("nowhere"), "nowhere is not a folder"),
        (lambda: api.open_run("nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_trained_run_gives_the_masks_that_it_gave_when_it_was_measured(gnn: tuple[Path, Config]) -> None:
    results, config = gnn
    data = load(config.dataset)
    pipeline = build_pipeline(config, data.task)
    pipeline.load(results / "runs" / "one" / "checkpoint.pt")
    run = api.open_run(results, device="cpu")
    mask, probabilities = run.predict_probabilities(picture(2))
    np.testing.assert_array_equal(run.predict(picture(2)), pipeline.predict(pipeline.prepare(data.test[0])))
    np.testing.assert_array_equal(run.predict(picture(2)[..., None]), mask)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), mask)
    assert run.class_names == data.task.class_names
    np.testing.assert_array_equal(run.predict(picture(2), spacing=[5, 5]), mask)
    longer = replace(config.superpixels, spacing=[3.0, 1.0]), replace(config.graph, spacing=[3.0, 1.0])
    pipeline = build_pipeline(replace(config, superpixels=longer[0], graph=longer[1]), data.task)
    pipeline.load(results / "runs" / "one" / "checkpoint.pt")
    expected = pipeline.predict(pipeline.prepare(data.test[0]))
    np.testing.assert_array_equal(run.predict(picture(2), spacing=[6, 2]), expected)
    np.testing.assert_array_equal(run.predict_probabilities(picture(2), spacing=[6, 2]).mask, expected)
    with pytest.raises(InputError, match="1 channel"):
        run.predict(picture(channels=3))


def test_a_method_without_probabilities_says_so(tmp_path: Path) -> None:
    results, _ = leave_results(tmp_path, ThresholdConfig())
    run = api.open_run(results / "runs" / "one")
    assert run.predict(picture()).shape == (24, 28)
    with pytest.raises(InputError, match="threshold does not say how probable"):
        run.predict_probabilities(picture())


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """The graphs of a tiny data set."""
    data = load(data_set(tmp_path / "set"))
    settings = GraphsConfig(str(tmp_path / "graphs"), SuperpixelsConfig(superpixel_size=20))
    write_graphs(data, settings, tmp_path / "graphs", lambda _: None)
    text = json.dumps(describe_graphs(data, FolderConfig(root="set"), settings))
    (tmp_path / "graphs" / "graphs.json").write_text(text)
    return tmp_path / "graphs"


def test_written_graphs_hold_tensors_alone_and_the_majority_of_each_node(graphs: Path) -> None:
    tensors = torch.load(graphs / "train" / "a.pt", weights_only=True)
    segments = np.load(graphs / "train" / "a.segments.npy")
    mask = (picture(0) > 80).astype(np.uint8)
    np.testing.assert_array_equal(tensors["y"].numpy(), api.majority_labels(mask, segments, 2))
    np.testing.assert_array_equal(tensors["y_counts"].numpy(), api.count_classes(mask, segments, 2))
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    described = json.loads((graphs / "graphs.json").read_text())
    assert described["splits"] == {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert described["superpixels"]["superpixel_size"] == 20
    assert "spacing" in described["graph"]
    assert sorted(path.name for path in graphs.rglob("*.pt")) == ["a.pt", "b.pt", "c.pt"]


def test_the_lines_of_the_documentation_run(
    gnn: tuple[Path, Config], graphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = read_blocks(ROOT / "docs" / "python.md", "python")
    assert len(first.text.splitlines()) <= 12
    Image.fromarray(picture(2)).save(graphs.parent / "slide.png")
    (graphs.parent / "results").mkdir()
    (graphs.parent / "results" / "headline").symlink_to(gnn[0])
    with chdir(graphs.parent):
        exec(first.text, {})
        found: dict[str, Any] = {}
        exec(second.text, found)
    assert "superpixel_gnn" in capsys.readouterr().out
    assert found["ceiling"].shape == (24, 28)
    assert found["graph"].num_nodes == found["segments"].max() + 1


@pytest.mark.parametrize(("shift", "factor"), [(1, 1), (-2, 1), (0, 2), (1 << 40, 1)])
@pytest.mark.parametrize("function", ["measure_superpixels", "make_graph"])
def test_ids_that_do_not_count_from_zero_are_refused(shift: int, factor: int, function: str) -> None:
    """Negative ones ended the process by a segmentation fault, those from 1 by a division by zero."""
    segments = np.arange(4, dtype=np.int64).reshape(2, 2).repeat(8, 0).repeat(8, 1) * factor + shift
    with pytest.raises(InputError, match=r"ids of superpixels must be 0\.\.N-1, all used"):
        getattr(api, function)(np.zeros((16, 16), np.float32), segments)


def test_a_superpixel_without_a_label_is_not_painted() -> None:
    """A negative id took the last label, as Python counts from the end."""
    segments = np.array([[0, 1], [-1, 1]])
    with pytest.raises(InputError, match="count from 0, got -1"):
        api.paint(np.array([5, 6]), segments)
    with pytest.raises(InputError, match="the superpixel 2 has no label: there are 2"):
        api.paint(np.array([5, 6]), segments + 1)
    several: list[Any] = [np.array([5, 6]), [5, 6]]
    for labels in several:
        assert api.paint(labels, np.abs(segments)).tolist() == [[5, 6], [6, 6]]


def test_values_that_are_not_finite_are_refused_wherever_an_image_is_given() -> None:
    image, segments = picture().astype(np.float64), np.zeros((24, 28), np.int32)
    for value in (np.nan, np.inf, 1e300):
        image[3, 4] = value
        for method in ("slic", "grid"):
            with pytest.raises(InputError, match="not finite in single precision"):
                api.make_superpixels(image, method=method)
        for measure in (api.measure_superpixels, api.make_graph):
            with pytest.raises(InputError, match="not finite in single precision"):
                measure(image, segments)
    with pytest.raises(InputError, match="size must be a number of pixels, got '30'"):
        api.make_superpixels(picture(), "30")  # type: ignore[arg-type]
