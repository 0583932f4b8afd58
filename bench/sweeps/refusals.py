"""Hydra's, OmegaConf's and YAML's errors as one sentence in this project's words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from bench.arms import ARMS
from bench.config import DatasetConfig, InputError
from bench.settings import list_settings
from bench.sweeps.overrides import list_known_settings, takes_list

WORDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "bool": "true or false"}


@contextmanager
def refuse_in_words() -> Iterator[None]:
    """Raise InputError instead of an error of Hydra, OmegaConf or YAML within the block."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise InputError(describe_error(error)) from error


def describe_error(error: BaseException) -> str:
    """Return one sentence for an error of a library; its own first lines where it is none that is known here."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        problems = [str(words) for words in (error.context, error.problem) if words]
        return f"{mark.name}, line {mark.line + 1}, cannot be read as YAML: {': '.join(problems)}"
    errors = [error] if error.__cause__ is None else [error, error.__cause__]
    text = "\n".join(str(one) for one in errors)
    known = _describe_known(text)
    lines = dict.fromkeys(_take_first_line(one) for one in errors if str(one).strip())
    return known or ": ".join(lines) or type(error).__name__


def _describe_known(text: str) -> str:
    """Return the sentence for a setting of another arm, a value of another type, or several values; else nothing."""
    several = re.search(r"Ambiguous value for argument '([^=]+)=(.*)'", text)
    if several is not None:
        name, values = several.groups()
        a_list = f", or write a list as [{values}]" if takes_list(name) else ""
        return f"{name}={values} is more than one value: add -m to do a run for each of them{a_list}"
    key = re.search(r"full_key: (\S+)", text)
    if key is None:
        return ""
    if "is not a ListConfig, list or tuple" in text:
        return f"{key[1]} must be a list in brackets, as in {key[1]}=[a,b]"
    kind = re.search(r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)", text)
    if kind is not None and kind[2] in WORDS:
        return f"{key[1]} must be {WORDS[kind[2]]}, got {kind[1]!r}"
    owners = _find_owners(key[1]) if "Could not override" in text else []
    if owners:
        return f"{key[1]} is a setting of {' and '.join(owners)}, not of the choice made here: add {owners[0]}"
    return ""


def _find_owners(name: str) -> list[str]:
    """Return the choices, such as `pipeline=tiled_cnn`, that have a setting."""
    if name not in list_known_settings():
        return []
    kinds: dict[str, type] = {f"pipeline={arm.name}": arm.settings for arm in ARMS.values()}
    kinds |= {f"dataset={kind().name}": kind for kind in DatasetConfig.__subclasses__()}
    return [
        choice
        for choice, kind in kinds.items()
        if any(setting.name == name for setting in list_settings(kind, f"{choice.partition('=')[0]}."))
    ]


def _take_first_line(error: BaseException) -> str:
    """Return the first line of a message, the second too where the first only announces it, and the setting's name."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    return text if key in text else f"{text} ({key})"
