"""Cost against the size of an image: the experiment's runs, their points, what fits, the figures and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.results import make_run

from bench.config import Config, ExperimentConfig, InputError, MeasureConfig, SyntheticConfig, ThresholdConfig
from bench.sweeps.experiments import expand_experiment
from bench.sweeps.jobs import find_memory_limit
from bench.tables.write import write_part

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots.all import plot_all
    from bench.plots.scale import QUANTITIES, plot_scale
    from bench.plots.style import NoDataError, apply_style
    from bench.report.command import write_report
    from bench.report.scale import make_scale_parts
    from bench.tables.collect import Tables, collect
    from bench.tables.comparison import list_configurations
    from bench.tables.scale import (
        AXES,
        FIELD,
        MAGNIFICATION,
        find_fits,
        fit_lines,
        make_scale_points,
        tabulate_laws,
    )
    from bench.tables.units import GIB

LAWS = {  # constant, bytes per pixel and per node
    "superpixel_gnn": (400e6, 24.0, 2000.0),
    "tiled_cnn": (900e6, 8.0, 0.0),
    "reduced": (850e6, 5.0, 0.0),
    "untiled": (600e6, 900.0, 0.0),
}
SWEEPS: list[dict[str, Any]] = [
    {"pipeline": "superpixel_gnn",
     "dataset.image_size": [[512, 512], [4096, 4096]], "superpixels.superpixel_size": [60, 240]},
    {"pipeline": "tiled_cnn", "dataset.image_size": [[512, 512], [4096, 4096]]},
    {"pipeline": "tiled_cnn", "dataset.image_size": [[1024, 1024]], "dataset.magnification": 2},
]  # fmt: skip


def add_run(
    folder: Path, line: str, side: int, times: int = 1, size: int = 60, status: str = "ok", flags: str | None = None
) -> None:
    """A made-up run whose peak memory follows a law exactly, and whose times are those of its pixels."""
    pipeline = "superpixel_gnn" if line == "superpixel_gnn" else "tiled_cnn"
    pixels, nodes = side**2, side**2 / (size * times**2)
    constant, per_pixel, per_node = LAWS[line]
    peak = constant + per_pixel * pixels + (per_node * nodes if pipeline == "superpixel_gnn" else 0)
    facts: dict[str, Any] = {
        "experiment": "scale", "dataset": "synthetic_fluorescence", "status": status, "flags": flags,
        "run_id": f"20260101T000000-{line}-{side}-{times}-{size}", "run_key": f"{line}-{side}-{times}-{size}",
        "dataset__image_size": [side, side], "dataset__magnification": times, "dataset__images_test": 1,
        "dataset__pixels_test": pixels, "dataset__content": f"{side}-{times}",
        "pipeline__scale": 4 if line == "reduced" else 1,
        "pipeline__crop_size": 20480 if line == "untiled" else 128, "machine__memory_bytes": 24 * 2**30,
        "superpixels__superpixel_size": float(size * times**2),
        "num_nodes": nodes if pipeline == "superpixel_gnn" else None,
    }  # fmt: skip
    directory = make_run(folder, pipeline, 0, size, **facts)
    seconds = {
        ("prepare", "train"): 0.4 * pixels / 1e6, ("train", "train"): 20.0, ("prepare", "test"): 0.5 * pixels / 1e6,
        ("predict", "test"): 0.25 * pixels / 1e6,
    }  # fmt: skip
    memory = {
        "rss_start_bytes": 200e6,
        "peak_rss_bytes": peak,
        "peak_memory_bytes": peak,
        "peak_memory_kind": "cpu_rss",
    }
    rows = [
        {"stage": stage, "split": split, "seconds": value, "images": 1, "pixels": pixels, **memory}
        for (stage, split), value in seconds.items()
    ]
    write_part(directory, "stages", facts["run_id"], rows if status == "ok" else [])


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    for side in (512, 1024, 2048):
        for size in (60, 240):
            add_run(tmp_path, "superpixel_gnn", side, size=size)
        for line in ("tiled_cnn", "reduced", "untiled"):
            add_run(tmp_path, line, side)
    add_run(tmp_path, "untiled", 4096, status="host_oom")
    for times in (2, 4):
        for line in ("superpixel_gnn", "tiled_cnn"):
            add_run(tmp_path, line, 512 * times, times)
    return collect(tmp_path)


def points_of(tables: Tables) -> pd.DataFrame:
    return make_scale_points(list_configurations(tables), tables.stages, tables.history)


def test_points_lie_on_the_axis_along_which_they_grow_and_the_field_on_both(tables: Tables) -> None:
    points = points_of(tables)
    assert set(points["axis"]) == set(AXES)
    own = points[points["line"] == "U-Net in tiles"]
    for axis, sides in ((FIELD, (512, 1024, 2048)), (MAGNIFICATION, (512, 1024, 2048))):
        assert own["megapixels"][own["axis"] == axis].tolist() == pytest.approx([side**2 / 1e6 for side in sides])
    magnified = points[(points["axis"] == MAGNIFICATION) & (points["magnification"] > 1)]
    assert set(magnified["line"]) == {"GNN at 60 pixels per superpixel", "U-Net in tiles"}
    assert set(points["line"]) == {
        "GNN at 60 pixels per superpixel", "GNN at 240 pixels per superpixel", "U-Net in tiles",
        "U-Net at reduced resolution", "U-Net untiled",
    }  # fmt: skip


def test_a_point_has_times_per_megapixel_and_memory_whole_and_net(tables: Tables) -> None:
    points = points_of(tables)
    point = points[(points["line"] == "U-Net in tiles") & (points["axis"] == FIELD)].iloc[-1]
    assert point["prepare_s_per_mpx"] == pytest.approx(0.4)
    assert point["predict_s_per_mpx"] == pytest.approx(0.75)
    peak = 900e6 + 8 * 2048**2
    assert point["training_bytes"] == point["prediction_bytes"] == point["peak_bytes"] == pytest.approx(peak)
    assert point["training_net_bytes"] == point["prediction_net_bytes"] == pytest.approx(peak - 200e6)
    assert 0 < point["seconds_to_equal"] < 1000
    failed = points[points["status"] != "ok"].iloc[0]
    assert (failed["line"], failed["megapixels"]) == ("U-Net untiled", pytest.approx(4096**2 / 1e6))
    assert failed[["peak_bytes", "predict_s_per_mpx"]].isna().all()


def test_what_fits_is_what_was_measured_within_a_limit_and_what_does_not_may_have_failed(tables: Tables) -> None:
    points = points_of(tables)
    own = points[(points["line"] == "U-Net untiled") & (points["axis"] == FIELD)]
    fits = {fit.limit: fit for fit in find_fits(own)}
    sizes = {side: side**2 / 1e6 for side in (512, 1024, 2048, 4096)}
    for limit, side in ((2, 1024), (8, 2048)):  # 600 MB + 0.94 GB, 600 MB + 3.8 GB
        assert fits[limit].largest == pytest.approx(sizes[side])
        assert fits[limit].too_large == pytest.approx(sizes[2 * side])
    assert fits[24].too_large == pytest.approx(sizes[4096])


def test_laws_give_back_the_coefficients_of_each_arm(tables: Tables) -> None:
    laws = {(one.line, one.phase): one.law for one in fit_lines(points_of(tables))}
    for line, name in (("U-Net in tiles", "tiled_cnn"), ("GNN at 240 pixels per superpixel", "superpixel_gnn")):
        law = laws[line, "training"]
        assert law is not None
        assert (law.constant, law.per_pixel, law.per_node) == pytest.approx(LAWS[name], rel=1e-4)
        assert law.error < 1e-4
    frame = tabulate_laws(fit_lines(points_of(tables)))
    assert frame["reason"].eq("").all()
    few = points_of(tables)
    few = few[few["megapixels"] < 2]
    assert all("at least 3 sizes" in one.reason for one in fit_lines(few))


def test_figures_show_lines_and_no_single_points(tables: Tables) -> None:
    points, styles = points_of(tables), dict[str, object]()
    with apply_style():
        for quantity in QUANTITIES.values():
            figure = plot_scale(points, quantity)
            assert [axes.get_title(loc="left") for axes in figure.axes] == list(AXES)
            shown = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
            for line in ("GNN at 60 pixels per superpixel", "U-Net at reduced resolution"):
                assert styles.setdefault(line, shown[line]) == shown[line], "a line has one colour in all figures"
            assert ("U-Net untiled" in shown) == (not quantity.trained)
        with pytest.raises(NoDataError, match="at two sizes"):
            plot_scale(points[points["megapixels"] < 1], QUANTITIES["scale_memory"])
        alone = plot_scale(points[points["axis"] == FIELD], QUANTITIES["scale_memory"])
        assert [axes.get_title(loc="left") for axes in alone.axes] == [FIELD]


def test_the_report_states_what_was_measured_and_labels_what_is_predicted(tables: Tables, tmp_path: Path) -> None:
    figures = plot_all(tmp_path, tables)
    assert {figure.group for figure in figures} == {"scale-synthetic-fluorescence"}
    assert [figure.name.split("-")[0] for figure in figures if figure.png is not None] == list(QUANTITIES)
    markdown, html = (path.read_text() for path in write_report(tmp_path, tables, figures))
    for text in (
        "more magnification, on an image of 4.19 Mpx at magnification 4",
        "U-Net untiled",
        "host\\_oom",
        "Predicted: on this machine (24 GiB) the U-Net untiled trains on up to 28 Mpx and predicts up to 28 Mpx",
        "the GNN at 60 pixels per superpixel trains on more than 67.1 Mpx",
        "Predicted by the laws above, not measured",
        "4.19 (not 16.8)",
    ):
        assert text in markdown
    assert "figures/" not in html  # they are inside
    assert "more magnification" in html


def test_a_law_is_not_followed_far_beyond_what_was_measured(tables: Tables) -> None:
    parts = make_scale_parts(points_of(tables), 1e15, [])
    text = " ".join(parts[2].sentences)
    assert "trains on more than 67.1 Mpx" in text  # 16 times 4.19
    unknown = make_scale_parts(points_of(tables), float("nan"), [])
    assert not any("this machine" in sentence for sentence in unknown[2].sentences)


def test_images_beyond_the_largest_are_left_out_of_a_sweep() -> None:
    experiment = ExperimentConfig("scale", sweeps=SWEEPS, largest=1024)
    runs = expand_experiment(experiment, [])
    assert len(runs) == 4
    assert not any("4096" in word for run in runs for word in run)
    assert len(expand_experiment(ExperimentConfig("scale", sweeps=SWEEPS), [])) == 7
    with pytest.raises(InputError, match="images within 64"):
        expand_experiment(ExperimentConfig("scale", sweeps=SWEEPS, largest=64), [])


def test_other_data_has_no_sizes_and_no_magnification() -> None:
    runs = expand_experiment(ExperimentConfig("scale", sweeps=SWEEPS, largest=1024), ["dataset=folder"])
    assert len(runs) == 3
    assert all(not word.startswith("dataset.") for run in runs for word in run)


def test_a_run_may_take_what_is_given_and_never_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.machine.memory_bytes", lambda: 10 * GIB)
    monkeypatch.setattr("sys.platform", "linux")
    for given, expected in ((None, None), (4.0, 4 * GIB), (24.0, 9 * GIB)):
        config = Config(SyntheticConfig(), ThresholdConfig(), measure=MeasureConfig(memory_gib=given), device="cpu")
        assert find_memory_limit(config) == expected
    with pytest.raises(InputError, match=r"measure\.memory_gib must be at least 1 GiB"):
        MeasureConfig(memory_gib=0.5)


def add_rivals(folder: Path, sides: tuple[int, ...], flags: str | None = None) -> None:
    for side in sides:
        for line in ("superpixel_gnn", "tiled_cnn"):
            add_run(folder, line, side, flags=flags)


def test_an_invalid_run_has_a_status_and_no_numbers(tmp_path: Path) -> None:
    add_rivals(tmp_path, (512, 1024))
    add_rivals(tmp_path, (2048,), flags="invalid: the sampler died")
    points = points_of(collect(tmp_path))
    gone = points[points["status"] == "invalid"]
    assert gone["megapixels"].tolist() == pytest.approx([2048**2 / 1e6] * 2)
    numbers = ["peak_bytes", "training_net_bytes", "predict_s_per_mpx", "train_s", "seconds_to_equal", "dice"]
    assert gone[numbers].isna().all(axis=None)
    assert points[points["status"] == "ok"][numbers].notna().all(axis=None)
    compared = make_scale_parts(points, 24e9, ())[0]
    assert [row[3] for row in compared.rows if row[2] == "4.19"] == ["invalid"] * 2
    assert any("on an image of 1.05 Mpx" in sentence for sentence in compared.sentences)
    assert all(one.law is None for one in fit_lines(points))  # two sizes are too few


def test_the_graph_is_compared_with_a_smaller_image_too(tmp_path: Path) -> None:
    add_rivals(tmp_path, (512, 1024))
    assert "reduced" not in " ".join(make_scale_parts(points_of(collect(tmp_path)), 24e9, ())[0].sentences)
    for side in (512, 1024, 2048):
        add_run(tmp_path, "reduced", side)
    sentences = make_scale_parts(points_of(collect(tmp_path)), 24e9, ())[0].sentences
    [said] = [sentence for sentence in sentences if "beside the U-Net at reduced resolution" in sentence]
    assert said.startswith("With more field, on an image of 1.05 Mpx, the GNN at 60 pixels per superpixel")
    assert "time for as many steps of training" in said
    assert "the score that both reach" not in said, "which is that of the GNN and of the U-Net in tiles"


def test_contended_times_are_marked_and_compared_only_where_there_are_no_others(tmp_path: Path) -> None:
    shared = "contended: other processes took 60% of the processor time"
    add_rivals(tmp_path, (512, 1024))
    add_rivals(tmp_path, (2048,), flags=shared)
    points = points_of(collect(tmp_path))
    compared = make_scale_parts(points, 24e9, ())[0]
    text = " ".join(compared.sentences)
    assert "as much time to predict a megapixel, superpixels included at 1.05 Mpx" in text
    assert "on an image of 4.19 Mpx" in text
    assert "shared the machine" in text
    assert {row[2] for row in compared.rows if "*" in row[5]} == {"4.19"}
    add_rivals(tmp_path / "clean", (512, 1024, 2048))
    laws = [[one.law for one in fit_lines(found)] for found in (points, points_of(collect(tmp_path / "clean")))]
    assert laws[0] == laws[1]  # memory does not depend on load
    assert any(laws[0])
    add_rivals(tmp_path, (512, 1024), flags=shared)
    all_shared = make_scale_parts(points_of(collect(tmp_path)), 24e9, ())[0]
    assert "on a shared machine" in " ".join(all_shared.sentences)


@pytest.mark.parametrize("flags", [None, "contended: others computed"])
def test_a_point_of_a_contended_run_is_hollow_and_no_other(tmp_path: Path, flags: str | None) -> None:
    add_rivals(tmp_path, (512, 1024))
    add_rivals(tmp_path, (2048,), flags=flags)
    [axes, *_] = (figure := plot_scale(points_of(collect(tmp_path)), QUANTITIES["scale_prediction"])).axes
    parts: list[Any] = list(axes.collections)
    hollow = [tuple(part.get_offsets()[0]) for part in parts if tuple(part.get_facecolor()[0][:3]) == (1, 1, 1)]
    assert hollow == ([] if flags is None else [pytest.approx((2048**2 / 1e6, 0.75))] * 2)
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert ("hollow: contended run" in named) == (flags is not None)
