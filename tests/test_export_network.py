"""The network of a CNN run for other programs: the same classes, or no file."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli import run_verb
from bench.config import CnnConfig, Config, FolderConfig, InputError, PipelineConfig, ThresholdConfig, TiledCnnConfig
from bench.datasets import task_file
from bench.datasets.sample import Task

if TYPE_CHECKING:
    import torch

    from bench.export.formats import SIZES, compare_networks, make_tile
    from bench.pipelines.registry import build_pipeline

SMALL = TiledCnnConfig(model=CnnConfig(decoder_channels=[16, 8, 8, 8, 8]))


def leave_run(directory: Path, pipeline: PipelineConfig = SMALL) -> Path:
    """A run directory with random weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = Config(dataset=FolderConfig(root="set"), pipeline=pipeline, device="cpu")
    task = Task(("background", "cell", "wall"), 2, 2)
    directory.mkdir()
    if pipeline is SMALL:
        build_pipeline(config, task).save(directory / "checkpoint.pt")
    else:
        (directory / "checkpoint.json").write_text('{"thresholds": [0.5], "classes": [0, 1]}')
    (directory / "config.json").write_text(json.dumps(asdict(config)))
    task_file.write(directory / "task.json", task, "per_image", None)
    return directory


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")
def test_torchscript_gives_the_classes_of_the_run_on_any_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = leave_run(tmp_path / "run")
    assert run_verb("network", [f"run={directory}", f"out={tmp_path / 'unet.pt'}"]) == 0
    assert "the same classes as the run on 26624 pixels" in capsys.readouterr().out
    described = json.loads((tmp_path / "unet.json").read_text())
    assert described["class_names"] == ["background", "cell", "wall"]
    assert described["grey_values"]["mode"] == "per_image"
    config = Config(dataset=FolderConfig(root="set"), pipeline=SMALL, device="cpu")
    pipeline: Any = build_pipeline(config, Task(("background", "cell", "wall"), 2, 2))
    pipeline.load(directory / "checkpoint.pt")
    loaded = torch.jit.load(tmp_path / "unet.pt")  # type: ignore[no-untyped-call]
    tile = make_tile(2, (96, 64)).repeat(2, 1, 1, 1)
    with torch.no_grad():
        assert torch.equal(loaded(tile).argmax(dim=1), pipeline.model(tile).argmax(dim=1))


def test_a_network_that_classifies_otherwise_is_found() -> None:
    one, other = (torch.nn.Conv2d(1, 2, 1) for _ in range(2))
    for network, bias in ((one, 0.0), (other, 0.5)):
        weight = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
        network.load_state_dict({"weight": weight, "bias": torch.tensor([bias, 0.0])})
    assert compare_networks(one, one, 1) == sum(height * width for height, width in SIZES)
    with pytest.raises(InputError, match=r"another class: not written"):
        compare_networks(one, other, 1)
    with pytest.raises(InputError, match="gives"):
        compare_networks(one, lambda tile: one(tile)[:, :1], 1)


@pytest.mark.skipif(importlib.util.find_spec("onnx") is not None, reason="the extra onnx is installed")
def test_onnx_without_its_packages_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs onnx and onnxscript and onnxruntime.*gnn-vs-cnn\[onnx\]"):
        run_verb("network", ["run=somewhere", f"out={tmp_path / 'unet.onnx'}"])


def test_onnx_gives_the_classes_of_the_run(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    directory = leave_run(tmp_path / "run")
    assert run_verb("network", [f"run={directory}", f"out={tmp_path / 'unet.onnx'}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "unet.json", "unet.onnx"]  # weights lie within
    assert (tmp_path / "unet.onnx").stat().st_size > (directory / "checkpoint.pt").stat().st_size // 2


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "threshold", ThresholdConfig())
    (tmp_path / "there.pt").write_bytes(b"")
    for words, sentence in (
        ([f"run={run}", f"out={tmp_path / 'unet.pth'}"], r"must end in \.pt"),
        ([f"run={run}", f"out={tmp_path / 'there.pt'}"], "exists already"),
        ([f"run={run}"], "network needs run= and out="),
        ([f"run={run}", f"out={tmp_path / 'a.pt'}"], "has no network of pixels"),
        ([f"run={tmp_path / 'none'}", f"out={tmp_path / 'a.pt'}"], "none"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_verb("network", words)
