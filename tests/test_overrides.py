"""Words of the command line: any text arrives as it was typed, and what is misspelt is refused by name."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.source import ROOT

from bench import cli
from bench.arms import ARMS as KINDS
from bench.config import ExperimentConfig, FolderConfig, InputError
from bench.settings import list_settings
from bench.sweeps.jobs import write_command
from bench.sweeps.overrides import (
    check_words,
    find_config_dir,
    format_command,
    format_override,
    list_choices,
    list_known_settings,
    quote,
    quote_words,
    unquote,
)

if TYPE_CHECKING:
    from bench.sweeps import compose
    from bench.sweeps.compose import prepare_words


TEXTS = [
    "plain/path.csv",
    "/day=3/größe, [1] {a}",
    "a b",
    " led and trailed ",
    "it's",
    "\\'",
    "\\\\server\\share\\",
    'say "x"',
    "2024",
    "007",
    "1e3",
    "2024_01",
    "true",
    "NULL",
    "nan",
    "~/x",
    "$HOME",
    "(a)",
    "a:b",
    "#1",
    "100%",
    "*_mask",
    "Проба",
    "",
    "-x",
    "a,b",
    "x\ty",
    "'",
    "a'b'c",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    [word] = quote_words([f"dataset.manifest={text}"])
    [job] = compose.compose(["dataset=folder", word])
    found = job.config.dataset
    assert isinstance(found, FolderConfig)
    assert found.manifest == text
    assert unquote(word) == f"dataset.manifest={text}"


@pytest.mark.parametrize("text", TEXTS)
def test_a_recorded_command_can_be_pasted(text: str) -> None:
    words = quote_words([f"results_dir={text}", "seed=1"])
    pasted = shlex.split(format_command(words, Path("/my confs")))
    assert pasted[:5] == ["python", "-m", "bench", "--config-dir", "/my confs"]
    assert quote_words(pasted[5:]) == words


def test_what_the_grammar_can_say_is_left_to_it() -> None:
    words = [
        "results_dir='a, b'",
        'results_dir="a"',
        "results_dir=results/${experiment.name}",
        "dataset.manifest=null",
        "dataset.mask_values={0:0,255:1}",
        "dataset.image_size=[64,64]",
        "pipeline=tiled_cnn",
        "seed=3",
        "hydra.sweep.dir=/a=b",
        "--cfg",
    ]
    assert quote_words(words) == words


def test_names_of_classes_are_quoted_one_by_one() -> None:
    [word] = quote_words(["dataset.class_names=[background,größe 1,'a,b']"])
    [job] = compose.compose(["dataset=folder", word])
    found = job.config.dataset
    assert isinstance(found, FolderConfig)
    assert found.class_names == ["background", "größe 1", "a,b"]


def test_commas_sweep_unless_the_whole_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert quote_words(["-m", f"dataset.root={tmp_path}/a,b"])[1] == f"dataset.root='{tmp_path}/a,b'"
    assert quote_words(["-m", "dataset.root=x=1,y=2"])[1] == "dataset.root='x=1','y=2'"
    assert quote_words(["-m", "superpixels.method=slic,grid"])[1] == "superpixels.method=slic,grid"
    assert quote_words(["dataset.root=x=1,y=2"]) == ["dataset.root='x=1,y=2'"]


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, "slic", "day=3, [1]", [1, None, "a b"], {0: 0, 255: 1}, {"a": [1, "x=y"]}]
)
def test_a_value_of_an_experiment_comes_back(value: object) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = OverridesParser.create().parse_override(f"x={format_override(value)}").value()
    plain = getattr(found, "text", found)
    assert repr(plain).replace("'", "") == repr(value).replace("'", "") or plain == value


CHOICES = list_choices([ROOT / "conf"])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("training.secnds=3", r"training\.secnds is not a setting \(did you mean training\.seconds\?\)"),
        ("+sped=3", "sped is not a setting"),
        ("training=fast", "training must be one of default, got 'fast'"),
        ("pipeline=tiled_cn", r"pipeline must be one of .* \(did you mean tiled_cnn\?\)"),
        ("pipeline.model=3", r"pipeline\.model is a group of settings: give one of them"),
        ("quick", "'quick' is neither a verb nor a setting: give settings as name=value"),
        ("--confg-dir=x", r"the option must be one of .* \(did you mean --config-dir\?\)"),
        ("dataset.root=/caf\udce9", r"'dataset\.root=/caf\\udce9' is not text in UTF-8: rename the file or folder"),
    ],
)
def test_a_misspelt_word_is_refused_by_name(word: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_words(["seed=1", word], CHOICES)


def test_every_setting_choice_and_option_is_known() -> None:
    check_words([f"{name}=1" for name in list_known_settings()], CHOICES)
    check_words([f"{group}={name}" for group, names in CHOICES.items() for name in names], CHOICES)
    words = ["-m", "--cfg", "job", "--config-dir", "x", "~dataset.cache_dir", "hydra/launcher=slurm", "pipeline=a,b"]
    check_words([*words, "pipeline=glob(*)", "+dataset.mask_values.3=1", "pipeline/model@pipeline.model=sage"], CHOICES)


def test_settings_of_every_arm_and_data_set_are_known() -> None:
    names = set(list_known_settings())
    assert {"pipeline.crop_size", "pipeline.batch_nodes", "dataset.root", "dataset.modality", "seed"} <= names
    assert {"pipeline.model.encoder_name", "pipeline.model.conv", "training.seconds", "parallel.workers"} <= names


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["training.amp=x"], "training.amp must be true or false, got 'x'"),
        (["graph.edges=knn"], "graph.edges must be a list in brackets, as in graph.edges=[a,b]"),
        (["seed=x"], "seed must be a whole number, got 'x'"),
        (["training.patience=often"], "training.patience must be a whole number, got 'often'"),
        (["pipeline.crop_size=64"], "pipeline.crop_size is a setting of pipeline=tiled_cnn"),
        (["dataset.root=x"], "dataset.root is a setting of dataset=folder"),
        (["seed=0,1"], "seed=0,1 is more than one value: add -m to do a run for each of them"),
        (
            ["graph.features=intensity,shape"],
            "graph.features=intensity,shape is more than one value: add -m to do a run for each of them, or write a "
            "list as [intensity,shape]",
        ),
        (["--config-dir=/nowhere"], "--config-dir /nowhere is not a folder"),
        (["predikt"], "'predikt' is not a verb (did you mean predict?)"),
    ],
)
def test_the_command_says_in_one_sentence_what_is_wrong(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert sentence in line


def test_a_list_is_offered_for_settings_that_are_lists_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["seed=0,1"]) == 2
    assert "list" not in capsys.readouterr().err


def test_a_folder_of_ones_own_files_is_found_in_any_spelling(tmp_path: Path) -> None:
    for words in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"], ["seed=1", "-cd", str(tmp_path)]):
        assert find_config_dir(words) == tmp_path.resolve()
    assert find_config_dir(["seed=1"]) is None


def test_an_experiment_of_ones_own_is_a_choice_and_stands_in_the_command(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nexperiment:\n  name: mine\n  sweeps:\n"
        "    - { pipeline: threshold, dataset.manifest: 'day=3, [1].csv' }\n    - { pipeline: oracle, seed: [0, 1] }\n"
    )
    words = ["--config-dir", str(tmp_path), "experiment=mine", "dataset=folder", "dataset.root=größe, a=b"]
    jobs = compose.compose(prepare_words(words))
    assert [job.config.pipeline.name for job in jobs] == ["threshold", "oracle", "oracle"]
    for job in jobs:
        again = shlex.split(write_command(job))
        assert "dataset.root=größe, a=b" in again
        [pasted] = compose.compose(prepare_words(again[3:]))
        assert pasted.config.dataset == job.config.dataset
        assert (pasted.config.pipeline, pasted.config.seed) == (job.config.pipeline, job.config.seed)
        assert pasted.config.results_dir == "results/mine"


def test_quoting_twice_changes_nothing() -> None:
    for text in TEXTS:
        assert quote(quote(text)) == quote(text)


PAIRS = [("superpixel_gnn", "tiled_cnn"), ("tiled_cnn", "tiled_cnn_25d")]
OWN = ["pipeline.crop_size=64", "pipeline.crop_size=64,128", "pipeline.model.decoder_channels=[16,8,8,8,8]"]


def list_runs(words: list[str]) -> set[str]:
    """The settings of every run that a command line makes, but for the words that made them."""
    found = [job.config for job in compose.compose(prepare_words(words))]
    return {repr(replace(config, experiment=ExperimentConfig())) for config in found}


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_product_of_arms_is_made_or_refused_with_the_words_that_make_it(one: str, other: str, own: str) -> None:
    """It is each arm by itself, with the setting where it has it."""
    name = own.partition("=")[0]
    have = {arm: name in {s.name for s in list_settings(KINDS[arm].settings, "pipeline.")} for arm in (one, other)}
    expected: set[str] = set()
    for arm in (one, other):
        expected |= list_runs(["-m", f"pipeline={arm}", *([own] if have[arm] else [])])
    words = ["-m", f"pipeline={one},{other}", own]
    if all(have.values()):
        assert list_runs(words) == expected
        return
    with pytest.raises(InputError, match="is a setting of" if any(have.values()) else name) as caught:
        list_runs(words)
    if any(have.values()):
        [advice] = [word for word in shlex.split(str(caught.value)) if word.startswith("experiment.sweeps=")]
        assert list_runs(["-m", advice]) == expected


def test_the_sweeps_of_an_experiment_are_not_replaced_by_advice() -> None:
    with pytest.raises(InputError, match="not of superpixel_gnn: give each arm in a command of its own"):
        list_runs(["-m", "experiment=quick", "pipeline=superpixel_gnn,tiled_cnn", "pipeline.crop_size=64"])
