"""Several arms on one command line, as in `-m pipeline=tiled_cnn,tiled_cnn_25d pipeline.crop_size=128`."""

from collections.abc import Sequence

from bench.arms import ARMS
from bench.config import InputError
from bench.settings import list_settings
from bench.sweeps.overrides import FUNCTION, MULTIRUN


def defer_settings(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line with the settings of several arms as sweeps of one value.

    Hydra applies what is no sweep before it chooses the arm, to the default one, and refuses what that one lacks.

    Args:
        arguments: Words of the command line, quoted by `prepare_words`.

    Raises:
        InputError: One of the arms lacks a setting; the sentence has the words that do what is meant.
    """
    arms = _list_arms(arguments)
    if len(arms) < 2:
        return list(arguments)
    own = [word for word in arguments if word.startswith("pipeline.") and "=" in word]
    known = {arm: {setting.name for setting in list_settings(ARMS[arm].settings, "pipeline.")} for arm in arms}
    for name in (word.partition("=")[0] for word in own):
        owners, others = ([arm for arm in arms if (name in known[arm]) is has] for has in (True, False))
        if owners and others:
            sweeps = ", ".join(_write_sweep(arm, [w for w in own if w.partition("=")[0] in known[arm]]) for arm in arms)
            advice = f"in place of pipeline=... and pipeline.NAME=... give 'experiment.sweeps=[{sweeps}]'"
            if any(word.startswith("experiment=") for word in arguments):  # whose own sweeps that would replace
                advice = "give each arm in a command of its own, with the same results_dir"
            raise InputError(f"{name} is a setting of {' and '.join(owners)}, not of {' and '.join(others)}: {advice}")
    return [_sweep_once(word) if word in own else word for word in arguments]


def _list_arms(arguments: Sequence[str]) -> list[str]:
    """The arms of a product; empty where there is none, or none that is written out."""
    values = [word.partition("=")[2] for word in arguments if word.startswith("pipeline=")]
    if not values or not any(word in MULTIRUN for word in arguments):
        return []
    arms = values[-1].split(",")
    return arms if set(arms) <= set(ARMS) else []


def _write_sweep(arm: str, words: Sequence[str]) -> str:
    """An item of `experiment.sweeps`, in which a list is several values."""
    pairs = [f"pipeline: {arm}"]
    for name, _, value in (word.partition("=") for word in words):
        pairs.append(f"{name}: {f'[{value}]' if ',' in value or value.startswith('[') else value}")
    return f"{{{', '.join(pairs)}}}"


def _sweep_once(word: str) -> str:
    name, _, value = word.partition("=")
    several = "," in value and not value.startswith(("[", "{", "'", '"'))
    return word if several or FUNCTION.fullmatch(value) else f"{name}=choice({value})"
