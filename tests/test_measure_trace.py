"""Samples: cut to spans, merged without losing a peak, read back as written; and the sampler's pace."""

from pathlib import Path

import pytest

from bench.measure.sampler import COLUMNS, Pace, Sample
from bench.measure.trace import Mark, Trace, read_trace, thin, write_trace

SECOND = 10**9


def trace(*values: float) -> Trace:
    """One sample a second from 0 on."""
    return Trace([{"t_ns": second * SECOND, "rss_bytes": value} for second, value in enumerate(values)])


def test_a_span_takes_its_samples_edges_included() -> None:
    whole = trace(10, 40, 30, 20, 50)
    assert whole.within([(SECOND, 3 * SECOND)]).values("rss_bytes") == [40, 30, 20]
    assert whole.within([(4 * SECOND, 9 * SECOND), (0, 1)]).values("rss_bytes") == [10, 50]
    assert whole.within([(1, 2)]).peak("rss_bytes") is None
    assert whole.peak("gpu_used_bytes") is None


def test_gaps_reach_from_edge_to_edge() -> None:
    assert trace(1, 1, 1).gaps((-2 * SECOND, 3 * SECOND)) == [2, 1, 1, 1]
    assert trace(1).gaps((SECOND, 6 * SECOND)) == [5]
    assert trace(1, 1, 1, 1).period([(0, 3 * SECOND)]) == 1
    assert trace(1, 1, 1, 1).period([(0, SECOND), (3 * SECOND, 4 * SECOND)]) == 1
    assert trace(1, 1, 1, 1).period([(0, 1), (3 * SECOND, 4 * SECOND)]) is None


def test_the_integral_of_a_ramp_is_its_triangle() -> None:
    ramp = trace(0, 1, 2, 3, 4)
    assert ramp.integrate("rss_bytes", [(0, 4 * SECOND)]) == 8
    assert ramp.integrate("rss_bytes", [(0, SECOND), (3 * SECOND, 4 * SECOND)]) == 4
    assert ramp.integrate("rss_bytes", [(0, 6 * SECOND)]) == 16  # the last value is held
    assert ramp.integrate("rss_bytes", [(0, SECOND), (7 * SECOND, 8 * SECOND)]) is None
    assert ramp.integrate("power_watts", [(0, SECOND)]) is None


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_thinning_keeps_every_peak(rows: int) -> None:
    whole = trace(*(i * 37 % 101 for i in range(100)))
    thinned = thin(whole, rows)
    assert len(thinned) <= rows
    assert thinned.peak("rss_bytes") == whole.peak("rss_bytes") == 100
    assert thinned.samples[0]["t_ns"] == 0


def test_the_samplers_file_is_read_back_without_a_line_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    empty = "," * (len(COLUMNS) - 3)
    file.write_text(f"{','.join(COLUMNS)}\n1000,5,{empty[:-1]},\n2000,7,6{empty[:-1]},12.5\n30")
    samples: list[Sample] = [
        {"t_ns": 1000, "rss_bytes": 5},
        {"t_ns": 2000, "rss_bytes": 7, "rss_tree_bytes": 6, COLUMNS[-1]: 12.5},
    ]
    assert read_trace(file).samples == samples
    assert len(read_trace(tmp_path / "missing.csv")) == 0


def test_the_kept_file_names_the_innermost_stage(tmp_path: Path) -> None:
    marks = [Mark("train", "train", (SECOND, 3 * SECOND)), Mark("init", "train", (2 * SECOND, 2 * SECOND + 1))]
    write_trace(tmp_path / "trace.csv", trace(5, 6, 7, 8, 9), marks, SECOND)
    assert (tmp_path / "trace.csv").read_text().splitlines() == [
        "seconds,stage,split,rss_bytes",
        "-1.000,,,5",
        "0.000,train,train,6",
        "1.000,init,train,7",
        "2.000,train,train,8",
        "3.000,,,9",
    ]


def test_the_pace_widens_until_the_cost_fits_and_comes_back() -> None:
    pace = Pace(0.02, share=0.005)
    assert pace.adapt(0.001) == pytest.approx(0.2)
    for _ in range(40):
        pace.adapt(0.0003)
    assert pace.period == pytest.approx(0.06, rel=0.01)
    for _ in range(40):
        pace.adapt(0.00001)
    assert pace.period == 0.02


def test_the_pace_does_not_jump_for_one_busy_window_nor_stop_looking() -> None:
    pace = Pace(0.02, share=0.005)
    pace.adapt(0.0001)
    assert pace.adapt(0.0002) < 0.025
    assert Pace(0.02).adapt(1.0) == 0.25
    assert Pace(1.0).adapt(1.0) == 1.0
