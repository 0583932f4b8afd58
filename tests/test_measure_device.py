"""The whole meter on a pretended card: which number a row carries, where from, and what is flagged."""

from pathlib import Path

import pytest
from support.fake_nvml.card import CONTEXT, MIB
from support.fake_nvml.driver import COMPILER, FakeDriver, compile_driver
from support.fake_nvml.opening import flags_of
from support.fake_nvml.runs import Measured, Scene, calibrate, measure

from bench.measure.calibration import Check
from bench.measure.device import find_risen_process, within
from bench.measure.gpu import Process
from bench.measure.isolation import run_isolated

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="no C compiler (cc, gcc or clang) to build the driver's stand-in"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("fake_nvml"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> FakeDriver:
    return FakeDriver(library, tmp_path / "answers").say()


def run(driver: FakeDriver, scene: Scene) -> Measured:
    outcome = run_isolated(measure, scene, timeout=30, environment=driver.environment)
    assert outcome.ok, outcome.traceback
    measured: Measured = outcome.result
    return measured


def device_flags(measured: Measured) -> list[str]:
    """Flags of the device alone: the machine that runs the tests may be busy."""
    return [flag for flag in measured.flags if "processor time" not in flag and "cgroup" not in flag]


def test_memory_that_only_grew_is_exact(driver: FakeDriver) -> None:
    seen = run(driver, Scene())
    row = seen.row
    assert (row["gpu_peak_process_bytes"], row["gpu_peak_source"]) == (CONTEXT + 300 * MIB, "process_end")
    assert row["gpu_peak_exact"] is True
    assert row["gpu_context_bytes"] == CONTEXT
    assert row["gpu_reserved_peak_bytes"] == 300 * MIB
    assert row["gpu_allocated_peak_bytes"] == 299 * MIB
    assert row["gpu_unattributed_bytes"] == 0
    assert row["gpu_peak_device_delta_bytes"] == CONTEXT + 300 * MIB
    assert (row["alloc_retries"], row["device_frees"], row["foreign_peak_bytes"]) == (0, 0, 0)
    assert seen.headline == (CONTEXT + 300 * MIB, "gpu_process")
    assert device_flags(seen) == []


def test_a_phase_has_its_time_and_samples_and_no_allocator(driver: FakeDriver) -> None:
    seen = run(driver, Scene())
    assert seen.phase["seconds"] > 0.1
    assert seen.row["seconds"] < 0.05
    assert seen.phase["samples"] > 0
    assert seen.phase["gpu_peak_device_delta_bytes"] == CONTEXT + 300 * MIB
    assert seen.phase["gpu_reserved_peak_bytes"] is None
    assert seen.trace.startswith("seconds,stage,split,")
    assert ",init,train," in seen.trace


def test_memory_given_back_within_the_stage_is_a_lower_bound_that_counts_the_allocators_peak(
    driver: FakeDriver,
) -> None:
    row = run(driver, Scene(script=(("reserve", 300 * MIB), ("release", 200 * MIB)))).row
    assert row["gpu_peak_exact"] is False
    assert row["gpu_peak_process_bytes"] == CONTEXT + 300 * MIB
    assert row["gpu_peak_source"] in ("allocator_plus_context", "process_sampled")  # a sample may have caught it
    assert row["device_frees"] == 1


def test_a_container_that_counts_processes_otherwise_is_seen_through(driver: FakeDriver) -> None:
    row = run(driver, Scene(pid=4_000_000_123)).row
    assert row["gpu_peak_process_bytes"] == CONTEXT + 300 * MIB


def test_where_the_list_hides_memory_the_whole_device_is_compared(driver: FakeDriver) -> None:
    seen = run(driver, Scene(hidden=True))
    assert (seen.row["gpu_peak_process_bytes"], seen.row["gpu_peak_source"]) == (CONTEXT + 300 * MIB, "device_delta")
    assert seen.row["gpu_peak_exact"] is False
    assert seen.row["foreign_peak_bytes"] is None


def test_under_the_windows_display_model_only_the_allocator_counts(driver: FakeDriver) -> None:
    seen = run(driver, Scene(hidden=True, answers={"driver_model": 0}))
    assert seen.row["gpu_peak_process_bytes"] is None
    assert seen.row["gpu_peak_device_delta_bytes"] is None
    assert seen.headline == (299 * MIB, "gpu_allocator")


def test_unified_memory_leaves_the_allocator(driver: FakeDriver) -> None:
    seen = run(driver, Scene(hidden=True, answers={"memory_return": 3}))
    assert seen.row["gpu_peak_process_bytes"] is None
    assert seen.headline == (299 * MIB, "gpu_allocator")


def test_struct_drift_is_invalid_and_drops_the_process(driver: FakeDriver) -> None:
    seen = run(driver, Scene(answers={"compute_0": 5}))
    assert any(flag.startswith("invalid") and "struct mismatch" in flag for flag in seen.flags)
    assert seen.row["gpu_peak_source"] == "device_delta"


def test_another_compute_process_is_contended(driver: FakeDriver) -> None:
    seen = run(driver, Scene(answers={"compute_77": 500 * MIB}))
    assert "contended: another compute process on the GPU, holding up to 500 MiB" in seen.flags
    assert seen.row["foreign_peak_bytes"] == 500 * MIB
    assert seen.row["gpu_peak_process_bytes"] == CONTEXT + 300 * MIB


def test_a_desktop_is_not_contended(driver: FakeDriver) -> None:
    assert device_flags(run(driver, Scene(answers={"graphics_77": 5 * MIB}))) == []


@pytest.mark.parametrize(("size", "flagged"), [(5 * MIB, False), (50 * MIB, True)])
def test_memory_of_nobody_known_is_contended(driver: FakeDriver, size: int, flagged: bool) -> None:
    seen = run(driver, Scene(script=(("stray", size), ("wait", 1100))))
    assert any("changed hands" in flag for flag in seen.flags) == flagged


@pytest.mark.parametrize(
    ("answers", "flag"),
    [
        ({"throttle": 0x28}, "warn: the GPU was throttled (hardware slowdown, software thermal limit)"),
        ({"utilization": 40}, "contended: the GPU was 40 % busy before the run"),
        ({"mps_9": MIB}, "invalid: the GPU is shared through MPS, whose processes cannot be told apart"),
    ],
)
def test_what_spoils_a_run_is_flagged(driver: FakeDriver, answers: dict[str, int], flag: str) -> None:
    assert flag in run(driver, Scene(answers=answers)).flags


def test_retries_are_told_and_end_the_proof(driver: FakeDriver) -> None:
    seen = run(driver, Scene(script=(("reserve", MIB), ("retry", 0))))
    assert "warn: the allocator gave memory back and tried again 1 times" in seen.flags
    assert seen.row["gpu_peak_exact"] is False


def test_a_gpu_lost_within_a_stage_is_invalid_and_the_time_is_kept(driver: FakeDriver) -> None:
    seen = run(driver, Scene(script=(("reserve", MIB), ("lose", 0))))
    assert any(flag.startswith("invalid") and "lost the GPU" in flag for flag in seen.flags)
    assert seen.phase["seconds"] > 0.2
    assert seen.row["gpu_reserved_peak_bytes"] is None


def test_a_dead_sampler_is_invalid(driver: FakeDriver) -> None:
    seen = run(driver, Scene(script=(("reserve", MIB), ("kill_sampler", 0))))
    assert "invalid: the sampler died before the end" in seen.flags
    assert seen.row["samples"] is None
    assert seen.row["gpu_peak_process_bytes"] == CONTEXT + MIB


def test_accounting_is_recorded_where_it_is_on(driver: FakeDriver) -> None:
    assert run(driver, Scene(answers={"accounting_peak": 123})).row["gpu_accounting_peak_bytes"] == 123


def opened(driver: FakeDriver, uuid: str | None) -> tuple[bool, tuple[str, ...], int | None]:
    outcome = run_isolated(flags_of, uuid, timeout=30, environment=driver.environment)
    assert outcome.ok, outcome.traceback
    found: tuple[bool, tuple[str, ...], int | None] = outcome.result
    return found


def open_after_a_network(size: int) -> tuple[bool, tuple[str, ...], int | None]:
    return flags_of("0000-fake", size)


def test_what_an_arm_takes_before_the_device_is_opened_is_no_part_of_the_idle_state(driver: FakeDriver) -> None:
    outcome = run_isolated(open_after_a_network, 300 * MIB, timeout=30, environment=driver.environment)
    assert outcome.ok, outcome.traceback
    assert outcome.result == opened(driver, "0000-fake")


def test_the_device_is_opened_by_the_uuid_that_torch_tells(driver: FakeDriver) -> None:
    present, flags, baseline = opened(driver, "0000-fake")
    assert present
    assert flags == ()
    assert baseline is not None


def test_a_device_that_cannot_be_mapped_is_invalid(driver: FakeDriver) -> None:
    present, (flag,), _ = opened(driver, "another")
    assert not present
    assert flag.startswith("invalid: the device is not mapped: the driver knows no device with the UUID another")


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has a real driver")
def test_without_a_driver_to_ask_the_allocator_speaks_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    present, (flag,), _ = opened(FakeDriver(tmp_path / "empty", tmp_path / "answers"), "0000-fake")
    assert not present
    assert flag.startswith("warn: no driver to ask, allocator only: NVMLError_LibraryNotFound")


def calibrated(driver: FakeDriver, scene: Scene) -> list[Check]:
    outcome = run_isolated(calibrate, scene, timeout=60, environment=driver.environment)
    assert outcome.ok, outcome.traceback
    checks: list[Check] = outcome.result
    return checks


def test_calibration_passes_on_an_honest_card(driver: FakeDriver) -> None:
    checks = calibrated(driver, Scene())
    assert len(checks) == 13
    assert all(check.passed for check in checks)


def test_calibration_fails_on_a_driver_that_hides_some(driver: FakeDriver) -> None:
    checks = calibrated(driver, Scene(unseen=20 * MIB))
    failed = {check.what for check in checks if check.passed is False}
    assert "the driver's process list" in failed
    assert "torch's reserve" not in failed


def test_calibration_says_what_it_cannot_see(driver: FakeDriver) -> None:
    checks = calibrated(driver, Scene(hidden=True))
    assert {check.passed for check in checks if "process list" in check.what} == {None}
    assert all(check.passed for check in checks if "process list" not in check.what)


def test_one_process_alone_may_rise() -> None:
    before = [Process(1, 10 * MIB), Process(2, 10 * MIB), Process(3, None)]
    one = [Process(1, 74 * MIB), Process(2, 11 * MIB), Process(3, None), Process(4, 64 * MIB)]
    two = [Process(1, 74 * MIB), Process(2, 74 * MIB)]
    assert find_risen_process(before, one, 64 * MIB) == 1
    assert find_risen_process(before, two, 64 * MIB) is None
    assert find_risen_process(before, before, 64 * MIB) is None


def test_tolerance_is_the_larger_of_4_mib_and_half_a_percent() -> None:
    assert within(68 * MIB, 64 * MIB)
    assert not within(69 * MIB, 64 * MIB)
    assert within(1029 * MIB, 1024 * MIB)
    assert not within(1030 * MIB, 1024 * MIB)
