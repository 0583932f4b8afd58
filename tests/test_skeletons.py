"""The skeletons of docs/add-your-own.md work as they stand: each is built from the page and keeps its contract."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import folder_sets
from support.deferred import complete_imports
from support.documents import read_blocks
from support.segments import noise, voronoi
from support.source import ROOT

import bench.config
from bench import arms
from bench.arms import ARMS
from bench.config import Config, GraphConfig
from bench.datasets import registry as datasets
from bench.pipelines.registry import build_pipeline
from bench.superpixels import registry as superpixels

if TYPE_CHECKING:
    import torch

    from bench.graphs import edges, features
    from bench.graphs.build import build_graph
    from bench.graphs.features import compute_features
    from bench.sweeps.compose import SCHEMAS, compose, prepare_words
    from models import gnn


BLOCKS = read_blocks(ROOT / "docs" / "add-your-own.md", "python", "yaml")
SETTINGS_HEAD = "from dataclasses import dataclass\n\nfrom bench.config import DatasetConfig, PipelineConfig\n\n\n"


def load_module(name: str, text: str, folder: Path) -> types.ModuleType:
    """Import a text as a module of this name, from a file in `folder`."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Page:
    """The blocks of the page, as a researcher would paste them: modules, entries of registries, YAML files."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def text(self, place: str, containing: str = "") -> str:
        """The one block for `place`, a path or `path, in REGISTRY`."""
        [block] = [block for block in BLOCKS if block.place == place and containing in block.text]
        return block.text

    def module(self, name: str) -> types.ModuleType:
        """Import the block of a file of its own under the name of its module, for the time of a test."""
        self.monkeypatch.setitem(sys.modules, name, types.ModuleType(name))  # put back at the end
        return load_module(name, self.text(f"{name.replace('.', '/')}.py"), self.folder)

    def settings(self, place: str, name: str) -> Any:
        """Add a settings class of the module `place` to `bench.config`.

        Its module stays for the whole session: whoever lists all settings classes reads their comments in its file.
        """
        text = SETTINGS_HEAD + self.text(place, f"class {name}(")
        made = getattr(load_module(f"settings_of_{name}", text, self.folder), name)
        self.monkeypatch.setattr(bench.config, name, made, raising=False)
        return made

    def entry(self, place: str, names: dict[str, Any]) -> Any:
        """The one item of a list, or of a dictionary as key and value, evaluated where `names` are known."""
        text = self.text(place).partition("\n")[2]
        made = eval(f"{{{text}}}", dict(names))
        [item] = made.items() if isinstance(made, dict) else made
        return item

    def yaml(self, place: str) -> None:
        """Put a YAML file where `--config-dir` finds it."""
        path = self.folder / "conf" / Path(place).relative_to("conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(place), encoding="utf-8")

    def compose(self, *words: str) -> Config:
        """The settings of the one run that a command line composes."""
        self.monkeypatch.setattr(sys, "argv", ["bench"])
        [job] = compose(prepare_words([f"--config-dir={self.folder / 'conf'}", *words]))
        return job.config


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(tmp_path, monkeypatch)


def test_the_page_has_a_block_for_each_part() -> None:
    assert len({block.place for block in BLOCKS}) >= 18


def test_a_cnn_is_a_yaml_file(page: Page) -> None:
    page.yaml("conf/pipeline/model/linknet_resnet18.yaml")
    model = page.compose("pipeline=tiled_cnn", "pipeline/model=linknet_resnet18").pipeline.model  # type: ignore[attr-defined]
    assert (model.architecture, model.encoder_name) == ("Linknet", "resnet18")


def test_a_layer_is_one_line_and_moves_one_edge_further(page: Page) -> None:
    name, build = page.entry("models/gnn.py, in CONVS", vars(gnn))
    page.monkeypatch.setitem(gnn.CONVS, name, build)
    page.yaml("conf/pipeline/model/le.yaml")
    assert page.compose("pipeline=superpixel_gnn", "pipeline/model=le").pipeline.model.conv == name  # type: ignore[attr-defined]
    torch.manual_seed(0)
    network = gnn.build_gnn(name, 3, 8, 1, 2, 1).eval()
    chain = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    x = torch.randn(3, 3)
    changed = x.clone()
    changed[0] += 1
    one, other = (network(rows, chain, torch.ones(4), torch.zeros(4, 1)) for rows in (x, changed))
    assert one.shape == (3, 2)
    assert (one != other).any(dim=1).tolist() == [True, True, False]


def test_a_superpixel_method_keeps_the_contract(page: Page) -> None:
    import test_superpixels_methods as contract

    complete_imports(contract)
    page.module("bench.superpixels.slico")
    name, method = page.entry("bench/superpixels/registry.py, in SUPERPIXELS", vars(superpixels))
    page.monkeypatch.setitem(superpixels.SUPERPIXELS, name, method)
    page.yaml("conf/superpixels/slico.yaml")
    assert page.compose("superpixels=slico").superpixels.method == name
    for image in contract.SHAPES:
        contract.test_segments_partition_the_image_into_connected_pieces(name, image, 60.0)
    contract.test_the_same_image_gives_the_same_segments(name)
    contract.test_shift_and_gain_of_the_intensities_change_nothing(name)
    contract.test_the_number_of_segments_is_near_the_number_asked_for(name)
    contract.test_a_sharp_edge_is_a_boundary(name)


def test_a_feature_is_a_function_and_an_entry(page: Page) -> None:
    names = dict(vars(features))
    exec(page.text("bench/graphs/features.py"), names)
    name, made = page.entry("bench/graphs/features.py, in FEATURES", names)
    page.monkeypatch.setitem(features.FEATURES, name, made)
    image, segments = noise((20, 30)), voronoi((20, 30))
    found = compute_features([name], image, segments)
    assert len(found) == segments.max() + 1
    for index, row in enumerate(found):
        low, high = np.quantile(image[segments == index], (0.05, 0.95), axis=0)
        np.testing.assert_allclose(row, high - low, rtol=1e-4, atol=1e-5)


def test_edges_are_a_function_and_an_entry(page: Page) -> None:
    names = dict(vars(edges))
    exec(page.text("bench/graphs/edges.py"), names)
    name, made = page.entry("bench/graphs/edges.py, in EDGES", names)
    page.monkeypatch.setitem(edges.EDGES, name, made)
    graph = build_graph(noise((20, 30)), voronoi((20, 30)), GraphConfig(edges=[name]))
    both = {tuple(pair) for pair in graph.edge_index.T.tolist()}
    places = graph.pos.double()
    radius = 2 * np.sqrt(20 * 30 / len(places))
    near = (torch.cdist(places, places) <= radius).nonzero().tolist()
    assert both == {(one, other) for one, other in near if one != other}


def test_a_data_set_is_a_function_an_entry_and_a_class(page: Page) -> None:
    settings = page.settings("bench/config/data.py", "AtlasConfig")
    atlas = page.module("bench.datasets.atlas")
    name, load = page.entry("bench/datasets/registry.py, in DATASETS", {"atlas": atlas})
    page.monkeypatch.setitem(datasets.DATASETS, name, load)
    key, schema = page.entry("bench/sweeps/compose.py, in SCHEMAS", {"settings": bench.config})
    page.monkeypatch.setitem(SCHEMAS, key, schema)
    page.yaml("conf/dataset/atlas.yaml")
    root = folder_sets.make(page.folder / "set")
    for old, new, ending in (("images", "raw", ""), ("masks", "annotation", "_label")):
        (root / old).rename(root / new)
        for path in [*(root / new).iterdir()]:
            path.rename(path.with_stem(path.stem + ending))
    config = page.compose("dataset=atlas", f"dataset.root={root}")
    assert type(config.dataset) is settings
    loaded = datasets.load(config.dataset)
    assert (loaded.name, len(loaded.train), loaded.task.class_names) == ("atlas", 3, ("background", "cell"))


def test_an_arm_keeps_the_contract(page: Page, tmp_path: Path) -> None:
    import test_pipelines_contract as contract

    complete_imports(contract)
    settings = page.settings("bench/config/pipelines.py", "NearestMeanConfig")
    page.module("bench.pipelines.nearest_mean")
    arm = page.entry("bench/arms.py, in ARMS", vars(arms) | {"NearestMeanConfig": settings})
    page.monkeypatch.setitem(ARMS, arm.name, arm)
    page.monkeypatch.setitem(SCHEMAS, ("schema/pipeline", arm.name), arm.settings)
    page.monkeypatch.setitem(contract.SETTINGS, arm.name, settings)
    page.yaml("conf/pipeline/nearest_mean.yaml")
    assert type(page.compose("pipeline=nearest_mean").pipeline) is settings
    contract.test_every_arm_has_settings_here()
    contract.test_masks_are_full_resolution_valid_and_repeatable(arm.name, contract.fit_arm)
    contract.test_a_prepared_sample_says_what_its_superpixels_are(arm.name)
    learned, fresh = (build_pipeline(contract.config(arm.name), contract.TASK) for _ in range(2))
    item = learned.prepare(contract.scene(3))
    learned.fit([item], [item])
    learned.save(tmp_path / "checkpoint.pt")
    fresh.load(tmp_path / "checkpoint.pt")
    out, shares = np.empty((64, 56), np.uint8), list[float]()
    fresh.predict_into(np.asarray(contract.scene(3).image), out, tmp_path, shares.append)
    np.testing.assert_array_equal(out, learned.predict(item))
    assert shares[-1] == 1
    counted = item.mask < 2
    assert (out[counted] == item.mask[counted]).mean() > 0.95
