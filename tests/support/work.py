"""Small works for processes of their own: each ends in another way. Free of pytest, so that they start fast."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def variable(name: str) -> str | None:
    return os.environ.get(name)


def allocate_under_a_limit(size: int) -> int:
    """Runs into a real limit of the address space."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    return len(bytearray(size))


def allocate(size: int) -> int:
    return len(bytearray(size))


def be_killed(_: None) -> None:
    os.kill(os.getpid(), 9)


def abort(_: None) -> None:
    os.kill(os.getpid(), 6)


def leave(code: int) -> None:
    os._exit(code)


def fail(sentence: str) -> None:
    raise ValueError(sentence)


def train_to_a_loss_that_is_not_finite(rate: float) -> float:
    """Gradient descent on x ** 4, which blows up for a large rate."""
    x = 1.0
    for step in range(100):
        x -= rate * 4 * x * x * x
        if not math.isfinite(x):
            raise FloatingPointError(f"the loss is not finite at step {step}")
    return x


def return_what_does_not_pickle(_: None) -> object:
    return lambda: None


def hang_with_a_child(pids: str) -> None:
    """Start a process of its own, note both numbers, and stay."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    Path(pids).write_text(f"{os.getpid()} {sleeper.pid}")
    time.sleep(120)


def hang_without_letting_go(pids: str) -> None:
    """As above, but in foreign code that never hands the interpreter to another thread."""
    import ctypes

    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    Path(pids).write_text(f"{os.getpid()} {sleeper.pid}")
    ctypes.PyDLL(None).sleep(120)


def say_on_standard_error(words: str) -> None:
    print(words, file=sys.stderr)


def import_under_a_limit(argument: tuple[str, int]) -> None:
    """Import a module with so many bytes of address space."""
    import resource
    from importlib import import_module

    name, limit = argument
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    import_module(name)
