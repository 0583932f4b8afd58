"""What a tracker is told of a finished run, read back by its own reader; and that a tracker can lose nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.results import make_run

from bench.config import Config, InputError, OracleConfig, SuperpixelGnnConfig, SyntheticConfig
from bench.sweeps import jobs, preparation, trackers
from bench.sweeps.jobs import Job
from bench.tables.read import read_run_rows
from bench.tables.write import write_part

CONFIG = Config(dataset=SyntheticConfig(), pipeline=SuperpixelGnnConfig(), tracker="tensorboard")
WANTED = ("test", "all", "dice", "macro")
STARTED = 1767225600.0  # 2026-01-01, when the made-up runs say that they began


def test_a_run_is_the_same_whatever_is_told_of_it(tmp_path: Path) -> None:
    """Its key, and the columns of its row."""
    plain = Config(dataset=SyntheticConfig(), pipeline=OracleConfig(), results_dir=str(tmp_path))
    told = replace(plain, tracker="mlflow", tracker_uri="http://host:5000")
    assert jobs.identify_run(Job(plain, ())) == jobs.identify_run(Job(told, ()))
    one, other = (jobs.describe_job(Job(config, ())) for config in (plain, told))
    assert set(one) == set(other)
    assert not [name for name in one if "tracker" in name]


def test_it_holds_the_curves_the_scores_and_the_settings_of_the_tables(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "superpixel_gnn", 1)
    write_part(
        directory, "history", directory.name, [{"step": 150, "epoch": 2, "val_score": 0.9, "budget": 150}]
    )  # of a fork
    assert not [point for point in trackers.read_finished(CONFIG, directory).points if point.name in trackers.CURVES]
    directory = make_run(tmp_path, "superpixel_gnn", 1)
    found, tables = trackers.read_finished(CONFIG, directory), read_run_rows(directory)
    losses = [(point.step, point.seconds, point.value) for point in found.points if point.name == "train_loss"]
    assert losses == [(int(e["step"]), float(e["seconds"]), float(e["train_loss"])) for e in tables["history"]]
    steps = [point.step for point in found.points if point.name == "val_score"]
    assert steps == [int(e["step"]) for e in tables["history"] if e["val_score"]]
    ends = {point.name: point.value for point in found.points if point.name not in trackers.CURVES}
    assert ends["peak_memory_bytes"] == tables["runs"][0]["peak_memory_bytes"]
    [dice] = [s for s in tables["scores"] if (s["split"], s["image"], s["metric"], s["class"]) == WANTED]
    assert ends["test/dice/macro"] == float(dice["value"])
    assert ends["seconds/warmup/train"] == 1.0
    assert found.settings["pipeline.learning_rate"] == 3e-3
    assert (found.started, found.status, found.facts["git_commit"]) == (STARTED + 60, "ok", "abc")
    assert not any(name.startswith(trackers.NOT_A_SETTING) for name in found.settings)


def test_tensorboard_reads_it_back(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    directory = make_run(tmp_path, "superpixel_gnn", 1)
    config = replace(CONFIG, results_dir=str(tmp_path))
    assert trackers.track(config, directory) == ""
    told = trackers.read_finished(config, directory)
    read = reader.EventAccumulator(str(tmp_path / "tensorboard" / directory.name)).Reload()
    for name in {point.name for point in told.points}:
        scalars = [(scalar.step, scalar.wall_time, scalar.value) for scalar in read.Scalars(name)]
        points = [(p.step, STARTED + 60 + p.seconds, p.value) for p in told.points if p.name == name]
        assert scalars == [pytest.approx(point, rel=1e-6) for point in points]
    [settings] = read.Tensors("settings")
    assert "| pipeline.learning_rate | 0.003 |" in settings.tensor_proto.string_val[0].decode()
    assert "_hparams_/session_start_info" in read.Tags()["tensors"]


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of the libraries below it
def test_mlflow_reads_it_back(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    config = replace(CONFIG, results_dir=str(tmp_path), tracker="mlflow")
    directories = [make_run(tmp_path, "superpixel_gnn", 1), make_run(tmp_path, "superpixel_gnn", 2, status="failed")]
    assert [trackers.track(config, directory) for directory in directories] == ["", ""]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(config.experiment.name).experiment_id
    failed, ok = sorted(client.search_runs([experiment]), key=lambda run: str(run.info.status))
    assert (failed.info.status, ok.info.status, ok.info.run_name) == ("FAILED", "FINISHED", directories[0].name)
    assert ok.data.params["pipeline.learning_rate"] == "0.003"
    assert ok.data.tags["bench.git_commit"] == "abc"
    losses = client.get_metric_history(ok.info.run_id, "train_loss")
    told = [p for p in trackers.read_finished(config, directories[0]).points if p.name == "train_loss"]
    moments = [(p.step, round(1000 * (STARTED + 60 + p.seconds)), p.value) for p in told]
    assert sorted((m.step, m.timestamp, m.value) for m in losses) == moments


@pytest.mark.parametrize("tracker", trackers.TRACKERS)
def test_a_missing_package_is_said_before_anything_runs(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    job = Job(replace(CONFIG, tracker=tracker), ())
    with pytest.raises(InputError, match=rf"needs the package {trackers.NEEDS[tracker][1]}: pip install"):
        preparation.prepare_jobs([job])
    trackers.check_tracker("none")


def test_a_tracker_that_fails_is_a_warning_and_the_row_stays(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "superpixel_gnn", 1)
    before = (directory / "run.json").read_bytes()
    (tmp_path / "file").write_text("not a folder")
    said = trackers.track(replace(CONFIG, tracker_uri=str(tmp_path / "file")), directory)
    assert said.startswith(f"warning: tensorboard has no runs/{directory.name}, whose row is kept: ")
    assert "\n" not in said
    assert (directory / "run.json").read_bytes() == before


def test_no_tracker_starts_no_process_and_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("bench.measure.isolation.run_isolated", started)
    assert trackers.track(replace(CONFIG, tracker="none"), tmp_path) == ""
