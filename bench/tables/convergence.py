"""Which fits may stand for their arm: those that had converged, and not those cut while their score still rose."""

import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.arms import ARMS, ceiling_arms, external_arms, floor_arms

RISING = 0.005  # of a score in [0, 1]: a fit that gained more in its last quarter was cut too early
BELOW = 0.01  # of a score: by so much a network that learned nothing lies below what learns nothing by design
FEWEST_VALIDATIONS = 5  # with fewer nobody can see whether a score still rises
BUDGETS = ("training.steps", "training.epochs", "training.seconds")
METHOD = ["dataset", "machine", "pipeline", "method", "superpixel_size"]


def assess(runs: pd.DataFrame) -> pd.DataFrame:
    """Judge every run by what its row says of the end of its fit.

    A fact that a row lacks, as rows of older code do, counts neither for nor against a run. A run is undertrained if
    the clock ended it; if it was cut while its validation score still rose by more than `RISING` in the last quarter;
    if it had fewer than `FEWEST_VALIDATIONS` validations; or if its validation score lies more than `BELOW` under that
    of a floor arm (`bench.arms.Arm.is_floor`) on the same data, though its superpixels allow more. None of this applies
    to a run whose method converged with a larger budget: its budget was planned, and it is a point of that method's
    score over time.

    Args:
        runs: Rows with the columns of `METHOD`, `status`, `invalid` and `val_score`, as `list_configurations` makes
            them.

    Returns:
        `runs` with two more columns. `undertrained` (text): why the run is, empty where it is not. `shorter` (bool):
        whether it would be, had not the same method converged with a larger budget.
    """
    judged = (runs["status"] == "ok") & ~runs["pipeline"].isin([*ceiling_arms(), *floor_arms(), *external_arms()])
    floors, ceilings = _floors(runs), _ceilings(runs)
    rows = runs.to_dict("records")
    reasons = [_reason(row, floors, ceilings) if one else "" for row, one in zip(rows, judged, strict=True)]
    found = runs.assign(undertrained=np.array(reasons, dtype=object))
    shorter = _shorter(found[judged & ~runs["invalid"]])
    found["shorter"] = found.index.isin(shorter)
    found["undertrained"] = found["undertrained"].mask(found["shorter"], "")
    return found


def select_counted(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose numbers may be shown: finished and not flagged invalid."""
    return runs[(runs["status"] == "ok") & ~runs["invalid"]]


def select_trained(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are points of a front or of a score over time: counted and not undertrained."""
    used = select_counted(runs)
    return used[used["undertrained"] == ""]


def select_converged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that may stand for their arm: trained, and not one of a method that went on to a better score."""
    used = select_trained(runs)
    return used[~used["shorter"]]


def select_timed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose times count: of each configuration those that did not share the machine, if it has any.

    A configuration all of whose runs are contended keeps them; whoever shows its times marks them.

    Args:
        runs: Rows of `list_configurations` that count otherwise.
    """
    settings = ["arm" if column == "method" else column for column in METHOD]  # budgets differ in their times
    configurations = runs.groupby(settings, dropna=False)
    return runs[~runs["contended"] | configurations["contended"].transform("all")]


def _floors(runs: pd.DataFrame) -> dict[Hashable, tuple[str, float]]:
    """Name and mean validation score of the best floor arm on each data set."""
    floors = select_counted(runs[runs["pipeline"].isin(floor_arms()) & runs["val_score"].notna()])
    means = floors.groupby(["dataset", "pipeline"])["val_score"].mean().sort_values()
    rows = means.reset_index().to_dict("records")
    return {row["dataset"]: (str(row["pipeline"]), float(row["val_score"])) for row in rows}


def _ceilings(runs: pd.DataFrame) -> dict[Hashable, float]:
    """Mean validation score of the majority labelling of superpixels, by data set and superpixel size."""
    known = select_counted(runs[runs["pipeline"].isin(ceiling_arms()) & runs["val_score"].notna()])
    return known.groupby(["dataset", "superpixel_size"])["val_score"].mean().to_dict()


def _reason(
    row: Mapping[Hashable, Any],
    floors: Mapping[Hashable, tuple[str, float]],
    ceilings: Mapping[Hashable, float],
) -> str:
    """Why a finished run of an arm that has to learn is undertrained; empty if nothing says so."""
    stopped, gain, validations = _text(row, "stopped"), read_number(row, "late_gain"), read_number(row, "validations")
    name, floor = floors.get(row["dataset"], ("", np.nan))
    if stopped == "seconds":
        return "the clock ended it"
    if stopped not in ("", "patience") and gain > RISING:
        work = f" after {read_number(row, 'steps'):.0f} steps" if read_number(row, "steps") > 0 else ""
        return f"cut{work} while its validation score rose by {100 * gain:.1f} points in the last quarter"
    if validations < FEWEST_VALIDATIONS:
        return f"it had {validations:.0f} validation{'s'[: validations != 1]}, fewer than {FEWEST_VALIDATIONS}"
    reachable = ceilings.get((row["dataset"], row.get("superpixel_size")), np.inf)
    if row["val_score"] < min(floor, reachable) - BELOW:
        return f"its validation score of {row['val_score']:.3f} lies below the {floor:.3f} of {name}"
    return ""


def _shorter(runs: pd.DataFrame) -> set[Hashable]:
    """Index of the runs cut early whose method converged with a larger budget of the same kind."""
    found: set[Hashable] = set()
    for column in set(BUDGETS) & set(runs):
        budgets = pd.to_numeric(runs[column], errors="coerce")
        known = runs[METHOD].assign(budget=budgets, reached=budgets.where(runs["undertrained"] == ""))
        largest = known.groupby(METHOD, dropna=False)["reached"].transform("max")
        found |= set(runs.index[(budgets < largest) & (runs["undertrained"] != "")])
    return found


def _text(row: Mapping[Hashable, Any], column: str) -> str:
    value = row.get(column)
    return "" if pd.isna(value) else str(value)


def read_number(row: Mapping[Any, Any], column: str, default: float = float("nan")) -> float:
    """Return a number of a row.

    Args:
        row: A row of a table.
        column: Name of the column.
        default: Returned where the row has no such number; no comparison holds for NaN.
    """
    value = row.get(column)
    return default if pd.isna(value) else float(value)


# ------------------------------------------------------------------------------------------------- how to go on


def make_finishing_command(row: Mapping[Hashable, Any]) -> str:
    """Return the recorded command of an undertrained run with twice the ceiling; empty where either is not known.

    A fit that had too few validations to be judged gets the ceiling of twice as many as are needed: a budget that was
    cut to a look would otherwise be undertrained once more.
    Where the clock ended the fit, the budget in seconds goes, and twice the steps made (of rows of older code: twice
    the epochs) become the ceiling. A fit that patience ended gets twice the patience. `experiment.effort` goes, as it
    would shrink the new ceiling again.
    """
    command, settings = _text(row, "command"), _more(row)
    if not command or not settings:
        return ""
    return _replace_settings(re.sub(r" ['\"]?experiment\.effort=[^\s'\"]*['\"]?", "", command), settings)


def _more(row: Mapping[Hashable, Any]) -> dict[str, str]:
    """The settings that give an undertrained run twice its budget, which are those of its arm."""
    stopped = _text(row, "stopped")
    done = {name: read_number(row, name) for name in ("steps", "epochs")}
    if stopped == "seconds":
        counted_in = next((name for name, work in done.items() if work > 0), "")
        return (
            {"training.seconds": "null", f"training.{counted_in}": f"{2 * done[counted_in]:.0f}"} if counted_in else {}
        )
    name = stopped if stopped in ("epochs", "patience") else "steps"
    setting = _find_setting(row, name)
    if not setting:
        return {}
    known = [value for value in (read_number(row, setting), done.get(name, np.nan)) if value > 0]
    return {setting: f"{_find_factor(row, name) * max(known):g}"} if known else {}


def _find_factor(row: Mapping[Hashable, Any], name: str) -> int:
    """By how much a ceiling is raised: enough for the validations that a fit needs, and at least twice."""
    validations = read_number(row, "validations")
    few = name != "patience" and validations < FEWEST_VALIDATIONS  # False where it is not known
    return math.ceil(2 * FEWEST_VALIDATIONS / max(validations, 1)) if few else 2


def _find_setting(row: Mapping[Hashable, Any], name: str) -> str:
    """The setting of a run's arm that ended its fit by `name`, steps, epochs or patience; empty if it has none."""
    arm = ARMS.get(_text(row, "pipeline"), ARMS["tiled_cnn"])
    if name == "steps" and arm.name == "coarse_gnn" and _text(row, "pipeline.refine") == "False":
        return "pipeline.coarse_steps"
    own = {"steps": arm.ceiling, "patience": arm.patience}.get(name, "")
    return own or (f"training.{name}" if arm.uses_training else "")


def _replace_settings(command: str, settings: Mapping[str, str]) -> str:
    """A command line with settings replaced where they stand and appended where they do not."""
    for name, value in settings.items():
        command, changed = re.subn(rf"(?<=[\s'\"]){re.escape(name)}=[^\s'\"]*", f"{name}={value}", command)
        command += "" if changed else f" {name}={value}"
    return command
