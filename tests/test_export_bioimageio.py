"""A CNN run as a model of bioimage.io: what is written is what the run does, and its own package takes it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray
from PIL import Image

from bench.cli import run_verb
from bench.config import NORMALIZATIONS, CnnConfig, Config, FolderConfig, InputError, TiledCnnConfig
from bench.datasets import task_file
from bench.datasets.normalization import Moments, Stored, compute_moments
from bench.datasets.sample import Task
from bench.datasets.task_file import Normalization

if TYPE_CHECKING:
    import torch

    from bench.export.bioimageio import make_identifiers
    from bench.export.centred import Centred
    from bench.export.example import apply_steps, list_steps
    from bench.pipelines.registry import build_pipeline

SMALL = TiledCnnConfig(tile_size=96, overlap=16, model=CnnConfig(decoder_channels=[16, 8, 8, 8, 8]))
TASK = Task(("background", "cell wall", "class"), 2, 2)
CARD = "# CNN on made_up, seed 0\n\n## Model\n\n- command: `bench dataset.root=/home/me`\n\n## Limits\n\n- few\n"
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")


def leave_run(
    directory: Path,
    mode: str = "per_image",
    dtypes: tuple[str, ...] = ("uint8",),
    std: float = 20.0,
    task: Task = TASK,
    **changes: Any,
) -> Path:
    """A run directory with random weights, a row and a model card."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = Config(dataset=FolderConfig(root="set"), pipeline=replace(SMALL, **changes), device="cpu")
    directory.mkdir()
    build_pipeline(config, task).save(directory / "checkpoint.pt")
    (directory / "config.json").write_text(json.dumps(asdict(config)))
    stored = Stored(Moments(9, np.array([90.0, 40.0]), np.array([std**2, 100.0])), dtypes)
    task_file.write(directory / "task.json", task, mode, stored)
    (directory / "run.json").write_text(json.dumps({"dataset": "made_up", "started": "2026-01-01T00:00:00+00:00"}))
    (directory / "model_card.md").write_text(CARD + "\n## How to apply it\n\nrun=/home/me\n")
    return directory


def write_channels(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """An image of two channels; returns its values (2, *shape)."""
    values = np.random.default_rng(0).integers(0, 255, (2, *shape), np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "CYX"})
    return values


def pack(run: Path, *words: str) -> Path:
    """The verb's folder, unpacked."""
    out = run.parent / "unet.zip"
    assert run_verb("network", [f"run={run}", f"out={out}", *words]) == 0
    with zipfile.ZipFile(out) as archive:
        archive.extractall(run.parent / "model")
    return run.parent / "model"


def read_description(folder: Path) -> Any:
    return yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose example is the middle of an image."""
    folder = tmp_path_factory.mktemp("model")
    write_channels(folder / "a.tif", (130, 100))
    run = leave_run(folder / "run")
    return pack(run, f"image={folder / 'a.tif'}", "authors=A. Person,B. Other", "licence=CC-BY-4.0")


def test_the_weights_give_the_example(model: Path) -> None:
    described, given = read_description(model), np.load(model / "test_input.npy")
    assert given.shape == (1, 2, 96, 96)
    scaled = apply_steps(described["inputs"][0]["preprocessing"], given)
    weights = torch.jit.load(model / "weights.pt")  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = weights(torch.from_numpy(scaled)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, np.load(model / "test_output.npy"), atol=1e-5)


def test_the_example_is_the_middle_of_the_image_as_its_file_has_it(model: Path, tmp_path: Path) -> None:
    pixels = write_channels(tmp_path / "a.tif", (130, 100))
    np.testing.assert_array_equal(np.load(model / "test_input.npy")[0], pixels[:, 17:113, 2:98])


def test_the_example_of_a_volume_is_the_middle_of_its_middle_plane(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 2, 130, 100), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "ZCYX"})
    made = pack(leave_run(tmp_path / "run", task=replace(TASK, spatial_axes=3)), f"image={tmp_path / 'a.tif'}")
    np.testing.assert_array_equal(np.load(made / "test_input.npy")[0], pixels[2, :, 17:113, 2:98])
    assert "planes of a volume one by one" in (made / "README.md").read_text(encoding="utf-8")


def test_every_file_is_named_with_its_hash(model: Path) -> None:
    described = read_description(model)
    entries = [described["inputs"][0]["test_tensor"], described["outputs"][0]["test_tensor"]]
    entries += list(described["weights"].values())
    for entry in entries:
        assert hashlib.sha256((model / entry["source"]).read_bytes()).hexdigest() == entry["sha256"]
    named = {entry["source"] for entry in entries} | {"rdf.yaml", described["documentation"], *described["covers"]}
    assert named == {path.name for path in model.iterdir()}


def test_axes_classes_and_halo_are_those_of_the_run(model: Path) -> None:
    described = read_description(model)
    batch, channel, *sides = described["inputs"][0]["axes"]
    assert (batch["type"], len(channel["channel_names"])) == ("batch", 2)
    assert [side["id"] for side in sides] == ["y", "x"]
    assert [side["size"] for side in sides] == 2 * [{"min": 64, "step": 32}]
    _, classes, *sides = described["outputs"][0]["axes"]
    assert classes["channel_names"] == ["background", "cell_wall", "class2_class"]
    assert [side["halo"] for side in sides] == [16, 16]
    assert described["authors"] == [{"name": "A. Person"}, {"name": "B. Other"}]
    assert described["license"] == "CC-BY-4.0"


def test_the_text_holds_the_card_and_no_place_of_this_machine(model: Path) -> None:
    text = (model / "README.md").read_text()
    assert "## Validation" in text
    assert "### Limits" in text
    assert "the middle of an image" in text
    assert "/home/me" not in text
    assert "/home/me" not in (model / "rdf.yaml").read_text()


def test_the_cover_is_twice_as_wide_as_high(model: Path) -> None:
    with Image.open(model / "cover.png") as cover:
        assert cover.size == (192, 96)
    assert (model / "cover.png").stat().st_size < 500_000


@pytest.mark.parametrize("mode", sorted({*NORMALIZATIONS} - {"centred"}))
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_steps_scale_as_the_run_does(mode: str, dtype: str) -> None:
    values = np.random.default_rng(1).integers(0, 200, (2, 32, 64)).astype(dtype)
    image = np.moveaxis(values, 0, -1)
    normalization = Normalization(mode, (90.0, 40.0), (20.0, 10.0), (dtype,))
    own = normalization.scaling(image.dtype, compute_moments(image)).apply(image)
    steps = list_steps(normalization, 2)
    found = apply_steps(steps, values[None].astype(np.float32))
    np.testing.assert_allclose(found[0], np.moveaxis(own, -1, 0), atol=2e-5)
    assert bool(steps) == (mode != "none" or dtype != "float32")


def test_a_centred_network_scales_as_the_run_does_and_sees_whole_images(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 200, (2, 32, 64)).astype(np.uint8)
    image = np.moveaxis(values, 0, -1)
    normalization = Normalization("centred", (90.0, 40.0), (20.0, 10.0), ("uint8",))
    own = normalization.scaling(image.dtype, compute_moments(image)).apply(image)
    with torch.no_grad():
        found = Centred(torch.nn.Identity(), normalization.std)(torch.from_numpy(values[None].astype(np.float32)))
    np.testing.assert_allclose(found[0].numpy(), np.moveaxis(own, -1, 0), atol=2e-5)
    folder = pack(leave_run(tmp_path / "run", mode="centred"))
    described = read_description(folder)
    assert [axis.get("concatenable") for axis in described["inputs"][0]["axes"]] == [None, None, False, False]
    assert not any("halo" in axis for axis in described["outputs"][0]["axes"])
    assert "give it whole images, not tiles" in (folder / "README.md").read_text()
    assert described["inputs"][0]["preprocessing"] == []
    weights = torch.jit.load(folder / "weights.pt")  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = weights(torch.from_numpy(np.load(folder / "test_input.npy"))).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), np.load(folder / "test_output.npy"), atol=1e-5)


def test_names_of_classes_become_different_identifiers() -> None:
    names = make_identifiers(["a b", "a-b", "1st", "class", "ok"])
    assert names == ["a_b", "class1_a_b", "class2_1st", "class3_class", "ok"]


@pytest.mark.parametrize(
    ("changes", "words", "sentence"),
    [
        ({"mode": "centred", "std": 1e-7}, (), "less than a model of bioimage.io divides by"),
        ({"mode": "none", "dtypes": ("uint16", "uint8")}, (), "one scale of grey values"),
        ({"scale": 2}, (), "cannot reduce images before the network"),
        ({}, ("licence=of mine",), "licence must be an identifier"),
        ({}, ("authors=A/B",), "authors must be names"),
        ({}, ("image=small.tif",), "an example needs 64 x 64"),
    ],
)
def test_what_cannot_be_described_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_channels(Path("small.tif"), (40, 90))
    run = leave_run(tmp_path / "run", **changes)
    with pytest.raises(InputError, match=sentence):
        run_verb("network", [f"run={run}", "out=unet.zip", *words])
    assert not (tmp_path / "unet.zip").exists()


def test_settings_of_a_model_need_its_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"authors= is for a model of bioimage.io: choose out=NAME\.zip"):
        run_verb("network", ["run=somewhere", f"out={tmp_path / 'unet.pt'}", "authors=A"])


@pytest.mark.skipif(importlib.util.find_spec("bioimageio") is None, reason="the extra bioimageio is not installed")
def test_its_own_package_takes_it(model: Path) -> None:
    """In a process of its own, since the package leaves files open."""
    code = (
        "import sys; from bioimageio.spec import load_description; found = load_description(sys.argv[1]); "
        "print(found.validation_summary.format()); sys.exit(found.validation_summary.status == 'failed')"
    )
    environment = os.environ | {"BIOIMAGEIO_CACHE_PATH": str(model.parent / "cache")}
    command = [sys.executable, "-c", code, str(model.parent / "unet.zip")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unet.zip" in done.stdout
