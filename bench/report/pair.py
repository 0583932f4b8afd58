"""Two configurations that are compared, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.tables.names import name_run, name_sources

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """The runs of two configurations on the same seeds, in the order of the seeds; one run per seed each.

    Attributes:
        first: Rows of `list_configurations` of the one whose side is taken: what it saves, what it gives up.
        second: Rows of the other.
    """

    first: pd.DataFrame
    second: pd.DataFrame

    @property
    def names(self) -> tuple[str, str]:
        """What readers call the two."""
        first, second = (name_run(runs.iloc[0].to_dict()) for runs in (self.first, self.second))
        return first, second

    @property
    def seeds(self) -> int:
        """Number of seeds that both have."""
        return len(self.first)

    @property
    def runs(self) -> pd.DataFrame:
        """All runs of both."""
        return pd.concat([self.first, self.second])

    def column(self, name: str) -> tuple[Floats, Floats]:
        """Return a column of both, each (seeds,); NaN where it was not measured."""
        first, second = (
            pd.to_numeric(runs[name], errors="coerce").to_numpy(np.float64) for runs in (self.first, self.second)
        )
        return first, second

    def take_uncontended(self) -> "Pair":
        """Return the seeds of which neither run shared the machine."""
        uncontended = ~(self.first["contended"].to_numpy(bool) | self.second["contended"].to_numpy(bool))
        return Pair(self.first[uncontended], self.second[uncontended])


def pair_by_seed(first: pd.DataFrame, second: pd.DataFrame) -> Pair:
    """Pair the newest run per seed, of the seeds that both have."""
    newest = [runs.sort_values(["seed", "started"]).drop_duplicates("seed", keep="last") for runs in (first, second)]
    first, second = newest
    return Pair(first[first["seed"].isin(second["seed"])], second[second["seed"].isin(first["seed"])])


def collect_image_scores(pair: Pair, scores: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return macro Dice of both by seed and test image, (seeds, images) each; NaN in both where either is undefined.

    The planes of a stack are one image, the score of which is their mean: intervals over planes would be too narrow.
    """
    ours = scores[scores["run_id"].isin(pair.runs["run_id"])]  # a folder may hold other data sets
    wanted = ours[(ours["split"] == "test") & (ours["metric"] == "dice") & (ours["class"] == "macro")]
    table = wanted[wanted["image"] != "all"].pivot_table(
        index="run_id", columns="image", values="value", aggfunc="first"
    )
    sources = name_sources(list(map(str, table.columns)), pair.first.iloc[0].to_dict())
    first, second = (table.reindex(runs["run_id"]).to_numpy(np.float64) for runs in (pair.first, pair.second))
    undefined = np.isnan(first) | np.isnan(second)
    return _average(first, undefined, sources), _average(second, undefined, sources)


def _average(scores: Floats, undefined: NDArray[np.bool_], sources: Sequence[str]) -> Floats:
    """Means (seeds, sources) over the images of each source, of those that are defined."""
    found = pd.DataFrame(np.where(undefined, np.nan, scores).T).groupby(np.array(sources, dtype=object)).mean()
    return np.asarray(found.to_numpy(np.float64).T)
