"""What every data set of the registry keeps, also one that is added later: it needs a settings class with its name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import folder_sets as sets

from bench.config import DatasetConfig, InputError, PublicConfig
from bench.datasets.registry import DATASETS, load
from bench.datasets.sample import Splits
from bench.downloads.cache import find_converted

SMALL: dict[str, dict[str, Any]] = {  # where the defaults are more than a test needs
    "synthetic": {"image_size": [64, 96], "train_images": 2, "val_images": 1, "test_images": 1},
}


def settings_of(name: str, folder: Path) -> DatasetConfig:
    """The settings of a data set: its class's defaults, or few images."""
    [kind] = [kind for kind in list_kinds(DatasetConfig) if kind().name == name]
    chosen = SMALL.get(name, {})
    if name == "folder":
        chosen = {"root": str(sets.make(folder / "set"))}
    if name == "public":  # as if it had been downloaded before
        sets.make(find_converted(folder / "cache", PublicConfig().subset))
        chosen = {"cache_dir": str(folder / "cache")}
    return kind(**chosen)


def list_kinds(kind: type[DatasetConfig]) -> list[type[DatasetConfig]]:
    return [kind, *(below for child in kind.__subclasses__() for below in list_kinds(child))]


@pytest.fixture(params=list(DATASETS))
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DatasetConfig:
    return settings_of(request.param, tmp_path)


def samples_of(splits: Splits) -> list[Any]:
    return [*splits.train, *splits.val, *splits.test]


def test_images_and_masks_are_what_the_task_says(config: DatasetConfig) -> None:
    splits = load(config)
    task, allowed = splits.task, {*range(splits.task.num_classes), splits.task.ignore_index}
    assert min(len(splits.train), len(splits.val), len(splits.test)) >= 1
    assert len(set(task.class_names)) == task.num_classes >= 2
    for sample in samples_of(splits):
        image, mask = np.asarray(sample.image), np.asarray(sample.mask)
        assert image.dtype == sample.image.dtype == np.float32
        assert image.shape == sample.image.shape == (*mask.shape, task.in_channels)
        assert mask.shape == sample.mask.shape
        assert mask.ndim == task.spatial_axes
        assert mask.dtype.kind in "iu"
        assert set(np.unique(mask).tolist()) <= allowed
        assert np.isfinite(image).all()


def test_any_part_is_that_of_the_whole(config: DatasetConfig) -> None:
    sample = load(config).test[0]
    image, mask = np.asarray(sample.image), np.asarray(sample.mask)
    for key in (np.s_[1:4], np.s_[2, 3:5], np.s_[..., 2:7]):
        np.testing.assert_array_equal(sample.mask[key], mask[key])
    np.testing.assert_array_equal(sample.image[1:5, 2:6], image[1:5, 2:6])


def test_names_are_unique_and_free_for_the_tables(config: DatasetConfig) -> None:
    splits = load(config)
    names = [sample.name for sample in samples_of(splits)]
    assert len(set(names)) == len(names)
    assert not {"all", ""} & set(names)
    assert "macro" not in splits.task.class_names


def test_two_readings_are_one_data_set(config: DatasetConfig, tmp_path: Path) -> None:
    one, other = load(config), load(config, tmp_path / "results")
    assert (one.facts, one.task, one.name) == (other.facts, other.task, other.name)
    assert one.facts["dataset.content"] != ""
    for split in ("train", "val", "test"):
        members = getattr(one, split)
        assert one.facts[f"dataset.images_{split}"] == len(members)
        assert one.facts[f"dataset.pixels_{split}"] == sum(np.prod(sample.mask.shape) for sample in members)
    for left, right in zip(samples_of(one), samples_of(other), strict=True):
        np.testing.assert_array_equal(np.asarray(left.image), np.asarray(right.image))
        np.testing.assert_array_equal(np.asarray(left.mask), np.asarray(right.mask))


def test_every_scaling_of_grey_values_is_offered(config: DatasetConfig) -> None:
    for mode in ("per_image", "centred", "dataset", "none"):
        splits = load(replace(config, normalization=mode))
        assert np.isfinite(np.asarray(splits.train[0].image)).all()
        if mode in ("centred", "dataset"):
            assert splits.stored is not None
            assert splits.stored.moments.mean.shape == (splits.task.in_channels,)
    with pytest.raises(InputError, match=r"dataset\.normalization must be one of"):
        replace(config, normalization="other")
