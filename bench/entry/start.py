"""Where the program starts: it makes sure that `bench` and `models` are its own before it uses them.

Both names are short, and an environment may hold other packages that are called so. This folder is installed once more
under the name `gnn_vs_cnn`, which is ours alone, so that the command `gnn-vs-cnn` can say so even where `bench` is not
ours. Standard library only.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

MARKS = {"bench": "arms.py", "models": "jain2024.py"}  # a file that our package of that name has


def main() -> int:
    """Run the command line. Returns the exit code."""
    stranger = describe_stranger()
    if stranger:
        print(f"error: {stranger}", file=sys.stderr)
        return 2
    from bench import cli

    code = cli.main(sys.argv[1:])
    if code == cli.INTERRUPTED:
        cli.leave_uninterrupted()
    return code


def describe_stranger() -> str:
    """Return a sentence on a package of another project that hides one of ours; empty where both are ours."""
    for name, mark in MARKS.items():
        folder = locate_package(name)
        if folder is None:
            return f"the package {name!r} of gnn-vs-cnn is not there: install gnn-vs-cnn again"
        if not (folder / mark).is_file():
            return (
                f"{folder} is another package called {name!r} and hides the one of gnn-vs-cnn: start in another "
                "folder, take it off PYTHONPATH, or give gnn-vs-cnn an environment of its own (docs/install.md)"
            )
    return ""


def locate_package(name: str) -> Path | None:
    """Return the folder of a package, or of the module, that `import name` finds; None where there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin or name)
