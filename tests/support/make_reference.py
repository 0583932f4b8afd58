"""`make reference DATA=path/to/sets`: the runs behind every table of results/reference, all by one version of the code.

They run in a checkout of their own below results/reference-runs, of the commit at which they were begun: new commits
do not mix with them, and a stopped list goes on where it was. What is committed of each folder (tables, report,
figures as PNG) is copied to results/reference as soon as the folder is complete.
"""

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from bench.measure.nvml import open_gpus

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
WORK = ROOT / "results" / "reference-runs"  # ignored by git, as all results but the reference are
TREE = "checkout"
SETS = "path/to/sets"  # what stands for DATA in what is committed
RUN_FAILED = 1  # the exit code of an experiment of which a run failed


@dataclass(frozen=True)
class Entry:
    """A folder of results/reference.

    Attributes:
        name: Name of the folder.
        commands: What to run, words after `python -m bench`, with the data sets in braces.
        minutes: How long all of them take on two quiet cores.
        rough: Whether that is a guess.
        table: The only file that is kept, of commands that are no experiment; "": tables, report and figures.
        failures: Whether some of its runs are meant to fail, such as those that ask for more memory than there is.
        gpu: Whether a GPU is needed.
    """

    name: str
    commands: tuple[str, ...]
    minutes: float
    rough: bool = False
    table: str = ""
    failures: bool = False
    gpu: bool = False

    @property
    def sets(self) -> list[str]:
        """Names of the data sets that the commands read, in the order of the commands."""
        fields = [field for command in self.commands for _, field, _, _ in Formatter().parse(command) if field]
        return list(dict.fromkeys(fields))

    def fill_commands(self, data: Path | None) -> list[list[str]]:
        """Return the words of each command, with the folders of the data sets below `data`."""
        paths = {name: str((data or Path(SETS)) / name) for name in self.sets}
        return [[word.format(**paths) for word in command.split()] for command in self.commands]


def read_entries(path: Path = REFERENCE / "runs.toml") -> list[Entry]:
    """Read the list of the folders, in the order in which they are made."""
    with path.open("rb") as file:
        return [Entry(name, tuple(found.pop("commands")), **found) for name, found in tomllib.load(file).items()]


def main() -> int:
    """Make what is missing, or list it. Returns the exit code, 2 where something must be given or cleaned up first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with a folder for each data set")
    parser.add_argument("--only", action="append", default=[], help="a folder of results/reference; may be repeated")
    parser.add_argument("--list", action="store_true", help="print what would run, and how long that takes")
    parser.add_argument("--begin", action="store_true", help="begin anew, at the commit that is checked out now")
    given = parser.parse_args()
    entries = read_entries()
    unknown = sorted({*given.only} - {entry.name for entry in entries})
    if unknown:
        print(f"--only {unknown[0]} is no folder of runs.toml: {', '.join(e.name for e in entries)}", file=sys.stderr)
        return 2
    chosen = [entry for entry in entries if entry.name in given.only or not given.only]
    if given.list:
        print(describe_entries(chosen, WORK))
        return 0
    data = given.data.resolve() if given.data else None
    missing = {entry.name: find_missing(entry, data) for entry in chosen}
    possible = [entry for entry in chosen if not missing[entry.name]]
    for entry in chosen:
        if missing[entry.name]:
            print(f"left out: {entry.name}, since there is no {missing[entry.name][0]}", file=sys.stderr)
    if given.begin and WORK.exists():
        remove_checkout(WORK)
    return max((make_entry(entry, data, WORK) for entry in possible), default=0)


def find_missing(entry: Entry, data: Path | None) -> list[str]:
    """Return what an entry needs and is not here: a GPU, data sets below `data`."""
    absent = [f"{name} below DATA" for name in entry.sets if data is None or not (data / name).is_dir()]
    return [*(["GPU"] if entry.gpu and not open_gpus()[0] else []), *absent]


def describe_entries(entries: Sequence[Entry], work: Path) -> str:
    """Return a line for each entry, whether it is made, its minutes and its commands, and the time that is left."""
    lines, left = [], 0.0
    for entry in entries:
        made = is_made(entry, work)
        left += 0 if made else entry.minutes
        about, where = "about " if entry.rough else "", " with a GPU" if entry.gpu else ""
        lines.append(f"{entry.name}: {'made' if made else f'{about}{entry.minutes:g} min{where}'}")
        lines += [f"    python -m bench {' '.join(words)}" for words in entry.fill_commands(None)]
    return "\n".join([*lines, f"left: about {left / 60:.1f} h on two quiet cores"])


def is_made(entry: Entry, work: Path) -> bool:
    """Whether the entry was completed by the commit that the runs were begun at."""
    return (work / "made" / entry.name).is_file()


def make_entry(entry: Entry, data: Path | None, work: Path) -> int:
    """Run the commands of an entry in the checkout and publish what they leave. Returns the exit code of the runs."""
    if is_made(entry, work):
        print(f"{entry.name} is made already", file=sys.stderr)
        return 0
    tree = check_out(work)
    results = work / entry.name
    for words in entry.fill_commands(data):
        print(f"{entry.name}: python -m bench {' '.join(words)}", file=sys.stderr)
        code = subprocess.run([sys.executable, "-m", "bench", *words, f"results_dir={results}"], cwd=tree).returncode
        if code != 0 and not (entry.failures and code == RUN_FAILED):
            print(f"{entry.name} is not complete (exit code {code}); the same command goes on", file=sys.stderr)
            return code
    public = {str(results): f"results/{entry.name}", **({} if data is None else {str(data): SETS})}
    publish(entry, results, REFERENCE / entry.name, public)
    (work / "made").mkdir(exist_ok=True)
    (work / "made" / entry.name).touch()
    return 0


def check_out(work: Path) -> Path:
    """Return the checkout of the runs, made at the current commit if there is none.

    Raises:
        SystemExit: The working tree has changes, so that its code would not be the commit's.
    """
    tree = work / TREE
    if not tree.exists():
        changed = run_git("status", "--porcelain", "--", "bench", "models", "conf").strip()
        if changed:
            raise SystemExit(
                "bench, models or conf have changes that are not committed: commit them, since rows name it"
            )
        work.mkdir(parents=True, exist_ok=True)
        run_git("worktree", "add", "--detach", str(tree), "HEAD")
    return tree


def remove_checkout(work: Path) -> None:
    """Remove the checkout and what was run in it."""
    if (work / TREE).exists():
        run_git("worktree", "remove", "--force", str(work / TREE))
    shutil.rmtree(work)


def publish(entry: Entry, results: Path, target: Path, public: Mapping[str, str]) -> None:
    """Copy what is committed of a results folder, in place of what was there.

    Args:
        entry: What was made.
        results: The folder that its commands wrote.
        target: Folder of results/reference.
        public: What stands in the tables and the report for each path of this machine.
    """
    if entry.table:
        kept = [results / entry.table]
    else:
        kept = [results / "report.md", *(results / "tables").glob("*.csv"), *(results / "figures").glob("*.png")]
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for path in kept:
        place = fresh / path.relative_to(results)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            shutil.copyfile(path, place)
        else:
            place.write_bytes(replace_paths(path.read_bytes(), public))
    shutil.rmtree(target, ignore_errors=True)  # now that all of the new folder is there
    fresh.rename(target)


def replace_paths(text: bytes, public: Mapping[str, str]) -> bytes:
    """Return a text, whatever its ends of lines, with other words for paths of this machine."""
    for path, words in public.items():
        text = text.replace(path.encode(), words.encode())
    return text


def run_git(*words: str) -> str:
    """Return what git prints in the repository."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
