"""An experiment becomes the command lines of its runs: the sweeps of its settings, ordered by seed."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from bench.config import ExperimentConfig, InputError
from bench.sweeps.overrides import format_override

GENERATED = ("synthetic", "scenes")  # choices of the group dataset whose images have any size


def expand_experiment(experiment: ExperimentConfig, given: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each of an experiment's runs; those of one run when it has no sweeps.

    Runs are ordered by seed, the arms in alternating order (A B, B A, ...), so that drift hits all alike.

    Args:
        experiment: Its sweeps.
        given: Overrides of the user, which win: `pipeline=...` keeps only the sweeps of that arm, any other setting
            replaces the sweep's values.

    Raises:
        InputError: No sweep is left, or one budget is given to arms for which several are planned.
    """
    if not experiment.chosen_sweeps:
        return [list(given)]
    chosen = dict(item.lstrip("+").split("=", 1) for item in given if "=" in item)
    _check_budgets(experiment, chosen)
    runs = [run for sweep in experiment.chosen_sweeps for run in _expand_sweep(sweep, chosen, experiment.largest)]
    if not runs:
        asked = f"pipeline={chosen['pipeline']}" if "pipeline" in chosen else f"images within {experiment.largest}"
        raise InputError(f"experiment {experiment.name} has no sweep with {asked}")
    unique = list(dict.fromkeys(runs))
    return [[*run, *(g for g in given if g not in run)] for run in _alternate(unique)]


def _check_budgets(experiment: ExperimentConfig, chosen: dict[str, str]) -> None:
    """Raise `InputError` where one budget of training is given to arms for which the experiment plans several."""
    for name in ("training.steps", "training.epochs", "training.seconds"):
        planned = {str(sweep[name]) for sweep in experiment.chosen_sweeps if name in sweep}
        if name in chosen and len(planned) > 1 and "pipeline" not in chosen:
            raise InputError(
                f"{name}={chosen[name]} would give every arm of experiment {experiment.name} the same budget, "
                f"which plans {' and '.join(sorted(planned))}: give experiment.effort=0.5 for half of each, or add "
                "pipeline=..."
            )


def _expand_sweep(sweep: dict[str, Any], chosen: dict[str, str], largest: int | None) -> Iterator[tuple[str, ...]]:
    """The runs of a sweep; `largest` bounds the sides of its images. Other data has no settings of generated scenes."""
    if "pipeline" in chosen and chosen["pipeline"] != sweep.get("pipeline"):
        return
    generated = chosen.get("dataset", "synthetic") in GENERATED
    if not generated and "dataset.magnification" in sweep:
        return
    axes = {k: v if isinstance(v, list) else [v] for k, v in sweep.items() if k == "pipeline" or k not in chosen}
    axes = {k: v for k, v in axes.items() if generated or not k.startswith("dataset.")}
    if largest is not None and "dataset.image_size" in axes:
        axes["dataset.image_size"] = [size for size in axes["dataset.image_size"] if max(size) <= largest]
    for values in itertools.product(*axes.values()):
        yield tuple(f"{key}={format_override(value)}" for key, value in zip(axes, values, strict=True))


def _alternate(runs: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    by_seed: dict[str, list[tuple[str, ...]]] = {}
    for run in runs:
        by_seed.setdefault(next((part for part in run if part.startswith("seed=")), ""), []).append(run)
    groups = list(by_seed.values())
    return [run for turn, group in enumerate(groups) for run in (group[::-1] if turn % 2 else group)]
