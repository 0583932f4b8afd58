"""The search for the smallest memory, run for real on an arm that starts quickly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.config import Config, ExperimentConfig, OracleConfig, SyntheticConfig
from bench.sweeps import smallest
from bench.sweeps.jobs import Job, describe_job

if TYPE_CHECKING:
    import pandas as pd


TINY = Config(
    SyntheticConfig(image_size=[64, 64], train_images=1, val_images=1, test_images=1),
    OracleConfig(),
    experiment=ExperimentConfig("smallest_card", kind="smallest_memory", resolution_mib=4096),
    device="cpu",
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's writable memory")
def test_the_search_ends_between_a_limit_that_failed_and_one_that_worked(tmp_path: Path) -> None:
    row, said = smallest.search_memory(TINY, tmp_path, describe_job(Job(TINY, ())))
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert row["status"] == "ok", row["reason"]
    assert row["smallest_memory_kind"] == "host_data_limit"
    assert row["smallest_memory_bytes"] == trials.loc[trials["passed"], "limit_bytes"].min()
    failed = trials.loc[~trials["passed"], "limit_bytes"]
    gap = row["smallest_memory_bytes"] - (failed.max() if len(failed) else 0)
    assert 0 < gap <= 4096 * 2**20
    assert "MiB" in said


def test_a_trial_does_what_a_run_does() -> None:
    smallest.try_job(TINY)  # raises if anything does not fit together
