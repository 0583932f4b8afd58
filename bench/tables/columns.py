"""Every column of the four tables, from `columns.toml`. Standard library only: the measured process writes by it."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("columns.toml")
TABLES = ("runs", "stages", "scores", "history")
FIT_STAGES = ("init", "warmup", "train", "validate")  # values of the column `stage` of the table `stages`
TRAINING_STAGES = ("prepare", *FIT_STAGES)  # superpixels of training and validation images included
NOT_PART_OF_A_RUN = (  # what names of settings that change no result begin with
    *("results_dir", "rerun", "experiment.", "measure.timeout", "measure.share_gpu", "dataset.cache_dir"),
    *("dataset.mirror", "graph.cache_dir", "graph.scratch_dir", "tracker", "measure.memory_gib"),
)


@dataclass(frozen=True)
class Column:
    """One column, or all whose names a pattern matches.

    Attributes:
        table: One of `TABLES`.
        name: Its name; `*` stands for any text.
        kind: `text`, `number`, `flag` (true or false), or `any`.
        entry: Number of the entry of `columns.toml` that explains it, alone or with others.
        required: Whether every table has it, filled or not.
        newer: Whether tables of older code lack it.
    """

    table: str
    name: str
    kind: str
    entry: int
    required: bool = False
    newer: bool = False


@dataclass(frozen=True)
class ColumnGroup:
    """What `columns.toml` says of some columns, in words for a reader: Markdown in one line each."""

    table: str
    section: str
    names: tuple[str, ...]
    unit: str
    known: str
    source: str
    empty: str


@cache
def read_entries() -> tuple[ColumnGroup, ...]:
    """Read the explanations in their order."""
    texts = ("section", "unit", "known", "source", "empty")
    return tuple(
        ColumnGroup(table, names=tuple(raw["names"]), **{name: raw.get(name, "") for name in texts})
        for table, raw in _parse_source()
    )


@cache
def read_columns() -> tuple[Column, ...]:
    """Read the columns of all tables in their order."""
    parsed = enumerate(_parse_source())
    return tuple(column for number, (table, raw) in parsed for column in _columns(number, table, raw))


@cache
def _parse_source() -> tuple[tuple[str, dict[str, Any]], ...]:
    parsed = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    return tuple((table, raw) for table in TABLES for raw in parsed[table])


def _columns(number: int, table: str, raw: dict[str, Any]) -> list[Column]:
    names = raw["names"]
    kinds = raw["kind"] if isinstance(raw["kind"], list) else [raw["kind"]] * len(names)
    required, newer = (_choose_names(raw.get(name, False), names) for name in ("required", "newer"))
    return [
        Column(table, name, kind, number, name in required, name in newer)
        for name, kind in zip(names, kinds, strict=True)
    ]


def _choose_names(value: Any, names: list[str]) -> list[str]:
    """The names that a field of an entry holds for: all, none, or those listed."""
    return (names if value else []) if isinstance(value, bool) else value


@cache
def list_required(table: str, written_by: str = "this code") -> tuple[str, ...]:
    """Return the columns that a table always has, in their order; those that older code wrote with `any code`."""
    every = [column for column in read_columns() if column.table == table and column.required]
    return tuple(column.name for column in every if written_by == "this code" or not column.newer)


@cache
def find_column(table: str, name: str) -> Column | None:
    """Return the column of that name, or else the first whose pattern matches it; None if nothing explains it."""
    own = [column for column in read_columns() if column.table == table]
    exact = [column for column in own if column.name == name]
    return next(iter([*exact, *(column for column in own if fnmatchcase(name, column.name))]), None)


def is_text(table: str, name: str) -> bool:
    """Return whether a column holds names and sentences, which stay as written even where they look like numbers."""
    column = find_column(table, name)
    return column is not None and column.kind == "text"
