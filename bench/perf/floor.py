"""`python -m bench floor`: the memory with which each arm starts before it has done anything, and whose it is.

Every arm runs for a few steps in a fresh process.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arms import ARMS, external_arms
from bench.measure.isolation import run_isolated
from bench.measure.libraries import list_libraries, measure_mapped_bytes

SHORT = ("training.seconds=null", "training.steps=2", "training.patience=null")
SMALL = (
    *("dataset=synthetic", "dataset.image_size=[128,128]"),
    *("dataset.train_images=1", "dataset.val_images=1", "dataset.test_images=1"),
)
VOLUMES = "dataset.image_size=[8,128,128]"  # for arms that need them
LARGEST = 6  # libraries named per arm


@dataclass
class FloorConfig:
    """Settings of `python -m bench floor`."""

    pipeline: str | None = None  # the one arm to run; null runs all
    root: str | None = None  # folder of images and masks, as dataset.root; null takes a small synthetic data set

    def list_arms(self) -> list[str]:
        """Return the arms to run: of all, those for volumes on generated data only."""
        if self.pipeline is not None:
            return [self.pipeline]
        measured = [arm for arm in ARMS.values() if arm.name not in external_arms()]
        return [arm.name for arm in measured if self.root is None or not arm.needs_volume]

    def data(self, arm: str) -> tuple[str, ...]:
        """Return the overrides that choose the data set of an arm."""
        if self.root is not None:
            return ("dataset=folder", f"dataset.root={self.root}")
        return (*SMALL, VOLUMES) if arm in ARMS and ARMS[arm].needs_volume else SMALL


@dataclass(frozen=True)
class Floor:
    """What the process of one run held, in bytes.

    Attributes:
        arm: Key of `ARMS`.
        floor: Resident memory when the meter was opened: the column `rss_floor_bytes` of `runs`.
        peak: Highest `peak_rss_bytes` of all stages.
        mapped: Resident memory of mapped files by library, and of memory without a file; largest first.
        libraries: Packages imported when the last stage had ended: the column `libraries` of `runs`.
    """

    arm: str
    floor: int
    peak: int
    mapped: dict[str, int]
    libraries: tuple[str, ...]


def main(settings: FloorConfig) -> int:
    """Print the floor of every arm. Returns the exit code: 1 where a run failed."""
    failed = False
    for arm in settings.list_arms():
        found, reason = measure_floor(arm, settings.data(arm))
        failed |= found is None
        print("\n".join([f"{arm}: {reason}"] if found is None else describe_floor(found)), flush=True)
    return int(failed)


def measure_floor(arm: str, overrides: Sequence[str]) -> tuple[Floor | None, str]:
    """Run one arm for a few steps.

    Args:
        arm: Key of `ARMS`.
        overrides: Further settings of the run, as on the command line.

    Returns:
        What its process held, and an empty text; None and how it ended where it did not end well.

    Raises:
        InputError: A setting or the data set cannot be used.
    """
    from bench.measure.environment import pin_environment
    from bench.measure.machine import default_threads
    from bench.sweeps.compose import compose
    from bench.sweeps.preparation import prepare_jobs

    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        [job] = prepare_jobs(compose([f"pipeline={arm}", *SHORT, *overrides, f"results_dir={folder}"]))
        threads = job.config.measure.threads or default_threads()
        outcome = run_isolated(observe_run, (job, Path(folder)), environment=pin_environment(threads))
    if outcome.status != "ok":
        return None, f"{outcome.status}: {outcome.reason}"
    row, peak, mapped = outcome.result
    return Floor(arm, row["rss_floor_bytes"], peak, mapped, tuple(row["libraries"].split())), ""


def observe_run(argument: tuple[Any, Path]) -> tuple[dict[str, Any], int, dict[str, int]]:
    """Do one run in this process; for `run_isolated`.

    Returns its row, the highest resident bytes of its stages, and the mapped bytes by library, without the libraries
    that were loaded after the last stage to score the masks.
    """
    import csv

    from bench.sweeps.jobs import describe_job, run_in_child

    job, folder = argument
    row, _ = run_in_child((job.config, folder, describe_job(job)))
    late = set(list_libraries()) - set(row["libraries"].split())
    with (folder / "stages.csv").open(encoding="utf-8", newline="") as file:
        peaks = [int(stage["peak_rss_bytes"]) for stage in csv.DictReader(file) if stage["peak_rss_bytes"]]
    return row, max(peaks), {name: size for name, size in measure_mapped_bytes().items() if name not in late}


def describe_floor(found: Floor) -> list[str]:
    """Return lines for the reader."""
    sizes = ", ".join(f"{name} {_mebibytes(size)}" for name, size in list(found.mapped.items())[:LARGEST])
    return [
        f"{found.arm}: starts with {_mebibytes(found.floor)}, highest in a stage {_mebibytes(found.peak)}",
        f"  mapped files: {sizes}",
        f"  imported: {' '.join(found.libraries)}",
    ]


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
