"""Fill results.md and benchmarks.md in docs and the answer in README.md from results/reference: `make docs`.

The templates in docs/templates hold the prose; what stands there in double braces is computed here.
"""

import json
import re
import sys
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.files import write_atomically
from bench.plots.all import split_groups
from bench.report.pair import collect_image_scores, pair_by_seed
from bench.report.scale import make_scale_parts
from bench.report.structures import make_structures_part
from bench.report.verdict import Verdict, reach_verdict
from bench.report.words import count, format_interval
from bench.tables.collect import Tables, load_tables
from bench.tables.comparison import list_configurations
from bench.tables.names import name_arm
from bench.tables.scale import make_scale_points
from bench.tables.speed import reach
from bench.tables.statistics import estimate_paired_difference
from bench.tables.units import GIB, MIB

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
TEMPLATES = ROOT / "docs" / "templates"
BLOCK = re.compile(r"(<!-- answer -->\n).*?(<!-- /answer -->)", re.DOTALL)

ORDER = (  # of the arms in tables; others follow
    *("tiled_cnn", "tiled_cnn slice-wise", "tiled_cnn slice-wise scale=4", "tiled_cnn_3d", "tiled_cnn_25d"),
    *("tiled_cnn scale=2", "tiled_cnn scale=4", "tiled_cnn scale=8"),
    *("superpixel_gnn", "superpixel_mlp", "coarse_gnn", "coarse_gnn painted", "superpixel_trees"),
    *("superpixel_trees hops=[]", "pixel_forest"),
    "threshold",
)
NAMES = {  # where readers of a table need more than the arm's own name
    "superpixel_mlp": "the GNN without edges (MLP)",
    "coarse_gnn": "both together: the GNN with a reduced U-Net's scores",
    "superpixel_trees": "boosted trees on the GNN's measurements",
    "superpixel_trees hops=[]": "the same of each superpixel alone",
    "pixel_forest": "random forest on filter responses of pixels",
    "oracle": "the majority labelling of these superpixels",
}


@cache
def read_tables(folder: str) -> Tables:
    """Read the tables of a folder below results/reference."""
    return load_tables(REFERENCE / folder)


@cache
def list_runs(folder: str) -> pd.DataFrame:
    """List the runs of a folder below results/reference with the arm of each."""
    return list_configurations(read_tables(folder))


@cache
def read_comparison(folder: str) -> pd.DataFrame:
    """Read the comparison of a folder below results/reference, a row for each data set and arm."""
    return pd.read_csv(REFERENCE / folder / "tables" / "comparison.csv")


@cache
def reach_verdicts(folder: str) -> dict[str, Verdict]:
    """Compute the verdict of each data set of a folder, as its report has it."""
    tables = read_tables(folder)
    groups = split_groups(list_runs(folder))
    return {
        str(runs["dataset"].iloc[0]): reach_verdict(heading, runs, tables.scores, tables.history)
        for runs, _, heading in groups
    }


def find_row(folder: str, dataset: str, arm: str) -> pd.Series:
    """Return the only row of an arm; KeyError names it where there is none or several."""
    frame = read_comparison(folder)
    found = frame[(frame["dataset"] == dataset) & (frame["arm"] == arm)]
    if len(found) != 1:
        known = ", ".join(frame[frame["dataset"] == dataset]["arm"])
        raise KeyError(f"{folder}: {len(found)} rows of {arm!r} on {dataset!r}, where there are {known}")
    return found.iloc[0]


def format_range(row: pd.Series, digits: int = 3) -> str:
    """Return the Dice with the least and the greatest of several seeds."""
    text = f"{row['dice']:.{digits}f}"
    if row["seeds"] < 2:
        return text
    low, high = (f"{row[name]:.{digits}f}".removeprefix("0") for name in ("dice_low", "dice_high"))
    return f"{text} [{low}, {high}]"


def format_seconds(seconds: float) -> str:
    """Return seconds with as many digits as they deserve."""
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"


def make_row(folder: str, dataset: str, arm: str, name: str = "") -> str:
    """Return a line of a table: arm, Dice, training, a megapixel predicted, memory; a busy machine is marked."""
    row = find_row(folder, dataset, arm)
    cells = [name or NAMES.get(arm) or name_arm(arm), format_range(row)]
    if arm == "oracle":
        return f"| {' | '.join([*cells, '', '', '', ''])} |"
    return f"| {' | '.join([*cells, *list_costs(folder, row)])} |"


def list_costs(folder: str, row: pd.Series) -> list[str]:
    """Return the cells of training, a megapixel predicted and memory in both; a busy machine is marked."""
    busy = " (shared machine)" if row["contended"] >= row["runs"] else ""  # of some alone times are those of the others
    cells = [f"{format_seconds(row['train_s'])}{busy}", f"{row['predict_s_per_mpx']:.2f} s"]
    predicting = find_more(folder, row["dataset"], row["arm"], "predict_peak_bytes")
    return [*cells, *(f"{peak / MIB:.0f} MiB" for peak in (row["peak_memory_bytes"], predicting))]


def make_rows(folder: str, dataset: str) -> str:
    """Return the lines of all arms of a data set."""
    return "\n".join(make_row(folder, dataset, arm) for arm in list_arms(folder, dataset))


def list_arms(folder: str, dataset: str) -> list[str]:
    """Return the arms of a data set in the order of `ORDER`, then the others, and the ceiling last."""
    frame = read_comparison(folder)
    arms = list(dict.fromkeys(frame[frame["dataset"] == dataset]["arm"]))
    ordered = [arm for arm in ORDER if arm in arms] + [arm for arm in arms if arm not in (*ORDER, "oracle")]
    return [*ordered, *(["oracle"] if "oracle" in arms else [])]


@cache
def read_more(folder: str) -> pd.DataFrame:
    """Return clDice (macro, pooled over test images), memory, the time of prediction, validation scores and steps."""
    tables = read_tables(folder)
    scores = tables.scores
    pooled = scores[(scores["metric"] == "cl_dice") & (scores["split"] == "test") & (scores["image"] == "all")]
    macro = pooled[pooled["class"] == "macro"][["run_id", "value"]].rename(columns={"value": "cl_dice"})
    runs = list_runs(folder).merge(macro, on="run_id", how="left")
    columns = [
        *("cl_dice", "peak_memory_bytes", "net_peak_bytes", "predict_peak_bytes", "predict_s_per_mpx"),
        *("best_val_score", "steps"),
    ]
    return runs.groupby(["dataset", "arm"])[columns].mean()


def find_more(folder: str, dataset: str, arm: str, column: str) -> float:
    """Return a column of `read_more` for an arm on a data set."""
    frame = read_more(folder)
    return float(frame[column].to_numpy()[frame.index.get_loc((dataset, arm))])


def make_rivals(folder: str, dataset: str) -> str:
    """Return the table of all arms: Dice, clDice, training, a megapixel predicted, memory in both."""
    lines = [
        "| | Dice | clDice | training | a megapixel predicted | memory | in prediction |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in list_arms(folder, dataset):
        row = find_row(folder, dataset, arm)
        cells = [NAMES.get(arm) or name_arm(arm), format_range(row)]
        cells += [f"{find_more(folder, dataset, arm, 'cl_dice'):.3f}"]
        cells += [] if arm == "oracle" else list_costs(folder, row)
        lines.append(f"| {' | '.join([*cells, *[''] * (7 - len(cells))])} |")
    return "\n".join(lines)


def make_answers(folder: str, dataset: str, without: str = "") -> str:
    """Return the scorecard of a data set as a list, in the words of its report.

    Args:
        folder: Folder below results/reference.
        dataset: Name of the data set.
        without: Title of a line that is left out.
    """
    verdict = reach_verdicts(folder)[dataset]
    return "\n".join(f"- **{line.title}.** {line.text}" for line in verdict.lines if line.title != without)


def make_memory(folder: str) -> str:
    """Return the table of what training takes of memory, by data set: of the whole process, and net."""
    arms = ("superpixel_gnn", "tiled_cnn", "tiled_cnn scale=4")
    names = " | ".join(f"{name_arm(arm)}{what}" for what in ("", ", net") for arm in arms)
    lines = [f"| | {names} | U-Net : GNN, net |", "|---" * 8 + "|"]
    for dataset in dict.fromkeys(read_tables(folder).runs["dataset"]):
        gross, net = (
            [find_more(folder, dataset, arm, column) / MIB for arm in arms]
            for column in ("peak_memory_bytes", "net_peak_bytes")
        )
        cells = [dataset, *(f"{value:.0f} MiB" for value in (*gross, *net)), f"{net[1] / net[0]:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def make_prediction(folder: str) -> str:
    """Return the table of what the prediction of a megapixel takes, by data set, and the GNN's over the U-Net's."""
    arms = ("superpixel_gnn", "tiled_cnn", "tiled_cnn scale=4")
    lines = [f"| | {' | '.join(name_arm(arm) for arm in arms)} | GNN : U-Net |", "|---" * 5 + "|"]
    for dataset in dict.fromkeys(read_tables(folder).runs["dataset"]):
        seconds = [find_more(folder, dataset, arm, "predict_s_per_mpx") for arm in arms]  # superpixels included
        cells = [dataset, *(f"{value:.2f} s" for value in seconds), f"{seconds[0] / seconds[1]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_losses(folder: str, dataset: str) -> str:
    """Return what superpixels and blocks of pixels lose of thin structures, in the words of the report."""
    runs = list_runs(folder)
    part = make_structures_part(runs[runs["dataset"] == dataset], read_tables(folder).scores)
    assert part is not None, folder
    return " ".join(part.sentences[:-1])


def name_commits(folder: str) -> str:
    """Return the commits that made the rows of a folder, with the number of rows where there are several."""
    commits = read_tables(folder).runs["git_commit"].value_counts()
    if len(commits) == 1:
        return str(commits.index[0])
    return ", ".join(f"{commit} ({count(int(rows), 'run')})" for commit, rows in commits.items())


def describe_machines(folder: str) -> str:
    """Return the processors on which the rows of a folder were measured, in words."""
    machines = read_tables(folder).runs[["machine.cpu", "machine.cores"]].drop_duplicates()
    return ", ".join(
        f"{cores:.0f} cores of an {str(cpu).replace('(R)', '').removesuffix(' Processor')}"
        for cpu, cores in machines.itertuples(index=False)
    )


def format_ratio(row: Mapping[Hashable, Any], digits: int) -> str:
    """Return the ratio of a row with the least and the greatest of the runs."""
    ratio, low, high = (f"{row[name]:.{digits}f}" for name in ("ratio", "ratio_min", "ratio_max"))
    return f"{ratio} [{low}, {high}]"


def make_segmenters() -> str:
    """Return the table of superpixels of other libraries."""
    frame = pd.read_csv(REFERENCE / "segmenters" / "segmenters.csv")
    lines = [
        f"{count(int(frame['size'].nunique()), 'size')} on {frame['processor'][0]}; ratios are medians of the runs "
        "[least, greatest].\n",
        "| superpixels | pixels asked for | per megapixel | majority labelling, Dice | a megapixel | times ours |",
        "|---|---|---|---|---|---|",
    ]
    for row in frame.to_dict("records"):
        ratio = format_ratio(row, 2)
        cells = [f"{row['size']:g}", f"{row['nodes_per_megapixel']:.0f}", f"{row['ceiling']:.3f}"]
        cells += [f"{row['seconds_per_megapixel']:.3f} s", ratio]
        lines.append(f"| {row['segmenter']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_perf() -> str:
    """Return the table of the steps from image to graph beside their rivals."""
    lines = ["| step | beside | times faster [least, greatest] |", "|---|---|---|"]
    for row in pd.read_csv(REFERENCE / "perf" / "perf.csv").to_dict("records"):
        ratio = format_ratio(row, 1)
        lines.append(f"| {row['step']} | {row['rival']} | {ratio} |")
    return "\n".join(lines)


def make_volume_perf() -> str:
    """Return the table of superpixels of volumes beside other programs, a line for each side of the volume."""
    frame = pd.read_csv(REFERENCE / "perf_volumes" / "perf.csv")
    lines = [
        "| voxels | beside | times faster [least, greatest] | of processor time | majority labels, ours and theirs |",
        "|---|---|---|---|---|",
    ]
    for row in frame[frame["rival"].notna()].to_dict("records"):
        ratio = format_ratio(row, 1)
        cells = [write_cube(row["size"]), str(row["rival"]), ratio, f"{row['cpu_ratio']:.1f}"]
        cells += [f"{row['ceiling']:.3f}, {row['rival_ceiling']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def make_volume_speed() -> str:
    """Return our time and memory per voxel by the side of the volume."""
    frame = pd.read_csv(REFERENCE / "perf_volumes" / "perf.csv")
    lines = ["| voxels | ns per voxel | of processor time | bytes per voxel beyond the volume |", "|---|---|---|---|"]
    for size, rows in frame.groupby("size"):
        times = [f"{rows[name].median():.0f}" for name in ("ns_per_pixel", "cpu_ns_per_pixel")]
        lines.append(f"| {write_cube(size)} | {' | '.join(times)} | {rows['bytes_per_pixel'].median():.1f} |")
    return "\n".join(lines)


@cache
def read_gpu(folder: str) -> pd.DataFrame:
    """Return the runs of a folder with what they took to train on a GPU.

    Added are seconds and waiting of the fit's steps; gross, context and net memory of training in MiB; and floor, the
    net memory after it, when all that is left are weights and what libraries hold.
    """
    tables = read_tables(folder)
    stages = tables.stages
    train = stages[stages["stage"] == "train"].set_index("run_id")
    after = stages[(stages["stage"] == "prepare") & (stages["split"] == "test")].set_index("run_id")
    frame = list_configurations(tables)
    run = frame["run_id"]
    return frame.assign(
        seconds=run.map(train["seconds"]),
        waiting=run.map(train["data_wait_seconds"]),
        gross=run.map(train["gpu_peak_process_bytes"]) / MIB,
        context=run.map(train["gpu_context_bytes"]) / MIB,
        net=run.map(train["gpu_allocated_peak_bytes"]) / MIB,
        floor=run.map(after["gpu_allocated_peak_bytes"]) / MIB,
        unattributed=run.map(train["gpu_unattributed_bytes"]) / MIB,
    )


def make_gpu(folder: str) -> str:
    """Return the table of times and memory on a GPU, by image and arm."""
    lines = [
        "| image | | steps | seconds | of them waiting for data | a megapixel predicted | gross | net |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in read_gpu(folder).to_dict("records"):
        side = json.loads(str(row["dataset.image_size"]))
        cells = [" x ".join(map(str, side)), name_arm(str(row["arm"])), f"{row['steps']:.0f}"]
        cells += [f"{row['seconds']:.1f}", f"{row['waiting']:.1f}", f"{row['predict_s_per_mpx']:.3f} s"]
        lines.append(f"| {' | '.join([*cells, *(f'{row[name]:.0f} MiB' for name in ('gross', 'net'))])} |")
    return "\n".join(lines)


def range_gpu(folder: str, arm: str, column: str) -> str:
    """Return the least and the greatest value of a column of `read_gpu` over an arm's runs; one where they agree."""
    values = read_gpu(folder)
    found = values[values["arm"] == arm][column]
    low, high = (f"{value:.0f}" for value in (found.min(), found.max()))
    return low if low == high else f"{low} to {high}"


def compare_images(dataset: str, first: str, second: str) -> str:
    """Return by how many points Dice per test image an arm is above another, with the interval.

    Args:
        dataset: Name of the data set.
        first: The arm, as `FOLDER/ARM`.
        second: The other.
    """
    places = [place.split("/") for place in (first, second)]
    pair = pair_by_seed(*(select_runs(folder, arm, dataset) for folder, arm in places))
    scores = pd.concat([read_tables(folder).scores for folder, _ in places]).drop_duplicates()
    one, other = collect_image_scores(pair, scores)
    found = estimate_paired_difference(100 * (one - other))
    return f"{found.value:+.1f}, {format_interval(found, '{:+.1f}'.format)}"


def select_runs(folder: str, arm: str, dataset: str) -> pd.DataFrame:
    """Return the runs of an arm on a data set, by seed.

    Args:
        folder: Folder below results/reference.
        arm: As in its table `comparison`.
        dataset: Name of the data set.
    """
    runs = list_runs(folder)
    return runs[(runs["dataset"] == dataset) & (runs["arm"] == arm)].sort_values("seed")


@cache
def read_scale(folder: str) -> pd.DataFrame:
    """Return the points of cost against size of a folder, by axis, line and size."""
    tables = read_tables(folder)
    return make_scale_points(list_runs(folder), tables.stages, tables.history)


def select_scale(folder: str, axis: str, megapixels: float) -> pd.DataFrame:
    """Return the points of images of one size.

    Args:
        folder: Folder below results/reference.
        axis: One of `bench.tables.scale.AXES`.
        megapixels: Size of an image, to a per cent.
    """
    points = read_scale(folder)
    return points[(points["axis"] == axis) & (abs(points["megapixels"] / megapixels - 1) < 0.01)]


def make_scale(folder: str, axis: str, megapixels: float) -> str:
    """Return what each method takes of the images that `select_scale` selects by the same arguments.

    Args:
        folder: Folder below results/reference.
        axis: Along which sizes grow.
        megapixels: Size of an image.
    """
    lines = [
        "| | Dice | prepare a megapixel | training | to the score that both reach | a megapixel predicted | memory "
        "| net, in training |",
        "|---" * 8 + "|",
    ]
    for row in select_scale(folder, axis, megapixels).to_dict("records"):
        if row["status"] != "ok":
            lines.append(f"| {row['line']} | {row['status']}" + " |" * 7)
            continue
        seconds = ("prepare_s_per_mpx", "train_s", "seconds_to_equal", "predict_s_per_mpx")
        cells = [str(row["line"]), f"{row['dice']:.3f}"]
        cells += ["" if pd.isna(row[name]) else format_rate(row[name]) for name in seconds]
        cells += [f"{row[name] / MIB:.0f} MiB" for name in ("peak_bytes", "training_net_bytes")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def compare_scale(folder: str) -> str:
    """Return the sentences of the report on cost against size as a list, but for those on how to read it."""
    part = make_scale_parts(read_scale(folder), float("nan"), ())[0]
    return "\n".join(f"- {sentence}" for sentence in part.sentences if sentence.startswith("With "))


def find_scale(folder: str, axis: str, line: str, megapixels: float) -> dict[Hashable, Any]:
    """Return one point.

    Args:
        folder: Folder below results/reference.
        axis: Along which sizes grow.
        line: Name of the method's curve.
        megapixels: Size of an image.
    """
    points = select_scale(folder, axis, megapixels)
    [found] = points[points["line"] == line].to_dict("records")
    return found


def time_scale(folder: str, axis: str, line: str, megapixels: float, score: float) -> str:
    """Return the seconds to a validation score, superpixels included.

    Args:
        folder: Folder below results/reference.
        axis: Along which sizes grow.
        line: Name of the method's curve.
        megapixels: Size of an image.
        score: Validation score in [0, 1].
    """
    runs = list_runs(folder)
    own = runs[runs["run_id"] == find_scale(folder, axis, line, megapixels)["run_id"]]
    return format_rate(float(reach(own, read_tables(folder).history, np.array([score])).seconds[0, 0]))


def format_rate(seconds: float) -> str:
    """Return seconds with two digits that count, as those for a megapixel are small."""
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"


def write_cube(side: object) -> str:
    """Return the shape of a volume whose sides are alike."""
    return " x ".join([str(side)] * 3)


FUNCTIONS: dict[str, Callable[..., str]] = {
    "row": make_row,
    "rows": make_rows,
    "rivals": make_rivals,
    "memories": make_memory,
    "predictions": make_prediction,
    "per_image": compare_images,
    "net": lambda folder, dataset, arm: f"{find_more(folder, dataset, arm, 'net_peak_bytes') / MIB:.0f} MiB",
    "cl_dice": lambda folder, dataset, arm: f"{find_more(folder, dataset, arm, 'cl_dice'):.3f}",
    "validation": lambda folder, dataset, arm: f"{find_more(folder, dataset, arm, 'best_val_score'):.3f}",
    "steps": lambda folder, dataset, arm: f"{find_more(folder, dataset, arm, 'steps'):,.0f}",
    "answers": make_answers,
    "losses": describe_losses,
    "first": lambda folder, dataset: reach_verdicts(folder)[dataset].first,
    "rival": lambda folder, dataset: reach_verdicts(folder)[dataset].rival,
    "segmenters": make_segmenters,
    "perf": make_perf,
    "volume_perf": make_volume_perf,
    "volume_speed": make_volume_speed,
    "scale": make_scale,
    "scale_sentences": compare_scale,
    "scale_seconds": lambda *place: format_rate(find_scale(*place[:-1])[place[-1]]),
    "scale_memory": lambda *place: f"{find_scale(*place[:-1])[place[-1]] / GIB:.1f} GiB",
    "scale_dice": lambda *place: f"{find_scale(*place)['dice']:.3f}",
    "scale_reached": time_scale,
    "gpu": make_gpu,
    "gpu_range": range_gpu,
    "commits": name_commits,
    "machines": describe_machines,
    "dice": lambda folder, dataset, arm: f"{find_row(folder, dataset, arm)['dice']:.3f}",
    "points": lambda folder, dataset, arm, other: (
        f"{100 * (find_row(folder, dataset, arm)['dice'] - find_row(folder, dataset, other)['dice']):.1f}"
    ),
    "training": lambda folder, dataset, arm: format_seconds(find_row(folder, dataset, arm)["train_s"]),
    "predicted": lambda folder, dataset, arm: f"{find_row(folder, dataset, arm)['predict_s_per_mpx']:.2f} s",
    "memory": lambda folder, dataset, arm: f"{find_row(folder, dataset, arm)['peak_memory_bytes'] / MIB:.0f} MiB",
    "times": lambda folder, dataset, arm, other, column: (
        f"{find_row(folder, dataset, arm)[column] / find_row(folder, dataset, other)[column]:.1f}"
    ),
}


def fill_template(name: str) -> str:
    """Return a file of docs/templates with its expressions computed."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template(name).render(FUNCTIONS)


def fill_pages() -> dict[Path, str]:
    """Return the text of each page that is filled."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    answer = fill_template("answer.md")
    filled = BLOCK.sub(lambda found: f"{found[1]}{answer}{found[2]}", readme)
    pages = {ROOT / "docs" / name: fill_template(name) for name in ("results.md", "benchmarks.md")}
    return {ROOT / "README.md": filled, **pages}


if __name__ == "__main__":
    for page, text in fill_pages().items():
        write_atomically(page, text)
        print(f"written to {page}", file=sys.stderr)
