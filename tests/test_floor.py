"""`python -m bench floor`: what a process holds before its arm has done anything, and which files it maps."""

import os
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.needed import NEEDED

from bench.arms import ARMS, external_arms
from bench.config import InputError
from bench.measure.libraries import list_libraries, measure_mapped_bytes
from bench.perf.floor import SMALL, Floor, FloorConfig, describe_floor, main, measure_floor

MIB = 2**20


@pytest.fixture(scope="module")
def threshold() -> Floor:
    found, reason = measure_floor("threshold", [*SMALL, "device=cpu", "dataset.image_size=[48,48]"])
    assert found is not None, reason
    return found


def test_every_arm_says_what_it_needs() -> None:
    assert set(NEEDED) == set(ARMS) - set(external_arms())


def test_an_arm_of_numpy_alone_starts_small(threshold: Floor) -> None:
    assert 20 * MIB < threshold.floor <= threshold.peak < 150 * MIB
    assert "numpy" in threshold.libraries
    assert not {"torch", "numba", "scipy", "skimage", "pandas"} & set(threshold.libraries)


def test_what_scoring_loads_afterwards_is_left_out(threshold: Floor) -> None:
    assert threshold.mapped["numpy"] > MIB
    assert not {"skimage", "scipy"} & set(threshold.mapped)


def test_the_lines_name_the_arm_its_memory_and_its_libraries() -> None:
    mapped = {"no file": 44 * MIB, "numpy": 7 * MIB}
    head, files, imported = describe_floor(Floor("threshold", 51 * MIB, 52 * MIB, mapped, ("numpy", "psutil")))
    assert head == "threshold: starts with 51 MiB, highest in a stage 52 MiB"
    assert "no file 44 MiB, numpy 7 MiB" in files
    assert imported.endswith("numpy psutil")


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="nowhere"):
        main(FloorConfig("threshold", "/nowhere"))


def test_libraries_are_installed_packages_without_the_standard_library() -> None:
    found = list_libraries()
    assert {"numpy", "pytest", "psutil"} <= set(found)
    assert not {"os", "sys", "bench", "tests"} & set(found)
    assert found == sorted(found)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_mapped_files_add_up_to_the_resident_memory() -> None:
    block = np.ones(64 * MIB, np.uint8)
    mapped, resident = measure_mapped_bytes(), psutil.Process(os.getpid()).memory_info().rss
    assert sum(mapped.values()) == pytest.approx(resident, rel=0.1)
    assert mapped["no file"] > block.nbytes
    assert "numpy" in mapped
    assert f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0" in mapped or "python" in " ".join(mapped)
