"""Many images at once, by Dask: threads or processes of this machine, or the workers of a cluster by its address.

The results are those of one image after the other. Whoever works beside others uses its share of the processor alone.
"""

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import Any, TypeVar

from bench.arms import ARMS
from bench.config import Config, InputError, ParallelConfig
from bench.datasets.sample import Sample, Task
from bench.measure.environment import THREAD_VARIABLES
from bench.measure.machine import default_threads
from bench.pipelines.protocol import Pipeline, Prepared, Reducing

PATIENCE = 3.0  # seconds until a scheduler counts as unreachable
AHEAD = 2  # pieces of work that a cluster holds for each of its threads

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Item = TypeVar("Item", bound=Prepared)


def prepare_all(
    pipeline: Pipeline[Item], samples: Sequence[Sample], config: Config, task: Task, reduce: bool = False
) -> list[Item]:
    """Prepare samples, by the workers of `config.parallel` where there are any.

    Args:
        pipeline: What `build_pipeline` builds from `config` and `task`; workers that share no memory build their own.
        samples: Images and masks.
        config: Settings of the run.
        task: Classes and channels.
        reduce: Keep of each item only what training needs (`bench.pipelines.protocol.Reducing`).

    Returns:
        What `pipeline.prepare` makes of each sample, in their order.
    """
    prepare = partial(_prepare_reduced, pipeline) if reduce else pipeline.prepare
    if count_at_once(samples, config) == 1:
        return [prepare(sample) for sample in samples]
    alone = config.parallel.scheduler is None and config.parallel.kind == "threads"
    function = prepare if alone else partial(prepare_one, config, task, reduce=reduce)
    return map_parallel(function, samples, config.parallel, config.measure.threads or default_threads())


def uses_workers(config: Config) -> bool:
    """Whether workers prepare the images of this run: there are some, and the arm does more than read pixels."""
    workers = config.parallel.workers > 0 or config.parallel.scheduler is not None
    return workers and ARMS[config.pipeline.name].uses_superpixels


def count_at_once(samples: Sequence[Sample], config: Config) -> int:
    """How many of these images are prepared at a time, where that is known: 1 without workers."""
    if len(samples) < 2 or not uses_workers(config):
        return 1
    return min(len(samples), config.parallel.workers) if config.parallel.scheduler is None else len(samples)


def has_child_processes(config: Config) -> bool:
    """Whether processes below this one do some of the work: their memory then counts as well."""
    parallel = config.parallel
    return parallel.workers > 0 and parallel.kind == "processes" and parallel.scheduler is None


def list_flags(config: Config) -> list[str]:
    """What spoils a run whose work was done where no meter looks."""
    address = config.parallel.scheduler
    if address is None or not uses_workers(config):
        return []
    return [f"invalid: the workers of {address} prepared the images, and their memory is not in this row"]


def map_parallel(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], config: ParallelConfig, threads: int
) -> list[Result]:
    """Apply a function to each argument by workers; an error of one is raised here.

    Args:
        function: Except for threads it must be importable where the workers are; it, arguments and results must pickle.
        arguments: One per call.
        config: Kind and number of workers.
        threads: Threads of this machine, shared among its workers; each thread of a cluster uses one.

    Returns:
        The results in the order of the arguments.

    Raises:
        InputError: The scheduler of a cluster does not answer.
    """
    if config.scheduler is not None:
        return list(_by_cluster(function, arguments, config.scheduler))
    if config.workers == 0:
        return [function(argument) for argument in arguments]
    share = max(1, threads // config.workers)
    return (_by_threads if config.kind == "threads" else _by_processes)(function, arguments, config.workers, share)


def stream_parallel(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], config: ParallelConfig, threads: int
) -> Iterator[Result]:
    """Yield what `map_parallel` returns, of which a few results at a time are in memory.

    Args:
        function: As in `map_parallel`.
        arguments: One per call.
        config: Kind and number of workers.
        threads: As in `map_parallel`.

    Raises:
        InputError: The scheduler of a cluster does not answer.
    """
    if config.scheduler is not None:
        yield from _by_cluster(function, arguments, config.scheduler)
        return
    workers = max(config.workers, 1)
    share, ahead = max(1, threads // workers), AHEAD * workers
    with ExitStack() as stack:
        pool = None
        if config.workers > 0 and config.kind == "processes":
            stack.enter_context(_environment(dict.fromkeys(THREAD_VARIABLES, str(share))))
            pool = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
        for start in range(0, len(arguments), ahead):
            some = arguments[start : start + ahead]
            if pool is None:
                yield from map_parallel(function, some, config, threads)
            else:
                yield from _by_processes(function, some, workers, share, pool)


def _by_threads(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], workers: int, share: int
) -> list[Result]:
    import dask

    tasks = [dask.delayed(_run_limited, pure=False)(function, _Whole(argument), share) for argument in arguments]
    with _restore_torch_threads():
        return list(dask.compute(*tasks, scheduler="threads", num_workers=workers))


def _by_processes(
    function: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    workers: int,
    share: int,
    pool: ProcessPoolExecutor | None = None,
) -> list[Result]:
    """By new processes, or by those of a pool, which stays."""
    import dask

    tasks = [dask.delayed(run_packed, pure=False)(pack(function, argument), share) for argument in arguments]
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(share))):
        results = dask.compute(*tasks, scheduler="processes", num_workers=workers, chunksize=1, pool=pool)
    return [pickle.loads(result) for result in results]


def _by_cluster(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], address: str
) -> Iterator[Result]:
    """In order, with a few pieces of work per thread on their way, so that the cluster does not hold all pixels."""
    with _client(address) as client:
        ahead = AHEAD * max(1, sum(client.nthreads().values()))
        pending: deque[Any] = deque()
        for argument in arguments:
            (work,) = client.scatter([pack(function, argument)], hash=False)
            pending.append(client.submit(_run_same_code, work, _find_own_version(), pure=False))
            if len(pending) == ahead:
                yield pickle.loads(pending.popleft().result())
        while pending:
            yield pickle.loads(pending.popleft().result())


@contextmanager
def _client(address: str) -> Iterator[Any]:
    from distributed import Client

    class Connection(Client):
        """A client that the block alone closes.

        One that did not connect is left to the garbage collector, and would close itself then. Collected while the next
        one starts, it waits for a lock that is held there: for ever.
        """

        def __del__(self) -> None:
            """Do nothing."""

    try:
        client = Connection(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"parallel.scheduler {address} does not answer: start one with `dask scheduler`, or set it to null"
        ) from error
    with client:
        if not client.nthreads():
            raise InputError(f"parallel.scheduler {address} has no workers: start some with `dask worker {address}`")
        yield client


# --------------------------------------------------------------------------------------------- what the workers do


class _Whole:
    """An argument that Dask is not to look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


def pack(function: Callable[[Any], Any], argument: Any) -> bytes:
    """Pickle a call, so that no library between makes shared memory of the tensors within."""
    return pickle.dumps((function, argument), pickle.HIGHEST_PROTOCOL)


def run_packed(work: bytes, share: int) -> bytes:
    """Do a pickled call with `share` threads, and pickle its result."""
    function, argument = pickle.loads(work)
    return pickle.dumps(_run_limited(function, _Whole(argument), share), pickle.HIGHEST_PROTOCOL)


def _run_same_code(work: bytes, version: str) -> bytes:
    """One thread each: that is what a thread of a Dask worker stands for."""
    if _find_own_version() != version:
        raise InputError("a worker of parallel.scheduler runs another version of this code: install the same there")
    return run_packed(work, 1)


@lru_cache(maxsize=1)
def _find_own_version() -> str:
    from bench.versions import code_version

    return code_version()


def _run_limited(function: Callable[[Any], Any], argument: _Whole, share: int) -> Any:
    from bench.arrays.threads import limit_threads

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(share)
    with limit_threads(share):
        return function(argument.value)


def prepare_one(config: Config, task: Task, sample: Sample, reduce: bool = False) -> Any:
    """Prepare a sample as the pipeline of `config` does; a worker builds that pipeline once.

    Args:
        config: Settings of the run.
        task: Classes and channels.
        sample: Image and mask.
        reduce: Keep only what training needs.

    Returns:
        The prepared item.
    """
    pipeline = _pipeline(pickle.dumps((config, task)))
    return _prepare_reduced(pipeline, sample) if reduce else pipeline.prepare(sample)


def _prepare_reduced(pipeline: Pipeline[Any], sample: Sample) -> Any:
    """The item of a sample, of which an arm that needs less in training keeps only that."""
    item = pipeline.prepare(sample)
    return pipeline.reduce_item(item) if isinstance(pipeline, Reducing) else item


@lru_cache(maxsize=1)
def _pipeline(settings: bytes) -> Pipeline[Any]:
    from bench.pipelines.registry import build_pipeline

    config, task = pickle.loads(settings)
    return build_pipeline(config, task)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Processes that start within the block find these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _restore_torch_threads() -> Iterator[None]:
    torch = sys.modules.get("torch")
    before = 0 if torch is None else torch.get_num_threads()
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)
