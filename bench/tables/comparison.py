"""Runs grouped into configurations (everything equal but the seed) and the one table that compares them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arms import ARMS, external_arms
from bench.config import Config, SyntheticConfig, flatten
from bench.tables.collect import Tables, label_machines, select_current
from bench.tables.columns import FIT_STAGES, NOT_PART_OF_A_RUN
from bench.tables.convergence import BUDGETS, assess, select_counted, select_timed, select_trained
from bench.tables.memory import measure_memory
from bench.tables.names import WEIGHTS, label_variety, name_sources

GROUP = ["dataset", "machine", "arm", "superpixel_size"]
_NOT_A_VARIANT = (
    *("dataset.", "machine.", "measure.sample_period", "metrics.voted", "pipeline.name", "voted."),
    *NOT_PART_OF_A_RUN,
)
_DATA_FACTS = (
    "dataset.content",
    "dataset.object_width",
    "dataset.images_",
    "dataset.pixels_",
    "dataset.cache_dir",
    "dataset.spatial_axes",
)  # they follow from settings
_PLACES = ("dataset.root", "dataset.manifest", "dataset.cache_dir", "dataset.mirror")
_SAME_AS_MODEL = ("pipeline.model.conv", "pipeline.model.architecture")
_SIZES = ("superpixels.superpixel_size", "superpixels.n_segments")
_MEMORY = {
    "training_net_bytes": "net_peak_bytes",
    "net_kind": "net_peak_kind",
    "prediction_bytes": "predict_peak_bytes",
}


# ----------------------------------------------------------------------------------------------- configurations


def list_configurations(tables: Tables) -> pd.DataFrame:
    """Return one row per current run with everything a figure needs; runs equal in `GROUP` differ in their seed only.

    Adds to `runs`: machine, arm (pipeline, and what tells it from other configurations of that pipeline), method (the
    same without the budget of training), superpixel_size (pixels asked for; NaN for pixel arms), invalid and contended
    (from flags), the pooled test scores dice, accuracy, boundary_f1, oracle_dice, voted_dice and val_dice, val_score
    (val_dice, else the score that picked the checkpoint), test_images (number of scored ones; the planes of
    a stack are one), test_megapixels (predicted), prepare_s (of images to learn from, also for a megapixel and for an
    epoch), train_s (superpixels included), fit_s (without), predict_s_per_mpx (superpixels included),
    predict_only_s_per_mpx; net_peak_bytes of training with net_peak_kind, and predict_peak_bytes
    (`bench.tables.memory`); undertrained and shorter (`bench.tables.convergence.assess`).
    """
    runs = select_current(tables.runs)
    runs["machine"] = label_machines(runs)
    runs["dataset"] = _datasets(runs)
    runs["superpixel_size"] = _superpixel_sizes(runs)
    varieties = pd.Series([label_variety(run) for run in runs.to_dict("records")], index=runs.index, dtype="str")
    runs["arm"], runs["method"] = _arms(runs, varieties), _arms(runs, varieties, leave_out=BUDGETS)
    for flag in ("invalid", "contended"):
        runs[flag] = runs["flags"].fillna("").str.contains(rf"(?:^|;\s*){flag}")
    runs = runs.merge(_pivot_pooled(tables.scores), on="run_id", how="left")
    runs = runs.merge(_times(tables.stages), on="run_id", how="left")
    runs["prepare_s_per_epoch"] = runs["prepare_s"] / _number(runs, "epochs")
    runs["val_score"] = runs["val_dice"].fillna(_number(runs, "best_val_score"))
    runs["test_images"] = _count_test_images(runs, tables.scores)
    memory = measure_memory(tables.stages).rename(columns=_MEMORY)[["run_id", *_MEMORY.values()]]
    return assess(runs.merge(memory, on="run_id", how="left"))


def _datasets(runs: pd.DataFrame) -> pd.Series:
    """The data set's name, followed by what tells it from others of that name; data that changed is another data set.

    Where settings do not, it is the time of the first run on data of the same content, and a hash of these.

    Where data of the same content lies does not matter: two machines keep it in different places.

    A run that died before it knew its data takes the label of a finished one with the same settings.
    """
    columns = [str(column) for column in runs if str(column).startswith("dataset.")]
    ok = runs[runs["status"] == "ok"]
    labels: dict[Any, str] = {}
    for name, group in ok.groupby("dataset", dropna=False):
        varied = [column for column in columns if len(set(map(str, group[column]))) > 1]
        if "dataset.content" in group and "dataset.content" not in varied:
            varied = [column for column in varied if column not in _PLACES]
        named = [column for column in varied if not column.startswith(_DATA_FACTS)]
        told = group[named or varied[:1]]
        if not named and "dataset.content" in varied:
            since = group.groupby("dataset.content")["started"].transform("min").str[:16]
            told = pd.DataFrame({"since": since, "content": group["dataset.content"]})
        labels |= {
            row.Index: " ".join([str(name), *_settings(list(map(str, told)), row[1:])]) for row in told.itertuples()
        }
    failed = runs[runs["status"] != "ok"]
    settings = [column for column in columns if failed[column].notna().any()]
    twins = {str(row[1:]): labels[row[0]] for row in ok[settings].itertuples()} if settings else {}
    for row in failed[[*settings, "dataset"]].itertuples():
        labels[row[0]] = twins.get(str(row[1:-1]), str(row[-1]))
    return pd.Series(labels, dtype="str").reindex(runs.index)


def _settings(columns: Sequence[str], values: Sequence[object]) -> list[str]:
    return [f"{_short(column)}{format_setting(value)}" for column, value in zip(columns, values, strict=True)]


def uses_superpixels(pipeline: str) -> bool:
    """Return whether the superpixel settings mean anything to a pipeline."""
    return pipeline not in ARMS or ARMS[pipeline].uses_superpixels


def _superpixel_sizes(runs: pd.DataFrame) -> pd.Series:
    size = _number(runs, _SIZES[0])
    return size.where(runs["pipeline"].map(uses_superpixels).astype(bool))


def _arms(runs: pd.DataFrame, varieties: pd.Series, leave_out: Sequence[str] = ()) -> pd.Series:
    """The pipeline's name and variety, followed by model and settings where a pipeline occurs with several."""
    labels: dict[Any, str] = {}
    columns = ["dataset", "machine", "pipeline", "variety"]  # the settings of a variety tell it from itself alone
    for (_, _, pipeline, _), group in runs.assign(variety=varieties).groupby(columns, dropna=False):
        for index, varied in zip(group.index, _list_varied(group, str(pipeline), leave_out), strict=True):
            labels[index] = " ".join(part for part in (str(pipeline), varieties[index], *varied) if part)
    return pd.Series(labels, index=runs.index, dtype="str")


def _list_varied(group: pd.DataFrame, pipeline: str, leave_out: Sequence[str]) -> list[list[str]]:
    """For each run, the settings in which the runs of this pipeline differ, as `name=value` texts.

    A value that the arm has by default is not named, unless it is part of the budget of training.
    """
    settings = [str(column) for column in group if _is_variant(str(column), pipeline) and column not in leave_out]
    varied = [column for column in settings if len(set(map(str, group[column]))) > 1]
    if "model" in varied:
        varied = [column for column in varied if column not in _SAME_AS_MODEL]
    started = {
        tuple(map(str, row)) for row in group.reindex(columns=list(WEIGHTS)).dropna(how="all").itertuples(index=False)
    }
    if len(started) == 1:  # which is in every name as `pretrained`
        varied = [column for column in varied if column not in WEIGHTS]
    usual = {name: text for name, text in _defaults(pipeline).items() if not name.startswith("training.")}
    rows = group[varied].astype("object").to_numpy()  # not itertuples: without columns some versions yield no rows
    named = [
        [one for one in zip(varied, row, strict=True) if usual.get(one[0]) != format_setting(one[1])] for row in rows
    ]
    return [_settings([name for name, _ in pairs], [value for _, value in pairs]) for pairs in named]


def _defaults(pipeline: str) -> dict[str, str]:
    """Every setting where nobody says otherwise, as `text_of` has it; nothing is known of an arm from elsewhere."""
    if pipeline not in ARMS:
        return {}
    settings = flatten(Config(SyntheticConfig(), ARMS[pipeline].settings()))
    return {name: format_setting(float("nan") if value is None else value) for name, value in settings.items()}


def _short(column: str) -> str:
    return "" if column == "model" else column.rsplit(".", 1)[-1] + "="


def _is_variant(column: str, pipeline: str) -> bool:
    """Whether two runs that differ in this column are different configurations rather than repetitions."""
    if column in ("model", "device"):
        return True
    if "." not in column or column.startswith(_NOT_A_VARIANT) or column in (_SIZES[0], "pipeline.label"):
        return False
    arm = ARMS.get(pipeline)
    if column.startswith("superpixels."):
        return uses_superpixels(pipeline)
    if column.startswith("graph."):
        return arm is not None and arm.uses_features
    return not column.startswith("training.") or arm is None or arm.uses_training


def format_setting(value: object) -> str:
    """Return a setting without quotes and idle digits, `none` where it has no value."""
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:g}"
    text = str(value)
    return text.replace('"', "").replace("'", "") if text.startswith("[") else text


def _number(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats; NaN throughout where the column does not exist."""
    if column not in frame:
        return pd.Series(np.nan, index=frame.index, dtype="float64")
    return pd.to_numeric(frame[column], errors="coerce").astype("float64")


def _pivot_pooled(scores: pd.DataFrame) -> pd.DataFrame:
    """Pooled scores by run: macro means of the test split by metric, and val_dice."""
    wanted = scores[(scores["image"] == "all") & (scores["class"] == "macro") & scores["split"].isin(["test", "val"])]
    name = wanted["metric"].where(wanted["split"] == "test", "val_" + wanted["metric"])
    values = wanted.assign(name=name, value=_number(wanted, "value"))
    table = values.pivot_table(index="run_id", columns="name", values="value", aggfunc="first")
    columns = ["dice", "accuracy", "boundary_f1", "oracle_dice", "voted_dice", "val_dice"]
    return table.reindex(columns=columns).reset_index().rename_axis(columns=None)


def _count_test_images(runs: pd.DataFrame, scores: pd.DataFrame) -> list[float]:
    """Number of test images with scores of their own, of each run; the planes of a stack are one."""
    single = scores[(scores["split"] == "test") & (scores["image"] != "all")]
    images = single.groupby("run_id")["image"].unique()
    rows = [(run, images.get(run["run_id"])) for run in runs.to_dict("records")]
    return [math.nan if own is None else len(set(name_sources(list(map(str, own)), run))) for run, own in rows]


def _times(stages: pd.DataFrame) -> pd.DataFrame:
    """Seconds by run. Training is whole: superpixels of train and val, init, warmup, steps and validation."""
    rows = stages.assign(seconds=_number(stages, "seconds"), pixels=_number(stages, "pixels"))
    test = rows["split"] == "test"
    prepare, predict = rows["stage"] == "prepare", rows["stage"] == "predict"
    fitting = rows["stage"].isin(FIT_STAGES)

    def total(which: pd.Series, column: str = "seconds") -> pd.Series:
        return rows[which].groupby("run_id")[column].sum(min_count=1)

    megapixels = total(predict & test, "pixels") / 1e6
    fit, prepared = total(fitting), total(prepare & ~test)
    predicted = total(predict & test)
    frame = pd.DataFrame({
        "test_megapixels": megapixels,
        "prepare_s": prepared,
        "prepare_s_per_mpx": prepared / (total(prepare & ~test, "pixels") / 1e6),
        "fit_s": fit,
        "train_s": fit.add(prepared, fill_value=0).where(fit.notna()) if len(fit) else fit,
        "predict_only_s_per_mpx": predicted / megapixels,
        "predict_s_per_mpx": predicted.add(total(prepare & test), fill_value=0) / megapixels,
    })  # fmt: skip
    return frame.rename_axis("run_id").reset_index()


# -------------------------------------------------------------------------------------------------- the table


def compare_arms(tables: Tables) -> pd.DataFrame:
    """Return one row per data set, machine, arm and superpixel size, over seeds.

    Means over the ok runs that are not flagged invalid, `*_low` and `*_high` the least and greatest of them; seeds
    counts them. Times are of those that did not share the machine, if a row has any (`contended` counts the others).
    Undertrained ones are among them only where a row has no others. Failed, invalid and undertrained runs
    stay in `statuses`. A row whose runs have several kinds of peak memory has no peak. Arms in the order of `ARMS`,
    others after them by name.
    """
    return summarize_arms(list_configurations(tables))


def summarize_arms(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `compare_arms` from the rows of `list_configurations`."""
    groups = runs.groupby(GROUP, dropna=False, sort=True)
    rows = [{**dict(zip(GROUP, key, strict=True)), **_summary(group)} for key, group in groups]
    rows.sort(key=lambda row: (row["dataset"], row["machine"], rank_arm(row["arm"])))
    return pd.DataFrame(rows, columns=None if rows else [*GROUP, "peak_memory_kind"])


def rank_arm(arm: str) -> int:
    """Return where an arm stands in tables and legends."""
    pipeline = arm.split(" ", 1)[0]
    return list(ARMS).index(pipeline) if pipeline in ARMS else len(ARMS)


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    used = select_counted(group) if select_trained(group).empty else select_trained(group)
    kinds = sorted(used["peak_memory_kind"].dropna().unique())
    row: dict[str, Any] = {"seeds": used["seed"].nunique(), "runs": len(used)}
    for column in ("dice", "accuracy", "boundary_f1", "oracle_dice", "val_dice"):
        row |= _spread(column, used[column])
    row["num_nodes"] = _mean(_number(used, "num_nodes"))
    timed = select_timed(used)
    for column in (
        "prepare_s",
        "prepare_s_per_epoch",
        "fit_s",
        "train_s",
        "predict_s_per_mpx",
        "predict_only_s_per_mpx",
    ):
        row |= _spread(column, timed[column])
    row |= _spread("peak_memory_bytes", _number(used, "peak_memory_bytes")[: None if len(kinds) == 1 else 0])
    row["peak_memory_kind"] = "+".join(kinds) or None
    row["parameters"] = _mean(_number(used, "parameters"))
    row["contended"] = int(used["contended"].sum())
    row["undertrained"] = int((used["undertrained"] != "").sum())
    row["test_images"] = _mean(_number(used, "test_images"))
    row["spatial_axes"] = _mean(_number(used, "dataset.spatial_axes"))
    row["statuses"] = _statuses(group)
    return row


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else math.nan


def _spread(name: str, values: pd.Series) -> dict[str, float]:
    known: NDArray[np.float64] = values.dropna().to_numpy(dtype=np.float64)
    if len(known) == 0:
        return {name: math.nan, f"{name}_low": math.nan, f"{name}_high": math.nan}
    return {name: float(known.mean()), f"{name}_low": float(known.min()), f"{name}_high": float(known.max())}


def _statuses(group: pd.DataFrame) -> str:
    ok = group["status"] == "ok"
    status = group["status"].mask(ok & group["pipeline"].isin(external_arms()), "elsewhere")
    status = status.mask(ok & group["contended"], "contended")
    status = status.mask(ok & group["undertrained"].ne(""), "undertrained").mask(ok & group["invalid"], "invalid")
    return ", ".join(f"{count} {name}" for name, count in sorted(status.value_counts().items()))
