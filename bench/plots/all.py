"""Draws what can be drawn for every data set and machine of a result folder, and says why the rest cannot."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench.files import write_atomically
from bench.plots import curves, panels, traces
from bench.plots.breakeven import plot_break_even
from bench.plots.data import describe_drawn, make_table
from bench.plots.decomposition import plot_decomposition
from bench.plots.frontier import plot_frontier
from bench.plots.learning import plot_learning_curves
from bench.plots.scale import QUANTITIES, plot_scale
from bench.plots.speed import plot_time_to_score
from bench.plots.style import Annotated, NoDataError, Plotted, apply_style, make_slug, save
from bench.tables.collect import Tables
from bench.tables.comparison import list_configurations
from bench.tables.frontier import MEMORY, PREDICTION, TRAINING
from bench.tables.scale import EXPERIMENT, is_scale, make_scale_points

_SIZE = (
    "Each point is a run of one training, one validation and one test image. More field: objects keep their size and "
    "there are more of them; more magnification: the same field has more pixels, and objects and superpixels grow "
    "with it."
)
_FRONTIER = (
    "Every configuration that was run, its mean over seeds; small dots are runs, bars 95 % intervals of the mean "
    "from three runs on. Each arm's line is the best it reaches for at most that cost; letters are explained in the "
    "table of the frontier. Up and to the left is better."
)
_FEW = "Of more than six arms, those that did best on validation images."
_FROM_RUNS = ("panels", "memory_trace")
_MISSING = "Where scores come above 0.9, equal ratios of what is missing to 1 are equally far apart."
_CLOCK = "Building superpixels and graphs of the training and validation images is on the clock."
_CAPTIONS = {
    "score_vs_nodes": (
        "Score against number of superpixels",
        "Dice is macro over the classes and pooled over all test pixels; bars run from the least to the greatest seed. "
        "The dashed line is what the majority labelling of the superpixels would score. " + _FEW,
    ),
    "score_vs_memory": (
        "Score against peak memory",
        "Means over seeds, bars from the least to the greatest; the number beside a point is its superpixel size in "
        "pixels. Up and to the left is better. " + _FEW,
    ),
    "score_vs_time": (
        "Score against training time",
        f"Means over seeds, bars from the least to the greatest. {_CLOCK} Up and to the left is better. {_FEW}",
    ),
    "frontier_memory": ("Frontier: score against peak memory", _FRONTIER),
    "frontier_time": ("Frontier: score against training time", "As above. " + _CLOCK),
    "frontier_prediction": ("Frontier: score against prediction time", "As above. Superpixels are on the clock."),
    "break_even": (
        "Break-even: when the GNN takes less time",
        "Computed from the rates of both arms' chosen configurations on this machine; each panel varies one quantity "
        "and keeps the others as in these runs. Brackets are 95 % intervals over redrawn runs, "
        "too narrow where these are few.",
    ),
    "decomposition": (
        "Where the accuracy goes",
        "From the pixel network down to the graph network without edges; dots are runs, brackets 95 % intervals over "
        "seeds of the paired difference. The configurations are those that did best on validation images.",
    ),
    "time_to_score": (
        "Time to the same score",
        "Of every method, or of more than six those that did best on validation images, whatever the budget of a fit: "
        "when its best validation so far first reached a score. A line ends where one of its seeds stops; shaded are "
        f"95 % intervals over seeds, from three on. {_CLOCK} {_MISSING}",
    ),
    "learning_curves": (
        "Learning curves",
        "One line per seed of the configuration that did best on the validation images. Time includes building "
        f"superpixels and graphs. {_MISSING}",
    ),
    "panels": (
        "Test images",
        "Above: the truth and each arm's mask over the image; below: the image and each arm's wrong pixels. The crop "
        "is the part of the image with most class boundaries, chosen from the truth alone.",
    ),
    "memory_trace": (
        "Memory over time",
        "One run of each arm's chosen configuration, its stages shaded. Samples, so short peaks may be missed; the "
        "table holds the exact peaks where they are known.",
    ),
    "scale_prediction": ("Prediction time against image size", _SIZE),
    "scale_preparing": ("Preparing time against image size", _SIZE),
    "scale_memory": (
        "Peak memory against image size",
        _SIZE + " The larger of the peaks of training and of prediction; a cross marks a size for which memory was not "
        "enough.",
    ),
    "scale_net": ("Training's own memory against image size", _SIZE + " What was loaded before is taken off."),
    "scale_score": (
        "Score against image size",
        _SIZE + " All fits have the same few steps; the untiled network fewer.",
    ),
    "scale_time": ("Time to equal score against image size", _SIZE + " Superpixels and validation are on the clock."),
}


def plot_all(results_dir: Path, tables: Tables, folders: Sequence[Path] = ()) -> list[Plotted]:
    """Draw every figure into `results_dir/figures`.

    Args:
        results_dir: Results folder to write to.
        tables: All tables.
        folders: Those with the run directories, where it is not `results_dir` itself.

    Returns:
        Every figure; one that lacks its data has `skipped` with the reason, and earlier files of it are removed.
    """
    runs = list_configurations(tables)
    folder = results_dir / "figures"
    folder.mkdir(exist_ok=True)
    alone = not any((source / "runs").is_dir() for source in folders or (results_dir,))
    with apply_style():
        drawn = [
            _draw(folder, kind, suffix, heading, partial(draw, group), alone)
            for group, suffix, heading in split_groups(runs)
            for kind, draw in list_drawings(folders or (results_dir,), tables).items()
        ]
        return drawn + [
            _draw(folder, kind, suffix, heading, partial(plot_scale, points, quantity), alone)
            for points, suffix, heading in split_points(make_scale_points(runs, tables.stages, tables.history))
            for kind, quantity in QUANTITIES.items()
        ]


def split_groups(runs: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str]]:
    """Yield the runs of each data set and machine, with a suffix for file names and a heading.

    Runs of the experiment `scale` are left out: each of its sizes is a data set of its own (`split_points`).
    """
    runs = runs[~is_scale(runs)]
    machines = sorted(runs["machine"].unique())
    for (dataset, machine), group in runs.groupby(["dataset", "machine"]):
        several = len(machines) > 1
        suffix = make_slug(str(dataset)) + (f"-machine{machines.index(machine) + 1}" if several else "")
        yield group, suffix, f"{dataset}" + (f" on {machine}" if several else "")


def split_points(points: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str]]:
    """Yield the points of cost against size of each data set and machine, as `split_groups` does runs."""
    machines = sorted(points["machine"].unique())
    for (dataset, machine), group in points.groupby(["dataset", "machine"]):
        several = len(machines) > 1
        number = f"-machine{machines.index(machine) + 1}" if several else ""
        yield (
            group,
            f"{EXPERIMENT}-{make_slug(str(dataset))}{number}",
            f"{dataset}" + (f" on {machine}" if several else ""),
        )


def list_drawings(folders: Sequence[Path], tables: Tables) -> dict[str, Callable[[pd.DataFrame], Figure | Annotated]]:
    """List the kinds of figures with the functions that draw them from the runs of a data set."""
    return {
        "score_vs_nodes": curves.plot_score_vs_nodes,
        "score_vs_memory": curves.plot_score_vs_memory,
        "score_vs_time": curves.plot_score_vs_time,
        "frontier_memory": partial(plot_frontier, cost=MEMORY),
        "frontier_time": partial(plot_frontier, cost=TRAINING),
        "frontier_prediction": partial(plot_frontier, cost=PREDICTION),
        "break_even": lambda group: plot_break_even(group, tables.stages),
        "decomposition": plot_decomposition,
        "time_to_score": lambda group: plot_time_to_score(group, tables.history),
        "learning_curves": lambda group: plot_learning_curves(group, tables.history),
        "panels": lambda group: panels.draw_kept(folders, group),
        "memory_trace": lambda group: traces.draw_kept_traces(folders, group),
    }


def _draw(
    folder: Path, kind: str, suffix: str, heading: str, draw: Callable[[], Figure | Annotated], alone: bool
) -> Plotted:
    """`alone`: the tables came without run directories, so that what only these could show is kept as it was drawn."""
    title, caption = _CAPTIONS[kind]
    name = f"{kind}-{suffix}"
    paths = {ending: folder / f"{name}.{ending}" for ending in ("png", "svg", "csv")}
    try:
        drawn = draw()
    except NoDataError as error:
        if alone and kind in _FROM_RUNS and paths["png"].exists():
            kept = paths["csv"] if paths["csv"].exists() else None
            return Plotted(name, suffix, title, f"{title}: {heading}", caption, paths["png"], table=kept)
        for old in paths.values():  # of an earlier collection, no longer true
            old.unlink(missing_ok=True)
        return Plotted(name, suffix, title, f"{title}: {heading}", skipped=str(error))
    figure, note = (drawn.figure, drawn.note) if isinstance(drawn, Annotated) else (drawn, "")
    caption = " ".join(part for part in (caption, note) if part)
    png, svg = save(figure, folder, name)
    words, content = describe_drawn(figure), make_table(figure)
    if content:
        write_atomically(paths["csv"], content)
    table = paths["csv"] if content else None
    return Plotted(name, suffix, title, f"{title}: {heading}", caption, png, svg, words=words, table=table)
