"""A made-up result folder for the tests of tables, figures and reports. Nothing in it was measured."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables.write import Row, write_parts, write_row

CLASSES = ("background", "cell")
IMAGES = tuple(f"{i:03d}" for i in range(6))
LEARNED = ("tiled_cnn", "superpixel_gnn", "superpixel_mlp")
OF_VOLUMES = ("tiled_cnn_25d", "tiled_cnn_3d")
FIVE = ("tiled_cnn", "superpixel_gnn", "superpixel_mlp", "oracle", "threshold")
_ENDED = {"stopped": "patience", "steps": 2000, "validations": 20, "late_gain": 0.001, "best_step": 1900}
_LOSS = {
    "tiled_cnn": 0.02, "superpixel_gnn": 0.03, "superpixel_mlp": 0.07, "oracle": 0.0, "threshold": 0.2,
    "tiled_cnn_25d": 0.015, "tiled_cnn_3d": 0.01, "external": 0.01,
}  # fmt: skip
_FIT_SECONDS = {
    "tiled_cnn": 600.0, "superpixel_gnn": 40.0, "superpixel_mlp": 20.0, "tiled_cnn_25d": 650.0, "tiled_cnn_3d": 1500.0,
}  # fmt: skip
_MIB = {
    "tiled_cnn": 3000.0, "superpixel_gnn": 700.0, "superpixel_mlp": 650.0, "oracle": 250.0, "threshold": 200.0,
    "tiled_cnn_25d": 3100.0, "tiled_cnn_3d": 5000.0, "external": 9000.0,
}  # fmt: skip


def write_run(directory: Path, run: Row, stages: Iterable[Row], scores: Iterable[Row], history: Iterable[Row]) -> None:
    """A finished run's directory, as a sweep leaves it."""
    write_parts(directory, str(run["run_id"]), stages, scores, history)
    write_row(directory, run)


def copy_results(source: Path, target: Path) -> Path:
    """A folder that a test may change."""
    shutil.copytree(source, target)
    return target


def make_results(folder: Path, seeds: int = 3, sizes: tuple[int, ...] = (50, 100, 200), panels: bool = False) -> Path:
    """Finished runs of five arms on one data set and machine; the superpixel arms at every size."""
    for seed in range(seeds):
        for pipeline in FIVE:
            for size in sizes if pipeline not in ("tiled_cnn", "threshold") else sizes[:1]:
                make_run(folder, pipeline, seed, size, panels=panels)
    return folder


def make_run(
    folder: Path,
    pipeline: str,
    seed: int = 0,
    size: int = 100,
    *,
    panels: bool = False,
    gain: float = 0.0,
    slow: float = 1.0,
    voted: float | None = None,
    **changes: object,
) -> Path:
    """One finished run; `changes` replace columns of its row (with `_` for a dot written as `__`).

    `gain` is added to every score, every time is multiplied by `slow`; `voted` is the Dice of the mask voted onto the
    superpixels.
    """
    row = _row(pipeline, seed, size) | {"metrics.voted": voted is not None}
    row |= {name.replace("__", "."): value for name, value in changes.items()}
    directory = folder / "runs" / str(row["run_id"])
    finished = row["status"] == "ok"
    scores = _scaled(_scores(pipeline, seed, size), "value", offset=gain)
    if voted is not None:
        scores.append({"split": "test", "image": "all", "metric": "voted_dice", "class": "macro", "value": voted})
    write_run(
        directory,
        row,
        _scaled(_stages(pipeline, seed, size), "seconds", factor=slow) if finished else [],
        scores if finished else [],
        _scaled(_history(pipeline, seed, size), "seconds", factor=slow) if finished else [],
    )
    if panels and finished:
        _save_panels(directory, pipeline, size)
    return directory


def _scaled(rows: list[dict[str, Any]], column: str, factor: float = 1.0, offset: float = 0.0) -> list[dict[str, Any]]:
    return [row | {column: row[column] * factor + offset} for row in rows]


def _row(pipeline: str, seed: int, size: int) -> dict[str, Any]:
    name = f"{pipeline}-{size}-{seed}"
    return {
        "run_id": f"20260101T00{seed:02d}00-{name}", "run_key": name, "started": f"2026-01-01T00:{seed:02d}:00+00:00",
        "git_commit": "abc", "status": "ok", "reason": "", "flags": "", "experiment": "made_up", "dataset": "made_up",
        "pipeline": pipeline, "model": {"tiled_cnn": "Unet", "superpixel_gnn": "sage"}.get(pipeline, ""), "seed": seed,
        "parameters": 14_000_000 if pipeline == "tiled_cnn" else 60_000, "peak_memory_bytes": _memory(pipeline, size),
        "peak_memory_kind": "cpu_rss", "num_nodes": None if _is_pixel_arm(pipeline) else 90_000 / size,
        "machine.cpu": "Imaginary CPU", "machine.cores": 2, "machine.id": "0badcafe", "machine.gpu": None,
        "superpixels.superpixel_size": float(size),
        "training.steps": 4000, "training.seconds": None, "dataset.root": "here", "dataset.content": "unchanged",
        "graph.edges": ["adjacency"],
        **(_ENDED if pipeline in (*LEARNED, *OF_VOLUMES) else {}),
        "command": f"python -m bench pipeline={pipeline} seed={seed}", "machine.python": "3.11.0",
    }  # fmt: skip


def _is_pixel_arm(pipeline: str) -> bool:
    return pipeline.startswith("tiled_cnn") or pipeline in ("threshold", "external")


def _memory(pipeline: str, size: int) -> int:
    return int((_MIB[pipeline] + (0 if _is_pixel_arm(pipeline) else 2e4 / size)) * 2**20)


def ceiling(size: int) -> float:
    """Oracle Dice of the made-up superpixels."""
    return 0.995 - 0.0002 * size


def score(pipeline: str, seed: int, size: int, image: int = 0) -> float:
    """Macro Dice of a made-up run on a made-up image; images spread around 0."""
    top = 1.0 if _is_pixel_arm(pipeline) else ceiling(size)
    noise = 0.0 if pipeline == "oracle" else np.random.default_rng([seed, image, size, len(pipeline)]).normal(0, 0.004)
    return float(top - _LOSS[pipeline] + noise - 0.002 * image)


def _scores(pipeline: str, seed: int, size: int) -> list[dict[str, Any]]:
    rows = []
    for split in ("val", "test"):
        values = [score(pipeline, seed, size, image) for image in range(len(IMAGES))]
        for image, value in zip((*IMAGES, "all"), (*values, float(np.mean(values))), strict=True):
            row = {"split": split, "image": image, "class": "macro"}
            rows += [row | {"metric": "dice", "value": value}, row | {"metric": "accuracy", "value": value}]
            rows += [row | {"metric": "boundary_f1", "value": value - 0.1}]
            rows += [row | {"metric": "dice", "class": name, "value": value} for name in CLASSES]
            if not _is_pixel_arm(pipeline):
                rows.append(row | {"metric": "oracle_dice", "value": ceiling(size)})
    return rows


def _stages(pipeline: str, seed: int, size: int) -> list[dict[str, Any]]:
    if pipeline == "external":
        return []
    prepare = 0.1 if _is_pixel_arm(pipeline) else 1.0 + 10 / size
    fit = _FIT_SECONDS.get(pipeline, 0.0) * (1 + 0.05 * seed)
    seconds = {
        ("prepare", "train"): 3 * prepare, ("prepare", "val"): prepare, ("init", "train"): 0.5,
        ("warmup", "train"): 1.0, ("train", "train"): fit, ("validate", "val"): 0.1 * fit, ("prepare", "test"): prepare,
        ("predict", "test"): 4.0 if pipeline == "tiled_cnn" else 0.2,
    }  # fmt: skip
    memory = {"rss_start_bytes": 200 * 2**20, "peak_rss_bytes": _memory(pipeline, size)}
    peaks = {"train": _memory(pipeline, size), "val": _memory(pipeline, size), "test": _memory(pipeline, size) // 2}
    return [
        {"stage": stage, "split": split, "seconds": value, "images": 4, "pixels": 360_000, **memory}
        | {"peak_memory_bytes": peaks[split]}
        for (stage, split), value in seconds.items()
    ]


def _history(pipeline: str, seed: int, size: int) -> list[dict[str, Any]]:
    if pipeline not in (*LEARNED, *OF_VOLUMES):
        return []
    best, seconds = score(pipeline, seed, size), _FIT_SECONDS[pipeline]
    return [
        {
            "step": 100 * epoch, "epoch": epoch, "seconds": seconds * epoch / 20, "train_loss": 1 / epoch,
            "learning_rate": 1e-3,
            "val_score": None if epoch % 2 else best - 0.5 * np.exp(-epoch / 4), "data_wait_seconds": 0.01,
        }
        for epoch in range(1, 21)
    ]  # fmt: skip


def _save_panels(directory: Path, pipeline: str, size: int) -> None:
    """Discs on a gradient; the made-up prediction shifts them by a few pixels."""
    rows, columns = np.mgrid[:96, :128]
    truth = ((rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2 < 100).astype(np.uint8)
    image = np.clip(60 + columns + 80 * truth + np.random.default_rng(0).normal(0, 12, truth.shape), 0, 255)
    predicted = truth if pipeline == "oracle" else np.roll(truth, 2 + size // 50, axis=1)
    arrays: dict[str, Any] = {"class_names": np.array(CLASSES)}
    for index, name in enumerate(IMAGES[:2]):
        arrays |= {f"image_{index}": image.astype(np.uint8), f"truth_{index}": truth, f"predicted_{index}": predicted}
        arrays[f"name_{index}"] = np.array(name)
    np.savez_compressed(directory / "panels.npz", **arrays)
