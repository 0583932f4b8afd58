"""Prepared graphs on disk: a hit equals what was made, what changed is made anew, and what is damaged is noticed."""

from __future__ import annotations

import copy
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.results import make_run

from bench.config import (
    Config,
    GnnConfig,
    GraphConfig,
    InputError,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SyntheticConfig,
    ThresholdConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.measure.memory import MemoryProbe
from bench.pipelines.gnn import cache as prepared
from bench.pipelines.gnn.cache import Cache, CacheEntry, hash_pixels, load_entry, store_entry
from bench.pipelines.origin import Origin, drop_origin, sum_origins
from bench.pipelines.threshold import Grey, Threshold
from bench.run import run
from bench.tables.columns import NOT_PART_OF_A_RUN

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch_geometric.data import Data

    from bench.pipelines.gnn.graph import SuperpixelGraph, build_sample_graphs
    from bench.tables.collect import collect
    from bench.tables.comparison import list_configurations


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2)
SUPERPIXELS = SuperpixelsConfig(method="grid", superpixel_size=30)
ROOT = Path(__file__).parents[1]


class Counted:
    """Makes graphs, and counts how many."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task
    ) -> list[SuperpixelGraph]:
        self.calls += 1
        return build_sample_graphs(sample, views, graph, task)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The maker of all caches of a test; the version of the code is fixed."""
    monkeypatch.setattr(prepared, "graph_version", lambda: "some code")
    return Counted()


def graph_settings(folder: Path | None) -> GraphConfig:
    return GraphConfig(features=["intensity"], cache_dir=None if folder is None else str(folder))


def cache(folder: Path | None, make: Any, **changed: Any) -> Cache[SuperpixelGraph]:
    settings: dict[str, Any] = {"superpixels": SUPERPIXELS, "graph": graph_settings(folder), "task": TASK} | changed
    return Cache([settings["superpixels"]], settings["graph"], settings["task"], make, SuperpixelGraph)


def prepare(folder: Path | None, make: Any, sample: Sample) -> SuperpixelGraph:
    [item] = cache(folder, make).prepare(sample)
    return item


def scene(seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    mask = (rng.random((24, 30)) > 0.5).astype(np.uint8)
    return Sample(f"scene {seed}", rng.normal(mask, 0.3)[..., None].astype(np.float32), mask)


def assert_same(one: SuperpixelGraph, other: SuperpixelGraph) -> None:
    """Everything but the facts that tell where it came from, field by field, tensor by tensor."""
    assert {field.name for field in fields(SuperpixelGraph)} == {"data", "segments", "facts"}
    assert set(one.data.keys()) == set(other.data.keys())
    for name, tensor in one.data.to_dict().items():
        again = other.data[name]
        assert tensor.dtype == again.dtype, name
        assert torch.equal(tensor, again), name
    np.testing.assert_array_equal(one.segments, other.segments)
    assert one.segments.dtype == other.segments.dtype
    told = set(Origin(made_peak_bytes=0).facts())
    assert {k: v for k, v in one.facts.items() if k not in told} == {
        k: v for k, v in other.facts.items() if k not in told
    }


def test_what_comes_from_the_cache_is_what_was_made(tmp_path: Path, made: Counted) -> None:
    plain, first, again = (prepare(folder, made, scene()) for folder in (None, tmp_path, tmp_path))
    assert made.calls == 2
    assert_same(plain, first)
    assert_same(plain, again)
    assert "from_cache" not in plain.facts
    assert (first.facts["from_cache"], again.facts["from_cache"]) == (0, 1)
    assert first.facts["made_seconds"] == again.facts["made_seconds"] > 0
    assert min(first.facts["made_peak_bytes"], again.facts["made_peak_bytes"]) > 2**20
    assert isinstance(again.data, Data)


def test_names_do_not_matter_and_neither_does_the_folder_they_came_from(tmp_path: Path, made: Counted) -> None:
    cache(tmp_path, made).prepare(scene())
    cache(tmp_path, made).prepare(replace(scene(), name="another name"))
    assert made.calls == 1


def changed_samples() -> Iterator[Sample]:
    image, mask = np.asarray(scene().image), np.asarray(scene().mask)
    moved, flipped = image.copy(), mask.copy()
    moved[3, 4, 0] = np.nextafter(moved[3, 4, 0], np.float32(9))
    flipped[23, 29] ^= 1
    yield Sample("scene 0", moved, mask)
    yield Sample("scene 0", image, flipped)
    yield Sample("scene 0", image.reshape(30, 24, 1), mask.reshape(30, 24))
    yield Sample("scene 0", image.astype(np.float64), mask)


@pytest.mark.parametrize("sample", list(changed_samples()))
def test_one_changed_value_is_another_graph(sample: Sample, tmp_path: Path, made: Counted) -> None:
    assert cache(tmp_path, made).key(scene()) != cache(tmp_path, made).key(sample)


def changed(settings: Any, name: str) -> Any:
    """A copy with another value, whatever its type: a key asks not whether settings make sense."""
    other = copy.copy(settings)
    object.__setattr__(other, name, f"not {getattr(settings, name)}")
    return other


@pytest.mark.parametrize("name", [field.name for field in fields(SuperpixelsConfig)])
def test_a_changed_setting_of_superpixels_never_hits(name: str, tmp_path: Path, made: Counted) -> None:
    other = cache(tmp_path, made, superpixels=changed(SUPERPIXELS, name))
    assert other.key(scene()) != cache(tmp_path, made).key(scene())


@pytest.mark.parametrize("name", [field.name for field in fields(GraphConfig)])
def test_a_changed_setting_of_the_graph_never_hits_but_the_folder_is_none(
    name: str, tmp_path: Path, made: Counted
) -> None:
    other = cache(tmp_path, made)
    other.settings = ((SUPERPIXELS,), changed(other.settings[1], name), TASK)
    same = other.key(scene()) == cache(tmp_path, made).key(scene())
    assert same == (name in ("cache_dir", "scratch_dir"))


@pytest.mark.parametrize(
    "task", [replace(TASK, class_names=("background", "cell", "another")), replace(TASK, ignore_index=1)]
)
def test_other_classes_never_hit(task: Task, tmp_path: Path, made: Counted) -> None:
    assert cache(tmp_path, made, task=task).key(scene()) != cache(tmp_path, made).key(scene())


def test_other_code_other_threads_and_another_processor_never_hit(
    tmp_path: Path, made: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {cache(tmp_path, made).key(scene())}
    for module, name, value in (
        ("bench.pipelines.gnn.cache.graph_version", "code", lambda: "other code"),
        ("bench.pipelines.gnn.cache.cpu_model", "processor", lambda: "another processor"),
        ("bench.arrays.threads.count_threads", "threads", lambda: 63),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, value)
            keys.add(cache(tmp_path, made).key(scene()))
            assert name
    assert len(keys) == 4


def test_pixels_are_hashed_the_same_whatever_the_bands() -> None:
    image = np.asarray(scene().image)
    whole = hash_pixels(image)
    for same in (image, image[::-1][::-1], np.asfortranarray(image)):
        assert hash_pixels(same, band_bytes=7 * 30 * 4) == whole


def make_with_much_memory(
    sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task
) -> list[SuperpixelGraph]:
    """Needs 256 MiB for a moment."""
    assert np.ones(2**28, np.uint8).any()
    return build_sample_graphs(sample, views, graph, task)


def test_memory_that_making_took_is_told_of_what_is_fetched(tmp_path: Path, made: Counted) -> None:
    assert made.calls == 0
    MemoryProbe().reset()
    first, again = (prepare(tmp_path, make_with_much_memory, scene()) for _ in range(2))
    held = MemoryProbe().rss()
    for item in (first, again):
        assert held + 2**27 < item.facts["made_peak_bytes"] < held + 2**30


def entry(seed: int = 0) -> CacheEntry:
    rng = np.random.default_rng(seed)
    arrays = {"segments": rng.integers(0, 9, (6, 5), np.int32), "data.x": rng.random((9, 2))}
    return CacheEntry(arrays, {"num_nodes": 9.0}, 0.25, 12345)


def test_a_file_is_a_plain_npz_and_holds_what_was_stored(tmp_path: Path) -> None:
    store_entry(tmp_path / "one.npz", entry())
    found = load_entry(tmp_path / "one.npz")
    assert found is not None
    assert (found.facts, found.seconds, found.added_rss_bytes) == ({"num_nodes": 9.0}, 0.25, 12345)
    with np.load(tmp_path / "one.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["segments"], entry().arrays["segments"])
    assert [path.name for path in tmp_path.iterdir()] == ["one.npz"]


def test_objects_are_refused_rather_than_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        store_entry(tmp_path / "one.npz", replace(entry(), arrays={"segments": np.array([None])}))
    assert list(tmp_path.iterdir()) == []


def test_a_file_damaged_anywhere_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    store_entry(path, entry())
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        assert load_entry(path) is None, position
        assert not path.exists()
    for length in (0, 1, 31, 32, 33, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert load_entry(path) is None, length


def test_a_damaged_file_is_made_again(tmp_path: Path, made: Counted) -> None:
    first = prepare(tmp_path, made, scene())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    again = prepare(tmp_path, made, scene())
    assert made.calls == 2
    assert_same(first, again)
    assert load_entry(path) is not None


WRITER = """
import sys
from pathlib import Path
import numpy as np
from bench.pipelines.gnn.cache import CacheEntry, store_entry
arrays = {"segments": np.random.default_rng(0).integers(0, 10**6, (700, 700), np.int32)}
print("ready", flush=True)
for number in range(10**6):
    store_entry(Path(sys.argv[1]) / f"{number % 3}.npz", CacheEntry(arrays, {}, 0.0, None))
"""


def test_a_writer_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    wanted = np.random.default_rng(0).integers(0, 10**6, (700, 700), np.int32)
    rng, torn = np.random.default_rng(1), 0
    writer = [sys.executable, "-c", WRITER, str(tmp_path)]
    for _ in range(10):
        with subprocess.Popen(writer, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
        torn += len(list(tmp_path.glob(".*.partial")))
        for path in tmp_path.glob("*.npz"):
            assert prepared.intact(path)
            found = load_entry(path)
            assert found is not None
            np.testing.assert_array_equal(found.arrays["segments"], wanted)
        for path in tmp_path.iterdir():
            path.unlink()
    assert torn > 0, "no kill hit a writer at work: the test shows nothing"


def test_two_who_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, problems = tmp_path / "one.npz", list[object]()

    def write_and_read() -> None:
        for _ in range(30):
            store_entry(path, entry())
            found = load_entry(path)
            if found is None or not np.array_equal(found.arrays["data.x"], entry().arrays["data.x"]):
                problems.append(found)

    threads = [threading.Thread(target=write_and_read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [found.name for found in tmp_path.iterdir()] == ["one.npz"]


def test_what_the_dead_left_is_removed_and_what_the_living_write_is_not(tmp_path: Path, made: Counted) -> None:
    old, new = tmp_path / ".old.npz.1.partial", tmp_path / ".new.npz.2.partial"
    for path in (old, new):
        path.write_bytes(b"part")
    os.utime(old, (time.time() - 2 * prepared.STALE_SECONDS,) * 2)
    cache(tmp_path, made)
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, made: Counted) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"graph\.cache_dir .*file/below cannot be used"):
        cache(tmp_path / "file" / "below", made)


def test_the_origin_of_items_adds_up_what_they_took() -> None:
    facts: list[dict[str, float]] = [
        {"num_nodes": 3},
        Origin(0.0, 5.0, 6.0, 9.0).facts(),
        Origin(1.0, 2.0, 0.5, 3.0).facts(),
        Origin(1.0, 3.0, 0.25, 7.0).facts(),
    ]
    assert sum_origins(facts) == Origin(2.0, 10.0, 6.75, 7.0)
    assert sum_origins(facts).saved_seconds == 3.25
    assert sum_origins(facts[:1]) == Origin()
    assert sum_origins(facts[:2]).peak_rss_bytes is None
    assert drop_origin({"num_nodes": 3.0, **facts[2]}) == {"num_nodes": 3.0}


def run_once(folder: Path, name: str, cache_dir: Path) -> pd.DataFrame:
    """The stages of one small run in this process."""
    config = Config(
        dataset=SyntheticConfig(image_size=[64, 64], train_images=3, val_images=1, test_images=2),
        pipeline=SuperpixelGnnConfig(model=GnnConfig(hidden_channels=4, num_layers=1)),
        superpixels=SUPERPIXELS,
        graph=graph_settings(cache_dir),
        training=TrainingConfig(epochs=1, steps=None),
        device="cpu",
    )
    (folder / name).mkdir()
    row, _ = run(config, folder / name, {"run_id": name, "settings_key": "settings"})
    assert row["prepared_from_cache"] == (6 if name == "again" else 0)
    assert "made_seconds" not in row
    return pd.read_csv(folder / name / "stages.csv")


def test_a_run_from_the_cache_reports_the_seconds_of_the_run_that_filled_it(tmp_path: Path) -> None:
    first, again = (run_once(tmp_path, name, tmp_path / "cache") for name in ("first", "again"))
    first, again = (stages[stages["stage"] == "prepare"].set_index("split") for stages in (first, again))
    assert list(first["images_from_cache"]) == [0, 0, 0]
    assert dict(again["images_from_cache"]) == dict(again["images"]) == {"train": 3, "val": 1, "test": 2}
    assert (first["seconds"] < first["wall_seconds"]).all(), "storing is not part of the work"
    with np.load(next(iter((tmp_path / "cache").iterdir()))) as archive:
        assert "data.x" in archive.files
    work = sum(entry.seconds for path in (tmp_path / "cache").iterdir() if (entry := load_entry(path)))
    for stages in (first, again):
        assert math.isclose(stages["seconds"].sum(), work, rel_tol=0.2, abs_tol=0.01)


def test_what_was_made_of_a_test_image_goes_before_the_next_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living: list[int] = []
    items: list[weakref.ref[Grey]] = []

    def prepare(_: Threshold, image: Sample) -> Grey:
        living.append(sum(item() is not None for item in items))
        item = Grey(image.image, image.mask)
        items.append(weakref.ref(item))
        return item

    monkeypatch.setattr(Threshold, "prepare", prepare)
    dataset = SyntheticConfig(image_size=[64, 64], train_images=2, val_images=1, test_images=4)
    config = Config(dataset=dataset, pipeline=ThresholdConfig(), device="cpu")
    run(config, tmp_path, {"run_id": "run", "settings_key": "settings"})
    assert living == [0, 1, 2, 0, 0, 0, 0], "training and validation images are kept for the fit, no others"


def test_the_folder_of_the_cache_makes_no_other_configuration(tmp_path: Path) -> None:
    for seed, folder in enumerate((None, "one", "another")):
        make_run(
            tmp_path, "superpixel_gnn", seed, graph__cache_dir=folder, graph__neighbours=8, measure__share_gpu=seed
        )
    assert set(list_configurations(collect(tmp_path))["arm"]) == {"superpixel_gnn"}
    assert "graph.cache_dir".startswith(NOT_PART_OF_A_RUN)
