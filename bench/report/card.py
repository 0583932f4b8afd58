"""`model_card.md` beside the weights of each run: what they learned from, what they reach and cost, how to use them.

The headings follow Mitchell et al., "Model cards for model reporting", FAT* 2019.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.arms import ARMS
from bench.config import FEWEST_TEST_IMAGES, InputError
from bench.files import write_atomically
from bench.tables.columns import FIT_STAGES
from bench.tables.names import name_sources
from bench.tables.read import read_run_rows
from bench.tables.statistics import mean_interval
from bench.tables.units import MIB

NAME = "model_card.md"
Row = Mapping[str, Any]


def write_cards(results_dir: Path) -> list[Path]:
    """Write the card of every finished run of a results folder that left weights. Returns the paths of all cards."""
    cards = []
    for directory in sorted((results_dir / "runs").glob("*")):
        if not any(directory.glob("checkpoint.*")):
            continue
        try:
            rows = read_run_rows(directory)
        except InputError:  # the report names such runs and why
            continue
        if rows["runs"][0]["status"] == "ok":
            cards.append(directory / NAME)
            write_atomically(cards[-1], make_card(directory, rows))
    return cards


def make_card(directory: Path, rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the card of a run in Markdown.

    Args:
        directory: The run's directory.
        rows: Its rows by table, as `read_run_rows` gives them.
    """
    [run] = rows["runs"]
    arm = ARMS.get(str(run["pipeline"]))
    title = f"# {run['pipeline'] if arm is None else arm.label} on {run['dataset']}, seed {run['seed']}"
    sections = {
        "Model": describe_model(run),
        "Images": describe_data(run),
        "Scores": describe_scores(run, rows["scores"]),
        "Cost": describe_cost(run, rows["stages"]),
        "Limits": describe_limits(run, rows["scores"]),
        "How to apply it": describe_use(directory),
    }
    return "\n".join([title, *(f"\n## {name}\n\n" + "\n".join(lines) for name, lines in sections.items()), ""])


def _list(pairs: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that is known."""
    return [f"- {name}: {value}" for name, value in pairs.items() if value not in (None, "", False)]


def describe_model(run: Row) -> list[str]:
    """Return lines on method, settings and training of a run, from its row of `runs`."""
    arm, size = ARMS.get(str(run["pipeline"])), run.get("superpixels.superpixel_size")
    made = arm is not None and arm.uses_superpixels and size
    return _list({
        "method": f"`{run['pipeline']}`",
        "network": run.get("model"),
        "parameters": run.get("parameters"),
        "superpixels": made and f"{run.get('superpixels.method') or ''} of {size} pixels".strip(),
        "optimiser steps": run.get("steps"),
        "the fit was ended by": run.get("stopped"),
        "run": f"`{run['run_id']}`, started {run.get('started')}",
        "code": run.get("git_commit") and f"commit {run['git_commit']}",
        "command": run.get("command") and f"`{run['command']}`",
    })  # fmt: skip


def describe_data(run: Row) -> list[str]:
    """Return lines on the images that a run learned from, their split and their licence."""
    sizes = {split: run.get(f"dataset.images_{split}") for split in ("train", "val", "test")}
    licence = run.get("dataset.licence") or "not known to the program: ask whoever the images are from"
    return _list({
        "data set": run["dataset"],
        "hash of names, bytes and split": run.get("dataset.content") and f"`{run['dataset.content']}`",
        "images": ", ".join(f"{count} {split}" for split, count in sizes.items() if count not in (None, "")),
        "split": run.get("dataset.split_rule"),
        "grey values": run.get("dataset.normalization") and f"`dataset.normalization={run['dataset.normalization']}`",
        "licence of the images": licence,
        "please cite": run.get("dataset.citation"),
    })  # fmt: skip


def describe_scores(run: Row, scores: Sequence[Row]) -> list[str]:
    """Return a table of the Dice scores of the test images, pooled and as the mean over images.

    The planes of a stack are one image, the score of which is their mean.
    """
    dice = [row for row in scores if row["split"] == "test" and row["metric"] == "dice"]
    if not dice:
        return ["No test image was scored."]
    lines = ["| Dice of the test images | all pixels together | mean over the images, 95 % interval |", "|---|---|---|"]
    for name in dict.fromkeys(str(row["class"]) for row in dice):
        of_class = [row for row in dice if str(row["class"]) == name]
        pooled = [float(row["value"]) for row in of_class if row["image"] == "all" and _is_known(row["value"])]
        single = _average_sources(run, [row for row in of_class if row["image"] != "all" and _is_known(row["value"])])
        label = "mean over the classes" if name == "macro" else name
        lines.append(f"| {label} | {f'{pooled[0]:.3f}' if pooled else ''} | {format_mean(single)} |")
    return lines


def _average_sources(run: Row, scores: Sequence[Row]) -> list[float]:
    """Return the mean score of each image, or of each stack of planes."""
    by_source = dict[str, list[float]]()
    for source, row in zip(name_sources([str(row["image"]) for row in scores], run), scores, strict=True):
        by_source.setdefault(source, []).append(float(row["value"]))
    return [fmean(values) for values in by_source.values()]


def _is_known(value: Any) -> bool:
    return value not in (None, "") and isfinite(float(value))


def format_mean(values: Sequence[float]) -> str:
    """Return the mean of numbers with its interval, as far as there are enough of them."""
    if not values:
        return ""
    found = mean_interval(values)
    interval = f" [{found.low:.3f}, {found.high:.3f}]" if found.has_interval else ""
    return f"{found.value:.3f}{interval} ({len(values)} image{'s' * (len(values) != 1)})"


def describe_cost(run: Row, stages: Sequence[Row]) -> list[str]:
    """Return lines on time and memory, as they were measured, and on the machine."""
    fit = sum_seconds(stages, FIT_STAGES)
    made = sum_seconds(row for row in stages if row["split"] != "test" and row["stage"] == "prepare")
    test = [row for row in stages if row["split"] == "test" and row["stage"] in ("prepare", "predict")]
    pixels = sum(float(row["pixels"]) for row in test if row["stage"] == "predict" and row.get("pixels"))
    rate = sum_seconds(test) / pixels * 1e6 if pixels else None
    peak = run.get("peak_memory_bytes")
    return _list({
        "training": f"{fit:.1f} s, and {made:.1f} s of preparing images before it",
        "prediction": rate and f"{rate:.2f} s per megapixel, preparing included",
        "peak memory in training": peak and f"{float(peak) / MIB:.0f} MiB ({run.get('peak_memory_kind')})",
        "machine": " with ".join(str(run[name]) for name in ("machine.cpu", "machine.gpu") if run.get(name)),
        "flags": run.get("flags"),
    })  # fmt: skip


def sum_seconds(rows: Sequence[Row] | Iterator[Row], names: Sequence[str] | None = None) -> float:
    """Return the seconds of stages, of those with one of `names` where some are given."""
    return sum(float(row["seconds"]) for row in rows if (names is None or row["stage"] in names) and row["seconds"])


def describe_limits(run: Row, scores: Sequence[Row]) -> list[str]:
    """Return lines on what the model may not be used for, and what its scores do not say."""
    gain = run.get("late_gain")
    late = f"- The last quarter of the training still brought {float(gain):.3f} of validation Dice." if gain else ""
    images = {str(row["image"]) for row in scores if row["split"] == "test"} - {"all"}
    size = len(set(name_sources(sorted(images), run)))
    few = f"- There were fewer than {FEWEST_TEST_IMAGES} test images: the scores may be chance."
    return [
        "- It was trained and tested on images of one source. Other microscopes, stains, magnifications or specimens "
        "need a test of their own, on annotated images.",
        "- Scores hold for the annotation that it was compared with, not for the truth behind it.",
        "- It is a research result, and not made for diagnosis.",
        *filter(None, (late, few if 0 < size < FEWEST_TEST_IMAGES else "")),
    ]


def describe_use(directory: Path) -> list[str]:
    """Return the commands and lines of Python that apply the run in a directory."""
    command = shlex.join(["python", "-m", "bench", "predict", f"run={directory}", "image=IMAGE.tif", "out=MASK.tif"])
    return [
        "```sh",
        command,
        "```",
        "",
        "```python",
        "from bench import api",
        f"mask = api.open_run({str(directory)!r}).predict(image)  # grey values as they are in the file",
        "```",
        "",
        "`checkpoint.*` holds the weights, `config.json` every setting, `task.json` classes, channels and the scaling "
        "of grey values. All three are needed.",
    ]
