"""A new image is scaled as the training images were, from what the run directory says."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.config import NORMALIZATIONS, InputError
from bench.datasets import task_file
from bench.datasets.normalization import Stored, choose_scaling, compute_moments
from bench.datasets.sample import Task

TASK = Task(("ground", "cell"), in_channels=2, spatial_axes=2, ignore_index=255)


def image(seed: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (9, 7, 2)).astype(dtype)


@pytest.mark.parametrize("mode", NORMALIZATIONS)
def test_a_new_image_is_scaled_as_in_training(mode: str, tmp_path: Path) -> None:
    train, new = compute_moments(image(0)), image(1)
    task_file.write(tmp_path / "task.json", TASK, mode, Stored(train, ("uint16",)))
    task, normalization = task_file.read_task(tmp_path / "task.json")
    assert task == TASK
    expected = choose_scaling(mode, new.dtype, compute_moments(new), train).apply(new)
    np.testing.assert_array_equal(normalization.scaling(new.dtype, compute_moments(new)).apply(new), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]


def test_other_number_types_are_refused_where_grey_values_must_mean_the_same(tmp_path: Path) -> None:
    task_file.write(tmp_path / "task.json", TASK, "dataset", Stored(compute_moments(image(0)), ("uint16",)))
    _, normalization = task_file.read_task(tmp_path / "task.json")
    new = image(1, np.uint8)
    with pytest.raises(InputError, match=r"holds uint8 values .* on uint16"):
        normalization.scaling(new.dtype, compute_moments(new))


MISTAKES = {
    "{": "cannot be read as JSON",
    "[]": "does not describe a task",
    json.dumps({"class_names": ["a"]}): "'in_channels' is missing",
}


@pytest.mark.parametrize("content", MISTAKES)
def test_a_broken_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(InputError, match=rf"task\.json {MISTAKES[content]}|task\.json .*{MISTAKES[content]}"):
        task_file.read_task(tmp_path / "task.json")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("in_channels", "2", "in_channels must be a positive"),
        ("spatial_axes", 4, "spatial_axes must be 2 or 3"),
        ("class_names", "ab", "class_names must be a list"),
        ("ignore_index", 1.5, "ignore_index must be"),
        ("normalization", {"mode": "z", "mean": [], "std": [], "dtypes": []}, "mode must be one of"),
        ("normalization", {"mode": "dataset", "mean": [1], "std": [1], "dtypes": []}, "each of 2 channels"),
        ("normalization", {"mode": "none", "mean": [], "std": [], "dtypes": ["x"]}, "'x'"),
        ("normalization", {"mode": "none", "mean": ["x"], "std": [1], "dtypes": []}, "could not convert"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: object, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    task_file.write(path, TASK, "none", None)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError, match=sentence) as caught:
        task_file.read_task(path)
    assert str(path) in str(caught.value)
