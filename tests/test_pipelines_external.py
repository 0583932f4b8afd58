"""Masks of another program: found by name, mapped to classes, refused where they would be scored wrongly."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite

from bench.config import Config, ExternalConfig, InputError, SyntheticConfig
from bench.datasets.sample import Sample, Splits, Task
from bench.learning.fitlog import StatedCost
from bench.pipelines.external import External, hash_masks
from bench.pipelines.stated import COLUMNS, KINDS, read_costs

if TYPE_CHECKING:
    from bench.plots.style import KINDS as DRAWN
    from bench.run import run
    from bench.sweeps.jobs import Job, identify_run
    from bench.sweeps.preparation import prepare_jobs
    from bench.tables.collect import collect
    from bench.tables.comparison import compare_arms, list_configurations
    from bench.tables.names import name_run
    from bench.tables.text import format_table

SHAPE = (5, 7)
HEAD = ",".join(COLUMNS)


def draw_mask(number: int) -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[number, 2:5] = 1
    return mask


def make_data(*names: str) -> Splits:
    """Training and validation image `t` and `v`, and test images of these names, each with another true mask."""
    samples = [Sample(name, np.zeros((*SHAPE, 1), np.float32), draw_mask(0)) for name in ("t", "v", *names)]
    return Splits("mine", Task(("sky", "cell"), 1, 2), samples[:1], samples[1:2], samples[2:], {})


def write_masks(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        imwrite(folder / f"{name}.tif", draw_mask(number))
    return folder


def predict(settings: ExternalConfig, data: Splits) -> list[NDArray[np.integer]]:
    arm = External(Config(SyntheticConfig(), settings), data.task)
    return [arm.predict(arm.prepare(sample)) for sample in data.test]


def test_a_mask_is_that_of_the_images_name_or_of_the_name_that_an_export_gives_it(tmp_path: Path) -> None:
    data = make_data("a", "b/x y")
    folder = write_masks(tmp_path / "masks", "v", "a", "b_x_y", "of no image")
    found = predict(ExternalConfig(masks=str(folder)), data)
    np.testing.assert_array_equal(found, [draw_mask(1), draw_mask(2)])
    assert len(hash_masks(ExternalConfig(masks=str(folder)), data)) == 12
    write_masks(folder, "b/x y")
    np.testing.assert_array_equal(predict(ExternalConfig(masks=str(folder)), data)[1], draw_mask(0))


def test_names_by_a_pattern_and_numbers_by_a_map(tmp_path: Path) -> None:
    data = make_data("a")
    for name, number in (("v", 3), ("a", 4)):
        Image.fromarray(draw_mask(number) * 7 + 1).save(tmp_path / f"{name}_labels.png")
    settings = ExternalConfig(masks=str(tmp_path), mask_name="*_labels", mask_values={1: 0, 8: 1})
    np.testing.assert_array_equal(predict(settings, data), [draw_mask(4)])
    hash_masks(settings, data)


def test_objects_are_foreground(tmp_path: Path) -> None:
    numbers = np.arange(35, dtype=np.uint16).reshape(SHAPE)
    imwrite(tmp_path / "a.tif", numbers)
    found = predict(ExternalConfig(masks=str(tmp_path), mask_values="foreground"), make_data("a"))
    np.testing.assert_array_equal(found, [(numbers > 0).astype(np.uint8)])


def test_other_masks_of_the_same_names_have_another_hash(tmp_path: Path) -> None:
    data, settings = make_data("a"), ExternalConfig(masks=str(write_masks(tmp_path / "masks", "v", "a")))
    first = hash_masks(settings, data)
    assert hash_masks(settings, data) == first
    write_masks(tmp_path / "masks", "a", "v")
    assert hash_masks(settings, data) != first


def refuse(settings: ExternalConfig, data: Splits) -> str:
    with pytest.raises(InputError) as refused:
        hash_masks(settings, data)
    return str(refused.value)


def test_a_missing_folder_or_mask_is_named(tmp_path: Path) -> None:
    data = make_data("a", "b", "c", "d")
    assert "pipeline.masks is not set" in refuse(ExternalConfig(), data)
    assert "none is not a folder" in refuse(ExternalConfig(masks=str(tmp_path / "none")), data)
    folder = write_masks(tmp_path / "masks", "v")
    sentence = refuse(ExternalConfig(masks=str(folder)), data)
    assert "no mask of a, b, c and 1 more" in sentence
    assert "a.png or a.tif" in sentence
    assert "t" not in sentence.partition("no mask of ")[2].partition(":")[0], "training images need none"
    write_masks(folder, *(f"{name}_seg" for name in "abcd"))
    assert "pipeline.mask_name=*_seg" in refuse(ExternalConfig(masks=str(folder)), data)


def test_two_images_do_not_share_a_mask(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", "v", "a_b")
    assert "a_b and of a b" in refuse(ExternalConfig(masks=str(folder)), make_data("a_b", "a b"))


@pytest.mark.parametrize(
    ("mask", "settings", "wrong"),
    [
        (np.zeros((7, 5), np.uint8), {}, r"a.tif has the shape \(7, 5\) and the image a \(5, 7\)"),
        (draw_mask(0) * 255, {}, r"holds 255, .* 0 to 1 \(sky, cell\): .*'pipeline.mask_values=\{0:0,255:1\}'"),
        (np.arange(35, dtype=np.uint8).reshape(SHAPE), {}, r"holds 2, 3, 4, \.\.\., .*mask_values=foreground"),
        (draw_mask(0) * 9, {"mask_values": {0: 0, 1: 1}}, r"holds 9, which pipeline.mask_values="),
        (draw_mask(0), {"mask_values": {0: 0, 1: 2}}, "holds 1, which .* makes no class"),
        (draw_mask(0).astype(np.int16) - 1, {"mask_values": "foreground"}, "holds -1"),
        (np.full(SHAPE, 0.5, np.float32), {}, "0.5"),
    ],
)  # fmt: skip
def test_what_is_no_class_is_refused(
    mask: NDArray[np.generic], settings: dict[str, object], wrong: str, tmp_path: Path
) -> None:
    imwrite(write_masks(tmp_path / "masks", "v") / "a.tif", mask)
    given = ExternalConfig(masks=str(tmp_path / "masks"), **settings)  # type: ignore[arg-type]
    arm = External(Config(SyntheticConfig(), given), make_data("a").task)
    with pytest.raises(InputError, match=wrong):
        arm.predict(arm.prepare(make_data("a").test[0]))


def test_the_number_that_an_export_gives_to_ignored_pixels_is_recognised(tmp_path: Path) -> None:
    mask = draw_mask(0)
    mask[4] = 2
    imwrite(write_masks(tmp_path / "masks", "v") / "a.tif", mask)
    given = ExternalConfig(masks=str(tmp_path / "masks"))
    for ignored, advice in ((255, r"if 2 marks pixels that do not count"), (None, "mask_values=foreground")):
        arm = External(Config(SyntheticConfig(), given), Task(("sky", "cell"), 1, 2, ignored))
        with pytest.raises(InputError, match=advice):
            arm.predict(arm.prepare(make_data("a").test[0]))


def test_a_mask_in_colour_is_refused(tmp_path: Path) -> None:
    colours = np.stack([draw_mask(0), draw_mask(1), draw_mask(2)], axis=-1) * 255
    Image.fromarray(colours).save(write_masks(tmp_path / "masks", "v") / "a.png")
    assert "a.png is in colour" in refuse(ExternalConfig(masks=str(tmp_path / "masks")), make_data("a"))


def test_nothing_is_learned_kept_or_predicted(tmp_path: Path) -> None:
    arm = External(Config(SyntheticConfig(), ExternalConfig(masks=str(tmp_path), label="nnU-Net v2")), make_data().task)
    log = arm.fit([], [])
    assert (log.stated, log.history) == ((), ())
    assert log.flags == ("elsewhere: nnU-Net v2 made these masks, and what it cost is not known",)
    arm.save(tmp_path / "checkpoint.pt")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="new image"):
        arm.predict_into(np.zeros((*SHAPE, 1), np.float32), np.zeros(SHAPE, np.uint8), tmp_path, lambda _: None)


@pytest.mark.parametrize("label", ["", " a", "a=b", "a;b", "a\nb"])
def test_a_label_that_tables_could_not_hold_is_refused(label: str) -> None:
    with pytest.raises(InputError, match=r"pipeline\.label"):
        ExternalConfig(label=label)


# -------------------------------------------------------------------------------------------------------------- costs


def write_costs(path: Path, *lines: str, head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_costs_are_read_and_what_is_empty_is_not_known(tmp_path: Path) -> None:
    path = write_costs(tmp_path / "costs.csv", "train,3600,8589934592,gpu_process", "predict,12.5,,")
    assert read_costs(path) == (StatedCost("train", 3600, 2**33, "gpu_process"), StatedCost("predict", 12.5))


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([], "states no cost"),
        (["fit,1,,"], "line 2: stage must be one of prepare, train, predict"),
        (["train,1,,", "train,2,,"], "states the stage train 2 times"),
        (["train,-1,,"], "seconds must be a positive number"),
        (["train,nan,,"], "seconds must be a positive number"),
        (["train,an hour,,"], "got 'an hour'"),
        (["train,,,"], "give seconds or peak_memory_bytes"),
        (["train,1,5,"], "belong together"),
        (["train,1,,cpu_rss"], "belong together"),
        (["train,1,5,nvidia-smi"], "peak_memory_kind must be one of"),
        (["train,1"], "must have 4 values"),
        (["train,1,,,2"], "must have 4 values"),
    ],
)
def test_bad_costs_are_refused(lines: list[str], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=wrong):
        read_costs(write_costs(tmp_path / "costs.csv", *lines))


def test_other_columns_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it must have stage,seconds"):
        read_costs(write_costs(tmp_path / "costs.csv", "train,1", head="stage,second"))
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read_costs(tmp_path / "none.csv")


def test_the_kinds_of_memory_are_those_that_figures_name() -> None:
    assert set(KINDS) == set(DRAWN)


# ---------------------------------------------------------------------------------------------------- in the tables


@pytest.fixture
def data_config() -> SyntheticConfig:
    return SyntheticConfig(image_size=[32, 32], num_classes=2, train_images=1, val_images=1, test_images=2)


def prepare(data_config: SyntheticConfig, folder: Path, costs: Path | None = None) -> Job:
    """A checked run on masks that are all background but for a few lines."""
    from bench.datasets.registry import load

    (folder / "masks").mkdir(exist_ok=True)
    for sample in [*(data := load(data_config)).val, *data.test]:
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20] = 1
        imwrite(folder / "masks" / f"{sample.name}.tif", mask)
    arm = ExternalConfig(masks=str(folder / "masks"), label="nnU-Net v2", costs=None if costs is None else str(costs))
    config = Config(data_config, arm, device="cpu", results_dir=str(folder / "results"))
    [job] = prepare_jobs([Job(config, ("pipeline=external",))])
    return job


def do(job: Job) -> dict[str, object]:
    """Do a run in this process, as a sweep would in its own."""
    from bench.sweeps.jobs import describe_job
    from bench.tables.write import write_row

    row = describe_job(job)
    directory = Path(job.config.results_dir) / "runs" / str(row["run_id"])
    directory.mkdir(parents=True)
    done, _ = run(job.config, directory, row)
    write_row(directory, done)
    return done


def read_stages(job: Job, done: dict[str, object]) -> list[dict[str, str]]:
    path = Path(job.config.results_dir) / "runs" / str(done["run_id"]) / "stages.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_scores_are_there_and_costs_are_empty(data_config: SyntheticConfig, tmp_path: Path) -> None:
    job = prepare(data_config, tmp_path)
    done = do(job)
    assert done["status"] == "ok"
    assert read_stages(job, done) == []
    assert [done[name] for name in ("parameters", "peak_memory_bytes", "peak_memory_kind")] == [None] * 3
    assert not {"rss_floor_bytes", "stages_seconds", "prepared_from_cache", "others_share"} & set(done)
    [row] = compare_arms(tables := collect(tmp_path / "results")).to_dict("records")
    assert 0 < row["dice"] < 1
    assert np.isnan([row["train_s"], row["predict_s_per_mpx"], row["peak_memory_bytes"], row["parameters"]]).all()
    assert (row["arm"], row["statuses"], row["undertrained"]) == ("external nnU-Net v2", "1 elsewhere", 0)
    assert "! 1 elsewhere: external nnU-Net v2" in format_table(compare_arms(tables))
    [run_row] = list_configurations(tables).to_dict("records")
    assert name_run(run_row) == "nnU-Net v2 (run elsewhere)"


def test_stated_costs_stand_in_the_table_as_they_were_stated(data_config: SyntheticConfig, tmp_path: Path) -> None:
    lines = ("prepare,100,,", "train,3600,2000000,gpu_process", "predict,8,9000000,gpu_process")
    job = prepare(data_config, tmp_path, write_costs(tmp_path / "costs.csv", *lines))
    done = do(job)
    assert "is as costs.csv states it, not measured here" in str(done["flags"])
    found = [(row["stage"], row["split"], row["images"], row["pixels"]) for row in read_stages(job, done)]
    assert found == [
        ("prepare", "train", "1", "1024"),
        ("train", "train", "1", "1024"),
        ("predict", "test", "2", "2048"),
    ]
    [row] = compare_arms(collect(tmp_path / "results")).to_dict("records")
    assert (row["prepare_s"], row["train_s"], row["peak_memory_bytes"]) == (100, 3700, 2000000)
    assert row["peak_memory_kind"] == "gpu_process"
    assert row["predict_s_per_mpx"] == pytest.approx(8 / 2048e-6)


def test_changed_masks_are_another_run(data_config: SyntheticConfig, tmp_path: Path) -> None:
    job = prepare(data_config, tmp_path)
    before = identify_run(job)
    assert identify_run(prepare(data_config, tmp_path)) == before
    imwrite(next((tmp_path / "masks").iterdir()), np.zeros((32, 32), np.uint8))
    [again] = prepare_jobs([Job(job.config, job.overrides)])
    assert identify_run(again) != before


def test_what_cannot_be_scored_is_refused_before_anything_starts(data_config: SyntheticConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: stage"):
        prepare(data_config, tmp_path, write_costs(tmp_path / "costs.csv", "fit,1,,"))
    config = Config(data_config, ExternalConfig(masks=str(tmp_path)), device="cpu", results_dir=str(tmp_path))
    with pytest.raises(InputError, match="no mask of val_000, test_000, test_001"):
        prepare_jobs([Job(config, ())])
