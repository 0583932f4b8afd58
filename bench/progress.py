"""Progress of long work on standard error: a bar on a terminal, elsewhere a line per tenth."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm


class Progress:
    """Shows the share of some work that is done and the time that is left, if the rest goes on at the same pace.

    Use it in a `with` block, so that a bar is cleared when the work ends or fails.
    """

    def __init__(self, description: str) -> None:
        self.description, self.tenth, self.started = description, 0, time.perf_counter()
        self.terminal = sys.stderr.isatty()
        shape = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
        self.bar = tqdm(total=1.0, desc=description, disable=not self.terminal, leave=False, bar_format=shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def show(self, share: float, note: str = "") -> None:
        """Show that `share` of the work, in [0, 1], is done; `note` stands between it and the time left."""
        left = (time.perf_counter() - self.started) * (1 - share) / max(share, 1e-6)
        text = f" {note}{', ' if note else ''}{tqdm.format_interval(left)} left"
        if self.terminal:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(share - self.bar.n)
        elif int(share * 10) > self.tenth:
            self.tenth = int(share * 10)
            print(f"{self.description} {share:4.0%}{text}", file=sys.stderr, flush=True)
