"""The command line: Hydra settings in, isolated runs out.

python -m bench experiment=quick                          an experiment: a list of sweeps
python -m bench pipeline=tiled_cnn dataset=folder ...     one run
python -m bench -m superpixels.superpixel_size=50,100     Hydra's own sweep
python -m bench collect|report|doctor|perf ...            verbs that need no composition
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from bench.config import InputError
from bench.sweeps.compose import compose
from bench.sweeps.jobs import prepared

VERBS = {
    "collect": "bench.tables.command",
    "report": "bench.report.command",
    "doctor": "bench.measure.doctor",
    "perf": "bench.perf.graph_steps",
    "inferer": "bench.perf.inferer",
    "overhead": "bench.perf.overhead",
    "predict": "bench.predict.command",
    "scene": "bench.datasets.scene_file",
}


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 fine, 1 a run failed, 2 the input cannot be used, 130 interrupted."""
    try:
        if arguments and arguments[0] in VERBS:
            return _verb(arguments[0])(list(arguments[1:]))
        return _bench(list(arguments))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        again = shlex.join(["python", "-m", "bench", *arguments])
        print(f"\ninterrupted: {_left(arguments)}:\n  {again}", file=sys.stderr)
        return 130
    return 2


def _left(arguments: Sequence[str]) -> str:
    """What an interruption leaves, and what the same command does then."""
    verb = arguments[0] if arguments and arguments[0] in VERBS else ""
    if verb == "predict":
        return (
            "no mask is left that is not whole, and this starts again (add overwrite=true where some are whole already)"
        )
    return "this starts again" if verb else "finished runs are kept, and this goes on with the others"


def _verb(name: str) -> Callable[[list[str]], int]:
    return cast(Callable[[list[str]], int], import_module(VERBS[name]).main)


def _sentence(error: BaseException) -> str:
    """Hydra's, OmegaConf's and YAML's messages in one line, outermost first."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = [str(words) for words in (error.context, error.problem) if words]
        return f"{mark.name}, line {mark.line + 1}, cannot be read as YAML: {': '.join(what)}"
    errors = [error] if error.__cause__ is None else [error, error.__cause__]
    return ": ".join(dict.fromkeys(_first_line(one) for one in errors if str(one).strip())) or type(error).__name__


def _first_line(error: BaseException) -> str:
    """The first line of a message, the second too where the first only announces it, and the setting's name."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    return said if key in said else f"{said} ({key})"


def _bench(arguments: list[str]) -> int:
    """Compose and check every run before the first one starts; then run them, and report each results folder once."""
    from bench.sweeps.expected import expected
    from bench.sweeps.launch import check_installed, composed, launch, split, tune
    from bench.sweeps.sweep import plan, sweep

    what, how = split(arguments)
    check_installed(how)
    jobs = compose(what)
    composed(how, "")
    print(expected(jobs), end="", file=sys.stderr, flush=True)
    statuses: dict[str, list[str]] = {}
    try:
        if jobs and jobs[0].config.experiment.kind == "tuning":
            statuses |= tune(jobs[0].config.experiment, what, how)
        elif how:
            launch(plan(prepared(jobs)), how, statuses)
        else:
            sweep(plan(prepared(jobs)), statuses)
    finally:
        reported = [
            import_module("bench.report.command").main([f"results_dir={results_dir}"]) for results_dir in statuses
        ]
    return int(any(reported) or any(status != "ok" for folder in statuses.values() for status in folder))
