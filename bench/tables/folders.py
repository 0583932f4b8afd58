"""Result folders, one or several at once: read, put together without mixing machines, and where what is drawn goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.config import InputError, require
from bench.files import write_atomically
from bench.tables.collect import Tables, Unfinished, collect, frame_to_csv, load_tables, read_runs
from bench.tables.columns import TABLES

COMBINED = Path("results/combined")  # where a report on several folders goes, unless said otherwise
_SAME = ("run_key", "started", "machine.id")  # two rows of one run_id are one run if these are equal


@dataclass
class FoldersConfig:
    """Settings of `python -m bench collect` and of `python -m bench report`."""

    results_dir: str = ""  # results folder of an experiment; several, as of several machines, separated by commas
    output: str | None = None  # folder to write to; null: the results folder, of several results/combined

    def __post_init__(self) -> None:
        require(self.results_dir != "", "say which folder: results_dir=FOLDER or results_dir=FOLDER,FOLDER")


def choose_folders(settings: FoldersConfig) -> tuple[tuple[Path, ...], Path]:
    """Return the folders to read, each once, and the one to write to, which is made. Raises InputError."""
    text = settings.results_dir
    folders = (Path(text),) if Path(text).is_dir() else tuple(Path(part) for part in text.split(",") if part)
    for folder in folders:
        require(folder.is_dir(), f"results_dir {folder} is not a folder")
    folders = tuple({folder.resolve(): folder for folder in folders}.values())
    output = Path(settings.output) if settings.output else folders[0] if len(folders) == 1 else COMBINED
    output.mkdir(parents=True, exist_ok=True)
    return folders, output


def read_folder_tables(folders: Sequence[Path], output: Path) -> Tables:
    """Read the tables of all folders as one, and keep them in `output/tables`.

    A folder that brings tables alone is read as it is; a folder other than `output` is not written to. Machines stay
    apart by their `machine.*` columns: nothing downstream averages over them. A run that lies in two folders counts
    once. Raises InputError if two different runs have one run_id.
    """
    if [folder.resolve() for folder in folders] == [output.resolve()] and not _has_tables_only(output):
        return collect(output)
    parts = [read_folder(folder) for folder in folders]
    if [folder.resolve() for folder in folders] == [output.resolve()]:
        return parts[0]
    merged = merge(parts)
    _write(merged, output)
    return merged


def read_folder(folder: Path) -> Tables:
    """Read the tables of one folder and write nothing: those of its runs, or collected ones that lie there alone."""
    return load_tables(folder) if _has_tables_only(folder) else read_runs(folder)


def _has_tables_only(folder: Path) -> bool:
    return not (folder / "runs").is_dir() and (folder / "tables" / "runs.csv").exists()


def merge(parts: Sequence[Tables]) -> Tables:
    """Put tables of several folders below each other, each run once. Raises InputError for two runs of one run_id."""
    seen: dict[str, tuple[str, ...]] = {}
    kept: list[Tables] = []
    for part in parts:
        runs = _with_machine(part.runs)
        keys = {str(row["run_id"]): tuple(str(row.get(c)) for c in _SAME) for row in runs.to_dict("records")}
        clash = sorted(run_id for run_id in keys if seen.get(run_id, keys[run_id]) != keys[run_id])
        if clash:
            raise InputError(f"two different runs have the run_id {clash[0]}: their folders cannot be read at once")
        kept.append(_only(Tables(runs, part.stages, part.scores, part.history), set(keys) - set(seen)))
        seen |= keys
    frames = {name: [getattr(part, name) for part in kept] for name in TABLES}
    whole = {
        name: pd.concat([frame for frame in found if len(frame)] or found[:1], ignore_index=True)
        for name, found in frames.items()
    }
    unfinished: tuple[Unfinished, ...] = tuple(item for part in parts for item in part.unfinished)
    return Tables(whole["runs"], whole["stages"], whole["scores"], whole["history"], unfinished)


def _only(tables: Tables, wanted: set[str]) -> Tables:
    """The rows of some runs."""
    runs, stages, scores, history = (
        frame[frame["run_id"].isin(wanted)] for frame in (tables.runs, tables.stages, tables.scores, tables.history)
    )
    return Tables(runs, stages, scores, history)


def _with_machine(runs: pd.DataFrame) -> pd.DataFrame:
    """A run that died before it could say where it ran takes its folder's machine, if that is the only one there."""
    columns = [str(column) for column in runs if str(column).startswith("machine.")]
    if "machine.id" not in columns or len(set(runs["machine.id"].dropna())) != 1:
        return runs
    unknown = runs["machine.id"].isna()
    known = runs.loc[~unknown, columns].iloc[0]
    filled = {column: runs[column].astype("object").mask(unknown, known[column]) for column in columns}
    return runs.assign(**{name: column.infer_objects() for name, column in filled.items()}) if unknown.any() else runs


def _write(tables: Tables, output: Path) -> None:
    (output / "tables").mkdir(parents=True, exist_ok=True)
    unfinished = pd.DataFrame([(item.directory, item.why) for item in tables.unfinished], columns=["directory", "why"])
    frames = {name: getattr(tables, name) for name in TABLES} | {"unfinished": unfinished}
    for name, frame in frames.items():
        write_atomically(output / "tables" / f"{name}.csv", frame_to_csv(frame))


def find_run_file(folders: Sequence[Path], run_id: str, name: str) -> Path:
    """Return the path of a file of a run's directory.

    Args:
        folders: Results folders in which the directory may lie, at least one.
        run_id: Name of the directory.
        name: Name of the file.

    Returns:
        The path in the first folder that has it; where none does, where the first one would.
    """
    paths = [folder / "runs" / run_id / name for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])
