"""Progress of long work on standard error: a bar on a terminal, elsewhere a line per tenth."""

import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")


class Progress:
    """Shows the share of some work that is done and the time that is left, if the rest goes on at the same pace.

    Use it in a `with` block, so that a bar is cleared when the work ends or fails. Nothing is shown before
    `quiet_seconds`; the library that draws the bar is loaded on a terminal only.
    """

    def __init__(self, description: str, quiet_seconds: float = 0.0) -> None:
        self.description, self.tenth, self.started = description, 0, time.perf_counter()
        self.quiet_seconds, self.terminal = quiet_seconds, sys.stderr.isatty()
        self.bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, share: float, note: str = "") -> None:
        """Show that `share` of the work, in [0, 1], is done; `note` stands between it and the time left."""
        spent = time.perf_counter() - self.started
        if spent < self.quiet_seconds:
            return
        text = f" {note}{', ' if note else ''}{format_seconds_left(spent * (1 - share) / max(share, 1e-6))} left"
        if self.terminal:
            self.bar = self.bar or _open_bar(self.description)
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(share - self.bar.n)
        elif int(share * 10) > self.tenth:
            self.tenth = int(share * 10)
            print(f"{self.description} {share:4.0%}{text}", file=sys.stderr, flush=True)


def track_progress(items: Sequence[Item], description: str, quiet_seconds: float = 10.0) -> Iterator[Item]:
    """Yield items one by one, and show how many are done where they take long.

    Args:
        items: The items.
        description: What is done with them.
        quiet_seconds: Time before which nothing is shown.

    Yields:
        The items.
    """
    with Progress(description, quiet_seconds) as bar:
        for number, item in enumerate(items, start=1):
            yield item
            bar.show(number / len(items))


def format_seconds_left(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def _open_bar(description: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=1.0, desc=description, leave=False, bar_format="{desc} {percentage:3.0f}%|{bar}|{postfix}")
