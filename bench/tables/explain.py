"""The tables of columns in `results/README.md`, written from `columns.toml`: `python -m bench.tables.explain`."""

import re
from pathlib import Path

from bench.config import require
from bench.files import write_atomically
from bench.tables.columns import ColumnGroup, read_entries

README = Path(__file__).parents[2] / "results" / "README.md"
_MARKED = re.compile(r"<!-- columns of (?P<table>\w+): (?P<section>[^>]+?) -->\n.*?<!-- end -->", re.DOTALL)


def explain_columns(table: str, section: str) -> str:
    """Return the Markdown table of one section of the columns of a table. Raises InputError for an unknown section."""
    entries = [entry for entry in read_entries() if (entry.table, entry.section) == (table, section)]
    require(bool(entries), f"columns.toml has no section {section!r} of {table}")
    named = any(entry.known for entry in entries)
    head = ["column", "unit", "how it is obtained", *(["known"] if named else []), "empty when"]
    lines = [head, ["---"] * len(head), *(_cells(entry, named) for entry in entries)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(entry: ColumnGroup, named: bool) -> list[str]:
    names = ", ".join(f"`{name}`" for name in entry.names)
    return [names, entry.unit, entry.source, *([entry.known] if named else []), entry.empty]


def fill(text: str) -> str:
    """Return a text with every table between `<!-- columns of TABLE: SECTION -->` and `<!-- end -->` written anew."""
    return _MARKED.sub(lambda found: f"{_head(found)}\n\n{explain_columns(*found.groups())}\n\n<!-- end -->", text)


def _head(found: re.Match[str]) -> str:
    return found.group(0).split("\n", 1)[0]


if __name__ == "__main__":
    write_atomically(README, fill(README.read_text(encoding="utf-8")))
