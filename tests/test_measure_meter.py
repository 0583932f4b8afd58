"""The meter on the processor: what a stage held, what it took, and that nothing unmeasured is ever a number."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.measure.allocator import AllocatorReading
from bench.measure.calibration import calibrate_cpu, check_probe, flag_calibration, hold_host_memory
from bench.measure.device import Device, open_cpu
from bench.measure.gpu import GpuFacts, NoGpu
from bench.measure.load import Load, flag_load
from bench.measure.meter import TRACE_FILE, Meter
from bench.measure.stages import Stage, StageEntry, energy_columns, gross_peak
from bench.measure.trace import Trace
from bench.tables.columns import TRAINING_STAGES

MIB = 2**20
SECOND = 10**9
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the high-water mark")


@linux
def test_a_stage_sees_its_own_peak_and_the_next_does_not(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("prepare", "train"), hold_host_memory(128 * MIB):
            pass
        with meter.stage("train", "train"):
            pass
    prepare, train = meter.rows()
    assert prepare["hwm_reset"]
    assert prepare["peak_rss_source"] == "vmhwm"
    assert math.isclose(prepare["peak_rss_bytes"] - prepare["rss_start_bytes"], 128 * MIB, rel_tol=0.02)
    assert abs(train["peak_rss_bytes"] - train["rss_start_bytes"]) < 4 * MIB
    assert meter.headline(TRAINING_STAGES) == (prepare["peak_rss_bytes"], "cpu_rss")
    assert meter.headline(["train"]) == (train["peak_rss_bytes"], "cpu_rss")
    assert meter.headline(["predict"]) == (None, None)
    assert meter.headline(TRAINING_STAGES, splits=["test"]) == (None, None)
    assert 0 < meter.facts()["rss_floor_bytes"] <= prepare["peak_rss_bytes"]
    assert 0 < train["pss_end_bytes"] <= train["peak_rss_bytes"] * 1.05


def test_a_process_below_counts_for_the_tree_alone(tmp_path: Path) -> None:
    code = "import time; block = bytearray(b'x') * 150_000_000; time.sleep(0.6)"
    with Meter(tmp_path, "cpu") as meter, meter.stage("prepare", "train"):
        subprocess.run([sys.executable, "-c", code], check=True)
    row = meter.rows()[0]
    assert row["peak_rss_tree_bytes"] > row["peak_rss_bytes"] + 150_000_000


def test_nothing_of_a_gpu_is_a_number_on_the_processor(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("train", "train"):
            start = time.perf_counter_ns()
            end = time.perf_counter_ns()
        meter.add_interval("init", start, end)
    of_a_gpu = ("gpu_", "alloc_", "device_frees", "foreign_", "energy_", "data_wait", "images", "pixels")
    for row in meter.rows():
        assert {key: value for key, value in row.items() if key.startswith(of_a_gpu) and value is not None} == {}
    assert len({tuple(row) for row in meter.rows()}) == 1


def test_rows_add_up(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("train", "train"):
            first = time.perf_counter_ns()
            time.sleep(0.05)
            second = time.perf_counter_ns()
            time.sleep(0.1)
            third = time.perf_counter_ns()
        meter.add_interval("init", first, second)
        meter.add_interval("validate", second, third)
        meter.add_data_wait("train", "train", 0.5)
    rows = {row["stage"]: row for row in meter.rows()}
    assert rows["init"]["seconds"] == (second - first) / SECOND
    assert rows["validate"]["split"] == "val"
    whole = sum(row["seconds"] for row in rows.values())
    assert 0 <= whole - (third - first) / SECOND < 0.01
    assert rows["train"]["seconds"] < 0.01
    assert rows["train"]["data_wait_seconds"] == 0.5


def test_a_stage_entered_again_adds_up(tmp_path: Path) -> None:
    inside = 0.0
    with Meter(tmp_path, "cpu") as meter:
        for size in (8, 32, 16):
            with meter.stage("predict", "test", images=1, pixels=size):
                inside += _seconds(lambda size=size: _hold(size * MIB))  # type: ignore[misc]
            time.sleep(0.1)
    (row,) = meter.rows()
    assert (row["images"], row["pixels"]) == (3, 56)
    assert 0 <= row["seconds"] - inside < 0.1
    if row["hwm_reset"]:
        assert abs(row["peak_rss_bytes"] - row["rss_start_bytes"] - 32 * MIB) < 4 * MIB


def test_a_stage_that_fails_keeps_its_row_and_its_exception(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match="mine"), Meter(tmp_path, "cpu") as meter, meter.stage("train", "train"):
        raise MemoryError("mine")
    assert meter.rows()[0]["seconds"] > 0
    assert (tmp_path / TRACE_FILE).exists()


def test_a_phase_outside_every_stage_or_across_another_is_invalid(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("train", "train"):
            start = time.perf_counter_ns()
            time.sleep(0.01)
            end = time.perf_counter_ns()
        meter.add_interval("init", start, end)
        meter.add_interval("warmup", start + 1, end)
        meter.add_interval("validate", end, end + SECOND)
    bad = [flag for flag in meter.flags() if flag.startswith("invalid: the phase")]
    assert [flag.split()[3] for flag in bad] == ["warmup", "validate"]
    assert [row["stage"] for row in meter.rows()] == ["train", "init"]


def test_a_refused_reset_falls_back_to_samples_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path, text: str) -> int:
        raise PermissionError(text)

    monkeypatch.setattr(Path, "write_text", refuse)
    with Meter(tmp_path, "cpu") as meter, meter.stage("train", "train"), hold_host_memory(64 * MIB):
        time.sleep(0.2)
    row = meter.rows()[0]
    assert (row["hwm_reset"], row["peak_rss_source"]) == (False, "sampled")
    assert row["peak_rss_bytes"] - row["rss_start_bytes"] > 60 * MIB


def test_samples_fall_into_their_stages(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu", 0.01) as meter:
        with meter.stage("prepare", "val"):
            time.sleep(0.2)
        time.sleep(0.1)
    row = meter.rows()[0]
    lines = (tmp_path / TRACE_FILE).read_text().splitlines()
    labelled = [line for line in lines[1:] if line.split(",")[1:3] == ["prepare", "val"]]
    assert len(labelled) == row["samples"] > 3
    assert any(line.split(",")[1:3] == ["", ""] for line in lines[1:])
    assert row["period_s"] <= row["max_gap_s"] < 0.2
    assert meter.summary is not None
    assert 0 < row["duty"] == meter.summary.duty < 0.5


def test_the_sampler_ends_with_the_meter_and_is_missed_when_killed(tmp_path: Path) -> None:
    others = set(psutil.Process().children())  # of tests that ran in this process before, a resource tracker say
    with Meter(tmp_path, "cpu") as meter, meter.stage("train", "train"):
        (sampler,) = set(psutil.Process().children()) - others
        sampler.kill()
        time.sleep(0.05)
    assert "invalid: the sampler died before the end" in meter.flags()
    assert [meter.rows()[0][name] for name in ("samples", "period_s", "max_gap_s", "duty")] == [None] * 4
    with Meter(tmp_path, "cpu"):
        (sampler,) = set(psutil.Process().children()) - others
    assert not sampler.is_running()


def test_a_sampler_whose_reader_is_gone_ends_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.measure.sampler", "--pid", str(os.getpid()), "--trace", str(tmp_path / "t")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], **pipes) as sampler:  # type: ignore[call-overload]
        assert sampler.stdout.readline() == b"ready\n"
        sampler.stdout.close()
        sampler.stdin.close()
        assert sampler.stderr.read() == b""
        assert sampler.wait(30) == 0


def test_calibration_on_the_processor_sees_what_was_touched() -> None:
    checks = calibrate_cpu(64 * MIB)
    assert len(checks) == 3
    assert checks[1].passed
    assert flag_calibration([check_probe("a probe", 10 * MIB, 5 * MIB, MIB)]) == [
        "invalid: calibration failed: a probe, held 10 MiB, saw 5.0 MiB"
    ]
    assert check_probe("a probe", 10, None, 1).passed is None


def test_load_of_others_is_contended() -> None:
    assert flag_load(Load(10.0, 0.05, 0.05)) == []
    (flag,) = flag_load(Load(10.0, 0.35, None))
    assert flag == "contended: other processes took 35% of the processor time"
    (flag,) = flag_load(Load(10.0, 0.0, 2.0))
    assert flag.startswith("contended: the cgroup")


class WithGpu(NoGpu):
    """A device that is there and answers nothing."""

    present = True


def powered(facts: GpuFacts) -> Device:
    gpu = WithGpu("")
    gpu.facts = facts
    return Device(gpu, open_cpu().allocator)


@pytest.mark.parametrize(
    ("seconds", "counted", "mig", "expected"),
    [
        (12, 900.0, False, (900.0, "counter")),
        (12, None, False, (1200.0, "power")),
        (9, 900.0, False, (None, None)),
        (12, 900.0, True, (None, None)),
    ],
)
def test_energy_of_long_stages_only(
    seconds: int, counted: float | None, mig: bool, expected: tuple[float | None, str | None]
) -> None:
    stage = Stage("train", "train", [StageEntry((0, seconds * SECOND), energy_joules=counted)])
    samples = Trace([{"t_ns": second * SECOND, "power_watts": 100.0} for second in range(seconds + 1)])
    row = energy_columns(stage, samples, powered(GpuFacts(mig=mig)))
    assert (row["energy_j"], row["energy_source"]) == expected


def test_no_list_and_no_difference_is_no_gross_number() -> None:
    stage = Stage("train", "train", [StageEntry((0, SECOND), allocator=AllocatorReading(1, 2, 2, 0, 0))])
    assert gross_peak(stage, Trace([]), powered(GpuFacts()), 2) == (None, None, None)


def test_the_meter_costs_little_around_an_empty_stage(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu") as meter:
        with meter.stage("predict", "test"):
            pass
        cost = _seconds(lambda: _enter_often(meter, 20))
    assert cost / 20 < 0.05
    assert meter.rows()[0]["seconds"] < 0.02


def _hold(size: int) -> None:
    with hold_host_memory(size):
        pass


def _enter_often(meter: Meter, times: int) -> None:
    for _ in range(times):
        with meter.stage("predict", "test"):
            pass


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, bench.measure.sampler, bench.measure.child; print(*sorted(sys.modules))"
    path = str(Path(__file__).parents[1])
    loaded = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "pandas", "hydra"} & set(loaded)
