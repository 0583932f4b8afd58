"""What all tests share: one thread for libraries, and imports that wait until a test needs them."""

import os

import pytest
from support.deferred import complete_imports

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch; runs of the harness pin their own
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the core to others


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make the imports of the test's file that only type checkers have followed so far."""
    if isinstance(item, pytest.Function):
        complete_imports(item.module)
