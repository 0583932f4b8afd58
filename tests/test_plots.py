"""Figures are functions of the tables: the same bytes twice, the right numbers in them, none without its data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.results import copy_results, make_results, make_run

from bench.arms import ARMS
from bench.config import InputError

if TYPE_CHECKING:
    import matplotlib as mpl
    import pandas as pd
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    from bench.plots.all import plot_all, split_groups
    from bench.plots.colours import CLASSES
    from bench.plots.curves import (
        HIGH_SCORE,
        plot_score_vs_memory,
        plot_score_vs_nodes,
        plot_score_vs_time,
        scale_scores,
    )
    from bench.plots.frontier import plot_frontier
    from bench.plots.learning import plot_learning_curves
    from bench.plots.panels import draw_errors, draw_overlay, load_arm_crops, load_crops, plot_panels
    from bench.plots.speed import plot_time_to_score
    from bench.plots.style import (
        KINDS,
        VERMILION,
        NoDataError,
        Plotted,
        assign_styles,
        count_legend_columns,
        find_style,
        make_figure,
        make_slug,
    )
    from bench.plots.traces import draw_kept_traces, plot_memory_trace
    from bench.tables.chosen import choose_shown
    from bench.tables.collect import Tables, collect
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.footprint import load_trace
    from bench.tables.frontier import MEMORY, TRAINING
    from bench.tables.speed import tabulate_speed


TRACE = (
    "seconds,stage,split,rss_bytes\n0,,,1048576\n1,train,train,3145728\n2,train,train,2097152\n3,predict,test,1048576\n"
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("template"), seeds=2, panels=True)


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copy_results(template, tmp_path / "results")


@pytest.fixture(scope="module")
def tables(template: Path) -> Tables:
    return collect(template)


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def offsets(figure: Figure) -> np.ndarray[Any, Any]:
    """Every point of the scatters, (n, 2)."""
    scatters = [found for found in figure.axes[0].collections if isinstance(found, PathCollection)]
    return np.concatenate([np.asarray(scatter.get_offsets()) for scatter in scatters])


def drawn(plotted: list[Plotted]) -> dict[str, bytes]:
    paths = [path for figure in plotted for path in (figure.png, figure.svg) if path is not None]
    return {path.name: path.read_bytes() for path in paths}


def test_the_same_tables_give_the_same_bytes_whatever_the_users_style(tmp_path: Path) -> None:
    folder = make_results(tmp_path, seeds=1, sizes=(50, 200))
    tables = collect(folder)
    first = plot_all(folder, tables)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink"}):
        assert drawn(plot_all(folder, tables)) == drawn(first)
    assert len(drawn(first)) == 12
    skipped = {figure.name: figure.skipped for figure in first if figure.skipped}
    assert "panels.npz" in skipped["panels-made-up"]
    assert "memory_trace.csv" in skipped["memory_trace-made-up"]
    endings = Counter(path.suffix for path in (folder / "figures").iterdir())
    assert endings == {".png": 6, ".svg": 6, ".csv": 6}


def test_points_are_the_means_of_the_comparison(tables: Tables) -> None:
    frame = compare_arms(tables)
    learned = frame[frame["arm"].isin(["tiled_cnn", "superpixel_gnn", "superpixel_mlp"])]
    runs = list_configurations(tables)
    for figure, column, scale in (
        (plot_score_vs_time(runs), "train_s", 1.0),
        (plot_score_vs_memory(runs), "peak_memory_bytes", 2.0**20),
    ):
        expected = np.column_stack([learned[column] / scale, learned["dice"]])
        order = np.lexsort(offsets(figure).T), np.lexsort(expected.T)
        assert offsets(figure)[order[0]] == pytest.approx(expected[order[1]])


def test_the_ceiling_and_the_cnn_are_drawn_over_the_superpixels(tables: Tables) -> None:
    figure = plot_score_vs_nodes(list_configurations(tables))
    assert {"oracle ceiling", "U-Net (2 seeds, range shaded)", "GNN"} <= set(labels(figure))
    assert set(offsets(figure)[:, 0]) == {450, 900, 1800}
    [ceiling] = [line for line in figure.axes[0].lines if line.get_label() == "oracle ceiling"]
    assert np.asarray(ceiling.get_ydata()) == pytest.approx([0.955, 0.975, 0.985])


def test_ceilings_of_other_methods_are_lines_of_their_own_and_legends_stay_within_the_figure(folder: Path) -> None:
    make_run(folder, "oracle", 0, 100, run_id="views", run_key="views", superpixels__views=3, num_nodes=9999)
    for number, layers in enumerate((3, 12)):
        wide = f"wide{number}"
        make_run(folder, "superpixel_gnn", 0, 100, run_id=wide, run_key=wide, pipeline__model__num_layers=layers)
    before, after = (labels_and_lines(list_configurations(collect(folder)), only) for only in (False, True))
    assert {"oracle ceiling, views 1", "oracle ceiling, views 3"} <= set(before)
    np.testing.assert_array_equal(before["oracle ceiling, views 1"], after["oracle ceiling"])
    assert count_legend_columns(["a" * 200] * 9) == 1
    assert count_legend_columns(["a"] * 9) == 3


def labels_and_lines(runs: pd.DataFrame, only_one_view: bool) -> dict[str, np.ndarray[Any, Any]]:
    runs = runs.assign(**{"superpixels.views": runs["superpixels.views"].fillna(1)})
    kept = runs[runs["superpixels.views"] == 1] if only_one_view else runs
    lines = plot_score_vs_nodes(kept).axes[0].lines
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in lines}


def test_flagged_runs_can_be_seen(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 5, flags="invalid: the sampler died")
    make_run(folder, "superpixel_gnn", 5, 50, flags="contended: others computed")
    figure = plot_score_vs_time(list_configurations(collect(folder)))
    assert {"invalid run, left out", "hollow: contended run"} <= set(labels(figure))
    faces = [tuple(color[:3]) for c in figure.axes[0].collections for color in np.atleast_2d(c.get_facecolor())]
    assert (1.0, 1.0, 1.0) in faces


def test_kinds_of_memory_share_no_axis(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 5, peak_memory_kind="gpu_process")
    with pytest.raises(NoDataError, match="several kinds"):
        plot_score_vs_memory(list_configurations(collect(folder)))


def test_learning_curves_count_the_superpixels(tables: Tables) -> None:
    figure = plot_learning_curves(list_configurations(tables), tables.history)
    assert len(figure.axes[0].lines) == 6
    gnn = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("GNN (50 px, 2 seeds)")]
    assert np.asarray(gnn[0].get_xdata())[0] == pytest.approx(40.0 * 2 / 20 + 4 * 1.2)


@pytest.mark.parametrize("scores", [(0.9, 0.95), (0.4, 0.99), (0, 1), (0.97, 0.9701), (1, 1), (0.5, 0.9999)])
def test_high_scores_are_apart_by_what_is_missing_to_one(scores: tuple[float, float]) -> None:
    figure, axes = make_figure()
    axes.plot([1, 2], scores)
    scale_scores(axes)
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    low, high = axes.get_ylim()
    assert low <= scores[0]
    assert min(scores[1], 0.9999) <= high <= 1
    if scores[1] > HIGH_SCORE:
        heights = [axes.transData.transform((1, score))[1] for score in (0.8, 0.9, 0.95)]
        assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1])
    assert [float(text.get_text()) for text in axes.get_yticklabels()] == pytest.approx(axes.get_yticks())


def test_low_scores_have_an_even_axis() -> None:
    _, axes = make_figure()
    axes.plot([1, 2], [0.1, HIGH_SCORE])
    scale_scores(axes)
    assert axes.get_yscale() == "linear"


def test_nothing_is_drawn_without_data(tmp_path: Path) -> None:
    make_run(tmp_path, "tiled_cnn", status="failed", reason="no")
    plotted = plot_all(tmp_path, collect(tmp_path))
    assert all(figure.skipped and figure.png is None for figure in plotted)
    assert list((tmp_path / "figures").iterdir()) == []


def test_machines_have_figures_of_their_own(folder: Path) -> None:
    make_run(folder, "superpixel_gnn", run_id="other", machine__id="another")
    found = list(split_groups(list_configurations(collect(folder))))
    assert {suffix for _, suffix, _ in found} == {"made-up-machine1", "made-up-machine2"}
    assert sorted(len(runs) for runs, _, _ in found) == [1, 22]


def test_panels_show_every_arm_with_its_errors(template: Path, tables: Tables) -> None:
    arms = load_arm_crops([template], list_configurations(tables)).arms
    assert [arm.title.split("\n")[0] for arm in arms] == [
        "U-Net", "GNN", "MLP", "oracle", "threshold",
    ]  # fmt: skip
    assert len(plot_panels(arms).axes) == 2 * 2 * (1 + len(arms))


def test_errors_are_exactly_the_wrong_pixels_and_ignored_ones_are_not() -> None:
    image = np.full((2, 3), 100, np.uint8)
    truth, predicted = np.array([[0, 1, 1], [255, 0, 1]]), np.array([[0, 1, 0], [1, 1, 1]])
    wrong = np.all(np.isclose(draw_errors(image, truth, predicted, 2), to_rgb(VERMILION)), axis=2)
    assert wrong.tolist() == [[False, False, True], [False, True, False]]
    tinted = np.any(~np.isclose(draw_overlay(image, truth, 2), 100 / 255), axis=2)
    assert tinted.tolist() == [[False, True, True], [False, False, True]]
    assert np.allclose(draw_overlay(image, truth, 2, strength=1.0)[0, 1], to_rgb(CLASSES[0]))


def test_a_damaged_panels_file_is_said_and_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "panels.npz"
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(NoDataError, match="cannot be read"):
        load_crops(path)
    np.savez(path, class_names=np.array([{"a": 1}], dtype=object), name_0=np.array("x"))
    with pytest.raises(NoDataError, match="cannot be read"):
        load_crops(path)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_damaged_panels_file_costs_the_picture_that_run_alone(seeds: int, tmp_path: Path) -> None:
    """Another seed stands in where there is one; the caption names every damaged file, and no other."""
    folder = make_results(tmp_path, seeds=seeds, sizes=(100,), panels=True)
    tables = collect(folder)
    [whole] = [figure for figure in plot_all(folder, tables) if figure.name.startswith("panels")]
    network = tables.runs[(tables.runs["pipeline"] == "tiled_cnn") & (tables.runs["seed"] == 0)]["run_id"]
    [victim] = network
    path = folder / "runs" / str(victim) / "panels.npz"
    path.write_bytes(path.read_bytes()[:-40])
    [figure] = [figure for figure in plot_all(folder, tables) if figure.name.startswith("panels")]
    assert figure.png is not None, figure.skipped
    assert figure.caption.startswith(whole.caption)
    assert [run for run in tables.runs["run_id"] if run in figure.caption] == [victim]
    assert "cannot be read" in figure.caption
    arms = [arm.title.split("\n")[0] for arm in load_arm_crops([folder], list_configurations(tables)).arms]
    assert arms == (["U-Net"] if seeds == 2 else []) + ["GNN", "MLP", "oracle", "threshold"]


def test_every_damage_of_a_panels_file_is_said(template: Path, tmp_path: Path) -> None:
    """Bytes cut off at the end or set to another value: the file is read, or refused by its name."""
    whole = next(iter(sorted((template / "runs").glob("*/panels.npz")))).read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "panels.npz"
    refused: list[str] = []
    for place in rng.integers(0, len(whole), 300).tolist():
        other = bytes([whole[place] ^ rng.integers(1, 256)])
        for damaged in (whole[:place], whole[:place] + other + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                load_crops(path)
            except NoDataError as error:
                refused.append(str(error))
    assert len(refused) > 300
    assert all(sentence.startswith(f"panels.npz of {tmp_path.name} cannot be read") for sentence in refused)


def test_the_trace_is_shaded_by_stage(tmp_path: Path) -> None:
    path = tmp_path / "memory_trace.csv"
    path.write_text(TRACE)
    figure = plot_memory_trace({"tiled_cnn": load_trace(path), "superpixel_gnn": load_trace(path)})
    assert labels(figure) == ["train", "resident, process"]  # predict is one sample long
    assert np.asarray(figure.axes[0].lines[0].get_ydata()) == pytest.approx([1, 3, 2, 1])
    span: Any = figure.axes[0].patches[0]
    assert (span.get_x(), span.get_x() + span.get_width()) == (1, 3)
    path.write_text("t_ns,rss_bytes\n1,2\n")
    with pytest.raises(InputError, match="seconds, stages and bytes"):
        load_trace(path)
    path.write_text(TRACE.replace("rss_bytes", "rss_bxtes"))
    with pytest.raises(InputError, match="seconds, stages and bytes"):
        load_trace(path)
    path.write_text(TRACE[:-3])
    with pytest.raises(InputError, match="is cut off: its last row does not end"):
        load_trace(path)


def test_a_damaged_trace_is_named_and_another_seed_stands_in(folder: Path) -> None:
    runs = list_configurations(collect(folder))
    for run_id in runs["run_id"]:
        (folder / "runs" / str(run_id) / "memory_trace.csv").write_text(TRACE)
    whole = draw_kept_traces([folder], runs)
    titles = [axes.get_title(loc="left") for axes in whole.figure.axes]
    assert len(titles) == len(set(titles)) > 1
    assert whole.note == ""
    drawn_runs = choose_shown(runs)["tiled_cnn"].sort_values("seed")["run_id"].tolist()
    for count, run_id in enumerate(drawn_runs, start=1):
        (folder / "runs" / str(run_id) / "memory_trace.csv").write_text(TRACE.replace("3145728", "31\x00x"))
        found = draw_kept_traces([folder], runs)
        last = count == len(drawn_runs)
        assert [axes.get_title(loc="left") for axes in found.figure.axes] == (titles[1:] if last else titles)
        assert [run for run in runs["run_id"] if run in found.note] == [
            run for run in runs["run_id"] if run in drawn_runs[:count]
        ]


def test_every_stage_of_a_trace_has_a_colour_of_its_own(tmp_path: Path) -> None:
    stages = ("prepare", "init", "warmup", "train", "validate", "inspect", "fork", "predict")
    path = tmp_path / "memory_trace.csv"
    rows = [f"{2 * i + part},{stage},{2**20}" for i, stage in enumerate(stages) for part in (0, 1)]
    path.write_text("\n".join(["seconds,stage,rss_bytes", *rows, ""]))
    figure = plot_memory_trace({"superpixel_gnn": load_trace(path)})
    assert set(labels(figure)) == {*stages, "resident, process"}
    patches: Any = figure.axes[0].patches
    assert len({patch.get_facecolor() for patch in patches}) == len(stages)


def test_every_kind_of_peak_memory_is_explained() -> None:
    assert set(KINDS) == {"gpu_process", "gpu_allocator", "cpu_rss", "cpu_rss_tree"}


def test_no_two_arms_of_a_figure_look_alike() -> None:
    arms = [*ARMS, "tiled_cnn pipeline.scale=4", "superpixel_gnn graph.edges=knn", "tiled_cnn pipeline.scale=2"]
    styles = assign_styles(arms)
    assert len({colour for colour, _ in styles.values()}) == len({marker for _, marker in styles.values()}) == len(arms)


def test_arms_of_one_pipeline_look_different() -> None:
    styles = assign_styles(["tiled_cnn", "superpixel_gnn a", "superpixel_gnn b", "superpixel_gnn c", "new"])
    assert len({color for color, _ in styles.values()}) == len({marker for _, marker in styles.values()}) == 5


def test_another_network_never_has_the_style_of_the_plain_one() -> None:
    styles = assign_styles(["tiled_cnn Segformer", "tiled_cnn scale=4", "tiled_cnn scale=8", "tiled_cnn slice-wise"])
    plain = find_style("tiled_cnn")
    assert [style == plain for style in styles.values()] == [False, False, False, True]
    assert len(set(styles.values())) == 4


def test_file_names_are_tame() -> None:
    assert make_slug("../a b/ü:c") == "a-b-c"
    assert make_slug("...") == "unnamed"


def test_a_figure_of_one_point_is_not_drawn(tmp_path: Path) -> None:
    make_run(tmp_path, "superpixel_gnn", 0, 50)
    make_run(tmp_path, "superpixel_gnn", 1, 50)
    runs = list_configurations(collect(tmp_path))
    for plot in (plot_score_vs_time, plot_score_vs_memory):
        with pytest.raises(NoDataError, match="fewer than two fully trained configurations"):
            plot(runs)
    with pytest.raises(NoDataError, match="at two sizes"):
        plot_score_vs_nodes(runs)


def test_cool_downs_for_less_work_are_points_and_no_part_of_the_line(folder: Path) -> None:
    tables = collect(folder)
    runs, history = list_configurations(tables), tables.history
    run_id = runs.loc[runs["pipeline"] == "tiled_cnn", "run_id"].iloc[0]
    fork = {"run_id": run_id, "step": 50, "epoch": 1, "seconds": 3.0, "val_score": 0.99, "budget": 50.0}
    figure = plot_learning_curves(runs, pd.concat([history, pd.DataFrame([fork])], ignore_index=True))
    points = [line for line in figure.axes[0].lines if line.get_marker() == "x" and len(np.asarray(line.get_xdata()))]
    assert [np.asarray(line.get_ydata()).tolist() for line in points] == [[0.99]]
    others = [line for line in figure.axes[0].lines if line.get_marker() != "x"]
    assert not any(0.99 in np.asarray(line.get_ydata()) for line in others)
    assert "cross: cooled down after less work" in labels(figure)


@pytest.mark.parametrize("contended", [False, True])
def test_a_hollow_marker_means_a_contended_run_and_nothing_else(folder: Path, contended: bool) -> None:
    flags = "contended: others computed" if contended else None
    make_run(folder, "tiled_cnn", 0, run_id="b", run_key="b", pipeline__batch_size=2, gain=-0.01, slow=2.0, flags=flags)
    make_run(folder, "tiled_cnn", 2, flags=flags)
    tables = collect(folder)
    runs = list_configurations(tables)
    figures = {
        "frontier": plot_frontier(runs, TRAINING),
        "time": plot_score_vs_time(runs),
        "speed": plot_time_to_score(runs, tables.history),
    }
    assert {name: count_hollow(figure) > 0 for name, figure in figures.items()} == dict.fromkeys(figures, contended)
    named = {name: any(label.startswith("hollow") for label in labels(figure)) for name, figure in figures.items()}
    assert named == dict.fromkeys(figures, contended)
    assert count_hollow(plot_frontier(runs, MEMORY)) == 0  # memory does not depend on load


def count_hollow(figure: Figure) -> int:
    faces = [tuple(c[:3]) for part in figure.axes[0].collections for c in np.atleast_2d(part.get_facecolor())]
    lines = [line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata()))]  # others are of the legend
    return faces.count((1.0, 1.0, 1.0)) + sum(line.get_markerfacecolor() == "white" for line in lines)


def test_the_time_to_a_score_is_drawn_from_its_table(folder: Path) -> None:
    make_run(folder, "tiled_cnn", 2, flags="contended: others computed")
    tables = collect(folder)
    runs = list_configurations(tables)
    figure = plot_time_to_score(runs, tables.history)
    assert {"U-Net (3 seeds)", "GNN (50 px, 2 seeds)", "hollow: contended run"} <= set(labels(figure))
    table = tabulate_speed(runs, tables.history)
    [line] = [
        line
        for line in figure.axes[0].lines
        if line.get_color() == ARMS["tiled_cnn"].colour and len(np.asarray(line.get_xdata())) > 1
    ]
    own = table[(table["pipeline"] == "tiled_cnn") & (table["seeds"] == table["all_seeds"])]
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float), own["seconds"])
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), own["target"])
    assert (np.diff(own["seconds"]) >= 0).all()
