"""Where the accuracy goes: steps that add up, the same superpixels only, fewer bars without the voted CNN, edges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import IMAGES, LEARNED, ceiling, make_run, score

from bench.config import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots.decomposition import plot_decomposition
    from bench.plots.style import NoDataError
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations
    from bench.tables.decomposition import decompose, list_idle_configurations, tabulate_edge_ablation
    from bench.tables.text import format_points


def made(folder: Path, voted: bool = True, seeds: int = 3, **changes: object) -> pd.DataFrame:
    for seed in range(seeds):
        for pipeline in ("superpixel_gnn", "superpixel_mlp", "oracle"):
            make_run(folder, pipeline, seed, **changes)  # type: ignore[arg-type]
        make_run(folder, "tiled_cnn", seed, voted=0.974 + 0.001 * seed if voted else None)
    return list_configurations(collect(folder))


def mean(pipeline: str, seed: int) -> float:
    return float(np.mean([score(pipeline, seed, 100, image) for image in range(len(IMAGES))]))


def test_the_steps_lead_from_the_cnn_to_the_mlp(tmp_path: Path) -> None:
    found = decompose(made(tmp_path))
    assert list(found.levels) == ["U-Net", "U-Net voted", "GNN", "MLP"]
    assert [step.name for step in found.steps] == ["superpixels", "model", "missing context"]
    cnn, _, mlp = (np.mean([mean(pipeline, seed) for seed in range(3)]) for pipeline in LEARNED)
    assert sum(step.points.value for step in found.steps) == pytest.approx(100 * (cnn - mlp))
    losses = [100 * (0.974 + 0.001 * seed - mean("superpixel_gnn", seed)) for seed in range(3)]
    assert found.steps[1].points.value == pytest.approx(np.mean(losses))
    assert found.steps[1].points.low < min(losses)  # three seeds: wider than what was seen
    assert found.steps[1].seeds == 3
    assert found.size == 100
    assert found.ceiling == pytest.approx(ceiling(100) - 0.005)
    assert format_points(found.steps[1]).startswith(f"{-np.mean(losses):+.1f} points [")


def test_without_the_voted_cnn_two_steps_are_one(tmp_path: Path) -> None:
    found = decompose(made(tmp_path, voted=False))
    assert [step.name for step in found.steps] == ["superpixels and model", "missing context"]
    cnn, _, mlp = (np.mean([mean(pipeline, seed) for seed in range(3)]) for pipeline in LEARNED)
    assert sum(step.points.value for step in found.steps) == pytest.approx(100 * (cnn - mlp))


def test_a_cnn_voted_onto_other_superpixels_does_not_count(tmp_path: Path) -> None:
    assert "U-Net voted" not in decompose(made(tmp_path, superpixels__compactness=0.1)).levels


def test_controls_on_other_superpixels_are_refused(tmp_path: Path) -> None:
    runs = made(tmp_path)
    shifted = runs.assign(
        **{"superpixels.superpixel_size": runs["superpixels.superpixel_size"] + (runs["pipeline"] == "oracle")}
    )
    with pytest.raises(InputError, match="oracle did not run on the superpixels of the chosen GNN"):
        decompose(shifted)
    with pytest.raises(NoDataError, match=r"no decomposition: .*superpixel_mlp"):
        plot_decomposition(runs[runs["pipeline"] != "superpixel_mlp"])
    with pytest.raises(InputError, match="no valid run of tiled_cnn that converged"):
        decompose(runs[runs["pipeline"] != "tiled_cnn"])


def test_seeds_that_do_not_meet_give_no_interval(tmp_path: Path) -> None:
    runs = made(tmp_path, seeds=1)
    step = decompose(runs.assign(seed=runs["seed"] + 7 * (runs["pipeline"] == "tiled_cnn"))).steps[1]
    assert (step.seeds, step.points.has_interval) == (0, False)
    assert format_points(step).endswith("points")


def test_the_bars_stand_between_the_levels(tmp_path: Path) -> None:
    runs = made(tmp_path)
    found = decompose(runs)
    [axes] = plot_decomposition(runs).axes
    heights = [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
    assert heights == pytest.approx([step.points.value / 100 for step in found.steps])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(found.levels)


def test_edges_that_do_nothing_are_named(tmp_path: Path) -> None:
    for seed, flips in enumerate((0.0004, 0.0002)):
        make_run(tmp_path, "superpixel_gnn", seed, edge_message_share=0.01, edge_flip_share=flips)
    make_run(tmp_path, "superpixel_gnn", 0, 50, edge_message_share=0.4, edge_flip_share=0.06)
    make_run(tmp_path, "tiled_cnn")
    found = tabulate_edge_ablation(list_configurations(collect(tmp_path)))
    assert list(found["superpixel_size"]) == [50, 100]
    assert found["flip_share"].tolist() == pytest.approx([0.06, 0.0003])
    assert found["flip_share_low"].tolist() == pytest.approx([0.06, 0.0002])
    assert list_idle_configurations(found) == [("superpixel_gnn", 100.0)]
    bare = tabulate_edge_ablation(made(tmp_path / "bare", seeds=1))
    assert bare.empty
    assert list_idle_configurations(bare) == []
