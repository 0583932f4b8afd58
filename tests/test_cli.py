"""The command line composes typed settings, explains itself, and orders an experiment's runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results import make_results
from support.source import ROOT

from bench import cli
from bench.config import Config, ExperimentConfig, InputError, SuperpixelGnnConfig, SuperpixelMlpConfig, TilesConfig
from bench.sweeps.experiments import expand_experiment
from bench.sweeps.jobs import Job, describe_job

if TYPE_CHECKING:
    from support.composing import compose_settings

    from bench.sweeps import compose
    from bench.sweeps.compose import compose_job


CONF = ROOT / "conf"
RECIPES = {"nnunet_like": "tiled_cnn"}  # files that set an arm up in another way


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("name", choices("pipeline"))
def test_every_pipeline_composes_as_its_arm(name: str) -> None:
    assert compose_settings(f"pipeline={name}").pipeline.name == RECIPES.get(name, name)


@pytest.mark.parametrize("name", choices("pipeline/model"))
def test_every_model_composes_with_an_arm_that_takes_it(name: str) -> None:
    text = (CONF / "pipeline" / "model" / f"{name}.yaml").read_text(encoding="utf-8")
    schemas = {"model/cnn@": "tiled_cnn", "model/volume_cnn@": "tiled_cnn_3d", "model/gnn@": "superpixel_gnn"}
    [arm] = [arm for schema, arm in schemas.items() if schema in text]
    found = compose_settings(f"pipeline={arm}", f"pipeline/model={name}").pipeline
    assert isinstance(found, TilesConfig | SuperpixelGnnConfig)


@pytest.mark.parametrize("group", ["superpixels", "graph", "training"])
def test_every_choice_of_a_group_composes(group: str) -> None:
    assert choices(group)
    for name in choices(group):
        compose_settings(f"{group}={name}")


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_run_of_every_experiment_composes_and_as_its_words_do_at_once(name: str) -> None:
    """Runs that choose the same files are composed once; the longest command is composed apart, too."""
    given = [f"experiment={name}"]
    jobs = compose.compose(given)
    assert [list(job.overrides) for job in jobs] == expand_experiment(jobs[0].config.experiment, given)
    longest = max(jobs, key=lambda job: (len(job.overrides), job.overrides))  # of the last seed, which is no default
    assert compose_job(list(longest.overrides), given, None, compose_settings(*longest.overrides)) == longest


def test_values_of_every_kind_are_set_as_hydra_sets_them() -> None:
    """Once in what was composed for other words before, and in their order."""
    words = [
        "dataset.mask_values={0:0,128:1}", "graph.features=[intensity,shape]", "training.patience=null", "seed=1",
        "training.amp=true", "dataset=folder", "dataset.root='a, b'", "training.epochs=3", "seed=2",
    ]  # fmt: skip
    [before] = compose.compose(["dataset=folder", "dataset.root=elsewhere", "seed=7"])
    [job] = compose.compose(words)
    assert job.config == compose_settings(*words)
    assert (before.config.seed, job.config.seed, job.config.training.patience) == (7, 2, None)
    assert before.config.training.patience is not None, "what was composed before is left as it was"
    assert compose.compose(["dataset=folder", "dataset.root=elsewhere", "seed=7"]) == [before]
    with pytest.raises(InputError, match=r"pipeline.tile_size is a setting of pipeline=tiled_cnn"):
        compose.compose([*words, "pipeline.tile_size=64"])


def test_settings_arrive_as_plain_dataclasses() -> None:
    config = compose_settings("pipeline=superpixel_mlp", "superpixels.superpixel_size=30", "seed=7")
    assert type(config) is Config
    assert type(config.pipeline) is SuperpixelMlpConfig
    assert (config.superpixels.superpixel_size, config.seed, config.pipeline.model.conv) == (30, 7, "none")


QUICK = ExperimentConfig(
    "quick",
    sweeps=[
        {"pipeline": "oracle", "size": [1, 2]},
        {"pipeline": "gnn", "size": [1, 2], "seed": [0, 1]},
        {"pipeline": "cnn"},
    ],
)


def test_an_experiment_is_the_sum_of_its_sweeps_products() -> None:
    runs = expand_experiment(QUICK, ["training.epochs=3"])
    assert len(runs) == 2 + 4 + 1
    assert all(run[-1] == "training.epochs=3" for run in runs)
    assert ["pipeline=gnn", "size=2", "seed=1", "training.epochs=3"] in runs


def test_what_the_user_gives_wins_over_the_sweep() -> None:
    assert {tuple(run) for run in expand_experiment(QUICK, ["size=9"])} == {
        ("pipeline=oracle", "size=9"),
        ("pipeline=cnn", "size=9"),
        ("pipeline=gnn", "seed=0", "size=9"),
        ("pipeline=gnn", "seed=1", "size=9"),
    }
    assert {run[0] for run in expand_experiment(QUICK, ["pipeline=gnn"])} == {"pipeline=gnn"}


def test_arms_alternate_from_seed_to_seed() -> None:
    sweep = ExperimentConfig("e", sweeps=[{"pipeline": "a", "seed": [0, 1]}, {"pipeline": "b", "seed": [0, 1]}])
    assert [run[0][-1] for run in expand_experiment(sweep, [])] == ["a", "b", "b", "a"]


def test_an_arm_that_no_sweep_has_is_refused() -> None:
    with pytest.raises(InputError, match="pipeline=nope"):
        expand_experiment(QUICK, ["pipeline=nope"])


def test_the_key_of_a_run_follows_its_settings_and_not_its_place() -> None:
    def key(*overrides: str) -> object:
        return describe_job(Job(compose_settings(*overrides), overrides))["settings_key"]

    assert key() == key("results_dir=elsewhere") == key("seed=0")
    assert len({str(key()), str(key("seed=1")), str(key("superpixels.sigma=2"))}) == 3


@pytest.mark.parametrize(("verb", "left"), [([], "finished runs are kept"), (["predict"], "no mask is left")])
def test_an_interruption_says_what_is_left_and_what_to_do(
    verb: list[str], left: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_experiment", interrupted)
    monkeypatch.setattr(cli, "run_verb", interrupted)
    assert cli.main([*verb, "a=b c"]) == 130
    said, command = capsys.readouterr().err.strip().splitlines()
    assert said.startswith(f"interrupted: {left}")
    assert command.strip() == " ".join(["python -m bench", *verb, "'a=b c'"])


def test_a_question_of_hydras_own_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["--cfg", "job", "pipeline=tiled_cnn"], ["pipeline=tiled_cnn", "--cfg", "job"]):
        assert compose.compose(line) == []
        assert "crop_size: 128" in capsys.readouterr().out


def test_without_words_it_explains_itself_and_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"], ["experiment=quick", "--help"]):
        assert cli.main(words) == 0
        printed = capsys.readouterr().out
        for name in (*cli.VERBS, *choices("experiment")):
            assert name == "single" or f"\n  {name} " in printed
        examples = printed.split("examples:")[1].split("\n\n")[0].strip().splitlines()
        assert len(examples) == 3
        assert all(line.strip().startswith("python -m bench ") for line in examples)


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(
        r"gnn-vs-cnn \d+\.\d+\.\d+( \([0-9a-f]{12}\+?\))?, Python 3\.\d+\.\d+\n", capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_a_name_that_the_terminal_cannot_show_is_no_failure(encoding: dict[str, str], tmp_path: Path) -> None:
    folder = make_results(tmp_path / "größe Проба", seeds=1, sizes=(50,))
    command = [sys.executable, "-m", "bench", "collect", f"results_dir={folder}"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | encoding, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"tables: " in done.stdout
    assert (folder / "tables" / "runs.csv").stat().st_size > 100


def test_a_request_to_terminate_is_an_interruption() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), cli.interrupt_on_terminate():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("words", [["graphs", "--help"], ["--help"]])
def test_whoever_reads_no_further_gets_no_traceback(words: list[str]) -> None:
    command = [sys.executable, "-m", "bench", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to raise")
@pytest.mark.parametrize("hard", [300, cli.OPEN_FILES + 500])
def test_the_limit_of_open_files_is_raised_as_far_as_the_system_grants(hard: int) -> None:
    import resource

    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    hard = hard if granted == resource.RLIM_INFINITY else min(hard, granted)
    script = (
        "import resource; from bench.cli import allow_open_files\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard})); allow_open_files()\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(min(hard, cli.OPEN_FILES)), str(hard)]
