"""Settings given as `name=value`, typed by a dataclass whose comments are the help. Standard library only.

Every verb of the command line has such a dataclass. A field that is a dataclass itself has its settings under
`field.name`. The comment behind a field, on the lines of its definition, is the sentence that `--help` prints.
"""

import ast
import inspect
import textwrap
import tokenize
import types
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from io import StringIO
from math import isfinite
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from bench.config import InputError

WIDTH = 120  # columns of the help
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Setting:
    """One setting of a dataclass: dotted name, type, default (None where there is none) and its comment."""

    name: str
    kind: Any
    default: Any
    comment: str


def read_settings(kind: type[Settings], arguments: Sequence[str], verb: str) -> Settings:
    """Build a dataclass from `name=value` arguments.

    Args:
        kind: The dataclass; what is not given keeps its default.
        arguments: Words of the command line, such as `out=mask.tif`, `sizes=256,512` or `parallel.workers=2`.
        verb: The verb that they belong to, for sentences.

    Returns:
        An instance of `kind`.

    Raises:
        InputError: An argument is no setting, is given twice, or has a value of another type; or `kind` refuses it.
    """
    known = {setting.name: setting for setting in list_settings(kind)}
    values: dict[str, Any] = {}
    for argument in arguments:
        name, separator, text = argument.partition("=")
        if not separator or name not in known:
            raise InputError(_refuse(argument, name, list(known), verb))
        if name in values:
            raise InputError(f"{name} is given twice: give it once")
        values[name] = parse_value(name, text, known[name].kind)
    try:
        built: Settings = _build(kind, values, "")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
    return built


def _refuse(argument: str, name: str, known: list[str], verb: str) -> str:
    method = f"{name}.method"  # a run has groups of settings, of which a verb takes the method by its own name
    close = (
        [f"{method}={argument.partition('=')[2]}"]
        if method in known
        else [f"{one}=" for one in get_close_matches(name, known, 1)]
    )
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{argument!r} is not a setting of {verb}{meant}: use name=value with one of {', '.join(known)}"


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
    hints, given = get_type_hints(kind), {}
    for field in fields(kind):
        name = f"{prefix}{field.name}"
        if is_dataclass(hints[field.name]):
            given[field.name] = _build(hints[field.name], values, f"{name}.")
        elif name in values:
            given[field.name] = values[name]
    return kind(**given)


# ---------------------------------------------------------------------------------------------------------- values


def parse_value(name: str, text: str, kind: Any) -> Any:
    """Return `text` as a value of the type `kind`.

    Args:
        name: Name of the setting, for sentences.
        text: What stands behind `=`. `null` is None where the type allows it; items of a list are separated by commas,
            with or without brackets, and those of a tuple of whole numbers, of any length with `...`, by `x`.
        kind: `str`, `int`, `float`, `bool`, a `list` or a `tuple` of one of them, or one of these or None.

    Raises:
        InputError: `text` is not of that type.
    """
    if get_origin(kind) in (Union, types.UnionType):
        if text == "null":
            return None
        [kind] = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is list:
        return [parse_value(name, part.strip(), get_args(kind)[0]) for part in _items(text)]
    if get_origin(kind) is tuple:
        parts, items = text.lower().split("x"), get_args(kind)
        if items[-1] is Ellipsis:
            items = items[:1] * len(parts)
        if len(parts) != len(items):
            raise InputError(f"{name} must look like {'x'.join(['4096'] * len(items))}, got {text!r}")
        return tuple(parse_value(name, part, item) for part, item in zip(parts, items, strict=True))
    return text if kind is str else _parse_plain(name, text, kind)


def _items(text: str) -> list[str]:
    inner = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    return inner.split(",") if inner.strip() else []


def _parse_plain(name: str, text: str, kind: type) -> bool | int | float:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{name} must be true or false, got {text!r}")
        return text.lower() == "true"
    try:
        value: int | float = kind(text)
    except ValueError as error:
        raise InputError(f"{name} must be a {_word(kind)}, got {text!r}") from error
    if not isfinite(value):
        raise InputError(f"{name} must be a finite number, got {text!r}")
    return value


def _word(kind: type) -> str:
    return "whole number" if kind is int else "number"


def format_value(value: Any) -> str:
    """Return a value as `parse_value` reads it; an empty text for a setting that has no default."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "x".join(format_value(item) for item in value)
    return ",".join(format_value(item) for item in value) if isinstance(value, list) else str(value)


# ------------------------------------------------------------------------------------------------------------ help


def list_settings(kind: type, prefix: str = "") -> list[Setting]:
    """Return the settings of a dataclass in the order of its fields, those of dataclasses within under dotted names."""
    hints, comments, found = get_type_hints(kind), read_comments(kind), list[Setting]()
    for field in fields(kind):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            found += list_settings(hint, f"{name}.")
        else:
            made = field.default_factory() if field.default_factory is not MISSING else field.default
            found.append(Setting(name, hint, None if made is MISSING else made, comments.get(field.name, "")))
    return found


def read_comments(kind: type) -> dict[str, str]:
    """Return the comment of each field of a dataclass, inherited ones too; several lines are joined by spaces."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not is_dataclass(owner):
            continue
        source = textwrap.dedent(inspect.getsource(owner))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]  # the one statement is the class
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                found[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
    return found


def describe_settings(kind: type) -> str:
    """Return one line per setting, `name=default` and its comment, in columns."""
    settings = list_settings(kind)
    texts = [f"{setting.name}={format_value(setting.default)}" for setting in settings]
    column = min(max(len(text) for text in texts), 40) + 2
    lines: list[str] = []
    for text, setting in zip(texts, settings, strict=True):
        wrapped = textwrap.wrap(setting.comment, WIDTH - column - 2) or [""]
        first = [f"  {text:{column}}{wrapped[0]}"] if len(text) < column else [f"  {text}", " " * column + wrapped[0]]
        lines += [line.rstrip() for line in (*first, *(" " * (column + 2) + line for line in wrapped[1:]))]
    return "\n".join(lines)
