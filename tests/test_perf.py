"""`python -m bench perf` on tiny images: its rows, its settings, and the published recipe it compares with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.cli import run_verb
from bench.config import GraphConfig, InputError, SuperpixelsConfig
from bench.settings import read_settings
from bench.superpixels.registry import segment

if TYPE_CHECKING:
    import pandas as pd

    from bench.graphs.build import build_graph
    from bench.perf.graph_steps import PerfConfig, generate_scene
    from bench.perf.programs import PROGRAMS
    from bench.perf.published import build_published_graph, join_nearest, segment_as_published
    from bench.perf.steps import CLASSES, STEPS, Picture
    from bench.superpixels.labels import majority_labels


def test_perf_writes_a_row_per_step_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["sizes=64,96", "repeats=2", "rival_largest=64", "graph_superpixel_size=100", "memory=false"]
    assert run_verb("perf", [*settings, f"results_dir={tmp_path}"]) == 0
    table = pd.read_csv(tmp_path / "perf.csv")
    expected = [(step, size) for step in STEPS for size in (64, 96)]
    assert list(zip(table["step"], table["size"], strict=True)) == expected
    bounded = [size == 64 or step == "graph" for step, size in expected]  # the rival of `graph` has a bound of its own
    assert table["ratio"].notna().tolist() == bounded
    assert (table["seconds"] > 0).all()
    assert "times slower" in capsys.readouterr().out


def test_volumes_are_timed_beside_what_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["steps=", "volume_sizes=32,40", "volume_rival_largest=32", "repeats=1", "memory=false"]
    assert run_verb("perf", [*settings, f"results_dir={tmp_path}"]) == 0
    table = pd.read_csv(tmp_path / "perf.csv")
    able = [program for program in PROGRAMS.values() if 3 in program.axes]
    installed = [program.name for program in able if program.is_installed]
    assert table["rival"].tolist()[:-1] == installed
    assert table["size"].tolist() == [32] * len(installed) + [40]
    beside = table[table["rival"].notna()]
    assert (abs(beside["num_nodes"] / beside["rival_num_nodes"] - 1) < 0.15).all()
    assert beside["ceiling"].between(0.5, 1).all()
    out = capsys.readouterr().out
    assert all((f"left out: {program.name}" in out) == (not program.is_installed) for program in able)


def test_memory_beyond_the_image_is_measured_in_a_fresh_process(tmp_path: Path) -> None:
    assert (
        run_verb("perf", ["steps=slic", "sizes=512", "repeats=1", "rival_largest=32", f"results_dir={tmp_path}"]) == 0
    )
    assert 4 <= pd.read_csv(tmp_path / "perf.csv")["bytes_per_pixel"][0] <= 40


def test_a_ratio_that_fell_below_its_range_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["steps=adjacency", "sizes=64", "repeats=1", "memory=false", f"results_dir={tmp_path}"]
    before = tmp_path / "before.csv"
    for least, code in (("0.001", 0), ("1e9", 1), ("", 0)):
        before.write_text(f"step,size,ratio_min\nadjacency,64,{least}\nslic,64,1e9\n", encoding="utf-8")
        assert run_verb("perf", [*settings, f"against={before}"]) == code
        assert ("before it was at least" in capsys.readouterr().out) == (code == 1)
    with pytest.raises(InputError, match=r"against=.*missing\.csv is not a file"):
        run_verb("perf", [*settings, f"against={tmp_path / 'missing.csv'}"])


def test_settings_are_read_by_their_type_and_misspelt_ones_refused() -> None:
    assert read_settings(PerfConfig, ["sizes=[64,128]", "memory=false", "compactness=0.2"], "perf").sizes == [64, 128]
    for wrong in ("size=64", "sizes=big", "steps=slick", "repeats=0", "memory=perhaps"):
        with pytest.raises(InputError, match=wrong.partition("=")[0]):
            read_settings(PerfConfig, [wrong], "perf")


def test_the_published_recipe_agrees_with_the_graph_room() -> None:
    image, mask = generate_scene(64)
    config = SuperpixelsConfig(superpixel_size=100.0)
    features, edges, weights, labels = build_published_graph(image, mask, config)
    segments = segment_as_published(image, config).astype(np.int32)
    settings = GraphConfig(features=["intensity"], edges=["knn"], neighbours=10, edge_weight="published")
    graph = build_graph(image, segments, settings)
    np.testing.assert_allclose(features, graph.x.numpy(), atol=1e-4)
    np.testing.assert_array_equal(labels, majority_labels(mask, segments, CLASSES))
    theirs = dict(zip(zip(*edges.tolist(), strict=True), weights.tolist(), strict=True))
    ours = dict(zip(zip(*graph.edge_index.tolist(), strict=True), graph.edge_weight.tolist(), strict=True))
    shared = set(theirs) & set(ours)
    assert len(shared) >= 0.98 * max(len(theirs), len(ours))  # but for equal distances
    alike = [abs(theirs[edge] - ours[edge]) <= 1e-4 * ours[edge] + 1e-9 for edge in shared]
    assert np.mean(alike) > 0.98


def test_nearest_by_hand() -> None:
    line = np.stack([np.arange(12.0) ** 1.01, np.zeros(12)], axis=1).astype(np.float32)
    edges, weights = join_nearest(line)
    assert set(edges[0][edges[1] == 0]) == set(range(12)) - {11}
    assert weights[(edges[0] == 0) & (edges[1] == 0)].tolist() == [2.0]


def test_pictures_larger_than_the_scene_mirror_it() -> None:
    image, mask = generate_scene(40)
    assert image.shape == (40, 40, 1)
    assert mask.shape == (40, 40)


@pytest.mark.parametrize("step", ["features", "texture", "adjacency"])
def test_both_sides_of_a_step_make_as_many_nodes_or_edges(step: str) -> None:
    image, mask = generate_scene(80)
    config = SuperpixelsConfig(superpixel_size=60.0)
    scene = Picture(image, mask, segment(image, config))
    assert STEPS[step].ours(scene, config) == STEPS[step].rival(scene, config) > 50
