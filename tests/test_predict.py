"""`bench predict`: the mask of a file is that of the run's own predict, and every mistake is one sentence."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from support import folder_sets as sets
from support.results import write_run
from support.source import ROOT

from bench.cli import main as command
from bench.cli import run_verb
from bench.config import (
    CnnConfig,
    CoarseGnnConfig,
    Config,
    ExperimentConfig,
    FolderConfig,
    GnnConfig,
    InputError,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SuperpixelTreesConfig,
    ThresholdConfig,
    TiledCnnConfig,
    TrainingConfig,
)
from bench.console.progress import Progress
from bench.datasets import task_file
from bench.datasets.masks import open_mask
from bench.datasets.opening import open_image
from bench.datasets.registry import load
from bench.datasets.sample import Task
from bench.measure.environment import choose_waiting
from bench.pipelines.registry import build_pipeline
from bench.predict import loading, prediction
from bench.predict.choice import choose_run, suggest_prediction
from bench.predict.command import match_images
from bench.predict.prediction import PredictConfig
from bench.predict.run_directory import read_config
from bench.predict.scratch import make_scratch
from bench.settings import read_settings

if TYPE_CHECKING:
    import torch
    import zarr
    from distributed import LocalCluster


ARMS: dict[str, PipelineConfig] = {
    "tiled_cnn": TiledCnnConfig(
        tile_size=64, overlap=16, batch_size=2, model=CnnConfig(decoder_channels=[16, 8, 8, 8, 8])
    ),
    "superpixel_gnn": SuperpixelGnnConfig(model=GnnConfig(hidden_channels=8, num_layers=2)),
    "coarse_gnn": CoarseGnnConfig(coarse=TiledCnnConfig(tile_size=64, overlap=16, batch_size=2, scale=4)),
    "superpixel_trees": SuperpixelTreesConfig(iterations=2, validate_every=1),
    "pixel_forest": PixelForestConfig(trees=2),
    "threshold": ThresholdConfig(),
}


@pytest.fixture(autouse=True)
def _one_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the network, which is not the point here."""
    monkeypatch.setattr("bench.pipelines.cnn.flat.build_cnn", lambda *_: torch.nn.Conv2d(1, 2, 3, padding=1))


def picture(seed: int, shape: tuple[int, int] = (70, 90)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bright disc on noise, and its mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    mask = ((rows - 35) ** 2 + (columns - 40 - seed) ** 2 < 300).astype(np.uint8)
    return (mask * 90 + rng.integers(0, 70, shape)).astype(np.uint8), mask


def data_set(root: Path) -> Path:
    for seed, stem in enumerate("abc"):
        image, mask = picture(seed)
        sets.write(root / "images" / f"{stem}.png", image)
        sets.write(root / "masks" / f"{stem}.png", mask)
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    return root


def leave_run(directory: Path, config: Config, task: bool = True) -> tuple[Path, Config]:
    """Fit an arm and leave a run directory as `bench.run` does."""
    data = load(config.dataset)
    directory.mkdir()
    pipeline = build_pipeline(config, data.task)
    pipeline.fit(*([pipeline.prepare(sample) for sample in split] for split in (data.train, data.val)))
    pipeline.save(directory / "checkpoint.pt")
    (directory / "config.json").write_text(json.dumps(asdict(config)))
    if task:
        task_file.write(directory / "task.json", data.task, config.dataset.normalization, data.stored)
    return directory, config


def finished(folder: Path, arm: str, normalization: str = "per_image", task: bool = True) -> tuple[Path, Config]:
    """A run directory as `bench.run` leaves one, after a fit of one step; and its configuration."""
    torch.set_num_threads(1)
    config = Config(
        dataset=FolderConfig(root=str(data_set(folder / "set")), normalization=normalization),
        pipeline=ARMS[arm],
        superpixels=SuperpixelsConfig(superpixel_size=30),
        training=TrainingConfig(steps=1),
        device="cpu",
    )
    return leave_run(folder / "run", config, task)


def expected(directory: Path, config: Config) -> NDArray[np.integer]:
    """The run's own way: prepare and predict the test image."""
    data = load(config.dataset)
    pipeline = build_pipeline(config, data.task)
    pipeline.load(directory / "checkpoint.pt")
    return pipeline.predict(pipeline.prepare(data.test[0]))


@pytest.mark.parametrize(
    ("arm", "normalization"),
    [
        ("tiled_cnn", "per_image"),
        ("superpixel_gnn", "per_image"),
        ("superpixel_gnn", "dataset"),
        ("superpixel_gnn", "centred"),
        ("superpixel_trees", "centred"),
        ("pixel_forest", "dataset"),
        ("threshold", "none"),
    ],
)
def test_the_mask_is_that_of_the_run(arm: str, normalization: str, tmp_path: Path) -> None:
    directory, config = finished(tmp_path, arm, normalization)
    image = tmp_path / "c.zarr"
    zarr.create_array(image, data=picture(2)[0], chunks=(32, 32))
    for name, source in (("one.tif", tmp_path / "set" / "images" / "c.png"), ("two.ome.zarr", image)):
        assert run_verb("predict", [f"run={directory}", f"image={source}", f"out={tmp_path / name}", "device=cpu"]) == 0
        np.testing.assert_array_equal(np.asarray(open_mask(tmp_path / name)), expected(directory, config))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("arm", ["tiled_cnn", "superpixel_gnn"])
@pytest.mark.parametrize("out", ["a.tif", "a.ome.zarr", "a.png"])
def test_probabilities_lie_beside_the_mask(arm: str, out: str, tmp_path: Path) -> None:
    directory, config = finished(tmp_path, arm)
    image = tmp_path / "set" / "images" / "c.png"
    settings = [f"run={directory}", f"image={image}", f"out={tmp_path / out}", "probabilities=true", "device=cpu"]
    assert run_verb("predict", settings) == 0
    mask = expected(directory, config)
    np.testing.assert_array_equal(np.asarray(open_mask(tmp_path / out)), mask)
    beside = "a.probabilities.tif" if out == "a.png" else out.replace("a.", "a.probabilities.")
    shares = np.asarray(open_image(tmp_path / beside).array)
    assert shares.shape == (2, *mask.shape)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=2e-3)
    disagree = shares.argmax(axis=0) != mask
    assert (np.abs(shares[0] - shares[1])[disagree] < 2e-3).all(), "float16 rounds"
    assert disagree.mean() < 0.01


def test_superpixels_follow_the_lengths_of_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the file, or those given, which outweigh it and stand in the mask."""
    directory, config = finished(tmp_path, "superpixel_gnn")
    lengths = [4.0, 1.0]
    longer = replace(
        config,
        superpixels=replace(config.superpixels, spacing=lengths),
        graph=replace(config.graph, spacing=lengths),
    )
    image = tmp_path / "c.ome.tif"
    about = {"axes": "YX", "PhysicalSizeY": 2.0, "PhysicalSizeX": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(image, picture(2)[0], ome=True, metadata=about | {"PhysicalSizeXUnit": "µm"})
    for given, settings, sizes in (([], longer, (2.0, 0.5)), (["spacing=3,3"], config, (3.0, 3.0))):
        out = tmp_path / f"mask{len(given)}.ome.zarr"
        assert run_verb("predict", [f"run={directory}", f"image={image}", f"out={out}", *given]) == 0
        np.testing.assert_array_equal(open_mask(out)[:], expected(directory, settings))
        assert open_image(out).pixel_size == sizes
        assert ("4 x 1 and the run was trained on those of 1 x 1" in capsys.readouterr().err) == (not given)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two workers in this process, reached by its address as any other."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("blend", ["discard", "gaussian"])
@pytest.mark.parametrize("kind", ["threads", "cluster"])
def test_one_image_by_two_workers_has_the_mask_of_one_process(
    kind: str, blend: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.pipelines.cnn.tiled_cnn.BATCHES", 1)
    monkeypatch.setattr(ARMS["tiled_cnn"], "blend", blend)
    directory, _ = finished(tmp_path, "tiled_cnn")
    image = tmp_path / "large.zarr"
    zarr.create_array(image, data=picture(2, (150, 170))[0], chunks=(64, 64))
    threads = ["parallel.workers=2", "parallel.kind=threads"]
    workers = threads if kind == "threads" else [f"parallel.scheduler={address}"]
    for name, settings in (("serial", []), ("shared", workers)):
        words = [f"run={directory}", f"image={image}", f"out={tmp_path / name}.zarr", "probabilities=true", *settings]
        if settings:  # whoever predicts by itself reads the image by rows
            monkeypatch.delattr("bench.pipelines.cnn.tiled_cnn.read_by_rows")
        assert run_verb("predict", [*words, "device=cpu"]) == 0
    for what in ("", ".probabilities"):
        one, other = (np.asarray(open_image(tmp_path / f"{name}{what}.zarr").array) for name in ("serial", "shared"))
        np.testing.assert_array_equal(one, other)


def test_an_arm_whose_image_is_not_divided_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, config = finished(tmp_path, "superpixel_gnn")
    image, out = tmp_path / "set" / "images" / "c.png", tmp_path / "a.tif"
    words = [f"run={directory}", f"image={image}", f"out={out}", "parallel.workers=2", "parallel.kind=threads"]
    assert run_verb("predict", [*words, "device=cpu"]) == 0
    assert "note: superpixel_gnn predicts c.png in this process" in capsys.readouterr().err
    np.testing.assert_array_equal(np.asarray(open_mask(out)), expected(directory, config))


def test_several_images_give_as_many_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, _ = finished(tmp_path, "threshold")
    (tmp_path / "out").mkdir()
    images = tmp_path / "set" / "images"
    assert run_verb("predict", [f"run={directory}", f"image={images}", f"out={tmp_path / 'out'}", "format=tif"]) == 0
    assert (
        run_verb("predict", [f"run={directory}", f"image={images}/[ab].png", f"out={tmp_path / 'out'}", "format=zarr"])
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "a.zarr", "b.tif", "b.zarr", "c.tif"]
    for stem in "ab":
        one, two = (np.asarray(open_mask(tmp_path / "out" / f"{stem}{kind}")) for kind in (".tif", ".zarr"))
        np.testing.assert_array_equal(one, two)
    assert "6300 pixels in" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["probabilities=true"], ["format=zarr", "probabilities=true", "overlay=true"]])
@pytest.mark.parametrize("stopped", [0, 1, 2, 3])
def test_a_stopped_prediction_goes_on_to_the_masks_of_one_that_was_not(
    stopped: int, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images that are finished are left alone, to the time of their files, and all others predicted."""
    directory, _ = finished(tmp_path, "pixel_forest")
    words = [f"run={directory}", f"image={tmp_path / 'set' / 'images'}", *more]
    assert run_verb("predict", [*words, f"out={tmp_path / 'whole'}/"]) == 0
    words += [f"out={tmp_path / 'out'}/", "skip_existing=true"]
    whole, done = prediction.predict_part, list[int]()

    def stop(*given: object) -> None:
        if len(done) == stopped:
            raise KeyboardInterrupt
        whole(*given)  # type: ignore[arg-type]
        done.append(1)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(prediction, "predict_part", stop)
        run_verb("predict", words)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    assert run_verb("predict", words) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3 - stopped
    assert (f"skipped {stopped} of 3 images" in told.err) == (stopped > 0)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    names = [sorted(path.name for path in (tmp_path / place).iterdir()) for place in ("whole", "out")]
    assert names[0] == names[1]
    for stem in "abc":
        [one, two] = (next((tmp_path / place).glob(f"{stem}.[tz]*")) for place in ("whole", "out"))
        np.testing.assert_array_equal(np.asarray(open_mask(one)), np.asarray(open_mask(two)))


def test_only_an_image_whose_every_file_is_there_is_skipped(tmp_path: Path) -> None:
    """The mask takes its name last: what lies beside none was left by a stopped prediction, and is replaced."""
    directory, _ = finished(tmp_path, "threshold")
    image, out = tmp_path / "set" / "images" / "c.png", tmp_path / "m.tif"
    words = [f"run={directory}", f"image={image}", f"out={out}", "overlay=true", "skip_existing=true"]
    beside = tmp_path / "m.overlay.png"
    beside.write_bytes(b"of a stopped prediction")
    assert run_verb("predict", words) == 0
    drawn = beside.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    beside.unlink()
    with pytest.raises(InputError, match=r"m\.tif exists already: .*overwrite=true"):
        run_verb("predict", words)
    assert run_verb("predict", [*words, "overwrite=true"]) == 0
    assert beside.read_bytes() == drawn
    with pytest.raises(InputError, match="is the image"):
        run_verb("predict", [*words[:1], f"image={out}", f"out={out}", "skip_existing=true"])


def test_of_several_images_one_of_another_number_type_is_named_before_any_is_predicted(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold", "centred")
    images = tmp_path / "new"
    shutil.copytree(tmp_path / "set" / "images", images)
    tifffile.imwrite(images / "z.tif", np.arange(1200, dtype=np.uint16).reshape(30, 40))
    with pytest.raises(InputError, match=r"z\.tif holds uint16 values and the run was trained with .*centred on uint8"):
        run_verb("predict", [f"run={directory}", f"image={images}", f"out={tmp_path / 'masks'}/", "format=tif"])
    assert not list(tmp_path.glob("masks/*"))


@pytest.mark.parametrize("out", ["masks/", "deeper/masks/", "masks.v2/"])
def test_the_folder_of_the_masks_is_made(out: str, tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    picture = tmp_path / "set" / "images" / "c.png"
    run_verb("predict", [f"run={directory}", f"image={picture}", f"out={tmp_path}/{out}", "format=png", "overlay=true"])
    assert sorted(path.name for path in (tmp_path / out).iterdir()) == ["c.overlay.png", "c.png"]


KILLED = """
import os, sys
from pathlib import Path
from bench.cli import main
rename = Path.rename
def die(self, target):
    renamed = rename(self, target)
    if Path(target).name.endswith(".old"):
        os.kill(os.getpid(), 9)
    return renamed
Path.rename = die
main(sys.argv[1:])
"""


def test_killed_as_it_replaced_a_mask_the_earlier_one_is_put_back_by_the_next(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    out, place = tmp_path / "m.zarr", tmp_path / "disk [1]*"
    place.mkdir()
    words = [f"run={directory}", f"image={tmp_path / 'set/images/c.png'}", f"out={out}", f"scratch={place}"]
    assert run_verb("predict", words) == 0
    before = np.asarray(open_mask(out))
    subprocess.run([sys.executable, "-c", KILLED, "predict", *words, "overwrite=true"], cwd=ROOT, check=False)
    assert not out.exists()
    assert list(place.iterdir()), "what is as large as the image is left"
    with pytest.raises(InputError, match=r"m\.zarr exists already"):
        run_verb("predict", words)
    np.testing.assert_array_equal(np.asarray(open_mask(out)), before)
    assert run_verb("predict", [*words, "overwrite=true"]) == 0
    assert list(place.iterdir()) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nothing_is_made_where_an_image_cannot_be_used(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    with pytest.raises(InputError, match="matches no image"):
        run_verb("predict", [f"run={directory}", f"image={tmp_path}/no*.png", f"out={tmp_path}/masks/"])
    assert not (tmp_path / "masks").exists()


def test_a_folder_of_folders_is_refused_with_the_pattern_that_matches(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    folder = tmp_path / "all" / "day1" / "well"
    folder.parent.mkdir(parents=True)
    (tmp_path / "set" / "images").rename(folder)
    with pytest.raises(InputError, match=r"matches no image .*; for those in its subfolders give image='") as caught:
        run_verb("predict", [f"run={directory}", f"image={tmp_path}/all", f"out={tmp_path}/masks/"])
    pattern = str(caught.value).split("image='")[1].rstrip("'")
    assert pattern == f"{tmp_path}/all/*/*/*.png"
    assert run_verb("predict", [f"run={directory}", f"image={pattern}", f"out={tmp_path}/masks/"]) == 0
    assert len(list((tmp_path / "masks").iterdir())) == 3


def test_a_pattern_may_lie_in_a_folder_with_brackets(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    folder = tmp_path / "in [1], a=b"
    (tmp_path / "set" / "images").rename(folder)
    assert [path.name for path in match_images(f"{folder}/[ab].png")] == ["a.png", "b.png"]
    assert run_verb("predict", [f"run={directory}", f"image={folder}/*.png", f"out={tmp_path}/masks"]) == 0
    assert len(list((tmp_path / "masks").iterdir())) == 3


@pytest.mark.parametrize("name", ["a=b, c", "slide [1]", "größe", "x*y"])
def test_a_name_is_taken_as_it_stands(name: str, tmp_path: Path) -> None:
    directory, config = finished(tmp_path, "threshold")
    image = tmp_path / f"{name}.png"
    (tmp_path / "set" / "images" / "c.png").rename(image)
    out = tmp_path / f"{name}.zarr"
    for _ in range(2):
        assert run_verb("predict", [f"run={directory}", f"image={image}", f"out={out}", "overwrite=true"]) == 0
    image.rename(tmp_path / "set" / "images" / "c.png")
    np.testing.assert_array_equal(np.asarray(open_mask(out)), expected(directory, config))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# ---------------------------------------------------------------------------------------- the best run of a folder


def results(folder: Path, **scores: float | None) -> Path:
    """A results folder with a finished run of thresholds per name, and its score on the validation images."""
    directory, _ = finished(folder, "threshold")
    for name, score in scores.items():
        place = folder / "results" / "runs" / name
        shutil.copytree(directory, place)
        found = {"image": "all", "metric": "dice", "class": "macro"}
        values = {"val": score, "test": 1 - (score or 0)}
        rows: list[dict[str, object]] = [{**found, "split": split, "value": value} for split, value in values.items()]
        row = {"run_id": name, "status": "ok", "pipeline": "threshold", "dataset": name.split("_")[0]}
        write_run(place, row, [], rows, [])
    return folder / "results"


def test_a_results_folder_means_its_best_run_by_validation(tmp_path: Path) -> None:
    folder = results(tmp_path, set_a=0.5, set_b=0.75, set_c=0.75, set_d=None)
    write_run(folder / "runs" / "set_a", {"run_id": "set_a", "status": "failed"}, [], [], [])
    assert choose_run(folder) == folder / "runs" / "set_b"
    assert choose_run(folder, "threshold", "set") == folder / "runs" / "set_b"
    assert choose_run(folder / "runs" / "set_c") == folder / "runs" / "set_c"
    with pytest.raises(InputError, match="no finished run with pipeline=tiled_cnn that can predict"):
        choose_run(folder, "tiled_cnn")
    with pytest.raises(InputError, match="pipeline=oracle paints the true mask, which a new image has not"):
        choose_run(folder, "oracle")
    command = shlex.split(suggest_prediction(folder))
    assert command[:5] == ["python", "-m", "bench", "predict", f"run={folder}"]
    words = [f"image={tmp_path / 'set/images/c.png'}" if word.startswith("image=") else word for word in command[4:]]
    words[-1] = f"out={tmp_path / 'MASK.tif'}"
    assert run_verb("predict", words) == 0
    assert (tmp_path / "MASK.tif").exists()


def test_scores_on_different_data_sets_do_not_compare(tmp_path: Path) -> None:
    folder = results(tmp_path, cells_a=0.5, fibres_a=0.75)
    with pytest.raises(InputError, match=r"2 data sets, .*: add dataset=cells or dataset=fibres"):
        choose_run(folder)
    assert choose_run(folder, None, "cells").name == "cells_a"
    assert "dataset=cells" in suggest_prediction(folder)


@pytest.mark.parametrize(("changed", "left"), [("content", 1), ("mask_values", 1), ("root", 0)])
def test_runs_on_what_the_data_set_was_before_are_left_out(
    changed: str, left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run scored more, on masks that were corrected since."""
    folder = results(tmp_path, set_a=0.9, set_b=0.5)
    for day, name in enumerate(("set_a", "set_b")):
        place = folder / "runs" / name / "run.json"
        data = {"dataset.content": "same", f"dataset.{changed}": f"{changed} {day}", "started": f"2026-01-0{day + 1}"}
        place.write_text(json.dumps(json.loads(place.read_text()) | data))
    assert choose_run(folder).name == ("set_b" if left else "set_a")
    assert (f"{left} of 2 runs are left out" in capsys.readouterr().err) == bool(left)


def test_a_recipe_is_no_arm(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pipeline=nnunet_like is no arm: .* by its directory, run="):
        choose_run(results(tmp_path, set_a=0.5), "nnunet_like")


def test_nothing_is_suggested_where_nothing_can_predict(tmp_path: Path) -> None:
    assert suggest_prediction(tmp_path) == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError])
def test_interrupted_it_leaves_nothing(
    error: type[BaseException] | BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = finished(tmp_path, "threshold")
    (tmp_path / "out").mkdir()

    def halfway(*_: object) -> None:
        raise error

    monkeypatch.setattr(Progress, "show", halfway)
    with pytest.raises((KeyboardInterrupt, InputError, RuntimeError)) as caught:
        run_verb(
            "predict", [f"run={directory}", f"image={tmp_path / 'set/images/c.png'}", f"out={tmp_path / 'out/c.zarr'}"]
        )
    assert list((tmp_path / "out").iterdir()) == []
    if isinstance(error, OSError):
        assert "c.zarr cannot be written: No space left on device" in str(caught.value)


@pytest.mark.parametrize("arm", ["tiled_cnn", "coarse_gnn"])
def test_a_network_that_is_loaded_is_built_once(arm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = finished(tmp_path, arm)
    built: list[torch.nn.Module] = []

    def build(*settings: Any) -> torch.nn.Module:
        built.append(torch.nn.Conv2d(settings[3], 2, 3, padding=1))
        return built[-1]

    monkeypatch.setattr("bench.pipelines.cnn.flat.build_cnn", build)
    _, pipeline = loading.load_run(directory, "cpu")
    assert built == [one.model for one in getattr(pipeline, "coarse", [pipeline])]


def test_the_encoder_of_a_checkpoint_is_not_fetched() -> None:
    pipeline = TiledCnnConfig(model=CnnConfig(encoder_weights="imagenet", decoder_channels=[8]))
    found = loading.forgo_download(Config(FolderConfig(), pipeline))
    assert found.pipeline == TiledCnnConfig(model=CnnConfig(decoder_channels=[8]))
    both = loading.forgo_download(Config(FolderConfig(), CoarseGnnConfig(coarse=pipeline)))
    assert both.pipeline == CoarseGnnConfig(coarse=TiledCnnConfig(model=CnnConfig(decoder_channels=[8])))


# ------------------------------------------------------------------------------------------------------ mistakes

Break = Callable[[Path], list[str]]


def setting(*overrides: str) -> Break:
    return lambda _: list(overrides)


def without(name: str) -> Break:
    def damage(root: Path) -> list[str]:
        (root / "run" / name).rename(root / "gone")
        return []

    return damage


def no_runs(root: Path) -> list[str]:
    (root / "results" / "runs").mkdir(parents=True)
    return [f"run={root / 'results'}"]


def changed(key: str, value: object) -> Break:
    def damage(root: Path) -> list[str]:
        path = root / "run" / "config.json"
        content = json.loads(path.read_text())
        content[key] = value
        path.write_text(json.dumps(content))
        return []

    return damage


def other_image(array: np.ndarray) -> Break:
    def damage(root: Path) -> list[str]:
        tifffile.imwrite(root / "other.tif", array, photometric="minisblack")
        return [f"image={root / 'other.tif'}"]

    return damage


def inside(root: Path) -> list[str]:
    store = zarr.create_array(root / "i.zarr", data=picture(0)[0])
    assert store.shape == (70, 90)
    return [f"image={root / 'i.zarr'}", f"out={root / 'i.zarr' / 'm.zarr'}"]


def existing(root: Path) -> list[str]:
    (root / "c.tif").write_bytes(b"")
    return []


def broken_checkpoint(root: Path) -> list[str]:
    (root / "run" / "checkpoint.json").write_text("{")
    return []


MISTAKES: dict[str, tuple[Break, str]] = {
    "no run": (setting("run="), "predict needs run="),
    "another setting": (setting("images=x"), "'images=x' is not a setting of predict"),
    "no value": (setting("overwrite"), "'overwrite' is not a setting"),
    "a wrong value": (setting("overwrite=maybe"), "overwrite must be true or false"),
    "no number": (setting("max_pixels=many"), "max_pixels must be a whole number"),
    "a format": (setting("format=jpg"), "format must be one of"),
    "run not there": (setting("run=nowhere"), "nowhere is not a folder"),
    "no run directory": (setting("run=/"), "no run directory"),
    "no checkpoint": (without("checkpoint.json"), "has no checkpoint"),
    "no task": (without("task.json"), "has no task.json"),
    "a broken checkpoint": (broken_checkpoint, r"checkpoint\.json cannot be read as JSON"),
    "an oracle": (changed("pipeline", asdict(OracleConfig())), "needs the true mask"),
    "an unknown setting": (changed("graph", {"speed": 3}), "graph.speed is no setting of this version"),
    "a missing setting": (changed("graph", {}), "graph.features is missing"),
    "no object": (changed("superpixels", []), "superpixels must be an object"),
    "a wrong type": (changed("seed", "3"), "seed must be of the type int"),
    "an unknown arm": (changed("pipeline", {"name": "x"}), "pipeline.name must be one of"),
    "a search for memory": (changed("experiment", asdict(ExperimentConfig(kind="smallest_memory"))), "smallest_memory"),
    "image not there": (setting("image=nothing.png"), "nothing.png does not exist"),
    "no images": (setting("image=no*thing.png", "out=."), "matches no image"),
    "several images into a file": (setting("image=*.png"), "must be a folder"),
    "too many channels": (other_image(np.zeros((8, 8, 3), np.uint8)), "with 3 channels on axis 2"),
    "too many axes": (other_image(np.zeros((2, 3, 8, 8), np.uint8)), "has the shape"),
    "not a number": (other_image(np.full((8, 8), np.nan, np.float32)), "holds NaN"),
    "out of a kind": (setting("out=c.jpg"), "out must end in"),
    "probabilities of thresholds": (setting("probabilities=true"), "threshold does not say how probable"),
    "no run in a results folder": (no_runs, "holds no finished run that can predict"),
    "out nowhere": (setting("out=no/where/c.tif"), "is not a folder"),
    "out is there": (existing, "exists already"),
    "out inside the image": (inside, "itself, or lies inside it"),
    "no scratch": (setting("scratch=nowhere"), "scratch=nowhere is not a folder"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, _ = finished(tmp_path, "threshold")
    monkeypatch.chdir(tmp_path)
    break_it, sentence = MISTAKES[mistake]
    defaults = {"run": directory, "image": tmp_path / "set/images/c.png", "out": tmp_path / "c.tif"}
    given = {name: f"{name}={value}" for name, value in defaults.items()}
    given |= {item.partition("=")[0]: item for item in break_it(tmp_path)}
    assert command(["predict", *given.values()]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert sentence.replace("\\", "") in line


def test_a_disk_too_small_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = finished(tmp_path, "threshold")
    monkeypatch.setattr(prediction, "estimate_scratch", lambda *_: 1 << 60)
    with pytest.raises(InputError, match=r"[1-9]\d*\.\d [GM]iB free, and .* needs about 1073741824\.0 GiB"):
        run_verb("predict", [f"run={directory}", f"image={tmp_path / 'set/images/c.png'}", f"out={tmp_path / 'c.tif'}"])


def test_a_nearly_full_disk_is_not_said_to_have_no_room_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence was: 0.0 GiB free, and it needs about 0.0 GiB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 << 19))
    with (
        pytest.raises(InputError, match=r"1\.5 MiB free, and .* needs about 9\.0 MiB"),
        make_scratch(tmp_path / "a.tif", None, 9 << 20),
    ):
        pass


@pytest.mark.parametrize("arm", ARMS)
def test_the_settings_of_a_run_come_back_as_they_were(arm: str, tmp_path: Path) -> None:
    dataset = FolderConfig(root="x", mask_values={0: 0, 255: 1}, class_names=["a", "b"])
    config = Config(dataset=dataset, pipeline=ARMS[arm])
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    assert read_config(tmp_path / "config.json") == config


def test_a_run_of_another_version_may_differ_in_what_no_prediction_hangs_on(tmp_path: Path) -> None:
    config = Config(dataset=FolderConfig(root="x"), pipeline=ThresholdConfig(), device="cpu")
    content = asdict(config) | {"speed": 3, "experiment": {"colour": "red"}}
    del content["measure"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(tmp_path / "config.json") == config


def test_channels_are_not_the_planes_of_a_volume(tmp_path: Path) -> None:
    """A run of one channel takes no axis of channels for columns; a run of two channels finds them on the last axis."""
    sets.write(tmp_path / "a.png", np.zeros((20, 24, 3), np.uint8))
    sets.write(tmp_path / "b.tif", np.zeros((20, 24, 2), np.float32))
    volume, flat = Task(("a", "b"), 1, 3), Task(("a", "b"), 2, 2)
    for name, sentence in (("a.png", "with channels on axis 2"), ("b.tif", "would be a volume 2 columns wide")):
        path = tmp_path / name
        with pytest.raises(InputError, match=rf"{name} has the shape .*{sentence}"):
            prediction.find_channels(path, open_image(path).header, volume, None)
    path = tmp_path / "b.tif"
    assert prediction.find_channels(path, open_image(path).header, flat, None).channel_axis == 2


def test_workers_are_settings_too() -> None:
    found = read_settings(
        PredictConfig, ["run=a", "image=b", "out=c", "parallel.workers=2", "channel_axis=null"], "predict"
    )
    assert (found.parallel.workers, found.channel_axis) == (2, None)


# ---------------------------------------------------------------------------------------------------------- planes


def finish_planes(folder: Path, arm: str, axes: str = "TYX") -> tuple[Path, Config]:
    """A run on the planes of stacks, as `finished` makes one of flat images; or on points in time."""
    torch.set_num_threads(1)
    for seed, stem in enumerate("abc"):
        planes = [picture(seed + 10 * plane) for plane in range(3)]
        for place, arrays in zip(("images", "masks"), zip(*planes, strict=True), strict=True):
            path = folder / "set" / place / f"{stem}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            # exposure grows from plane to plane: each is scaled as an image of its own
            scale = (1 + np.arange(3))[:, None, None] if place == "images" else 1
            tifffile.imwrite(path, (np.stack(arrays) * scale).astype(np.uint16), imagej=True, metadata={"axes": axes})
    (folder / "set" / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    config = Config(
        dataset=FolderConfig(root=str(folder / "set"), normalization="per_image", planes=True),
        pipeline=ARMS[arm],
        superpixels=SuperpixelsConfig(superpixel_size=30),
        training=TrainingConfig(steps=1),
        device="cpu",
    )
    return leave_run(folder / "run", config)


def expect_planes(directory: Path, config: Config) -> NDArray[np.integer]:
    """The run's own way, plane by plane of the test stack."""
    data = load(config.dataset)
    pipeline = build_pipeline(config, data.task)
    pipeline.load(directory / "checkpoint.pt")
    return np.stack([pipeline.predict(pipeline.prepare(sample)) for sample in data.test])


def read_planes(path: Path) -> NDArray[np.integer]:
    """The planes of a mask, or its points in time."""
    return np.stack([np.asarray(open_mask(path, plane=plane)) for plane in range(3)])


@pytest.mark.parametrize(("arm", "axes"), [("tiled_cnn", "ZYX"), ("superpixel_gnn", "TYX"), ("threshold", "TYX")])
def test_a_run_on_planes_predicts_a_stack_plane_by_plane(arm: str, axes: str, tmp_path: Path) -> None:
    directory, config = finish_planes(tmp_path, arm, axes)
    image, extra = tmp_path / "set" / "images" / "c.tif", [] if arm == "threshold" else ["probabilities=true"]
    for name in ("one.tif", "two.ome.zarr", "three.ome.tif"):
        words = [f"run={directory}", f"image={image}", f"out={tmp_path / name}", "device=cpu", *extra]
        assert run_verb("predict", words) == 0
        np.testing.assert_array_equal(read_planes(tmp_path / name), expect_planes(directory, config))
    for name in ("one.tif", "three.ome.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.series[0].axes == axes
    ome: Any = zarr.open_group(str(tmp_path / "two.ome.zarr"), mode="r").attrs["ome"]
    described = ome["multiscales"][0]["axes"]
    assert [axis["name"] for axis in described] == list(axes.lower())
    assert [axis["type"] for axis in described] == ["time" if axes[0] == "T" else "space", "space", "space"]
    if extra:
        shares = tifffile.imread(tmp_path / "one.probabilities.tif")
        assert shares.shape == (2, 3, 70, 90)
        np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)
        np.testing.assert_array_equal(shares.argmax(axis=0), expect_planes(directory, config))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_run_on_planes_predicts_a_flat_image_too(tmp_path: Path) -> None:
    directory, config = finish_planes(tmp_path, "threshold")
    plane = tifffile.imread(tmp_path / "set" / "images" / "c.tif")[1]
    tifffile.imwrite(tmp_path / "flat.tif", plane)
    words = [f"run={directory}", f"image={tmp_path / 'flat.tif'}", f"out={tmp_path / 'out.png'}", "overlay=true"]
    assert run_verb("predict", words) == 0
    np.testing.assert_array_equal(np.asarray(open_mask(tmp_path / "out.png")), expect_planes(directory, config)[1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["out=a.png"], r"holds one plane, and .*c\.tif is a stack"),
        (["out=a.tif", "overlay=true"], r"overlay=true is for single images, and .*c\.tif is a stack of planes"),
    ],
)
def test_what_cannot_show_a_stack_is_refused_for_one(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = finish_planes(tmp_path, "threshold")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        run_verb("predict", [f"run={directory}", "image=set/images/c.tif", *words])


def test_a_stack_is_refused_by_a_run_on_flat_images(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([picture(n)[0] for n in range(3)]), photometric="minisblack")
    with pytest.raises(InputError, match=r"stack\.tif has the shape \(3, 70, 90\).*: of a stack, save each plane"):
        run_verb("predict", [f"run={directory}", f"image={tmp_path / 'stack.tif'}", f"out={tmp_path / 'a.tif'}"])


@pytest.mark.parametrize("chosen", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_before_torch_is_loaded_unless_the_user_wants_otherwise(
    chosen: str | None,
) -> None:
    waiting = choose_waiting("AMD EPYC")
    environment = {name: value for name, value in os.environ.items() if name not in waiting}
    environment |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
    code = (
        "import os, sys; from bench.predict import loading; "
        "loading.read_run = lambda _: sys.exit(print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)); "
        "loading.load_run(None, 'cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.split() == [(chosen or waiting["OMP_WAIT_POLICY"]).encode(), b"False"]


def test_the_distance_of_planes_is_that_of_the_stack(tmp_path: Path) -> None:
    directory, _ = finish_planes(tmp_path, "threshold", "ZYX")
    stack = tifffile.imread(tmp_path / "set" / "images" / "c.tif")
    sizes = dict.fromkeys(("PhysicalSizeX", "PhysicalSizeY"), 0.5) | {"PhysicalSizeZ": 2.0}
    units = dict.fromkeys((f"{name}Unit" for name in sizes), "µm")
    tifffile.imwrite(tmp_path / "c.ome.tif", stack, metadata={"axes": "ZYX", **sizes, **units})
    run_verb("predict", [f"run={directory}", f"image={tmp_path / 'c.ome.tif'}", f"out={tmp_path / 'm.ome.zarr'}"])
    ome: Any = zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="r").attrs["ome"]
    [image] = ome["multiscales"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [2.0, 0.5, 0.5]
    assert [axis["unit"] for axis in image["axes"]] == ["micrometer"] * 3


def test_an_image_of_two_grey_values_is_shown_under_its_classes(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    tifffile.imwrite(tmp_path / "bits.tif", picture(3)[0] > 90, photometric="minisblack")
    words = [f"run={directory}", f"image={tmp_path / 'bits.tif'}", f"out={tmp_path / 'm.png'}", "overlay=true"]
    assert run_verb("predict", words) == 0
    assert (tmp_path / "m.overlay.png").exists()


def test_an_overlay_never_replaces_another_image_of_the_call(tmp_path: Path) -> None:
    directory, _ = finished(tmp_path, "threshold")
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("a.png", "a.overlay.png"):
        shutil.copy(tmp_path / "set" / "images" / "c.png", folder / name)
    before = (folder / "a.overlay.png").read_bytes()
    words = [f"run={directory}", f"image={folder}", f"out={folder}", "format=tif", "overlay=true", "overwrite=true"]
    with pytest.raises(InputError, match=r"a\.overlay\.png is the image .*a\.overlay\.png itself"):
        run_verb("predict", words)
    assert (folder / "a.overlay.png").read_bytes() == before


def test_unscaled_values_of_another_number_type_are_refused(tmp_path: Path) -> None:
    """A float image of 0 to 255 would otherwise be taken as it stands, where those of training were divided by 255."""
    directory, _ = finished(tmp_path, "threshold", "none")
    tifffile.imwrite(tmp_path / "f.tif", picture(3)[0].astype(np.float32))
    float_run = task_file.Normalization("none", dtypes=("float32",))
    float_run.check_type(np.dtype(np.float64))  # the same values, whatever their length
    with pytest.raises(InputError, match="convert the image"):
        float_run.check_type(np.dtype(np.uint8))
    with pytest.raises(InputError, match=r"f\.tif holds float32 values and the run was trained with .*none on uint8"):
        run_verb("predict", [f"run={directory}", f"image={tmp_path / 'f.tif'}", f"out={tmp_path / 'm.png'}"])
