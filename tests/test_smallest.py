"""The search for the smallest memory, run for real on an arm that starts quickly."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.config import Config, ExperimentConfig, OracleConfig, SyntheticConfig
from bench.measure.caps import occupy_gpu
from bench.measure.smallest_card import Smallest
from bench.sweeps import jobs, smallest
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
    row, said = smallest.search_memory(TINY, tmp_path, describe_job(Job(TINY, ())), {})
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert row["status"] == "ok", row["reason"]
    assert row["smallest_memory_kind"] == "host_data_limit"
    assert row["smallest_memory_bytes"] == trials.loc[trials["passed"], "limit_bytes"].min()
    failed = trials.loc[~trials["passed"], "limit_bytes"]
    gap = row["smallest_memory_bytes"] - (failed.max() if len(failed) else 0)
    assert 0 < gap <= 4096 * 2**20
    assert "MiB" in said


@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": "3"}])
def test_trials_see_the_gpu_that_is_held_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: dict[str, str]
) -> None:
    @contextmanager
    def hold(*_: object) -> Iterator[dict[str, str]]:
        yield shown

    def find(*_: object, environment: dict[str, str], **__: object) -> Smallest:
        assert {name: value for name, value in environment.items() if name == "CUDA_VISIBLE_DEVICES"} == shown
        return Smallest(None, "cap_soft", 1, "nothing was tried", ())

    monkeypatch.setattr(jobs, "hold_gpu", hold)
    monkeypatch.setattr("bench.measure.smallest_card.find_smallest", find)
    row, _ = jobs._search_memory(Job(TINY, ()), tmp_path, describe_job(Job(TINY, ())))
    assert row["reason"] == "nothing was tried"


def test_a_process_that_occupies_a_gpu_sees_the_same_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    class Process:
        stdout = io.StringIO("7\n")

        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            seen.append(env)

        def communicate(self, timeout: float) -> None:
            assert timeout > 0

    monkeypatch.setattr("subprocess.Popen", Process)
    with occupy_gpu("cuda", 7, {"CUDA_VISIBLE_DEVICES": "3"}) as left:
        assert left == 7
    assert seen == [{**os.environ, "CUDA_VISIBLE_DEVICES": "3"}]


def test_a_trial_does_what_a_run_does() -> None:
    smallest.try_job(TINY)  # raises if anything does not fit together
