"""`python -m bench network run=... out=unet.pt`: the network of a CNN run as TorchScript or ONNX, for other programs.

The file holds the network alone: scaling of grey values, tiles and stitching are described in `NAME.json` beside it.
Before it takes its name, it is loaded again and must classify every pixel of tiles of two sizes as the run does.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import InputError, TiledCnnConfig, require
from bench.files import fill_atomically, write_atomically
from bench.predict.choice import choose_run
from bench.predict.loading import load_run
from bench.predict.run_directory import FinishedRun

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # those of the extra `onnx`
SIZES = ((64, 96), (160, 128))  # of the tiles that are compared, multiples of 32
CLOSE = 1e-3  # difference of the two largest logits of a pixel below which rounding may decide its class
Forward = Callable[[Any], Any]


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of `python -m bench network`."""

    run: str = ""  # directory of a run of tiled_cnn, or a results folder: of that, the best one by validation score
    out: str = ""  # file to be made: .pt is TorchScript, .onnx is ONNX
    dataset: str | None = None  # with a results folder: only runs on this data set

    def __post_init__(self) -> None:
        again = "python -m bench network run=results/headline out=unet.pt"
        require(self.run != "" and self.out != "", f"network needs run= and out=: {again}")
        path = Path(self.out)
        require(path.suffix in (".pt", ".onnx"), f"out must end in .pt (TorchScript) or .onnx, got {self.out}")
        require(not path.exists(), f"{path} exists already: choose another out")
        require(path.parent.is_dir(), f"{path.parent} is not a folder: make it first")
        missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
        require(
            path.suffix != ".onnx" or not missing,
            f"out={path} needs {' and '.join(missing)}: install the extra, pip install 'gnn-vs-cnn[onnx]', or choose "
            "out=NAME.pt for TorchScript",
        )


def main(settings: NetworkConfig) -> int:
    """Write the network and its description, compare it, and print where they are. Returns the exit code."""
    from bench.pipelines.cnn.tiled_cnn import TiledCnn

    run, pipeline = load_run(choose_run(Path(settings.run), "tiled_cnn", settings.dataset), "cpu")
    if not isinstance(pipeline, TiledCnn):
        name = run.config.pipeline.name
        raise InputError(f"{run.directory} is a run of {name}, which has no network of pixels: give one of tiled_cnn")
    network, out = pipeline.model.float().eval(), Path(settings.out)
    with fill_atomically(out) as temporary, ignore_warnings():
        forward = write_network(network, run.task.in_channels, temporary, out.suffix)
        compared = compare_networks(network, forward, run.task.in_channels)
    description = out.with_name(f"{out.stem}.json")
    write_atomically(description, json.dumps(describe_network(run), indent=1) + "\n")
    print(f"{out}: the same classes as the run on {compared} pixels of noise; {description} says how to use it")
    return 0


def write_network(network: Any, channels: int, path: Path, suffix: str) -> Forward:
    """Write a network, and load what was written.

    Args:
        network: From (B, channels, H, W) to logits (B, K, H, W), in eval mode.
        channels: Channels of the images.
        path: File to be.
        suffix: .pt or .onnx.

    Returns:
        The network of the file, as a function of tensors.
    """
    return _write_onnx(network, channels, path) if suffix == ".onnx" else _write_torchscript(network, channels, path)


def _write_torchscript(network: Any, channels: int, path: Path) -> Forward:
    import torch

    with torch.inference_mode(False), torch.no_grad():
        tile = make_tile(channels, SIZES[0])
        traced = torch.jit.trace(network, tile, check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, path)
    loaded = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return lambda tile: loaded(tile)


def _write_onnx(network: Any, channels: int, path: Path) -> Forward:
    import onnxruntime
    import torch

    dynamic = {0: "batch", 2: "height", 3: "width"}
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(network, (make_tile(channels, SIZES[0]),), path, dynamic_axes={"image": dynamic}, **names)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda tile: torch.from_numpy(session.run(None, {"image": tile.numpy()})[0])


def make_tile(channels: int, size: tuple[int, int]) -> Any:
    """Return a tile of noise (1, channels, *size) float32, of mean 0 and standard deviation 1, always the same."""
    import torch

    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(1, channels, *size)).astype(np.float32))


def compare_networks(network: Any, forward: Forward, channels: int) -> int:
    """Compare the classes that two networks give to tiles of noise.

    Args:
        network: The run's network.
        forward: The exported one.
        channels: Channels of the images.

    Returns:
        The number of pixels compared.

    Raises:
        InputError: A pixel has another class, and no rounding explains it.
    """
    import torch

    pixels = 0
    for size in SIZES:
        tile = make_tile(channels, size)
        with torch.no_grad():
            own, other = network(tile), forward(tile)
        require(own.shape == other.shape, f"the exported network gives {tuple(other.shape)}, not {tuple(own.shape)}")
        two = own.topk(min(2, own.shape[1]), dim=1).values
        decided = (
            (two[:, 0] - two[:, -1] > CLOSE) if own.shape[1] > 1 else torch.zeros_like(own[:, 0], dtype=torch.bool)
        )
        wrong = int(((own.argmax(dim=1) != other.argmax(dim=1)) & decided).sum())
        require(
            wrong == 0, f"the exported network gives {wrong} pixels of {decided.numel()} another class: not written"
        )
        pixels += decided.numel()
    return pixels


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


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Hide within the block what torch says of tracing as such; what it does is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except (RuntimeError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(f"this network cannot be exported: {reason}") from error
