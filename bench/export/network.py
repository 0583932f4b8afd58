"""`python -m bench network run=... out=unet.pt`: the network of a CNN run for other programs.

TorchScript (.pt) and ONNX (.onnx) hold the network alone: scaling of grey values, tiles and stitching are described in
`NAME.json` beside it. A model of bioimage.io (.zip) describes itself. Before a file takes its name, its network is
loaded again and must classify every pixel of tiles of two sizes as the run does.
"""

import json
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.config import InputError, TiledCnnConfig, require
from bench.export.bioimageio import Package, pack_model
from bench.export.formats import ONNX_PACKAGES, compare_networks, ignore_warnings, write_network
from bench.files import fill_atomically, write_atomically
from bench.predict.choice import choose_run
from bench.predict.loading import load_run
from bench.predict.run_directory import FinishedRun

SUFFIXES = (".pt", ".onnx", ".zip")


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of `python -m bench network`."""

    run: str = ""  # directory of a run of tiled_cnn, or a results folder: of that, the best one by validation score
    out: str = ""  # file to be made: .pt is TorchScript, .onnx is ONNX, .zip a model of bioimage.io with one or both
    dataset: str | None = None  # with a results folder: only runs on this data set
    image: str | None = None  # for .zip: its middle becomes the example and the cover; null: a generated pattern
    authors: list[str] = field(default_factory=list)  # for .zip: names, separated by commas
    licence: str | None = None  # for .zip: of the weights, as SPDX calls it, such as CC-BY-4.0

    def __post_init__(self) -> None:
        again = "python -m bench network run=results/headline out=unet.pt"
        require(self.run != "" and self.out != "", f"network needs run= and out=: {again}")
        path = Path(self.out)
        require(
            path.suffix in SUFFIXES,
            f"out must end in .pt (TorchScript), .onnx or .zip (a model of bioimage.io), got {self.out}",
        )
        require(not path.exists(), f"{path} exists already: choose another out")
        require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first")
        for name in ("image", "authors", "licence"):
            given = getattr(self, name)
            require(not given or path.suffix == ".zip", f"{name}= is for a model of bioimage.io: choose out=NAME.zip")
        missing = list_missing()
        require(
            path.suffix != ".onnx" or not missing,
            f"out={path} needs {' and '.join(missing)}: install the extra, pip install 'gnn-vs-cnn[onnx]', or choose "
            "out=NAME.pt for TorchScript",
        )


def list_missing() -> list[str]:
    """Return the packages that writing ONNX needs and that are not installed."""
    return [name for name in ONNX_PACKAGES if find_spec(name) is None]


def main(settings: NetworkConfig) -> int:
    """Write the network and its description, compare it, and print where they are. Returns the exit code."""
    from bench.pipelines.cnn.tiled_cnn import TiledCnn

    run, pipeline = load_run(choose_run(Path(settings.run), "tiled_cnn", settings.dataset), "cpu")
    name = run.config.pipeline.name
    if not isinstance(pipeline, TiledCnn):
        raise InputError(f"{run.directory} is a run of {name}, which has no network of pixels: give one of tiled_cnn")
    planes = f"{run.directory} is a run of {name}, whose network sees several planes: give one of tiled_cnn"
    require(name == "tiled_cnn", planes)
    network = pipeline.model.float().eval()
    return _write_package(run, network, settings) if settings.out.endswith(".zip") else _write(run, network, settings)


def _write(run: FinishedRun, network: Any, settings: NetworkConfig) -> int:
    out = Path(settings.out)
    with fill_atomically(out) as temporary, ignore_warnings():
        forward = write_network(network, run.task.in_channels, temporary, out.suffix)
        compared = compare_networks(network, forward, run.task.in_channels)
    description = out.with_name(f"{out.stem}.json")
    write_atomically(description, json.dumps(describe_network(run), indent=1) + "\n")
    print(f"{out}: the same classes as the run on {compared} pixels of noise; {description} says how to use it")
    return 0


def _write_package(run: FinishedRun, network: Any, settings: NetworkConfig) -> int:
    out, missing = Path(settings.out), list_missing()
    image = None if settings.image is None else Path(settings.image)
    package = Package(run, network, (".pt",) if missing else (".pt", ".onnx"), image, tuple(settings.authors),
                      settings.licence)  # fmt: skip
    compared = pack_model(package, out)
    print(f"{out}: a model of bioimage.io, the same classes as the run on {compared} pixels of noise")
    if missing:
        print(f"it holds TorchScript alone: for ONNX too, {' and '.join(missing)} must be installed")
    if lacking := [name for name in ("authors", "licence") if not getattr(settings, name)]:
        print(f"bioimage.io does not publish a model without {' and '.join(lacking)}: give {'= and '.join(lacking)}=")
    return 0


def describe_network(run: FinishedRun) -> dict[str, Any]:
    """Return what another program must know to use the network of a run."""
    settings = run.config.pipeline
    assert isinstance(settings, TiledCnnConfig)
    return {
        "input": "image (batch, channels, height, width) float32, height and width multiples of 32",
        "output": "logits (batch, classes, height, width); the class of a pixel is the index of the largest",
        "channels": run.task.in_channels,
        "class_names": list(run.task.class_names),
        "grey_values": asdict(run.normalization),
        "pixels_of_the_image_per_pixel_of_the_network": settings.scale,
        "tile_size": settings.tile_size,
        "overlap": settings.overlap,
        "blend": settings.blend,
        "architecture": settings.model.architecture,
        "encoder_name": settings.model.encoder_name,
        "run": run.directory.name,
    }
