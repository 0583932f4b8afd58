"""oneDNN, the library of matrix products on a CPU, which keeps a kernel and its buffers for every shape it meets."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def disable_onednn() -> Iterator[None]:
    """A context without oneDNN, which keeps a kernel and its buffers for every shape that it meets, a thousand of them.

    No two batches of nodes have the same number: a process would grow by hundreds of MiB for no gain in speed. The
    crops and tiles of a CNN are all alike. In bfloat16 oneDNN is needed, and `choose_padding` leaves few shapes.
    """
    before = bool(torch.backends.mkldnn.enabled)
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]  # the context `flags` warns of TF32
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(before)  # type: ignore[no-untyped-call]


def round_up(count: int) -> int:
    """Return the least number that is not below `count` and has three leading binary digits at most: these are few.

    oneDNN keeps some 100 kB for each number of rows that a layer meets; the rows that are added take little time.
    """
    step = 1 << max(count.bit_length() - 3, 0)
    return -(-count // step) * step


def choose_padding(count: int, usual: int) -> int:
    """Return how many rows are added to `count`: up to the `usual` number where they fit, to one of few elsewhere."""
    return (usual if count <= usual else round_up(count)) - count
