"""`python -m bench superpixels dataset=...`: which superpixels follow the classes of these images, before any training.

Training images alone are looked at, so that the choice costs no validation or test image.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bench.config import DatasetConfig, require, require_one_of
from bench.console.progress import Progress
from bench.datasets.registry import load
from bench.files import write_atomically
from bench.scan.ceilings import Ceiling, cut_crops, list_combinations, propose, scan_settings
from bench.superpixels.registry import SUPERPIXELS


@dataclass(frozen=True)
class ScanConfig:
    """Settings of `python -m bench superpixels`; those of the data set are given as for a run."""

    methods: list[str] = field(default_factory=lambda: ["slic"])  # superpixel methods
    sizes: list[float] = field(default_factory=lambda: [16, 30, 60, 120])  # pixels of a superpixel (areas)
    compactness: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.2])  # weight of shape against grey value
    sigma: list[float] = field(default_factory=lambda: [0.5, 1.0])  # smoothing before clustering, in pixels
    images: int = 6  # training images that are looked at, at most, evenly spread
    pixels: int = 400_000  # of the middle of each that are looked at, at most
    tolerance: float = 2.0  # distance within which boundaries match, in pixels
    out: str = "results/superpixels"  # folder for the table and the figure

    def __post_init__(self) -> None:
        for name in ("methods", "sizes", "compactness", "sigma"):
            require(len(getattr(self, name)) > 0, f"{name} must not be empty")
        for method in self.methods:
            require_one_of("methods", method, tuple(SUPERPIXELS))
        require(min(self.sizes) >= 1, f"sizes must be at least 1 pixel, got {min(self.sizes):g}")
        require(min(self.compactness) > 0, f"compactness must be positive, got {min(self.compactness):g}")
        require(min(self.sigma) >= 0, f"sigma must not be negative, got {min(self.sigma):g}")
        require(self.images >= 1, f"images must be at least 1, got {self.images}")
        require(self.pixels >= 1024, f"pixels must be at least 1024, got {self.pixels}")
        require(self.tolerance >= 0, f"tolerance must not be negative, got {self.tolerance:g}")


def main(settings: ScanConfig, dataset: DatasetConfig) -> int:
    """Scan the settings; print the table and a proposal, write table and figure. Returns the exit code."""
    data = load(dataset)
    crops = cut_crops(data.train, settings.images, settings.pixels)
    scanned = list_combinations(
        settings.methods, settings.sizes, settings.compactness, settings.sigma, data.task.spatial_axes
    )
    require(len(scanned) > 0, f"none of methods {settings.methods} can segment {data.task.spatial_axes} axes")
    ceilings: list[Ceiling] = []
    with Progress("superpixels") as bar:
        for one in scan_settings(crops, scanned, data.task, settings.tolerance):
            ceilings.append(one)
            bar.show(len(ceilings) / len(scanned))
    pixels = sum(crop.mask.size for crop in crops)
    print(f"ceilings on {pixels / 1e6:.2f} megapixels of {len(crops)} training images of {data.name}")
    print(format_ceilings(ceilings))
    print(describe_proposal(ceilings))
    write_results(Path(settings.out), data.name, ceilings)
    return 0


def format_ceilings(ceilings: list[Ceiling]) -> str:
    """Return the ceilings as a table, the fewest superpixels last."""
    head = f"{'method':18s}{'size':>6s}{'compact.':>10s}{'sigma':>7s}{'nodes/Mpx':>11s}{'dice':>8s}{'clDice':>8s}"
    lines = [head + f"{'bnd F1':>8s}{'s/Mpx':>8s}"]
    lines += [
        f"{one.method:18s}{one.superpixel_size:6g}{one.compactness:10g}{one.sigma:7g}{one.nodes_per_megapixel:11.0f}"
        f"{one.dice:8.4f}{one.cl_dice:8.4f}{one.boundary_f1:8.4f}{one.seconds_per_megapixel:8.2f}"
        for one in sorted(ceilings, key=lambda one: (one.superpixel_size, -one.dice))
    ]
    return "\n".join(lines)


def describe_proposal(ceilings: list[Ceiling]) -> str:
    """Return the proposed settings with their reason."""
    chosen, best = propose(ceilings), max(one.dice for one in ceilings)
    return (
        f"proposed: {chosen.describe()}\n"
        f"  the largest superpixels whose ceiling ({chosen.dice:.4f} Dice) is within half a point of the best one "
        f"here ({best:.4f}), and of these settings the greatest mean of Dice, clDice and boundary F1"
    )


def write_results(folder: Path, name: str, ceilings: list[Ceiling]) -> None:
    """Write `superpixels-NAME.csv` and the figure beside it, and print where they are.

    Args:
        folder: Folder that is made where it is not there.
        name: Name of the data set.
        ceilings: What was scanned.
    """
    import pandas as pd

    from bench.plots.ceilings import plot_ceilings
    from bench.plots.style import apply_style, make_slug, save

    table = pd.DataFrame([vars(one) for one in ceilings])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"superpixels-{make_slug(name)}.csv"
    write_atomically(path, table.to_csv(index=False))
    with apply_style():
        picture, _ = save(plot_ceilings(table), folder, path.stem)
    print(f"table:  {path}\nfigure: {picture}")
