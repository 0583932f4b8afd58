"""The time left of a sweep is that of runs like those that are left; what is not known is named, not guessed."""

from pathlib import Path

import pytest

from bench.config import (
    Config,
    PipelineConfig,
    SuperpixelGnnConfig,
    SyntheticConfig,
    ThresholdConfig,
    TiledCnnConfig,
)
from bench.sweeps import resume, sweep
from bench.sweeps.claims import Claim
from bench.sweeps.jobs import Job, describe_job
from bench.sweeps.pace import SweepPace
from bench.tables.write import write_parts, write_row

ARMS: dict[str, type[PipelineConfig]] = {
    "threshold": ThresholdConfig,
    "tiled_cnn": TiledCnnConfig,
    "superpixel_gnn": SuperpixelGnnConfig,
}


def job(arm: str, seed: int, *words: str, results_dir: Path = Path()) -> Job:
    config = Config(SyntheticConfig(), ARMS[arm](), seed=seed, results_dir=str(results_dir))
    return Job(config, (f"pipeline={arm}", *words, f"seed={seed}"))


def test_runs_that_differ_in_the_seed_alone_count_before_others_of_the_arm() -> None:
    pace = SweepPace()
    pace.add(job("tiled_cnn", 0, "pipeline.scale=4"), 10)
    assert pace.estimate(job("tiled_cnn", 0)) == 10
    pace.add(job("tiled_cnn", 0), 100)
    pace.add(job("tiled_cnn", 1), 300)
    assert pace.estimate(job("tiled_cnn", 2)) == 200
    assert pace.estimate(job("tiled_cnn", 1, "pipeline.scale=4")) == 10
    assert pace.estimate(job("threshold", 0)) is None


def test_the_sentence_adds_up_what_is_known_and_names_the_rest() -> None:
    pace = SweepPace()
    assert pace.describe([job("tiled_cnn", 1)]) is None
    pace.add(job("tiled_cnn", 0), 61)
    assert pace.describe([job("tiled_cnn", 1)]) == "about 01:01 left for 1 run"
    assert pace.describe([job("tiled_cnn", 1), job("tiled_cnn", 2)]) == "about 02:02 left for 2 runs"
    rest = [job("superpixel_gnn", 0), job("tiled_cnn", 1), job("superpixel_gnn", 1)]
    assert pace.describe(rest) == "about 01:01 left for 1 of 3 runs; none of GNN has finished yet"
    assert pace.describe([]) is None


def test_a_sweep_prints_it_after_each_run_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = iter(["failed", "ok", "ok"])

    def leave_row(one: Job, number: int, total: int, claim: Claim) -> str:
        del number, total, claim
        row, status = describe_job(one), next(statuses)
        directory = tmp_path / "runs" / str(row["run_id"])
        resume.begin(directory, row)
        write_parts(directory, row["run_id"], [], [], [])
        write_row(directory, row | {"status": status})
        return status

    monkeypatch.setattr(sweep, "execute", leave_row)
    sweep.sweep(sweep.plan_runs([job("threshold", n, results_dir=tmp_path) for n in range(3)]), {})
    assert capsys.readouterr().err.splitlines() == ["[2/3] about 00:00 left for 1 run"]
