"""Which run of a results folder predicts: the best one by its validation images. Test images choose nothing."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arms import ARMS
from bench.config import InputError, require
from bench.tables.read import read_run_rows

READING = (
    *("dataset.content", "dataset.mask_values", "dataset.mask_colours", "dataset.ignore_index", "dataset.channel_axis"),
    "dataset.planes",
)


@dataclass(frozen=True)
class Candidate:
    """A finished run that can predict.

    Attributes:
        directory: Its directory.
        pipeline: Its arm.
        dataset: Name of its data set.
        data: What its scores were measured on: the content of the data set, and the settings that read it.
        started: When it began, as text that sorts by time.
        score: Its macro Dice over all validation images.
    """

    directory: Path
    pipeline: str
    dataset: str
    data: str
    started: str
    score: float


def choose_run(place: Path, pipeline: str | None = None, dataset: str | None = None) -> Path:
    """Return the run directory that is meant by a run directory or a results folder.

    Args:
        place: A run's directory, which is returned as it is, or a results folder, of which the run with the best
            validation score is chosen; of equals the oldest. Where the data set was changed in between, its files or
            the settings that read them, runs on what it was before are left out, and that is printed.
        pipeline: Only runs of this arm are looked at.
        dataset: Only runs on the data set of this name are looked at.

    Returns:
        A run directory.

    Raises:
        InputError: There is no such run, or there are runs of several data sets, whose scores do not compare.
    """
    if (place / "config.json").is_file() or not (place / "runs").is_dir():
        return place
    found = [
        run for run in list_candidates(place) if pipeline in (None, run.pipeline) and dataset in (None, run.dataset)
    ]
    arm = ARMS.get(pipeline or "")
    require(
        arm is not None or pipeline is None,
        f"pipeline={pipeline} is no arm: name one of {', '.join(ARMS)}; a run with settings of its own, such as those "
        f"of a recipe in conf/pipeline, is chosen by its directory, run={place / 'runs'}/RUN_ID",
    )
    require(
        arm is None or not arm.sees_truth,
        f"pipeline={pipeline} paints the true mask, which a new image has not: leave it out, or name another arm",
    )
    kind = f" with pipeline={pipeline}" * (pipeline is not None) + f" with dataset={dataset}" * (dataset is not None)
    require(len(found) > 0, f"{place} holds no finished run{kind} that can predict: give run= another folder")
    names = sorted({run.dataset for run in found})
    require(
        len(names) == 1,
        f"{place} holds runs on {len(names)} data sets, whose scores do not compare: add dataset={names[0]} or "
        f"{' or '.join(f'dataset={name}' for name in names[1:])}",
    )
    return max(_select_newest_data(found), key=lambda run: run.score).directory


def _select_newest_data(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the runs on the data set as the newest of them saw it, and print how many were on other data."""
    newest = max(found, key=lambda run: run.started)
    kept = [run for run in found if run.data == newest.data]
    left = len(found) - len(kept)
    if left:
        print(
            f"note: {left} of {len(found)} runs are left out, since {newest.dataset} or the settings that read it have "
            "changed since they began, and scores on other data do not compare; to use one, give its directory as run=",
            file=sys.stderr,
            flush=True,
        )
    return kept


def list_candidates(results_dir: Path) -> list[Candidate]:
    """Return the runs of a results folder that ended well, kept a model and need no true mask, by name."""
    found = [_read_candidate(directory) for directory in sorted((results_dir / "runs").glob("*"))]
    return [candidate for candidate in found if candidate is not None]


def suggest_prediction(results_dir: Path) -> str:
    """Return the command that segments an image with the best run of a results folder; empty where none can."""
    found = list_candidates(results_dir)
    if not found:
        return ""
    names = sorted({run.dataset for run in found})
    which = [f"dataset={names[0]}"] if len(names) > 1 else []
    return shlex.join(
        ["python", "-m", "bench", "predict", f"run={results_dir}", *which, "image=IMAGE.tif", "out=MASK.tif"]
    )


def _read_candidate(directory: Path) -> Candidate | None:
    try:
        rows = read_run_rows(directory)
    except InputError:  # the report names such runs and why
        return None
    [run] = rows["runs"]
    scores = [row["value"] for row in rows["scores"] if _is_validation_score(row)]
    arm = ARMS.get(str(run.get("pipeline")))
    able = run["status"] == "ok" and arm is not None and not arm.sees_truth and any(directory.glob("checkpoint.*"))
    if not able or not scores or not scores[0]:
        return None
    arm_name, dataset, started = str(run["pipeline"]), str(run["dataset"]), str(run.get("started"))
    return Candidate(directory, arm_name, dataset, _name_data(run), started, float(scores[0]))


def _name_data(run: Mapping[str, Any]) -> str:
    """The content of a run's data and the settings that say what masks mean; of generated data all settings."""
    known = run.get("dataset.content") is not None
    names = sorted(READING if known else (name for name in run if name.startswith("dataset.")))
    return repr([(name, str(run.get(name))) for name in names])


def _is_validation_score(row: dict[str, str]) -> bool:
    return (row["split"], row["image"], row["metric"], row["class"]) == ("val", "all", "dice", "macro")
