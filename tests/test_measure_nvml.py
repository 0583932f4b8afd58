"""The real pynvml against a stand-in driver: each of NVML's failures leaves its mark, and never a wrong number."""

import sys
from pathlib import Path
from typing import Any

import pytest
from support.fake_nvml.driver import COMPILER, UUID, FakeDriver, compile_driver
from support.fake_nvml.report import report, uuids

from bench.measure import nvml
from bench.measure.gpu import NoGpu, Process, Vitals
from bench.measure.isolation import run_isolated

MIB = 2**20
pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="no C compiler (cc, gcc or clang) to build the driver's stand-in"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fake_nvml")


@pytest.fixture
def driver(folder: Path, tmp_path: Path) -> FakeDriver:
    return FakeDriver(compile_driver(folder), tmp_path / "answers").say()


def ask(driver: FakeDriver, uuid: str = UUID) -> dict[str, Any]:
    outcome = run_isolated(report, uuid, timeout=30, environment=driver.environment)
    assert outcome.ok, outcome.traceback
    answer: dict[str, Any] = outcome.result
    return answer


def test_a_healthy_device_is_read_in_full(driver: FakeDriver) -> None:
    driver.say(
        used=3 * MIB, compute_10=2 * MIB, compute_11=MIB, graphics_12=5, milliwatts=70500, millijoules=1234,
        celsius=61, megahertz=1500, throttle=0x20, utilization=99, accounting_peak=7,
    )  # fmt: skip
    seen = ask(driver)
    assert seen["facts"].name == "Fake GPU"
    assert (seen["facts"].driver, seen["facts"].cuda, seen["facts"].memory_api) == ("555.42", "12.5", "v2")
    assert seen["used"] == 3 * MIB
    assert seen["processes"] == [Process(10, 2 * MIB), Process(11, MIB), Process(12, 5, compute=False)]
    assert seen["vitals"] == Vitals(70.5, 61, 1500, 0x20, 99)
    assert (seen["energy"], seen["accounting"], seen["mps"], seen["mismatch"]) == (1.234, 7, False, False)


def test_memory_is_total_minus_free_whatever_the_driver_calls_used(driver: FakeDriver, folder: Path) -> None:
    driver.say(used=100 * MIB, reserved=300 * MIB)
    assert ask(driver)["used"] == 100 * MIB
    old = FakeDriver(compile_driver(folder, "NO_MEMORY_V2"), driver.answers)
    seen = ask(old)
    assert (seen["facts"].memory_api, seen["used"]) == ("v1", 100 * MIB)


@pytest.mark.parametrize(
    ("code", "name"),
    [(9, "NVMLError_DriverNotLoaded"), (18, "NVMLError_LibRmVersionMismatch")],
)
def test_a_driver_that_does_not_start_leaves_every_reading_empty(driver: FakeDriver, code: int, name: str) -> None:
    seen = ask(driver.say(init_return=code, used=5))
    assert name in seen["reason"]
    assert not seen["present"]
    assert not seen["lost"]
    assert [seen[key] for key in ("used", "processes", "energy", "accounting")] == [None] * 4


def test_no_driver_at_all(tmp_path: Path) -> None:
    seen = ask(FakeDriver(tmp_path, tmp_path / "answers"))
    assert not seen["present"]
    if sys.platform == "linux" and not Path("/proc/driver/nvidia").exists():
        assert "NVMLError_LibraryNotFound" in seen["reason"]


@pytest.mark.parametrize("code", [15, 999])
def test_a_lost_gpu_is_said_to_be_lost(driver: FakeDriver, code: int) -> None:
    seen = ask(driver.say(memory_return=code))
    assert (seen["present"], seen["lost"]) == (False, True)
    assert "lost the GPU" in seen["reason"]


def test_a_gpu_lost_while_reading_raises(driver: FakeDriver) -> None:
    assert "lost the GPU" in ask(driver.say(processes_return=15))["lost_later"]


def test_an_older_driver_is_asked_for_version_2_of_the_process_list(driver: FakeDriver, folder: Path) -> None:
    driver.say(compute_10=4 * MIB)
    old = FakeDriver(compile_driver(folder, "NO_PROCESSES_V3"), driver.answers)
    assert ask(old)["processes"] == [Process(10, 4 * MIB)]


def test_a_list_that_grows_between_the_calls_is_asked_for_once_more(driver: FakeDriver) -> None:
    assert ask(driver.say(compute_10=MIB, list_grows=1))["processes"] == [Process(10, MIB)]


@pytest.mark.parametrize("memory", [-1, 0])
def test_a_process_whose_memory_is_hidden_has_none_not_zero(driver: FakeDriver, memory: int) -> None:
    assert ask(driver.say(compute_10=memory))["processes"] == [Process(10, None)]


def test_windows_display_driver_model_is_told_apart(driver: FakeDriver) -> None:
    assert ask(driver.say(driver_model=0))["facts"].wddm
    assert not ask(driver.say(driver_model=1))["facts"].wddm


@pytest.mark.parametrize("uuid", ["0000-fake", "GPU-0000-fake", "MIG-0000-fake"])
def test_the_only_mig_slice_is_opened_whoever_torch_names_and_has_no_energy(driver: FakeDriver, uuid: str) -> None:
    seen = ask(driver.say(slices=1, millijoules=5000, used=MIB, milliwatts=1000), uuid)
    assert seen["facts"].mig
    assert seen["facts"].uuid == "MIG-0000-fake"
    assert seen["used"] == MIB
    assert seen["energy"] is None
    assert seen["vitals"].utilization_percent is None


def test_of_several_mig_slices_the_visible_one_is_opened(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.say(slices=3)
    seen = ask(driver, UUID)
    assert seen["lost"]
    assert "CUDA_VISIBLE_DEVICES" in seen["reason"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-0002-fake")
    assert ask(driver, UUID)["facts"].uuid == "MIG-0002-fake"


def test_every_device_is_listed_and_slices_stand_for_their_card(driver: FakeDriver) -> None:
    def listed() -> list[str]:
        outcome = run_isolated(uuids, None, timeout=30, environment=driver.environment)
        names: list[str] = outcome.result
        return names

    driver.say(devices=2)
    assert listed() == ["GPU-0000-fake", "GPU-0001-fake"]
    driver.say(slices=2)
    assert listed() == ["MIG-0000-fake", "MIG-0001-fake"]


def test_unified_memory_has_no_device_reading(driver: FakeDriver) -> None:
    seen = ask(driver.say(memory_return=3))
    assert (seen["present"], seen["used"], seen["facts"].memory_api) == (True, None, "none")


@pytest.mark.parametrize(("pid", "memory"), [(0, 5), (2**32 - 1, 5), (10, 25 * 2**30)])
def test_impossible_entries_drop_the_process_list(driver: FakeDriver, pid: int, memory: int) -> None:
    seen = ask(driver.say(**{f"compute_{pid}": memory, "compute_7": 9}))
    assert (seen["processes"], seen["mismatch"]) == (None, True)


def test_another_device_is_not_mistaken_for_ours(driver: FakeDriver) -> None:
    seen = ask(driver, "GPU-of-someone-else")
    assert (seen["present"], seen["lost"]) == (False, True)
    assert "GPU-of-someone-else" in seen["reason"]


def test_mps_is_noticed(driver: FakeDriver) -> None:
    assert ask(driver.say(mps_5=MIB))["mps"]


def test_the_wrong_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text("def nvmlInit(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    gpu = nvml.open_gpu(UUID)
    assert isinstance(gpu, NoGpu)
    assert "install nvidia-ml-py" in gpu.reason
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
