"""The command line: Hydra settings in, isolated runs out.

python -m bench experiment=quick                          an experiment: a list of sweeps
python -m bench pipeline=tiled_cnn dataset=folder ...     one run
python -m bench -m superpixels.superpixel_size=50,100     Hydra's own sweep
python -m bench collect|report|doctor|perf ...            verbs that need no composition
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from bench.config import InputError
from bench.settings import describe_settings, read_settings
from bench.sweeps.compose import compose
from bench.sweeps.jobs import prepared


@dataclass(frozen=True)
class Verb:
    """A verb of the command line: what it does, and `module:name` of its function and of its settings' class."""

    summary: str
    function: str
    settings: str

    def load(self) -> tuple[Callable[[Any], int], type]:
        """Return the function, which takes the settings and returns the exit code, and the settings' class."""
        function, settings = (_load(place) for place in (self.function, self.settings))
        return function, settings


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


VERBS = {
    "report": Verb(
        "collect the runs of a results folder, draw the figures and write the report, any time",
        "bench.report.command:main",
        "bench.tables.folders:FoldersConfig",
    ),
    "collect": Verb(
        "collect the runs of a results folder into tables and print the comparison",
        "bench.tables.command:main",
        "bench.tables.folders:FoldersConfig",
    ),
    "predict": Verb(
        "segment images of any size with a trained arm",
        "bench.predict.command:main",
        "bench.predict.prediction:PredictConfig",
    ),
    "scene": Verb(
        "generate a scene of any size, to try prediction with",
        "bench.datasets.scene_file:main",
        "bench.datasets.scene_file:SceneConfig",
    ),
    "doctor": Verb(
        "say what can be measured on this machine, and whether it is fit to publish from",
        "bench.measure.doctor:main",
        "bench.measure.doctor:DoctorConfig",
    ),
    "perf": Verb(
        "time superpixels, features, edges and whole graphs beside scikit-image and the published recipe",
        "bench.perf.graph_steps:main",
        "bench.perf.graph_steps:PerfConfig",
    ),
    "inferer": Verb(
        "time our tiled inference beside MONAI's", "bench.perf.inferer:main", "bench.perf.inferer:InfererConfig"
    ),
    "overhead": Verb(
        "measure what the harness and its meter cost",
        "bench.perf.overhead:main",
        "bench.perf.overhead:OverheadConfig",
    ),
}
HELP = ("--help", "-h", "help")


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 fine, 1 a run failed, 2 the input cannot be used, 130 interrupted."""
    try:
        if arguments and arguments[0] in VERBS:
            return run_verb(arguments[0], arguments[1:])
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


def run_verb(name: str, arguments: Sequence[str]) -> int:
    """Run the verb `name` with `name=value` arguments, or print its help. Returns its exit code; raises InputError."""
    verb = VERBS[name]
    if any(argument in HELP for argument in arguments):
        settings = verb.load()[1]
        print(f"python -m bench {name} name=value ...: {verb.summary}.\n\n{describe_settings(settings)}")
        return 0
    function, settings = verb.load()
    return function(read_settings(settings, arguments, name))


def _left(arguments: Sequence[str]) -> str:
    """What an interruption leaves, and what the same command does then."""
    verb = arguments[0] if arguments and arguments[0] in VERBS else ""
    if verb == "predict":
        return (
            "no mask is left that is not whole, and this starts again (add overwrite=true where some are whole already)"
        )
    return "this starts again" if verb else "finished runs are kept, and this goes on with the others"


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
    from bench.sweeps.expected import describe_plan
    from bench.sweeps.launch import check_installed, composed, launch, split, tune
    from bench.sweeps.sweep import plan, sweep

    what, how = split(arguments)
    check_installed(how)
    jobs = compose(what)
    composed(how, "")
    print(describe_plan(jobs), end="", file=sys.stderr, flush=True)
    statuses: dict[str, list[str]] = {}
    try:
        if jobs and jobs[0].config.experiment.kind == "tuning":
            statuses |= tune(jobs[0].config.experiment, what, how)
        elif how:
            launch(plan(prepared(jobs)), how, statuses)
        else:
            sweep(plan(prepared(jobs)), statuses)
    finally:
        reported = [_report(results_dir) for results_dir in statuses]
    return int(any(reported) or any(status != "ok" for folder in statuses.values() for status in folder))


def _report(results_dir: str) -> int:
    """Report a results folder after its sweep; what cannot be written is printed, and does not hide how runs ended."""
    try:
        return run_verb("report", [f"results_dir={results_dir}"])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
