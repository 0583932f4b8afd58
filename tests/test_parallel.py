"""Many images at once: whoever does the work, the results are those of one after the other."""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.pieces import describe, fail

from bench.arrays.threads import count_threads, limit_threads
from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    InputError,
    OracleConfig,
    ParallelConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    ThresholdConfig,
)
from bench.datasets.sample import Sample, Task
from bench.pipelines import parallel
from bench.pipelines.registry import build_pipeline

if TYPE_CHECKING:
    import torch
    from distributed import Client, LocalCluster


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2)
THREADS, PROCESSES = ParallelConfig(2, "threads"), ParallelConfig(2, "processes")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two worker processes on this machine, reached by its address as any other."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def scene(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    mask = (rng.random((40, 30 + seed)) > 0.5).astype(np.uint8)
    return Sample(f"scene {seed}", rng.normal(mask, 0.3)[..., None].astype(np.float32), mask)


SCENES = [scene(seed) for seed in range(5)]


def config(workers: ParallelConfig, pipeline: Any = None, **graph: Any) -> Config:
    return Config(
        dataset=DatasetConfig(),
        pipeline=pipeline or SuperpixelGnnConfig(model=GnnConfig(hidden_channels=8, num_layers=2)),
        superpixels=SuperpixelsConfig(method="grid", superpixel_size=20),
        graph=GraphConfig(features=["intensity"], **graph),
        device="cpu",
        parallel=workers,
    )


def prepared(settings: Config) -> list[Any]:
    pipeline = build_pipeline(settings, TASK)
    return parallel.prepare_all(pipeline, SCENES, settings, TASK)


@pytest.fixture(scope="module")
def graphs() -> list[Any]:
    """Made one after the other."""
    return prepared(config(ParallelConfig()))


def assert_same_graphs(one: list[Any], other: list[Any]) -> None:
    for item, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(item.segments, again.segments)
        assert set(item.data.keys()) == set(again.data.keys())
        for name, tensor in item.data.to_dict().items():
            assert torch.equal(tensor, again.data[name]), name


def test_threads_prepare_the_same_graphs(graphs: list[Any]) -> None:
    assert_same_graphs(prepared(config(THREADS)), graphs)


def test_graphs_survive_the_way_to_a_worker_and_back(graphs: list[Any]) -> None:
    make = partial(parallel.prepare_one, config(PROCESSES), TASK)
    made = [pickle.loads(parallel.run_packed(parallel.pack(make, sample), 1)) for sample in SCENES]
    assert_same_graphs(made, graphs)
    assert [item.facts for item in made] == [item.facts for item in graphs]


@pytest.mark.parametrize("kind", ["processes", "cluster"])
def test_workers_elsewhere_prepare_the_same(kind: str, address: str) -> None:
    """With the arm that starts fastest."""
    workers = PROCESSES if kind == "processes" else ParallelConfig(scheduler=address)
    serial, made = (prepared(config(who, OracleConfig())) for who in (ParallelConfig(), workers))
    assert [item.facts for item in made] == [item.facts for item in serial]
    for item, again in zip(made, serial, strict=True):
        np.testing.assert_array_equal(item.segments, again.segments)
        np.testing.assert_array_equal(item.labels, again.labels)


def test_workers_take_from_one_cache(tmp_path: Path, graphs: list[Any]) -> None:
    first, again = (prepared(config(THREADS, cache_dir=str(tmp_path))) for _ in range(2))
    assert [item.facts["from_cache"] for item in first + again] == [0] * 5 + [1] * 5
    assert_same_graphs(first, graphs)
    assert_same_graphs(again, graphs)


@pytest.mark.parametrize("kind", ["serial", "threads", "processes", "cluster"])
def test_order_and_errors_are_those_of_a_loop(kind: str, address: str) -> None:
    workers = {
        "serial": ParallelConfig(),
        "threads": THREADS,
        "processes": PROCESSES,
        "cluster": ParallelConfig(scheduler=address),
    }[kind]
    before = dict(os.environ), torch.get_num_threads(), count_threads()
    said = parallel.map_parallel(describe, range(8), workers, threads=6)
    assert [number for number, *_ in said] == list(range(8))
    assert len({pid for _, pid, *_ in said}) == (2 if kind in ("processes", "cluster") else 1)
    assert (os.getpid() in {pid for _, pid, *_ in said}) == (kind in ("serial", "threads"))
    with pytest.raises(InputError, match="the third cannot be used"):
        parallel.map_parallel(fail, range(5), workers, threads=2)
    assert (dict(os.environ), torch.get_num_threads(), count_threads()) == before


def test_workers_share_the_threads_there_are(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 6)
    assert {share for _, _, share, _ in parallel.map_parallel(describe, range(4), THREADS, 6)} == {3}
    assert {said[2:] for said in parallel.map_parallel(describe, range(2), PROCESSES, 6)} == {(3, "3")}
    assert {said[2:] for said in parallel.map_parallel(describe, range(2), replace(PROCESSES, workers=4), 2)} == {
        (1, "1")
    }
    on_cluster = parallel.map_parallel(describe, range(2), ParallelConfig(scheduler=address), 6)
    assert {share for _, _, share, _ in on_cluster} == {1}
    assert count_threads() == 6


def test_a_limit_holds_in_its_block_and_never_widens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 4)
    with limit_threads(3):
        assert count_threads() == 3
        with limit_threads(9):
            assert count_threads() == 3
    assert count_threads() == 4


def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_scheduler_that_does_not_answer_is_said_in_a_sentence_soon() -> None:
    address, started = f"tcp://127.0.0.1:{unused_port()}", time.perf_counter()
    with pytest.raises(InputError, match=rf"parallel\.scheduler {address} does not answer"):
        parallel.map_parallel(describe, range(2), ParallelConfig(scheduler=address), 1)
    assert time.perf_counter() - started < 3 * parallel.PATIENCE


def test_a_scheduler_that_cannot_be_an_address_is_said_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"parallel\.scheduler nonsense://here does not answer"):
        parallel.map_parallel(describe, range(2), ParallelConfig(scheduler="nonsense://here"), 1)


def test_a_scheduler_without_workers_is_said_in_a_sentence() -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1", processes=True) as cluster,
        pytest.raises(InputError, match="has no workers"),
    ):
        parallel.map_parallel(describe, range(2), ParallelConfig(scheduler=cluster.scheduler_address), 1)


def test_a_worker_with_other_code_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_find_own_version", lambda: "other")
    with pytest.raises(InputError, match="another version of this code"):
        parallel.map_parallel(describe, range(2), ParallelConfig(scheduler=address), 1)


def test_a_cluster_never_holds_all_the_work(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    original: Callable[..., bytes] = parallel.pack

    with Client(address, set_as_default=False) as watcher:

        def counting(function: Callable[[Any], Any], argument: int) -> bytes:
            taken.append((argument, len(watcher.who_has())))
            return original(function, argument)

        monkeypatch.setattr(parallel, "pack", counting)
        numbers = parallel.map_parallel(partial(pow, 2), range(12), ParallelConfig(scheduler=address), 1)
    assert numbers == [2**number for number in range(12)]
    assert max(held for _, held in taken) <= 2 * (2 * parallel.AHEAD + 1)


def test_what_the_row_must_know_of_workers() -> None:
    remote = ParallelConfig(scheduler="tcp://there:8786")
    settings = [config(workers) for workers in (ParallelConfig(), THREADS, PROCESSES, remote)]
    assert [parallel.has_child_processes(one) for one in settings] == [False, False, True, False]
    assert parallel.list_flags(config(PROCESSES)) == []
    (flag,) = parallel.list_flags(config(remote))
    assert flag.startswith("invalid: the workers of tcp://there:8786")
    assert parallel.list_flags(config(remote, ThresholdConfig())) == []
    assert parallel.uses_workers(config(THREADS, OracleConfig()))
    assert not parallel.uses_workers(config(THREADS, ThresholdConfig()))
    assert parallel.count_at_once(SCENES, config(PROCESSES)) == 2
    assert parallel.count_at_once(SCENES[:1], config(PROCESSES)) == 1
    assert parallel.count_at_once(SCENES, config(ParallelConfig())) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": -1}, "must not be negative"),
        ({"kind": "greenlets"}, "threads, processes"),
        ({"scheduler": "host:8786"}, "tcp://host:8786"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ParallelConfig(**settings)
