"""Work that came from a cache, and work done by processes below: the row says what it took, not what it seemed to."""

import subprocess
import sys
import time
from pathlib import Path

from bench.measure.meter import Meter
from bench.tables.columns import TRAINING_STAGES

GIB = 2**30


def test_a_stage_from_the_cache_reports_the_time_and_memory_of_when_it_was_done(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("prepare", "train", images=3):
            time.sleep(0.01)
        meter.add_cached("prepare", "train", 2, 5.0, 64 * GIB)
        with meter.stage("prepare", "val", images=1):
            pass
    cached, fresh = meter.rows()
    assert cached["seconds"] == cached["wall_seconds"] + 5.0
    assert 0.01 <= cached["wall_seconds"] < 5
    assert (cached["images"], cached["images_from_cache"]) == (3, 2)
    assert fresh["seconds"] == fresh["wall_seconds"]
    assert fresh["images_from_cache"] == 0
    assert cached["peak_rss_bytes"] == cached["peak_memory_bytes"] == 64 * GIB
    assert fresh["peak_rss_bytes"] < 64 * GIB
    assert meter.headline(TRAINING_STAGES) == (64 * GIB, "cpu_rss")


def test_a_lower_peak_than_measured_changes_nothing(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        for _ in range(2):
            with meter.stage("prepare", "test", images=1):
                pass
            meter.add_cached("prepare", "test", 1, 1.0, 1)
    (row,) = meter.rows()
    assert row["images_from_cache"] == 2
    assert row["seconds"] == row["wall_seconds"] + 2
    assert row["peak_rss_bytes"] > 2**20


def test_the_memory_of_worker_processes_is_in_the_headline(tmp_path: Path) -> None:
    code = "import time; block = bytearray(b'x') * 150_000_000; time.sleep(0.6)"
    with Meter(tmp_path, "cpu", workers=True) as meter, meter.stage("prepare", "train"):
        subprocess.run([sys.executable, "-c", code], check=True)
    row = meter.rows()[0]
    peak, kind = meter.headline(TRAINING_STAGES)
    assert kind == row["peak_memory_kind"] == "cpu_rss_tree"
    assert peak == row["peak_rss_tree_bytes"]
    assert peak > row["peak_rss_bytes"] + 150_000_000
