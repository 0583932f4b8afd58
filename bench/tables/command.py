"""The tidy tables that every run leaves behind: written per run, collected from the run directories, compared."""

import sys

from bench.config import InputError
from bench.tables.collect import Tables, Unfinished, collect, current, load
from bench.tables.comparison import comparison, ratio
from bench.tables.folders import folders_of, read
from bench.tables.text import format_table
from bench.tables.write import SCHEMAS, run_key, write_part, write_parts, write_row, write_rows, write_run

__all__ = [
    "SCHEMAS",
    "Tables",
    "Unfinished",
    "collect",
    "comparison",
    "current",
    "folders_of",
    "format_table",
    "load",
    "main",
    "ratio",
    "read",
    "run_key",
    "write_part",
    "write_parts",
    "write_row",
    "write_rows",
    "write_run",
]


def main(overrides: list[str]) -> int:
    """`python -m bench collect results_dir=A[,B...]`: collect tables, print the comparison. Returns the exit code."""
    try:
        folders, results_dir = folders_of(overrides, "collect")
        tables = read(folders, results_dir)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {error.filename or 'below results_dir'}: {error.strerror}", file=sys.stderr)
        return 2
    print(format_table(comparison(tables)))
    count = len(tables.unfinished)
    if count:
        print(
            f"{count} run {'directory' if count == 1 else 'directories'} without a row; the sweep started again does it"
        )
    for unfinished in tables.unfinished:
        print(f"left out: runs/{unfinished.directory}: {unfinished.why}")
    print(f"tables: {results_dir / 'tables'}")
    return 0
