"""The command line: verbs, and the settings of runs.

python -m bench experiment=headline dataset=folder ...    an experiment: a list of sweeps
python -m bench pipeline=tiled_cnn dataset=folder ...     one run
python -m bench -m superpixels.superpixel_size=50,100     a sweep of one's own
python -m bench predict|report|doctor|perf ...            verbs, which have settings of their own
"""

import io
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.config import InputError
from bench.settings import describe_settings, read_settings

USAGE = """\
Measures how much accuracy you give up, and how much time and memory you save, when you segment a graph of superpixels
instead of the pixels: a graph network beside a tiled U-Net, on your own microscopy images.

usage:
  python -m bench experiment=NAME [SETTING=VALUE ...]    every run of an experiment, then tables, figures and a report
  python -m bench SETTING=VALUE ...                      one run; with -m and values such as seed=0,1,2 a sweep
  python -m bench VERB [SETTING=VALUE ...]               VERB --help explains each of its settings

examples:
  python -m bench experiment=headline dataset=folder dataset.root=path/to/folder
  python -m bench predict run=results/headline image=slide.tif out=mask.tif
  python -m bench report results_dir=results/headline
"""
QUESTIONS = """\
more:
  python -m bench --cfg job                  every setting of a run with its value; add settings to see what they change
  python -m bench --cfg job experiment=NAME  the same for an experiment
  python -m bench --version
"""


@dataclass(frozen=True)
class Verb:
    """A verb of the command line: what it does, and `module:name` of its function and of its settings' class."""

    summary: str
    function: str
    settings: str
    reads_dataset: bool = False  # whether it takes the settings of a data set too, as a run does

    def load(self) -> tuple[Callable[..., int], type]:
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
    "index": Verb(
        "list several results folders on one page, with what each of them shows",
        "bench.report.index:main",
        "bench.report.index:IndexConfig",
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
    "superpixels": Verb(
        "scan superpixel settings on training images by what they could reach, without training",
        "bench.scan.command:main",
        "bench.scan.command:ScanConfig",
        reads_dataset=True,
    ),
    "export": Verb(
        "write a data set in the layout of another program, which can then be compared on the same images",
        "bench.export.nnunet:main",
        "bench.export.nnunet:ExportConfig",
        reads_dataset=True,
    ),
    "network": Verb(
        "write the network of a CNN run as TorchScript, ONNX or a model of bioimage.io, compared with the run",
        "bench.export.network:main",
        "bench.export.network:NetworkConfig",
    ),
    "plan": Verb(
        "say what each method will need for images of a size, from the rates in a results folder",
        "bench.tables.plan:main",
        "bench.tables.plan:PlanConfig",
    ),
    "graphs": Verb(
        "write the graphs of a data set as torch_geometric reads them, for a trainer of your own",
        "bench.export.graphs:main",
        "bench.export.graphs:GraphsConfig",
        reads_dataset=True,
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
    "segmenters": Verb(
        "time superpixels beside those of OpenCV, SimpleITK, scikit-image and bioimage-cpp on training images",
        "bench.perf.segmenters:main",
        "bench.perf.segmenters:SegmentersConfig",
        reads_dataset=True,
    ),
    "inferer": Verb(
        "time our tiled inference beside MONAI's", "bench.perf.inferer:main", "bench.perf.inferer:InfererConfig"
    ),
    "overhead": Verb(
        "measure what the harness and its meter cost",
        "bench.perf.overhead:main",
        "bench.perf.overhead:OverheadConfig",
    ),
    "floor": Verb(
        "list the memory with which each arm starts, and the libraries behind it",
        "bench.perf.floor:main",
        "bench.perf.floor:FloorConfig",
    ),
}
HELP = ("--help", "-h", "help")
INTERRUPTED = 130  # the exit code, as shells have it
OPEN_FILES = 10240  # that a process asks to be allowed: what macOS grants, and more than the usual 1024


def main(arguments: Sequence[str]) -> int:
    """Run a verb or an experiment, and print in one sentence what stops it.

    Args:
        arguments: Words of the command line.

    Returns:
        The exit code: 0 fine, 1 a run failed, 2 the input cannot be used, 130 interrupted.
    """
    escape_unprintable()
    allow_open_files()
    try:
        with interrupt_on_terminate():
            code = run_words(arguments)
            sys.stdout.flush()
            return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not is_output_closed():
            raise
        return 1
    except KeyboardInterrupt:
        with ignore_interrupts():
            again = shlex.join(["python", "-m", "bench", *arguments])
            print(f"\ninterrupted: {_describe_rest(arguments)}:\n  {again}", file=sys.stderr)
        return INTERRUPTED


def is_output_closed() -> bool:
    """Return whether nobody reads the output any more, as after `| head`; what is still to be written goes nowhere."""
    try:
        print(flush=True)  # what could not be written is gone, and an empty line tells no less
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def leave_uninterrupted() -> None:
    """Let no further Ctrl-C disturb the end of the process, which waits for workers and threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def run_words(arguments: Sequence[str]) -> int:
    """Run a verb or an experiment. Returns the exit code; raises InputError."""
    if arguments and arguments[0] in VERBS:
        return run_verb(arguments[0], arguments[1:])
    if not arguments or any(argument in HELP for argument in arguments):
        return print_help()
    if "--version" in arguments:
        return print_version()
    check_verb(arguments[0])
    return run_experiment(list(arguments))


@contextmanager
def interrupt_on_terminate() -> Iterator[None]:
    """Let SIGTERM, as schedulers send it, end the block as Ctrl-C does, with its cleaning up and its sentence."""
    with _handle(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Let no further Ctrl-C disturb the block: what is left to do is short, and a traceback would hide its words."""
    with _handle(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def _handle(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals so within the block; Python lets only the main thread do that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


def allow_open_files() -> None:
    """Let this process, and those that it starts, keep `OPEN_FILES` files open, or as many as the system grants."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def escape_unprintable() -> None:
    """Print what the terminal's encoding cannot show as an escape, instead of failing half-way through a line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_verb(word: str) -> None:
    """Refuse a first word that is neither a verb, nor an option, nor a setting. Raises InputError."""
    if "=" not in word and word[:1] not in ("-", "~", "+"):
        close = get_close_matches(word, VERBS, 1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(f"{word!r} is not a verb{meant}: verbs are {', '.join(VERBS)}; settings are name=value")


def print_help() -> int:
    """Print what there is to type: verbs, experiments, examples. Returns the exit code."""
    from bench.sweeps.compose import describe_experiments

    verbs = {name: verb.summary for name, verb in VERBS.items()}
    print(USAGE)
    for title, entries in (("verbs", verbs), ("experiments", describe_experiments())):
        print(f"{title}:", *(f"  {name:18}{summary}" for name, summary in entries.items()), "", sep="\n")
    print(QUESTIONS, end="")
    return 0


def print_version() -> int:
    """Print this project's version, its commit where it is a checkout, and Python's. Returns the exit code."""
    from bench.versions import git_commit, project_version

    commit = git_commit()
    print(f"gnn-vs-cnn {project_version()}{f' ({commit})' if commit else ''}, Python {sys.version.split()[0]}")
    return 0


def run_verb(name: str, arguments: Sequence[str]) -> int:
    """Run the verb `name` with `name=value` arguments, or print its help. Returns its exit code; raises InputError."""
    verb = VERBS[name]
    if any(argument in HELP for argument in arguments):
        _, settings = verb.load()
        print(f"python -m bench {name} name=value ...: {verb.summary}.\n\n{describe_settings(settings)}")
        return 0
    function, settings = verb.load()
    if not verb.reads_dataset:
        return function(read_settings(settings, arguments, name))
    from bench.sweeps.compose import compose_dataset

    own, words = split_dataset_words(arguments)
    return function(read_settings(settings, own, name), compose_dataset(words))


def split_dataset_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that are a verb's own, and those that choose and set a data set as a run has them."""
    chosen = [word for word in arguments if word.startswith(("dataset=", "dataset."))]
    return [word for word in arguments if word not in chosen], chosen


def _describe_rest(arguments: Sequence[str]) -> str:
    """What an interruption leaves, and what the same command does then."""
    verb = arguments[0] if arguments and arguments[0] in VERBS else ""
    if verb == "predict":
        rest = "with skip_existing=true it goes on with the images that have none"
        return f"no mask is left that is not whole, and this starts again ({rest})"
    return "this starts again" if verb else "finished runs are kept, and this goes on with the others"


def run_experiment(arguments: list[str]) -> int:
    """Compose and check every run before the first one starts; then do them, and report each results folder once.

    Args:
        arguments: Words of the command line.

    Returns:
        The exit code: 1 where a run did not end well or a report cannot be written.

    Raises:
        InputError: A setting, the data or a results folder cannot be used.
    """
    from bench.sweeps.temporary import use_temporary_folder

    statuses: dict[str, list[str]] = {}
    try:
        with use_temporary_folder():
            _sweep(arguments, statuses)
    finally:
        reported = [_report(results_dir) for results_dir in statuses]
    for results_dir in statuses:
        suggest_next(results_dir)
    return int(any(reported) or any(status != "ok" for folder in statuses.values() for status in folder))


def _sweep(arguments: list[str], statuses: dict[str, list[str]]) -> None:
    """Do the runs of a command line; `statuses` gathers how they ended, by results folder."""
    from bench.sweeps.compose import compose, prepare_words
    from bench.sweeps.expected import describe_plan
    from bench.sweeps.launch import check_launchers, compose_launcher, launch, split_words, tune
    from bench.sweeps.overrides import find_config_dir
    from bench.sweeps.preparation import announce_disturbers, prepare_jobs
    from bench.sweeps.sweep import plan_runs, sweep

    config_dir = find_config_dir(arguments)
    what, how = split_words(prepare_words(arguments))
    check_launchers(how)
    jobs = compose(what)
    compose_launcher(how, "", config_dir)
    tuning = bool(jobs) and jobs[0].config.experiment.kind == "tuning"
    jobs = jobs if tuning else prepare_jobs(jobs)  # leaves out what the images do not allow
    print(describe_plan(jobs), end="", file=sys.stderr, flush=True)
    announce_disturbers(jobs)
    if tuning:
        statuses |= tune(jobs[0].config.experiment, what, how, config_dir)
    elif how:
        launch(plan_runs(jobs), how, statuses)
    else:
        sweep(plan_runs(jobs), statuses)


def suggest_next(results_dir: str) -> None:
    """Print the command that uses the best run of a results folder, where there is one."""
    from bench.predict.choice import suggest_prediction

    command = suggest_prediction(Path(results_dir))
    if command:
        print(f"next: segment an image with the run whose validation score is best\n  {command}")


def _report(results_dir: str) -> int:
    """Report a results folder after its sweep; what cannot be written is printed, and does not hide how runs ended."""
    try:
        return run_verb("report", [f"results_dir={results_dir}"])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
