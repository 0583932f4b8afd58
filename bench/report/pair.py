"""The runs that are compared, paired by seed, and the words that sentences about them share."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pair:
    """The chosen runs of both rivals on the same seeds, in the order of the seeds; one run per seed each."""

    gnn: pd.DataFrame
    cnn: pd.DataFrame

    @property
    def seeds(self) -> int:
        return len(self.gnn)

    def column(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A column of the GNN's and of the CNN's runs."""
        gnn, cnn = (pd.to_numeric(runs[name]).to_numpy(dtype=np.float64) for runs in (self.gnn, self.cnn))
        return gnn, cnn


def paired(gnn: pd.DataFrame, cnn: pd.DataFrame) -> Pair:
    """Newest run per seed, of the seeds that both have."""
    gnn, cnn = (runs.sort_values(["seed", "started"]).drop_duplicates("seed", keep="last") for runs in (gnn, cnn))
    return Pair(gnn[gnn["seed"].isin(cnn["seed"])], cnn[cnn["seed"].isin(gnn["seed"])])


def image_differences(pair: Pair, scores: pd.DataFrame) -> NDArray[np.float64]:
    """GNN minus CNN, macro Dice by seed and test image, (seeds, images); NaN where either is undefined."""
    ours = scores[
        scores["run_id"].isin([*pair.gnn["run_id"], *pair.cnn["run_id"]])
    ]  # a folder may hold other data sets
    wanted = ours[(ours["split"] == "test") & (ours["metric"] == "dice") & (ours["class"] == "macro")]
    table = wanted[wanted["image"] != "all"].pivot_table(
        index="run_id", columns="image", values="value", aggfunc="first"
    )
    gnn, cnn = (table.reindex(runs["run_id"]).to_numpy(dtype=np.float64) for runs in (pair.gnn, pair.cnn))
    return np.asarray(gnn - cnn, np.float64)


def set_beforehand(pair: Pair) -> bool:
    """Whether every run of both was ended by a budget in seconds: how long they took was then somebody's choice."""
    runs = pd.concat([pair.gnn, pair.cnn])
    return "training.seconds" in runs and bool((runs["stopped"] == "seconds").all())


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def at(size: float) -> str:
    return "" if math.isnan(size) else f" at {size:g} px per superpixel"


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"
