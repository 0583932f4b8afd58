"""The least memory with which a run still works, by bisection with a fresh process per trial; bytes and seconds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.measure.caps import HARD, HOST, SOFT, LimitedCall, occupy_gpu, run_limited
from bench.measure.device import MIB
from bench.measure.isolation import run_isolated
from bench.measure.machine import memory_bytes
from bench.measure.outcome import Outcome

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
    """The result of a search.

    Attributes:
        least_bytes: The least limit that passed, to `resolution_bytes`; None if none did.
        kind: What was limited: `cap_hard` (another process occupied the rest of the device), `cap_soft` (torch's
            allocator alone, without the context) or `host_data_limit` (writable memory of a process on the host).
        resolution_bytes: How finely was searched.
        reason: Why no limit passed; empty if one did.
        trials: All trials, in their order.
    """

    least_bytes: int | None
    kind: str
    resolution_bytes: int
    reason: str
    trials: tuple[Trial, ...]


def bisect_limit(
    trial: Callable[[int], Outcome],
    low: int,
    high: int,
    resolution: int = RESOLUTION,
    seconds_allowed: float | None = None,
    kind: str = HOST,
) -> Smallest:
    """Bisect limits, on the assumption that what works with a limit works with every larger one.

    Args:
        trial: Runs the call under a limit in bytes. It passes if its outcome is ok in at most `seconds_allowed`.
        low: A limit that is known or assumed not to work.
        high: The limit that is tried first.
        resolution: Bytes between the last two limits, at most.
        seconds_allowed: Seconds of a call that passes, at most; None allows any.
        kind: What is limited, for the result.

    Returns:
        The least limit that passed.

    Raises:
        ValueError: `low` is not below `high`, or `resolution` is not positive.
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
    """Return the time of the call alone, as a limit does not change the start of the interpreter and its imports."""
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
    """Find the least memory of a device under which `function(argument)` works.

    The call is first made without a limit, and must work then. On a GPU a trial may take 1.25 times as long, as one
    that only crawls has not passed. A limit on the host refuses memory and slows nothing, so there time only ends what
    hangs. On a GPU another process occupies the rest of the device; where it cannot, torch's allocator is limited. On
    the CPU the process's writable memory is limited.

    Args:
        function: As for `run_isolated`: a short training with the largest batch, a validation and the largest
            prediction, which raises where the loss is not finite.
        argument: Its one argument.
        device: cpu, cuda or cuda:N.
        resolution: Bytes between the last two limits, at most.
        high: The limit that is tried first; by default all memory of the device.
        environment: Variables of the processes.
        timeout: Seconds of the call without a limit, at most; None allows any.

    Returns:
        The least limit that passed.
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
        kind = HARD if ceiling and _can_occupy(device, ceiling, environment) else SOFT

    def trial(limit: int) -> Outcome:
        return _trial(LimitedCall(function, argument, limit, kind, device), killed_after, environment)

    return bisect_limit(trial, 0, high or ceiling, resolution, allowed, kind)


def _trial(call: LimitedCall, timeout: float, environment: Mapping[str, str] | None) -> Outcome:
    if call.kind != HARD:
        return run_isolated(run_limited, call, timeout, environment)
    with occupy_gpu(call.device, call.limit_bytes, environment) as left:
        if left is None:
            return Outcome("failed", "no process could occupy the rest of the device", None, 0.0)
        return run_isolated(run_limited, call, timeout, environment)


def total_bytes(device: str) -> int:
    """Return the memory of a CUDA device; for `run_isolated`, so that the searching process opens no context."""
    import torch

    from bench.measure.allocator import device_index

    return int(torch.cuda.get_device_properties(device_index(device)).total_memory)


def _device_bytes(device: str, environment: Mapping[str, str] | None) -> int:
    outcome = run_isolated(total_bytes, device, 120.0, environment)
    return int(outcome.result) if outcome.ok else 0


def _can_occupy(device: str, total: int, environment: Mapping[str, str] | None) -> bool:
    """Whether another process can leave half of the device free, to within 16 MiB."""
    with occupy_gpu(device, total // 2, environment) as left:
        return left is not None and abs(left - total // 2) <= 16 * MIB
