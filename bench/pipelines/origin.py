"""Where prepared items came from: made now, or taken from a cache, with what making them took when it was done."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Origin:
    """How items came about: how many from the cache, and what they took.

    `made_seconds` is of when they were made, with reading their images. `spent_seconds` is what getting them took now:
    reading, hashing, and loading or else making and storing. `made_peak_bytes` is the resident memory that making them
    here would have reached: what the process held, and what making them added when they were made.
    """

    from_cache: float = 0.0
    made_seconds: float = 0.0
    spent_seconds: float = 0.0
    made_peak_bytes: float | None = None

    def facts(self) -> dict[str, float]:
        """Return what is known, by name."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}

    @property
    def peak_rss_bytes(self) -> int | None:
        """Memory of the work when it was done; None where it is unknown."""
        return None if self.made_peak_bytes is None else int(self.made_peak_bytes)

    @property
    def saved_seconds(self) -> float:
        """What a run must add to the time it took, to say what the work took; negative where entries were stored."""
        return self.made_seconds - self.spent_seconds


def sum_origins(facts: Iterable[Mapping[str, float]]) -> Origin:
    """Of items with these facts: how many came from the cache, sums of seconds, and the highest peak of those."""
    known = [item for item in facts if "made_seconds" in item]
    peaks = [item["made_peak_bytes"] for item in known if item["from_cache"] and "made_peak_bytes" in item]
    return Origin(
        sum(item["from_cache"] for item in known),
        sum(item["made_seconds"] for item in known),
        sum(item["spent_seconds"] for item in known),
        max(peaks) if peaks else None,
    )


def merge_facts(facts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Facts of an image from those of its several graphs: sums. It came from the cache where all of them did."""
    total = Counter[str]()
    for item in facts:
        total.update(drop_origin(item))
    if not all("made_seconds" in item for item in facts):
        return dict(total)
    peaks = [item["made_peak_bytes"] for item in facts if "made_peak_bytes" in item]
    origin = Origin(
        min(item["from_cache"] for item in facts),
        sum(item["made_seconds"] for item in facts),
        sum(item["spent_seconds"] for item in facts),
        max(peaks) if peaks else None,
    )
    return {**total, **origin.facts()}


def drop_origin(facts: Mapping[str, float]) -> dict[str, float]:
    """The facts that a fresh item has as well."""
    left_out = {field.name for field in fields(Origin)}
    return {name: value for name, value in facts.items() if name not in left_out}
