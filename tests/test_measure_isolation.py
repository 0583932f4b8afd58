"""Each way in which a run can end, really brought about."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support import work

from bench.measure.environment import allocator_variable, pin_environment
from bench.measure.isolation import run_isolated
from bench.measure.outcome import classify, classify_exit
from bench.tables.write import STATUSES

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader


ROOT = Path(__file__).parents[1]


def test_a_result_comes_back_with_its_times() -> None:
    outcome = run_isolated(work.double, 21, timeout=30)
    assert (outcome.status, outcome.reason, outcome.result, outcome.exit_code) == ("ok", "", 42, 0)
    assert outcome.startup_seconds is not None
    assert 0 < outcome.startup_seconds < outcome.seconds


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a limit of the address space")
def test_an_allocation_beyond_a_limit_is_host_oom() -> None:
    outcome = run_isolated(work.allocate_under_a_limit, 2**31, timeout=30)
    assert (outcome.status, outcome.error) == ("host_oom", "MemoryError")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a limit of the address space")
def test_a_library_that_a_limit_has_no_room_for_is_host_oom() -> None:
    outcome = run_isolated(work.import_under_a_limit, ("torch", 300 << 20), timeout=60)
    assert (outcome.status, outcome.error) == ("host_oom", "ImportError")
    assert outcome.reason.startswith("host memory ran out: ImportError: lib")
    assert (
        classify(ImportError("libx.so: failed to map segment from shared object: Operation not permitted"))[0]
        == "failed"
    )


def test_a_child_whose_parent_gave_up_ends_without_a_word(tmp_path: Path) -> None:
    """The parent was interrupted as it started the child, whose folder is gone when it looks for its call."""
    code = "from bench.measure.child import main; import sys; main(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "gone")]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.PIPE, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_child_is_host_oom_and_another_signal_is_not() -> None:
    killed = run_isolated(work.be_killed, None, timeout=30)
    assert (killed.status, killed.exit_code, killed.result) == ("host_oom", -9, None)
    assert "signal 9" in killed.reason
    aborted = run_isolated(work.abort, None, timeout=30)
    assert aborted.status == "failed"
    assert "SIGABRT" in aborted.reason


def test_an_exception_is_a_failure_that_names_itself() -> None:
    outcome = run_isolated(work.fail, "the dog ate it\nand more", timeout=30)
    assert (outcome.status, outcome.error) == ("failed", "ValueError")
    assert outcome.reason == "ValueError: the dog ate it"
    assert "in fail" in outcome.traceback


def test_a_loss_that_is_not_finite_is_a_failure() -> None:
    assert run_isolated(work.train_to_a_loss_that_is_not_finite, 0.01, timeout=30).ok
    outcome = run_isolated(work.train_to_a_loss_that_is_not_finite, 10.0, timeout=30)
    assert outcome.status == "failed"
    assert "the loss is not finite" in outcome.reason


def test_leaving_without_a_result_is_a_failure() -> None:
    outcome = run_isolated(work.leave, 3, timeout=30)
    assert (outcome.status, outcome.exit_code) == ("failed", 3)
    assert "exit code 3" in outcome.reason


def test_a_hanging_child_is_killed_with_all_below_it(tmp_path: Path) -> None:
    outcome = run_isolated(work.hang_with_a_child, str(tmp_path / "pids"), timeout=2.5)
    assert outcome.status == "timeout"
    assert "2.5 s" in outcome.reason
    assert outcome.seconds < 10
    _until(lambda: all(_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split()))


def test_what_cannot_be_handed_over_says_so() -> None:
    assert "cannot be handed back" in run_isolated(work.return_what_does_not_pickle, None, timeout=30).reason
    with pytest.raises((pickle.PicklingError, AttributeError)):
        run_isolated(lambda _: None, None)

    def stranger(_: Any) -> None: ...

    stranger.__module__ = "__main__"
    with pytest.raises(ValueError, match="move it to a module"):
        run_isolated(stranger, None)


def test_the_environment_is_there_before_the_child_starts() -> None:
    environment = pin_environment(3)
    for name in ("CUDA_DEVICE_ORDER", allocator_variable(), "OMP_NUM_THREADS"):
        assert run_isolated(work.variable, name, 30, environment).result == environment[name]
    assert environment["OMP_NUM_THREADS"] == "3"


def test_standard_error_passes_through(capfd: pytest.CaptureFixture[str]) -> None:
    run_isolated(work.say_on_standard_error, "progress 7/9", timeout=30)
    assert "progress 7/9" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_child_and_all_below_it_go_with_the_parent(tmp_path: Path, end: signal.Signals) -> None:
    parent, pids = _parent_of_a_hanging_child(tmp_path, "hang_with_a_child")
    parent.send_signal(end)
    _, error = parent.communicate(timeout=20)
    assert ("KeyboardInterrupt" in error) == (end == signal.SIGINT)
    _until(lambda: all(_gone(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help that this needs")
def test_a_child_that_holds_the_interpreter_goes_with_the_parent_too(tmp_path: Path) -> None:
    parent, pids = _parent_of_a_hanging_child(tmp_path, "hang_without_letting_go")
    parent.kill()
    parent.communicate(timeout=20)
    _until(lambda: all(_gone(pid) for pid in pids))


def _parent_of_a_hanging_child(folder: Path, work: str) -> tuple[subprocess.Popen[str], list[int]]:
    file = folder / "pids"
    heeds = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a job in the background ignores it
    )
    call = f"i.run_isolated(support.work.{work}, {str(file)!r})"
    code = f"{heeds}; import support.work, bench.measure.isolation as i; {call}"
    path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    _until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return parent, [int(pid) for pid in file.read_text().split()]


def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="forked data workers")
def test_a_killed_data_worker_is_host_oom() -> None:
    class KilledWorker(torch.utils.data.Dataset[int]):
        """A data set whose worker is killed, as the kernel does when memory runs out."""

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            os.kill(os.getpid(), signal.SIGKILL)
            return index

    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        next(iter(DataLoader(KilledWorker(), num_workers=1)))
    assert classify(caught.value)[0] == "host_oom"


def test_torch_without_host_memory_is_host_oom() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert classify(caught.value)[0] == "host_oom"


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (RuntimeError("CUDA error: out of memory\nmore"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("Unable to find an engine to execute this computation"), "oom_suspected"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), "oom_suspected"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear"), "oom_suspected"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "failed"),
        (OSError(12, "Cannot allocate memory"), "host_oom"),
        (OSError(24, "Too many open files", "x.tif"), "failed"),
        (OSError(2, "No such file or directory"), "failed"),
        (ValueError("the words out of memory in a message of ours"), "failed"),
        (ValueError("Unet cannot be built: [enforce fail at alloc_cpu.cpp:127] can't allocate memory"), "host_oom"),
    ],
)
def test_exceptions_are_told_apart(exception: Exception, status: str) -> None:
    found, reason = classify(exception)
    assert found == status
    assert status in STATUSES
    assert "\n" not in reason
    assert type(exception).__name__ in reason


def test_torch_without_device_memory_is_out_of_memory() -> None:
    found, reason = classify(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert (found, "OutOfMemoryError" in reason) == ("out_of_memory", True)


def test_the_kernels_own_count_is_told() -> None:
    assert "counted 1 such" in classify_exit(-9, 1)[1]
    assert "no such kill" in classify_exit(-9, 0)[1]
    assert "somebody else" in classify_exit(-9, 0)[1]
    assert "counted" not in classify_exit(-9, None)[1]
