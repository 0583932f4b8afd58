"""Memory over time: areas under samples by hand, traces that cover too little, one way for all that is compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.results import make_run

if TYPE_CHECKING:
    import pandas as pd

    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations
    from bench.tables.footprint import PRODUCT, TRACE, integrate_memory, measure_footprints
    from bench.tables.units import GIB


TRAINING, PREDICTION = 4 * 1.1 + 1.5 + 44.0, 1.1 + 0.2  # seconds of a made-up GNN at 100 px


def series(*values: float | bool) -> pd.Series[float]:
    return pd.Series(values)


def test_a_sample_stands_for_the_time_half_way_to_its_neighbours() -> None:
    seconds, memory = series(0, 1, 2, 3, 5), series(GIB, GIB, 3 * GIB, 9 * GIB, GIB)
    within = pd.Series([True, True, True, False, False])
    assert integrate_memory(memory, seconds, within, 2.5) == pytest.approx(0.5 + 1 + 3)
    assert integrate_memory(memory, seconds, pd.Series([True] * 5), 5.0) == pytest.approx(0.5 + 1 + 3 + 9 * 1.5 + 1)
    assert integrate_memory(memory, seconds, within, 3.0) == pytest.approx(
        (0.5 + 1 + 3) / 2.5 * 3
    )  # the mean, for all the time


def test_many_passes_shorter_than_the_samples_are_apart_are_not_lost() -> None:
    seconds = pd.Series(np.arange(0, 10, 0.02))
    within = pd.Series(np.arange(len(seconds)) % 5 == 1)  # a fifth of the time, one sample at a time
    memory = pd.Series(np.where(within, 3.0, 1.0) * GIB)
    assert integrate_memory(memory, seconds, within, 2.0) == pytest.approx(6.0)


def test_samples_that_cover_too_little_or_too_much_of_a_stage_give_nothing() -> None:
    seconds, memory, within = series(0, 1, 2), series(GIB, GIB, GIB), pd.Series([True] * 3)
    assert integrate_memory(memory, seconds, within, 2.4) == pytest.approx(2.4)
    assert np.isnan(integrate_memory(memory, seconds, within, 2.6))
    assert np.isnan(integrate_memory(memory, seconds, within, 1.5))
    assert np.isnan(integrate_memory(memory, seconds, pd.Series([False] * 3), 2.0))
    assert np.isnan(integrate_memory(memory, seconds, within, np.nan))


def write_trace(directory: Path, training: float, predict: float, gib: float = 2.0, column: str = "rss_bytes") -> None:
    rows = [(training * part / 20, "train", "train") for part in range(21)]
    start = training * 1.05
    rows += [(start, "", ""), *((start + predict * (1 + part) / 20, "predict", "test") for part in range(21))]
    lines = [f"{seconds},{stage},{split},{int(gib * GIB)}" for seconds, stage, split in rows]
    (directory / "memory_trace.csv").write_text("\n".join([f"seconds,stage,split,{column}", *lines, ""]))


def measured(folder: Path) -> pd.DataFrame:
    tables = collect(folder)
    return measure_footprints(list_configurations(tables), tables.stages, [folder])


def test_a_trace_that_covers_training_and_prediction_is_believed(tmp_path: Path) -> None:
    write_trace(make_run(tmp_path, "superpixel_gnn"), TRAINING, PREDICTION)
    [row] = measured(tmp_path).to_dict("records")
    assert row["training_source"] == row["predict_source"] == TRACE
    assert row["training_gib_s"] == pytest.approx(2 * TRAINING)
    assert row["predict_gib_s_per_mpx"] == pytest.approx(2 * PREDICTION / 0.36)


@pytest.mark.parametrize("broken", ["missing", "short", "column"])
def test_where_one_trace_fails_all_are_products_of_peak_and_time(tmp_path: Path, broken: str) -> None:
    write_trace(make_run(tmp_path, "superpixel_gnn"), TRAINING, PREDICTION)
    other = make_run(tmp_path, "superpixel_gnn", 1)
    if broken == "short":
        write_trace(other, TRAINING / 2, PREDICTION)
    if broken == "column":
        write_trace(other, TRAINING * 1.05, PREDICTION, column="gpu_process_bytes")
    found = measured(tmp_path)
    assert set(found["training_source"]) == {PRODUCT}
    assert set(found["predict_source"]) == {TRACE if broken == "short" else PRODUCT}
    first = found.iloc[0]
    assert first["training_gib_s"] == pytest.approx((700 + 2e4 / 100) / 1024 * TRAINING)
    product = (700 + 2e4 / 100) / 2 / 1024 * PREDICTION  # at the peak of the made-up prediction
    expected = 2 * PREDICTION if broken == "short" else product
    assert first["predict_gib_s_per_mpx"] == pytest.approx(expected / 0.36, rel=1e-6)
