"""A network of pixels as TorchScript or ONNX: written, read again, and compared with the one that it was made of."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import InputError, require

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # those of the extra `onnx`
SIZES = ((64, 96), (160, 128))  # of the tiles that are compared, multiples of 32
CLOSE = 1e-3  # difference of the two largest logits of a pixel below which rounding may decide its class
Forward = Callable[[Any], Any]


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
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": {"image": dynamic}}
    names |= {"external_data": False, "verbose": False}  # one file, and no progress among the words of the verb
    torch.onnx.export(network, (make_tile(channels, SIZES[0]),), path, **names)
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
