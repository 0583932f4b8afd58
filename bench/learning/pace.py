"""Whether the steps of a fit kept their pace: what runs beside a fit may come in bursts that its whole time hides."""

from statistics import median

from bench.learning.fitlog import FitLog

SLOW = 1.5  # times the usual pace that a stretch of steps may take; the committed quiet fits stay below it
TOLERATED = 0.03  # share of a fit's time that slow stretches may cost
FEWEST = 4  # stretches without which there is no usual pace
SHORTEST = 5  # steps of a stretch that counts


def find_lost_seconds(log: FitLog, skip_first: bool, earlier_seconds: float = 0.0) -> float:
    """Return the seconds that slow stretches of a fit took beyond its usual pace.

    A stretch is the steps between two validations, without these and without the first step; the usual pace is the
    median over them. Every step does the same work, so that a slow stretch shared the machine, or its clock fell.

    Args:
        log: Of the fit; its rows of forked cool-downs count for nothing.
        skip_first: Whether the first stretch may be slow, as on a GPU, where libraries choose their kernels in it.
        earlier_seconds: Of stages of the same arm that were fitted before, which the history counts too.

    Returns:
        Seconds; 0 of a fit with too few stretches.
    """
    rows = [row for row in log.history if row.budget is None]
    spent = [interval.seconds for interval in log.intervals if interval.phase == "validate"]
    before = earlier_seconds + sum(i.seconds for i in log.intervals if i.phase in ("init", "warmup"))
    paces: list[tuple[int, float]] = []
    step, seconds = 1, before
    for row, validation in zip(rows, spent, strict=False):
        paces.append((row.step - step, row.seconds - seconds - validation))
        step, seconds = row.step, row.seconds
    paces = [(steps, length) for steps, length in paces[int(skip_first) :] if steps >= SHORTEST]
    if len(paces) < FEWEST:
        return 0.0
    usual = median(length / steps for steps, length in paces)
    return sum(length - steps * usual for steps, length in paces if length > SLOW * steps * usual)


def flag_pace(log: FitLog, skip_first: bool, earlier_seconds: float = 0.0) -> list[str]:
    """Return a flag where slow stretches cost more than a share of the fit.

    Args:
        log: Of the fit.
        skip_first: Whether its first stretch may be slow.
        earlier_seconds: Of stages of the same arm that were fitted before.

    Returns:
        The flag, or nothing.
    """
    lost = find_lost_seconds(log, skip_first, earlier_seconds)
    whole = max((row.seconds for row in log.history if row.budget is None), default=0.0) - earlier_seconds
    if lost <= TOLERATED * whole:
        return []
    return [f"contended: the fit lost {lost:.1f} of {whole:.1f} s in stretches of over {SLOW:g} times its usual pace"]
