"""The machine's facts name no one, its id is stable, and its limits are read from both kinds of cgroup."""

import os
import platform
import socket
from pathlib import Path

import psutil
import pytest

from bench.measure import load, machine
from bench.measure.environment import allocator_variable, pin_environment, pin_torch
from bench.measure.load import LoadProbe, throttled_seconds


def test_facts_are_plain_and_name_no_one() -> None:
    facts = machine.machine_facts()
    assert facts["cores"] >= 1
    assert 2**28 < facts["memory_bytes"] <= psutil.virtual_memory().total
    assert facts["python"] == platform.python_version()
    assert facts["torch_version"]
    assert all(value is None or isinstance(value, (str, int, float)) for value in facts.values())
    words = " ".join(str(value) for value in facts.values())
    assert socket.gethostname() not in words.split()
    assert str(Path.home()) not in words


def test_the_id_follows_the_hardware_and_nothing_else() -> None:
    facts = machine.machine_facts()
    assert machine.machine_id(facts) == facts["id"] == machine.machine_facts()["id"]
    assert len(facts["id"]) == 8
    assert machine.machine_id({**facts, "python": "9.9", "torch_version": "9"}) == facts["id"]
    assert machine.machine_id({**facts, "memory_bytes": facts["memory_bytes"] - 1000}) == facts["id"]
    assert machine.machine_id({**facts, "gpu": "another"}) != facts["id"]


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control files by name; both kinds of cgroup are looked up in it."""
    monkeypatch.setattr(machine, "_cgroup_paths", lambda unified, legacy: [tmp_path / unified, tmp_path / legacy])
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "25000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_both_kinds_of_cgroup(cgroup: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (cgroup / name).write_text(text)
    assert machine.cpu_quota() == quota
    assert machine.default_threads() == max(1, min(machine.usable_cores(), int(quota or 10_000)))
    assert machine.default_threads("cuda") == min(machine.default_threads(), machine.BESIDE_GPU)


def test_the_cgroups_memory_limit_counts_where_it_is_smaller(cgroup: Path) -> None:
    total = psutil.virtual_memory().total
    assert machine.memory_bytes() == total
    (cgroup / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712")
    assert machine.memory_bytes() == total
    (cgroup / "memory.max").write_text("123456789\n")
    assert machine.memory_bytes() == 123456789


def test_throttled_time_in_seconds(cgroup: Path) -> None:
    assert throttled_seconds() is None
    (cgroup / "cpu" / "cpu.stat").write_text("nr_periods 7\nthrottled_time 2500000000\n")
    assert throttled_seconds() == 2.5
    (cgroup / "cpu.stat").write_text("usage_usec 1\nthrottled_usec 1500000\n")
    assert throttled_seconds() == 1.5


def test_the_load_of_others_leaves_our_own_work_out() -> None:
    probe = LoadProbe()
    while probe.read().seconds < 0.3:
        pass
    found = probe.read()
    cores = psutil.cpu_count() or 1
    assert 0 <= found.others_share <= 1
    busy = psutil.cpu_percent(interval=0.2) / 100
    assert found.others_share <= max(busy, 1 - 1 / cores) + 0.25


def test_cores_on_which_we_may_not_run_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour on one of our two cores is half of our time, whatever the other 62 of the machine do."""
    idle = psutil.cpu_times()._replace(**dict.fromkeys(psutil.cpu_times()._fields, 0.0))
    cores = [idle._replace(user=float(core)) for core in range(64)]
    monkeypatch.setattr(psutil, "cpu_times", lambda **_: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert load.busy_seconds() == 8
    assert len(load.read_cores()) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {98, 99})  # as in a container with numbers of its own
    assert len(load.read_cores()) == 64


def test_pinned_settings_reach_torch() -> None:
    import torch

    before = (torch.get_num_threads(), torch.backends.cudnn.deterministic)
    facts = pin_torch(1)
    assert facts == {"torch_threads": 1, "cudnn_benchmark": False, "cudnn_deterministic": True, "tf32": False}
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before[0])
    torch.backends.cudnn.deterministic = before[1]
    assert allocator_variable() in pin_environment(1)
    assert all(isinstance(value, str) for value in pin_environment(os.cpu_count() or 1).values())
