"""Launchers and the sweeper do the same runs as the plain loop: none twice, none on another's GPU, trials alike."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.sweeps import TINY, make_command

from bench.config import ExperimentConfig, InputError
from bench.sweeps.claims import Claim, take
from bench.sweeps.gpus import hold_gpu
from bench.sweeps.jobs import Job, describe_job
from bench.sweeps.resume import begin
from bench.tables.write import write_parts, write_row

if TYPE_CHECKING:
    from bench.sweeps import gpus, launch, sweep
    from bench.tables.collect import collect


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("launcher", ["parallel", "submitit_local"])
def test_a_launcher_does_every_run_once_and_the_rows_say_what_ran_beside_them(tmp_path: Path, launcher: str) -> None:
    folder = tmp_path / "results"
    words = ("-m", "pipeline=threshold", "seed=0,1", *TINY, f"results_dir={folder}", f"hydra/launcher={launcher}")
    command = make_command(*words, report=False)
    (folder / "claims").mkdir(parents=True)
    other = take(folder / "claims" / "another.claim")  # a run that goes on all the time, whether or not these two meet
    assert other is not None
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    other.release()
    assert done.returncode == 0, done.stderr[-3000:]
    runs = collect(folder).runs
    assert list(runs["status"]) == ["ok", "ok"]
    assert sorted(runs["seed"]) == [0, 1]
    beside = runs["flags"].fillna("").str.contains("other runs? of the sweep beside it")
    assert (beside == (runs["concurrent_runs"] > 0)).all()
    assert beside.all()
    assert list((folder / "claims").iterdir()) == []


def test_what_is_launched_is_told_from_what_is_run() -> None:
    given = ["seed=1", "hydra/launcher=slurm", "-m", "hydra.launcher.partition=gpu", "+hydra.sweeper.n_jobs=2"]
    what, how = launch.split_words(given)
    assert what == ["seed=1", "-m"]
    assert how == ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "+hydra.sweeper.n_jobs=2"]


@pytest.mark.parametrize("name", ["parallel", "joblib", "slurm", "submitit_local"])
def test_a_missing_package_is_said_in_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.check_launchers([f"hydra/launcher={name}"])
    monkeypatch.setattr(launch, "_is_installed", lambda _: False)
    with pytest.raises(InputError, match=r"needs the package hydra-\w+-launcher: pip install 'gnn-vs-cnn\[sweeps\]'"):
        launch.check_launchers([f"hydra/launcher={name}"])


def test_both_presets_compose() -> None:
    for name, kind in (("parallel", "JoblibLauncher"), ("slurm", "SlurmLauncher")):
        _, config = launch.compose_launcher([f"hydra/launcher={name}"], "somewhere")
        assert config.hydra.launcher._target_.endswith(kind)
        assert config.hydra.launcher["n_jobs" if name == "parallel" else "array_parallelism"] > 1
        assert config.hydra.sweep.dir == "somewhere"


class Trials:
    """Stands in for real runs: what validation images say of a setting, test images deny. The second one fails."""

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []

    def __call__(self, job: Job, number: int, total: int, _: Claim) -> str:
        assert 1 <= number <= total == 3
        row = describe_job(job)
        directory = Path(job.config.results_dir) / "runs" / str(row["run_id"])
        begin(directory, row)
        rate = float(row["pipeline.learning_rate"])
        write_parts(directory, row["run_id"], [], [], [])
        status = "ok" if len(self.done) != 1 else "failed"
        write_row(directory, row | {"status": status, "best_val_score": rate, "test": -rate})
        self.done.append(row)
        return status


@pytest.mark.filterwarnings("ignore")  # of Optuna's about itself
def test_both_arms_get_the_same_number_of_trials_and_the_best_validation_score_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = [
        {"pipeline": arm, "pipeline.learning_rate": "interval(0.001, 0.01)"} for arm in ("superpixel_gnn", "tiled_cnn")
    ]
    experiment = ExperimentConfig("tuning", kind="tuning", trials=3, search=search)
    given = ["experiment=tuning", "experiment.trials=3", "device=cpu", f"results_dir={tmp_path}", *TINY[:4]]
    first, again = Trials(), Trials()
    monkeypatch.setattr(sweep, "execute", first)
    statuses = launch.tune(experiment, given, [])
    assert sorted(statuses[str(tmp_path)]) == ["failed", *["ok"] * 5]
    assert [row["pipeline"] for row in first.done] == ["superpixel_gnn"] * 3 + ["tiled_cnn"] * 3
    rates = [row["pipeline.learning_rate"] for row in first.done[3:]]
    best = (tmp_path / "tuning" / "tiled_cnn" / "optimization_results.yaml").read_text()
    assert f"best_value: {max(rates)}" in best
    assert len(set(rates)) == 3

    monkeypatch.setattr(sweep, "execute", again)
    launch.tune(experiment, given, [])
    assert [row["run_key"] for row in again.done][:1] == [first.done[1]["run_key"]], "only the failed one is done again"


def test_an_arm_that_is_not_searched_is_refused() -> None:
    with pytest.raises(InputError, match="searches no arm called oracle"):
        launch.tune(ExperimentConfig("tuning", kind="tuning"), ["pipeline=oracle"], [])


# ------------------------------------------------------------------------------------------------------------ GPUs


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))


@pytest.mark.usefixtures("two_gpus")
def test_runs_at_the_same_time_hold_different_gpus_and_the_third_waits() -> None:
    held: list[dict[str, str]] = []

    def third() -> None:
        with hold_gpu("auto", share=False, poll=0.01) as gpu:
            held.append(gpu)

    with hold_gpu("cuda", share=False) as one:
        with hold_gpu("auto", share=False) as two:
            thread = threading.Thread(target=third)
            thread.start()
            time.sleep(0.1)
            assert held == []
        thread.join(10)
    assert (one, two) == ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, {"CUDA_VISIBLE_DEVICES": "GPU-b"})
    assert held == [two]


@pytest.mark.usefixtures("two_gpus")
def test_sharing_the_processor_and_a_named_gpu() -> None:
    with hold_gpu("cuda:1", share=False) as named, hold_gpu("auto", share=False) as other:
        assert named == {}, "its number is looked up among all that are visible"
        assert other == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
        for device, share in (("cpu", False), ("auto", True), ("cuda:7", False)):
            with hold_gpu(device, share=share) as nothing:
                assert nothing == {}


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
@pytest.mark.usefixtures("two_gpus")
def test_claims_on_gpus_lie_in_a_folder_of_ones_own_alone(tmp_path: Path) -> None:
    folder = gpus.open_claims()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(InputError, match="is not a folder of this user alone: remove it"):
        gpus.open_claims()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is not a folder of this user alone"), hold_gpu("cuda", share=False):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_a_gpu_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with hold_gpu("auto", share=False) as nothing:
        assert nothing == {}
    assert json.dumps(os.environ["CUDA_VISIBLE_DEVICES"]) == '""'
