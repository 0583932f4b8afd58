"""What all tests share: one thread for libraries, a GPU only where asked for, and imports that wait until needed."""

import os
import sys

import pytest
from support.deferred import complete_imports

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch; runs of the harness pin their own
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the core to others
LONGEST = (
    *("test_end_to_end", "test_faults", "test_cli", "test_launch", "test_bad_input", "test_pipelines_tiled_cnn"),
    *("test_pipelines_contract", "test_parallel", "test_docs", "test_export_bioimageio", "test_predict", "test_report"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, from processes that tests start too, unless `-m gpu` asks for the tests that need one."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left with one of them when the others are done."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make the imports of the test's file that only type checkers have followed so far; Hydra reads files once."""
    if isinstance(item, pytest.Function):
        complete_imports(item.module)
    if "hydra" in sys.modules:
        from support.settings_files import read_files_once

        read_files_once()
