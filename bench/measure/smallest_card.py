"""The least memory with which a run still works, by bisection, with a fresh process per trial. Bytes and seconds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.measure.caps import HARD, HOST, SOFT, Capped, ballast, run_capped
from bench.measure.isolation import run_isolated
from bench.measure.machine import memory_bytes
from bench.measure.outcome import Outcome

MIB = 2**20
RESOLUTION = 128 * MIB
SLOWDOWN = 1.25  # a trial that takes longer than this many times the run without a limit has not passed
HANGING = 5.0  # times as long as without a limit, and a trial on the host is taken to hang
GRACE_SECONDS = 0.5  # which a clock's jitter may cost on top, so that a run of a second or two is not judged by it


@dataclass(frozen=True)
class Trial:
    """One run under a limit."""

    limit_bytes: int
    passed: bool
    status: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Smallest:
    """Where the search ended: the least limit that passed, to `resolution`.

    None if none did, and then `reason` says why.

    `kind` says what was limited: `cap_hard` (a ballast process held the rest of the device), `cap_soft` (torch's
    allocator alone, without the context), `host_data_limit` (writable memory of a process on the host).
    """

    least_bytes: int | None
    kind: str
    resolution_bytes: int
    reason: str
    trials: tuple[Trial, ...]


def smallest(
    trial: Callable[[int], Outcome],
    low: int,
    high: int,
    resolution: int = RESOLUTION,
    seconds_allowed: float | None = None,
    kind: str = HOST,
) -> Smallest:
    """Bisect limits between `low` (known or assumed not to work, exclusive) and `high` (tried first) to `resolution`.

    A trial passes if its outcome is ok and its call took at most `seconds_allowed`. Working is taken to be monotone.
    """
    if not 0 <= low < high or resolution <= 0:
        raise ValueError(f"need 0 <= low < high and a positive resolution, got {low}, {high} and {resolution}")
    trials = [_judge(high, trial(high), seconds_allowed)]
    if not trials[0].passed:
        reason = f"does not work with {high / MIB:.0f} MiB either: {trials[0].reason}"
        return Smallest(None, kind, resolution, reason, tuple(trials))
    while high - low > resolution:
        middle = (low + high) // 2
        trials.append(_judge(middle, trial(middle), seconds_allowed))
        low, high = (low, middle) if trials[-1].passed else (middle, high)
    return Smallest(high, kind, resolution, "", tuple(trials))


def _judge(limit: int, outcome: Outcome, allowed: float | None) -> Trial:
    seconds = call_seconds(outcome)
    slow = outcome.ok and allowed is not None and seconds > allowed
    reason = f"took {seconds:.1f} s, more than the {allowed:.1f} s allowed" if slow else outcome.reason
    return Trial(limit, outcome.ok and not slow, outcome.status, reason, seconds)


def call_seconds(outcome: Outcome) -> float:
    """Time of the call alone: the start of the interpreter and its imports are the same with and without a limit."""
    return outcome.seconds - (outcome.startup_seconds or 0.0)


def find_smallest(
    function: Callable[[Any], Any],
    argument: Any,
    device: str,
    resolution: int = RESOLUTION,
    high: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Smallest:
    """Least memory of `device` (cpu, cuda, cuda:N) under which `function(argument)` works.

    The function is `run_isolated`'s: a short training with the largest batch, a validation and the largest
    prediction, which raises where the loss is not finite. It is first run without a limit (and must work then); on a
    GPU a trial may take 1.25 times as long, as one that only crawls has not passed. A limit on the host refuses
    memory and slows nothing, so there time only ends what hangs. On a GPU a ballast process holds the rest of the
    device; where it cannot, torch's allocator is limited. On the CPU the process's writable memory is limited. `high`
    is where to begin, by default all the memory there is.
    """
    kind = HOST if device == "cpu" else SOFT
    free = run_isolated(function, argument, timeout, environment)
    if not free.ok:
        return Smallest(None, kind, resolution, f"does not work without a limit: {free.status}: {free.reason}", ())
    allowed = None if kind == HOST else max(SLOWDOWN * call_seconds(free), call_seconds(free) + GRACE_SECONDS)
    killed_after = (HANGING if kind == HOST else SLOWDOWN) * free.seconds + 10.0  # room for a slow start
    if device == "cpu":
        ceiling = memory_bytes()
    else:
        ceiling = _device_bytes(device, environment)
        kind = HARD if ceiling and _ballast_works(device, ceiling) else SOFT

    def trial(limit: int) -> Outcome:
        return _trial(Capped(function, argument, limit, kind, device), killed_after, environment)

    return smallest(trial, 0, high or ceiling, resolution, allowed, kind)


def _trial(call: Capped, timeout: float, environment: Mapping[str, str] | None) -> Outcome:
    if call.kind != HARD:
        return run_isolated(run_capped, call, timeout, environment)
    with ballast(call.device, call.limit_bytes) as left:
        if left is None:
            return Outcome("failed", "the ballast process could not hold the rest of the device", None, 0.0)
        return run_isolated(run_capped, call, timeout, environment)


def total_bytes(device: str) -> int:
    """Memory of a CUDA device. For `run_isolated`, so that the searching process itself never opens a context."""
    import torch

    from bench.measure.allocator import device_index

    return int(torch.cuda.get_device_properties(device_index(device)).total_memory)


def _device_bytes(device: str, environment: Mapping[str, str] | None) -> int:
    outcome = run_isolated(total_bytes, device, 120.0, environment)
    return int(outcome.result) if outcome.ok else 0


def _ballast_works(device: str, total: int) -> bool:
    """Whether a ballast can be had: it must leave half of the device to within 16 MiB."""
    with ballast(device, total // 2) as left:
        return left is not None and abs(left - total // 2) <= 16 * MIB
