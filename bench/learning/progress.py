"""The progress of a fit on standard error."""

import sys

from tqdm import tqdm

from bench.learning.schedule import Schedule

LINE_SECONDS = 30.0  # between two lines, at most


class FitBar:
    """Score, best score and time left: a bar on a terminal, elsewhere a line per tenth or half a minute."""

    def __init__(self, description: str) -> None:
        self.description, self.tenth, self.shown = description, 0, 0.0
        self.start: tuple[float, float] | None = None  # progress and seconds at the first step
        self.terminal = sys.stderr.isatty()
        shape = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
        self.bar = tqdm(total=1.0, desc=description, disable=not self.terminal, leave=False, bar_format=shape)

    def __enter__(self) -> "FitBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def show(self, schedule: Schedule, epoch: int, score: float | None, best: float | None, seconds: float) -> None:
        """Show where a fit stands.

        Args:
            schedule: Its schedule; patience may end it earlier than the share that is shown.
            epoch: Its epoch, from 1.
            score: Score of the last validation.
            best: Best score so far.
            seconds: Seconds since it began.
        """
        progress = 1.0 if schedule.find_end() else schedule.progress
        self.start = self.start or (progress, seconds)
        if not self.terminal and int(progress * 10) <= self.tenth and seconds < self.shown + LINE_SECONDS:
            return
        left = self._estimate_left(progress, seconds)
        scores = [
            f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in (("score", score), ("best", best))
        ]
        text = f" step {schedule.steps}, epoch {epoch}, {', '.join(scores)}{left}"
        if self.terminal:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(progress - self.bar.n)
            return
        self.tenth, self.shown = int(progress * 10), seconds
        print(f"{self.description} {progress:4.0%}{text}", file=sys.stderr, flush=True)

    def _estimate_left(self, progress: float, seconds: float) -> str:
        """Return how long the rest takes at most, by the steps after the first: that one has the start-up in it.

        Nothing is returned where the first step is all there is to go by.
        """
        began, earlier = self.start or (progress, seconds)
        if progress >= 1:
            return ", at most 00:00 left"
        if progress <= began:
            return ""
        left = (seconds - earlier) * (1 - progress) / (progress - began)
        return f", at most {tqdm.format_interval(left)} left"
