"""What users get wrong, through the real command: one sentence that names the culprit, exit code 2, and nothing left.

Images and masks that cannot be used are in `test_datasets_malformed.py`, which has one table of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import folder_sets as sets
from support.results import make_run
from test_datasets_malformed import MISTAKES

from bench import cli
from bench.measure import isolation
from bench.measure.outcome import Outcome
from bench.sweeps import sweep

if TYPE_CHECKING:
    from hydra.core.global_hydra import GlobalHydra


SETTINGS: dict[str, tuple[str, ...]] = {  # the arguments, and last a part of the sentence
    "no value": ("seed", "seed"),
    "unclosed list": ("seed=[1", "[1"),
    "fraction for a number": ("seed=1.5", "seed"),
    "null for a number": ("seed=null", "seed"),
    "word for a number": ("training.epochs=soon", "epochs"),
    "word for a truth": ("training.amp=perhaps", "amp"),
    "number for a list": ("dataset.image_size=64", "image_size"),
    "negative seed": ("seed=-1", "seed"),
    "unknown setting": ("sed=1", "sed"),
    "unknown setting added": ("+foo=1", "foo"),
    "unknown setting added below": ("+training.epoch=1", "training.epoch"),
    "unknown group choice": ("dataset=imagenet", "imagenet"),
    "unknown arm": ("pipeline=unet", "unet"),
    "unknown arm by name": ("pipeline.name=magic", "pipeline.name"),
    "unknown experiment": ("experiment=nope", "nope"),
    "unknown network": ("pipeline/model=magic", "magic"),
    "unknown superpixels": ("superpixels.method=magic", "superpixels.method"),
    "unknown features": ("graph.features=[magic]", "graph.features"),
    "unknown convolution": ("pipeline.model.conv=gatv3", "did you mean gatv2?"),
    "unknown architecture": ("pipeline=tiled_cnn", "pipeline.model.architecture=UNet", "pipeline.model.architecture"),
    "unknown encoder": ("pipeline=tiled_cnn", "pipeline.model.encoder_name=resnet19", "encoder_name"),
    "unknown encoder of timm": ("pipeline=tiled_cnn", "pipeline.model.encoder_name=tu-magic", "tu-magic"),
    "weights of another kind": ("pipeline=tiled_cnn", "pipeline.model.encoder_weights=magic", "encoder_weights"),
    "no file of weights": ("pipeline=tiled_cnn", "pipeline.model.weights_file=nowhere.pt", "nowhere.pt"),
    "no file of published weights": ("pipeline/model=jain2024", "pipeline.weights=nowhere.pt", "nowhere.pt"),
    "too few levels": ("pipeline=tiled_cnn", "pipeline.model.decoder_channels=[8]", "decoder_channels"),
    "unknown norm": ("pipeline.model.norm=foo", "pipeline.model.norm"),
    "a forest without trees": ("pipeline=pixel_forest", "pipeline.trees=0", "pipeline.trees"),
    "hops that do not ascend": ("pipeline=superpixel_trees", "pipeline.hops=[2,1]", "pipeline.hops"),
    "training of what is no network": ("pipeline=superpixel_trees", "pipeline.model.conv=gcn", "model"),
    "unknown targets": ("pipeline.targets=foo", "pipeline.targets"),
    "unknown edge weight": ("graph.edge_weight=foo", "graph.edge_weight"),
    "unknown precision": ("pipeline=tiled_cnn", "pipeline.precision=float16", "pipeline.precision"),
    "a cool-down that never begins": ("training.cooldown=1", "training.cooldown"),
    "unknown kind of workers": ("parallel.kind=foo", "parallel.kind"),
    "unknown budget": ("experiment.budget=huge", "experiment.budget"),
    "unknown tracker": ("tracker=tensorbord", "did you mean tensorboard?"),
    "an address without a tracker": ("tracker_uri=http://localhost:5000", "tracker_uri"),
    "an address that is none": ("tracker=mlflow", "tracker_uri=runs", "tracker_uri"),
    "a channel that is not there": ("pipeline=threshold", "pipeline.channel=7", "pipeline.channel"),
    "a channel before the first": ("pipeline=threshold", "pipeline.channel=-1", "pipeline.channel"),
    "an architecture for other encoders": ("pipeline=tiled_cnn", "pipeline.model.architecture=DPT", "DPT"),
    "edges for a network without": ("pipeline=superpixel_mlp", "pipeline.model.conv=sage", "pipeline.model.conv"),
    "no place for graphs": ("graph.cache_dir=/dev/null/x", "graph.cache_dir"),
    "no place for files of graphs": ("graph.scratch_dir=/dev/null/x", "graph.scratch_dir"),
    "no place for scenes": ("dataset.cache_dir=/dev/null/x", "dataset.cache_dir"),
    "a scheduler that does not answer": ("parallel.scheduler=tcp://127.0.0.1:9", "parallel.scheduler"),
    "a scheduler without a port": ("parallel.scheduler=tcp://127.0.0.1", "parallel.scheduler"),
    "another arm's name": ("pipeline.name=tiled_cnn", "give pipeline=tiled_cnn"),
    "another data set's name": ("dataset.name=folder", "give dataset=folder"),
    "a GPU that is not there": ("device=cuda:99", "device=cuda:99"),
    "no end of a rate": ("pipeline.learning_rate=inf", "pipeline.learning_rate"),
    "no number for a weight": ("training.dice_weight=nan", "training.dice_weight"),
    "negative decay": ("pipeline.weight_decay=-1", "pipeline.weight_decay"),
    "unknown edges": ("graph.edges=[magic]", "graph.edges"),
    "no features": ("graph.features=[]", "graph.features"),
    "features of colours alone": ("graph.features=[colour]", "say nothing of an image of one channel"),
    "unknown launcher": ("hydra/launcher=nope", "nope"),
    "unknown setting of a launcher": ("hydra/launcher=parallel", "hydra.launcher.n_job=2", "n_job"),
    "unknown rerun": ("rerun=sometimes", "rerun"),
    "unknown device": ("device=cuda:x", "device"),
    "unknown kind of experiment": ("experiment.kind=foo", "experiment.kind"),
    "unknown normalization": ("dataset.normalization=foo", "dataset.normalization"),
    "unknown modality": ("dataset.modality=xray", "dataset.modality"),
    "unknown blending": ("pipeline=tiled_cnn", "pipeline.blend=foo", "pipeline.blend"),
    "unknown class weights": ("training.class_weights=foo", "training.class_weights"),
    "several values without a sweep": ("pipeline=oracle,threshold", "pipeline=oracle,threshold"),
    "a sweep over a typing error": ("-m", "pipeline=oracle,treshold", "treshold"),
    "a sweep over a bad value": ("-m", "seed=0,-1", "seed"),
    "an experiment's unknown setting": ("experiment.sweeps=[{sed: [1]}]", "sed"),
    "an experiment of numbers": ("experiment.sweeps=[3]", "experiment.sweeps"),
    "no threads": ("measure.threads=0", "measure.threads"),
    "negative time limit": ("measure.timeout=-1", "measure.timeout"),
    "no images": ("dataset.train_images=0", "dataset.train_images"),
    "nine classes": ("dataset.num_classes=9", "dataset.num_classes"),
    "one side": ("dataset.image_size=[64]", "dataset.image_size"),
    "an image larger than any disk": ("dataset.image_size=[1000000000,1000000000]", "dataset.image_size"),
    "superpixels of nothing": ("superpixels.superpixel_size=0", "superpixel_size"),
    "superpixels of everything": ("superpixels.superpixel_size=inf", "superpixel_size"),
    "superpixels of no number": ("superpixels.superpixel_size=nan", "superpixel_size"),
    "both sizes": ("superpixels.n_segments=10", "superpixels.n_segments"),
    "tiles of an odd size": ("pipeline=tiled_cnn", "pipeline.tile_size=100", "tile_size"),
    "overlap of a whole tile": ("pipeline=tiled_cnn", "pipeline.overlap=256", "overlap"),
    "no budget": ("training.steps=null", "training.epochs"),
    "no loss": ("training.cross_entropy_weight=0", "training.dice_weight=0", "training.dice_weight"),
    "shares above 1": ("dataset=folder", "dataset.root=.", "dataset.split_fractions=[1,2,3]", "split_fractions"),
    "word for a mask value": ("dataset=folder", "dataset.root=.", "dataset.mask_values={a: 1}", "mask_values"),
    "no such folder": ("dataset=folder", "dataset.root=nowhere_at_all", "nowhere_at_all"),
    "no such folder of settings": ("--config-dir=nowhere_at_all", "nowhere_at_all"),
    "unknown verb": ("colect", "colect"),
    "no name": ("=3", "=3"),
    "no root": ("dataset=folder", "dataset.root"),
    "trials of nothing": ("experiment=tuning", "experiment.trials=0", "experiment.trials"),
}

YAML: dict[str, tuple[bytes, str]] = {  # an experiment of the user's own, and a part of the sentence
    "unclosed": (b"experiment: [", "mine.yaml, line 1"),
    "tabs": (b"experiment:\n\tname: x", "mine.yaml, line 2"),
    "not text": (b"\xff\xfe\x00\x00", ""),
    "python object": (b"# @package _global_\nseed: !!python/object/apply:os.mkdir [PWNED]", "python/object"),
    "a list": (b"- 1\n- 2", ""),
    "misspelt setting": (b"# @package _global_\nexperiment: { sweps: [] }", "sweps"),
    "sweeps that are no list": (b"# @package _global_\nexperiment: { sweeps: 3 }", "sweeps"),
    "a setting twice": (b"# @package _global_\nseed: 1\nseed: 2", "seed"),
    "bad value": (b"# @package _global_\ntraining: { epochs: soon }", "epochs"),
    "an arm that is not there": (b"# @package _global_\nexperiment: { sweeps: [{ pipeline: unet }] }", "unet"),
}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says, which must be one sentence and exit code 2."""
    GlobalHydra.instance().clear()
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    assert not any("Traceback" in line for line in said)
    assert sum(line.startswith("error: ") for line in said) == 1
    return said[-1]


@pytest.fixture(autouse=True)
def _no_run_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a run started")

    from bench.sweeps import launch  # first: a module loaded while the other's name is replaced would keep `started`

    monkeypatch.setattr(launch, "sweep", started)
    monkeypatch.setattr(sweep, "sweep", started)
    monkeypatch.setattr(sweep, "check_writable", lambda _: None)

    def in_this_process(function: Callable[[Any], Any], argument: Any, *_: object) -> Outcome:
        return Outcome("ok", "", function(argument), 0.0)

    monkeypatch.setattr(isolation, "run_isolated", in_this_process)  # `test_checks` starts one


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_setting_that_cannot_be(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *arguments, culprit = SETTINGS[mistake]
    if not any(argument.startswith("dataset") for argument in arguments):
        arguments += ["dataset.image_size=[64,64]"]  # some mistakes are seen when the images are there
    assert culprit in refused([*arguments, f"results_dir={tmp_path}/r"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_results_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """As of an unset variable of a shell: the runs would go into the folder that one is in."""
    assert "results_dir must name a folder" in refused(["dataset.image_size=[64,64]", "results_dir="], capsys)


@pytest.mark.parametrize("mistake", YAML)
def test_an_experiment_file_that_cannot_be(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, culprit = YAML[mistake]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(content.replace(b"PWNED", str(tmp_path / "owned").encode()))
    arguments = [f"--config-dir={tmp_path}", "experiment=mine", f"results_dir={tmp_path}/r"]
    assert culprit in refused(arguments, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"], "nothing was made, and nothing executed"
    monkeypatch.undo()


@pytest.mark.parametrize("cell", ["../other/images/a.png", "/etc/passwd", "images/../../a.png"])
@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_manifest_that_leaves_its_folder(
    cell: str, column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = sets.make(tmp_path / "set")
    row = {"image": "images/a.png", "mask": "masks/a.png", "split": "train"} | {column: cell}
    (root / "list.csv").write_text("image,mask,split\n" + ",".join(row.values()) + "\n")
    data = ["dataset=folder", f"dataset.root={root}", "dataset.manifest=list.csv", f"results_dir={tmp_path}/r"]
    assert "list.csv, line 2" in refused(data, capsys)


@pytest.mark.parametrize("name", ["images/b.png", "masks/b.png", "splits.json"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"[" * 100000])
def test_a_damaged_file_through_the_command(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = sets.make(tmp_path / "set")
    (root / name).write_bytes(content)
    said = refused(["dataset=folder", f"dataset.root={root}", f"results_dir={tmp_path}/r"], capsys)
    assert name in said
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def results(folder: Path) -> Path:
    return make_run(folder, "tiled_cnn", 0, run_id="r")


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "runs" / "r" / name
        path.write_bytes(path.read_bytes()[:-7])

    return damage


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "runs" / "r" / name).write_bytes(content)

    return damage


def replace_score(word: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "runs" / "r" / "scores.csv"
        head, row, *rest = path.read_text().splitlines()
        path.write_text("\n".join([head, f"{row.rpartition(',')[0]},{word}", *rest, ""]))

    return damage


RESULTS: dict[str, Callable[[Path], None]] = {
    "torn row": cut("run.json"),
    "torn scores": cut("scores.csv"),
    "torn stages": cut("stages.csv"),
    "nested without end": overwrite("run.json", b"[" * 100000),
    "zeros": overwrite("scores.csv", bytes(99)),
    "a word for a score": replace_score("nan"),
    "no scores": lambda folder: (folder / "runs" / "r" / "scores.csv").unlink(),
    "a row without a name": overwrite("run.json", b'{"status": "ok"}'),
    "a number for a name": overwrite("run.json", b'{"run_id": 3, "status": "ok"}'),
}


@pytest.mark.parametrize("mistake", RESULTS)
def test_a_damaged_run_is_left_out_by_name(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results(tmp_path)
    make_run(tmp_path, "tiled_cnn", 1, run_id="whole")
    RESULTS[mistake](tmp_path)
    assert cli.main(["collect", f"results_dir={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert "left out: runs/r: its " in said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["collect"], "say which folder: results_dir=FOLDER"),
        (["report", "results_dir=/nowhere/at/all"], "/nowhere/at/all"),
        (["report", "results_dir={empty}"], "holds no runs"),
        (["collect", "results_dir={file}"], "is not a folder"),
        (["report", "resultsdir=x"], "resultsdir"),
    ],
)
def test_a_results_folder_that_is_none(
    arguments: list[str], culprit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    names = {"empty": str(tmp_path / "empty"), "file": str(tmp_path / "file")}
    assert culprit in refused([argument.format(**names) for argument in arguments], capsys)
    assert list((tmp_path / "empty").iterdir()) == []


def test_results_are_read_without_executing_them(tmp_path: Path) -> None:
    """`panels.npz` with an object in it would run code if it were unpickled."""
    from bench.plots.panels import load_crops
    from bench.plots.style import NoDataError

    np.savez(tmp_path / "panels.npz", class_names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(NoDataError):
        load_crops(tmp_path / "panels.npz")


def test_nothing_is_unpickled_but_what_this_program_handed_itself() -> None:
    """Every `np.load` refuses pickles, every `torch.load` takes weights alone, no YAML or code is run."""
    own = {"bench/measure/isolation.py", "bench/measure/child.py", "bench/pipelines/parallel.py"}
    own |= {"bench/predict/divided.py"}  # what it gave the workers
    root, seen = Path(cli.__file__).parents[1], set[str]()
    for path in sorted([*(root / "bench").rglob("*.py"), *(root / "models").rglob("*.py")]):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            seen.add(name)
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load"), path
            assert name not in ("np.load", "numpy.load") or given.get("allow_pickle") == "False", path
            assert name != "torch.load" or given.get("weights_only") == "True", path
            assert name not in ("pickle.load", "pickle.loads") or path.relative_to(root).as_posix() in own, path
    assert {"np.load", "torch.load", "pickle.loads"} <= seen, "the calls go by other names: the rule guards nothing"


def test_there_are_many_kinds_of_bad_input() -> None:
    assert len(SETTINGS) + len(YAML) + len(RESULTS) + len(MISTAKES) >= 100
