"""`doctor` says what it saw and ends with a judge_machine that follows from it."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_nvml.driver import COMPILER, FakeDriver, compile_driver
from support.fake_nvml.report import doctor_lines

from bench.measure import doctor
from bench.measure.calibration import Check
from bench.measure.doctor import DoctorConfig, Examination, Gaps, find_disturbers, judge_machine, main, quantile
from bench.measure.isolation import run_isolated
from bench.measure.load import Load, LoadProbe

MIB = 2**20
FINE = Gaps(300, 0.02, 0.03, 0.04, 0.3, 0.004)
SEEN = Check("peak of the process", 512 * MIB, 511 * MIB, True)


def test_the_whole_examination_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real doctor in a hurry; only the load of the machine that runs the tests is pretended away."""
    monkeypatch.setattr(doctor, "flag_load", lambda _: [])
    code = main(DoctorConfig("cpu"), Examination(0.1, 1.0, 1.0, 0.5))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("fit to publish" if code == 0 else "not fit to publish: ")
    assert [line for line in lines if line and line[0] != " "][:5] == [
        "machine",
        "what can be measured here",
        "others",
        "calibration",
        "the sampler beside a loop that holds the interpreter",
    ]
    assert any("512 MiB, saw 5" in line for line in lines)


@pytest.mark.parametrize("device", ["toaster", "cuda:x", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        DoctorConfig(device)


@pytest.mark.parametrize(
    ("checks", "problem", "beside", "words"),
    [
        ([SEEN], "", FINE, ""),
        ([Check("x", 10, 5, False)], "", FINE, "calibration failed (x)"),
        ([Check("x", 10, None, None)], "", FINE, "no probe sees memory"),
        ([SEEN], "did not run: host memory ran out", FINE, "did not run"),
        ([SEEN], "", None, "the sampler died"),
        ([SEEN], "", Gaps(300, 0.02, 0.06, 0.07, 0.3, 0.004), "60 ms, more than 50 ms"),
        ([SEEN], "", Gaps(300, 0.02, 0.03, 0.04, 0.3, 0.03), "3.0% of a core, more than 2 %"),
    ],
)
def test_the_verdict_follows(checks: list[Check], problem: str, beside: Gaps | None, words: str) -> None:
    reasons = judge_machine(checks, problem, beside)
    assert bool(reasons) == bool(words)
    assert words in "; ".join(reasons)


def test_load_is_said_in_the_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(LoadProbe, "read", lambda _: Load(2.0, 0.4, None))
    monkeypatch.setattr(doctor, "calibrate", lambda _: ([SEEN], ""))
    monkeypatch.setattr(doctor, "summarise_gaps", lambda *_: FINE)
    assert main(DoctorConfig("cpu"), Examination(0.0, 0.1)) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "not fit to publish: contended: other processes took 40% of the processor time"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_loop_of_another_process_is_found_before_a_sweep() -> None:
    """The shell ends at once, so that the loop is nobody's child."""
    command = f"{shlex.quote(sys.executable)} -c 'while True: pass' > /dev/null 2>&1 & echo $!"
    started = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    try:
        [flag] = find_disturbers("cpu", 0.5)
    finally:
        os.kill(int(started.stdout), signal.SIGKILL)
    assert flag.startswith("contended: other processes took ")


def test_quantile_of_a_hundred() -> None:
    assert quantile(list(range(100)), 0.99) == 99
    assert quantile(list(range(100)), 0.5) == 50
    assert quantile([7.0], 0.99) == 7


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc, gcc or clang) to build the driver's stand-in")
def test_a_gpu_is_described_and_strangers_on_it_are_named(tmp_path: Path) -> None:
    driver = FakeDriver(compile_driver(tmp_path), tmp_path / "answers")
    driver.say(used=5 * MIB, compute_77=5 * MIB, graphics_78=-1, milliwatts=70000, millijoules=5)
    abilities, flags = run_isolated(doctor_lines, None, timeout=30, environment=driver.environment).result
    assert abilities == [
        "GPU Fake GPU, 24.0 GiB, driver 555.42, CUDA 12.5",
        "  memory of the device: total minus free (v2)",
        "  memory per process: yes",
        "  power: yes; energy counter: yes",
        "on Fake GPU: process 77, 5 MiB",
        "on Fake GPU: process 78, memory not known",
    ]
    assert flags == ["contended: process 77 computes on Fake GPU"]
