"""`python -m bench inferer`: tiled inference beside MONAI's, with the same network, tiles, overlap and precision.

Both turn the same image in memory into a mask in memory, in turn in one process (A B B A); peak memory is measured in a
fresh process for each. MONAI comes with the extra `volumes`.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import InputError, require, require_one_of
from bench.measure.isolation import run_isolated
from bench.measure.memory import MemoryProbe
from bench.tables.write import write_rows

SIDES = ("ours", "monai")
MIB = 1 << 20
Predict = Callable[[NDArray[np.float32]], NDArray[np.integer]]


@dataclass
class InfererConfig:
    """Settings of `python -m bench inferer`."""

    size: int = 1024  # side of the image in pixels
    tile_size: int = 256  # side of a tile in pixels
    overlap: int = 32  # pixels on each side of a tile
    blend: str = "both"  # discard | gaussian | both; MONAI's are constant and gaussian
    batch_size: int = 8  # tiles per forward pass
    encoder_name: str = "resnet18"  # of the U-Net, as segmentation_models_pytorch names it
    num_classes: int = 3  # of the mask
    precision: str = "auto"  # auto | float32 | bfloat16
    repeats: int = 5  # pairs of runs
    threads: int = 0  # of the CPU; 0: as torch chooses
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    results_dir: str = "results/inferer"  # folder for inferer.csv

    def __post_init__(self) -> None:
        require_one_of("blend", self.blend, ("discard", "gaussian", "both"))
        require_one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        require(self.repeats >= 1, f"repeats must be at least 1, got {self.repeats}")
        require(self.size >= self.tile_size, f"size must be at least tile_size = {self.tile_size}, got {self.size}")


def main(config: InfererConfig) -> int:
    """Measure, print a line per way of blending, write `results_dir/inferer.csv`. Returns the exit code."""
    if find_spec("monai") is None:
        raise InputError("inferer compares with MONAI, which is not installed: pip install 'gnn-vs-cnn[volumes]'")
    rows = []
    for blend in ("discard", "gaussian") if config.blend == "both" else (config.blend,):
        rows.append(measure_inferers(replace(config, blend=blend)))
        print(format_comparison(rows[-1]), flush=True)
    folder = Path(config.results_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "inferer.csv", rows)
    print(f"written to {folder / 'inferer.csv'}")
    return 0


def measure_inferers(config: InfererConfig) -> dict[str, Any]:
    """Measure one way of blending: seconds, their ratio pair by pair, peaks, peaks beyond the process at rest, ratios.

    `agreement` is the share of pixels with the same class: not all, as the tiles lie elsewhere and MONAI's constant
    blending averages where ours discards; the random network has many near ties.
    """
    timed = _measure_isolated(time_sides, config)
    peaks = {side: _measure_isolated(measure_peak, (config, side)) for side in SIDES}
    ratios = [theirs / mine for mine, theirs in zip(timed["ours"], timed["monai"], strict=True)]
    row: dict[str, Any] = {**asdict(config), "device": timed["device"], "precision": timed["precision"]}
    for side in SIDES:
        row[f"{side}_seconds"] = median(timed[side])
        row[f"{side}_peak_bytes"], row[f"{side}_beyond_rest_bytes"] = peaks[side]
    row |= {"throughput_ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    row["peak_ratio"] = _over(row["ours_peak_bytes"], row["monai_peak_bytes"])
    row["beyond_rest_ratio"] = _over(row["ours_beyond_rest_bytes"], row["monai_beyond_rest_bytes"])
    return row | {"agreement": timed["agreement"], "megapixels_per_second": config.size**2 / 1e6 / row["ours_seconds"]}


def _over(mine: int | None, theirs: int | None) -> float | None:
    return None if mine is None or not theirs else mine / theirs


def _measure_isolated(function: Callable[[Any], Any], argument: Any) -> Any:
    outcome = run_isolated(function, argument)
    if outcome.status != "ok":
        raise InputError(f"inferer could not measure {function.__name__}: {outcome.status}, {outcome.reason}")
    return outcome.result


def time_sides(config: InfererConfig) -> dict[str, Any]:
    """Time the runs of both sides in turn, after one of each that is not timed; for `run_isolated`."""
    image, sides, facts = _scene(config), {side: _predict(config, side) for side in SIDES}, _facts(config)
    masks = {side: predict(image) for side, predict in sides.items()}
    found: dict[str, Any] = {side: [] for side in SIDES}
    for repeat in range(config.repeats):
        for side in SIDES[::-1] if repeat % 2 else SIDES:
            start = time.perf_counter()
            sides[side](image)
            found[side].append(time.perf_counter() - start)
    return found | facts | {"agreement": float(np.mean(masks["ours"] == masks["monai"]))}


def measure_peak(argument: tuple[InfererConfig, str]) -> tuple[int | None, int | None]:
    """Measure the peak bytes of one side's run, whole and beyond the process at rest; for `run_isolated`.

    They are those of torch's allocator on a GPU, else resident ones. A tile goes through the network before, so that
    the libraries are in memory at rest.
    """
    import torch

    config, side = argument
    image, predict, probe = _scene(config), _predict(config, side), MemoryProbe()
    predict(image[: config.tile_size, : config.tile_size])
    if _facts(config)["device"] != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        predict(image)
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_allocated() - before
    before = probe.rss()
    if not probe.reset():
        return None, None
    predict(image)
    found = probe.peak()
    return (None, None) if found is None else (found.rss_bytes, found.rss_bytes - before)


def _scene(config: InfererConfig) -> NDArray[np.float32]:
    """Make an image of noise (size, size, 1): the work does not depend on the values."""
    return np.random.default_rng(0).standard_normal((config.size, config.size, 1), dtype=np.float32)


def _facts(config: InfererConfig) -> dict[str, str]:
    from bench.learning.devices import choose_dtype, resolve_device

    device = resolve_device(config.device)
    dtype = choose_dtype(config.precision, device, amp=True)
    return {"device": str(device), "precision": str(dtype).removeprefix("torch.")}


def _predict(config: InfererConfig, side: str) -> Predict:
    """Return a function from an image (size, size, 1) to a mask, ours or MONAI's, with the same random weights."""
    import torch

    from bench.learning.devices import autocast_to
    from bench.pipelines.cnn.inference import Inferer, Tiling
    from models.unet import build_cnn

    if config.threads:
        torch.set_num_threads(config.threads)
    facts = _facts(config)
    device, dtype = torch.device(facts["device"]), getattr(torch, facts["precision"])
    torch.manual_seed(0)
    network = build_cnn("Unet", config.encoder_name, None, 1, config.num_classes)
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    tiling = Tiling(config.tile_size, config.overlap)

    def ours(image: NDArray[np.float32]) -> NDArray[np.integer]:
        inferer = Inferer(network, device, dtype, config.batch_size, config.blend == "gaussian")
        out = np.empty(image.shape[:2], np.uint8)
        inferer.segment(image, tiling.cut(out.shape), out, lambda _: None)
        return out

    def monai(image: NDArray[np.float32]) -> NDArray[np.integer]:
        with _quiet():
            from monai.inferers import sliding_window_inference

            with torch.inference_mode(), autocast_to(device, dtype):
                scores = sliding_window_inference(
                    torch.from_numpy(image).permute(2, 0, 1)[None],
                    (config.tile_size, config.tile_size),
                    config.batch_size,
                    network,
                    overlap=2 * config.overlap / config.tile_size,
                    mode="gaussian" if config.blend == "gaussian" else "constant",
                    sw_device=device,
                    device=torch.device("cpu"),
                )
                mask: NDArray[np.integer] = scores.argmax(dim=1)[0].to(torch.uint8).numpy()
        return mask

    return ours if side == "ours" else monai


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore warnings within the block: MONAI warns of changes in other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def format_comparison(row: dict[str, Any]) -> str:
    """Format a row for the terminal."""

    def mib(name: str) -> str:
        return "-" if row[name] is None else f"{row[name] / MIB:.0f}"

    text = f"{row['blend']:8} {row['size']} px, tiles of {row['tile_size']}, overlap {row['overlap']}, "
    text += f"batches of {row['batch_size']}, {row['precision']} on {row['device']}: "
    text += f"{row['megapixels_per_second']:.2f} Mpx/s, {row['throughput_ratio']:.3f} times MONAI's "
    text += f"({row['ratio_min']:.3f}-{row['ratio_max']:.3f} over {row['repeats']} pairs); peak memory "
    text += f"{mib('ours_peak_bytes')} against {mib('monai_peak_bytes')} MiB, beyond rest "
    return text + f"{mib('ours_beyond_rest_bytes')} against {mib('monai_beyond_rest_bytes')}"
