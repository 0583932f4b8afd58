"""On volumes the U-Nets are never pooled, have names of their own, and the best of them stands against the GNN."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results import FIVE, OF_VOLUMES, make_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots.curves import plot_score_vs_time
    from bench.plots.decomposition import plot_decomposition
    from bench.plots.panels import load_arm_crops
    from bench.report.content import gather
    from bench.report.html import render_html
    from bench.report.markdown import render_markdown
    from bench.report.verdict import reach_verdict
    from bench.tables.breakeven import find_break_evens
    from bench.tables.chosen import choose_configurations, find_sides
    from bench.tables.collect import collect
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.decomposition import decompose
    from bench.tables.frontier import search_budgets
    from bench.tables.names import format_extent, is_volume, label_pipeline, name_arm, name_configuration, name_run
    from bench.tables.text import format_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("volumes")
    for seed in range(3):
        for pipeline in (*FIVE, *OF_VOLUMES):
            make_run(place, pipeline, seed, 100, panels=True, dataset__spatial_axes=3, epochs=20)
    return place


@pytest.fixture(scope="module")
def runs(folder: Path) -> pd.DataFrame:
    return list_configurations(collect(folder))


def test_each_is_a_row_of_its_own_under_its_own_name(folder: Path) -> None:
    table = compare_arms(collect(folder))
    names = [name_arm(arm) for arm in table["arm"]]
    assert names == ["slice-wise U-Net", "2.5-D U-Net", "3-D U-Net", "GNN", "MLP", "oracle", "threshold"]
    assert (table["runs"] == 3).all()
    assert table["arm"].tolist()[:3] == ["tiled_cnn slice-wise", "tiled_cnn_25d", "tiled_cnn_3d"]


def test_flat_images_have_the_names_they_had(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", dataset__spatial_axes=2)
    make_run(tmp_path, "superpixel_gnn")  # of a version that does not say so
    found = list_configurations(collect(tmp_path))
    assert sorted(found["arm"]) == ["superpixel_gnn", "tiled_cnn"]
    assert sorted(name_run(run) for run in found.to_dict("records")) == ["GNN", "U-Net"]
    assert find_sides(found) == ("superpixel_gnn", "tiled_cnn")


def test_names_of_runs_and_configurations(runs: pd.DataFrame) -> None:
    run = runs[runs["pipeline"] == "tiled_cnn"].iloc[0].to_dict()
    assert is_volume(run)
    assert name_run(run) == name_configuration(run) == "slice-wise U-Net"
    assert name_run(run | {"pipeline.scale": 4.0}) == "slice-wise U-Net at 1/4 resolution"
    assert label_pipeline("tiled_cnn_3d", volumes=True) == label_pipeline("tiled_cnn_3d") == "3-D U-Net"
    assert label_pipeline("elsewhere", volumes=True) == "elsewhere"


def test_a_superpixel_of_a_volume_reaches_over_three_axes() -> None:
    assert format_extent(30.0, volume=True) == " (about 3 x 3 x 3)"
    assert format_extent(30.0) == " (about 5 x 5)"
    assert format_extent(32.0, True, "4 x 1 x 1 micrometer") == " (about 1 x 5 x 5)"
    assert format_extent(16.0, True, "4 x 0.5 x 0.5") == " (about 1 x 4 x 4)"
    assert format_extent(432.0, True, "2 x 1 x 1 pixels") == " (about 5 x 10 x 10)"
    assert format_extent(30.0, False, "nothing known") == " (about 5 x 5)"


def test_the_table_says_what_a_size_is_in_a_volume(folder: Path, tmp_path: Path) -> None:
    text = " ".join(format_table(compare_arms(collect(folder))).split())
    assert "px: pixels per superpixel, a volume: 30 are about 3 x 3 x 3 where voxels are cubes;" in text
    assert "5 x 5" not in text
    make_run(tmp_path, "superpixel_gnn")
    flat = " ".join(format_table(compare_arms(collect(tmp_path))).split())
    assert "px: pixels per superpixel, an area: 30 are about 5 x 5;" in flat
    report = gather("made_up", collect(folder), (), [folder])
    for page in (render_markdown(report), render_html(report, [folder])):
        assert "3 x 3 x 3" in page
        assert not re.search(r"(?<!x )5 x 5(?! x)", page)


def test_the_best_tiled_network_on_validation_volumes_is_the_rival(runs: pd.DataFrame, folder: Path) -> None:
    assert find_sides(runs) == ("superpixel_gnn", "tiled_cnn_3d")
    flattered = runs.assign(val_score=runs["val_score"] + (runs["pipeline"] == "tiled_cnn_25d"))
    assert find_sides(flattered)[1] == "tiled_cnn_25d"
    assert find_sides(runs.assign(dice=runs["dice"] * (runs["pipeline"] != "tiled_cnn_3d")))[1] == "tiled_cnn_3d"
    tables = collect(folder)
    verdict = reach_verdict("made_up", runs, tables.scores, tables.history)
    assert "ompared with the 3-D U-Net, the GNN" in verdict.first
    assert set(choose_configurations(runs)) >= {"tiled_cnn", *OF_VOLUMES}


def test_every_comparison_is_with_that_rival_by_its_name(runs: pd.DataFrame, folder: Path) -> None:
    tables = collect(folder)
    found = find_break_evens(runs, tables.stages)
    assert (found.sides, found.names) == (("superpixel_gnn", "tiled_cnn_3d"), ("GNN", "3-D U-Net"))
    assert {item.names for item in search_budgets(runs)} == {("GNN", "3-D U-Net"), ("3-D U-Net", "GNN")}
    assert next(iter(decompose(runs).levels)) == "3-D U-Net"
    labels = [label.get_text() for label in plot_decomposition(runs).axes[0].get_xticklabels()]
    assert labels[0] == "3-D U-Net"
    _, drawn = plot_score_vs_time(runs).axes[0].get_legend_handles_labels()
    assert {"slice-wise U-Net", "2.5-D U-Net", "3-D U-Net"} <= set(drawn)
    titles = [arm.title.split("\n")[0] for arm in load_arm_crops([folder], runs).arms]
    assert titles[:3] == ["slice-wise U-Net", "2.5-D U-Net", "3-D U-Net"]


def test_a_report_is_written_of_volumes(folder: Path) -> None:
    [section] = gather("volumes", collect(folder), [], [folder]).sections
    cells = [row.cells for row in section.rows]
    assert len(cells) == 7
    assert "3-D U-Net" in section.verdict.first
