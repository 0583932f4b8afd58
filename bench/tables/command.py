"""`python -m bench collect`: the tables of a results folder, and their comparison on the terminal."""

from bench.config import InputError
from bench.tables.comparison import compare_arms
from bench.tables.folders import FoldersConfig, choose_folders, read_folder_tables
from bench.tables.text import format_table


def main(settings: FoldersConfig) -> int:
    """Collect tables and print the comparison. Returns the exit code. Raises InputError."""
    try:
        folders, results_dir = choose_folders(settings)
        tables = read_folder_tables(folders, results_dir)
    except OSError as error:
        raise InputError(f"cannot write {error.filename or 'below results_dir'}: {error.strerror}") from error
    print(format_table(compare_arms(tables)))
    count = len(tables.unfinished)
    if count:
        print(
            f"{count} run {'directory' if count == 1 else 'directories'} without a row; the sweep started again does it"
        )
    for unfinished in tables.unfinished:
        print(f"left out: runs/{unfinished.directory}: {unfinished.why}")
    print(f"tables: {results_dir / 'tables'}")
    return 0
