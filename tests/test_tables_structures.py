"""Thin structures in the report: what superpixels lose before anything is learned, and what each method keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.structures import MOST_CLASSES, make_structures_part
    from bench.tables.structures import MEASURES, list_losses, tabulate_structures


ARMS: tuple[tuple[str, str, float], ...] = (
    ("tiled_cnn", "tiled_cnn", np.nan),
    ("tiled_cnn", "tiled_cnn scale=4", np.nan),
    ("superpixel_gnn", "superpixel_gnn", 30.0),
    ("oracle", "oracle", 30.0),
    ("superpixel_gnn", "superpixel_gnn", 100.0),
)


def make_runs(**changed: Any) -> pd.DataFrame:
    """Two runs of each arm, of images of two axes."""
    rows = [
        {"run_id": f"{number}-{seed}", "pipeline": pipeline, "arm": arm, "superpixel_size": size, "status": "ok"}
        for number, (pipeline, arm, size) in enumerate(ARMS)
        for seed in range(2)
    ]
    return pd.DataFrame(rows).assign(invalid=False, undertrained="", **{"dataset.spatial_axes": 2} | changed)


def make_scores(runs: pd.DataFrame, ceilings: dict[float, tuple[float, float]], name: str = "line") -> pd.DataFrame:
    """Scores of one class: 0.5 and 0.7 of two seeds, twice as many components, ceilings by superpixel size."""
    rows = []
    for run in runs.to_dict("records"):
        seed, size = int(run["run_id"][-1]), 0.0 if np.isnan(run["superpixel_size"]) else run["superpixel_size"]
        values = [0.5 + 0.2 * seed, 2.0, *ceilings.get(size, (np.nan, np.nan))]
        if run["arm"] == "tiled_cnn":
            values[2:] = [np.nan, np.nan]
        for measure, value in zip(MEASURES, values, strict=True):
            for split, image in (("test", "all"), ("test", "a"), ("val", "all")):
                wrong = (split, image) != ("test", "all")
                rows.append((run["run_id"], split, image, measure, name, -1.0 if wrong else value))
                rows.append((run["run_id"], split, image, measure, "macro", -1.0))
    return pd.DataFrame(rows, columns=["run_id", "split", "image", "metric", "class", "value"])


KEPT = {0.0: (0.95, 1.0), 30.0: (0.97, 1.1), 100.0: (0.92, 0.9)}


def test_rows_are_means_over_runs_in_the_order_of_the_arms() -> None:
    runs = make_runs()
    table = tabulate_structures(runs, make_scores(runs, KEPT))
    assert list(table["arm"]) == [
        *("tiled_cnn", "tiled_cnn scale=4", "superpixel_gnn", "superpixel_gnn", "oracle"),
    ]
    assert (table["runs"] == 2).all()
    assert table["cl_dice"].tolist() == pytest.approx([0.6] * 5)
    assert table["oracle_cl_dice"].tolist() == pytest.approx([np.nan, 0.95, 0.97, 0.92, 0.97], nan_ok=True)


def test_runs_that_stand_for_nothing_are_left_out() -> None:
    runs = make_runs()
    runs.loc[1, "undertrained"] = "cut while it rose"
    runs.loc[2, "status"] = "failed"
    table = tabulate_structures(runs, make_scores(runs, KEPT))
    assert table["runs"].tolist() == [1, 1, 2, 2, 2]
    assert table["cl_dice"].tolist()[:2] == pytest.approx([0.5, 0.7])


def test_what_keeps_lines_and_components_loses_nothing() -> None:
    runs = make_runs()
    assert list_losses(tabulate_structures(runs, make_scores(runs, KEPT))).empty
    part = make_structures_part(runs, make_scores(runs, KEPT))
    assert part is not None
    assert len(part.sentences) == 1
    assert part.rows[0] == ("line", "U-Net", "2", "0.600", "2")
    assert part.rows[2][3:] == ("0.600 (0.970)", "2 (1.1)")


@pytest.mark.parametrize(
    ("ceiling", "words"),
    [
        ((0.8, 1.0), "lose thin parts of line:"),
        ((0.95, 3.0), "tear line apart:"),
        ((0.95, 0.5), "merge or lose objects of line:"),
        ((0.8, 64.44), "lose thin parts of line and tear line apart:"),
    ],
)
def test_a_loss_is_one_sentence_for_all_that_share_it(ceiling: tuple[float, float], words: str) -> None:
    runs = make_runs()
    part = make_structures_part(runs, make_scores(runs, KEPT | {30.0: ceiling}))
    assert part is not None
    [sentence] = part.sentences[:-1]
    assert sentence.startswith(f"Superpixels of 30 pixels (about 5 x 5) {words}")
    assert f"{ceiling[0]:.3f} and {ceiling[1]:.3g} times" in sentence
    part = make_structures_part(runs, make_scores(runs, KEPT | {0.0: ceiling}))
    assert part is not None
    [sentence] = part.sentences[:-1]
    assert words in sentence
    assert "sees blocks of pixels" in sentence


def test_volumes_have_voxels_and_only_the_classes_hardest_to_follow_are_shown() -> None:
    runs = make_runs(**{"dataset.spatial_axes": 3})
    several = [make_scores(runs, KEPT | {100.0: (0.5, 1.0)}, f"class_{number}") for number in range(MOST_CLASSES + 2)]
    for number, scores in enumerate(several):
        scores.loc[scores["metric"] == "cl_dice", "value"] -= 0.01 * number
    part = make_structures_part(runs, pd.concat(several))
    assert part is not None
    assert part.sentences[0].startswith("Superpixels of 100 voxels (about 5 x 5 x 5) lose thin parts of class_0:")
    assert len(part.sentences) == len(several) + 1
    assert {row[0] for row in part.rows} == {f"class_{number}" for number in range(2, MOST_CLASSES + 2)}


def test_without_compared_structures_there_is_no_part() -> None:
    runs = make_runs()
    scores = make_scores(runs, KEPT)
    assert make_structures_part(runs, scores[scores["split"] == "val"]) is None
    scores["value"] = np.nan
    assert make_structures_part(runs, scores) is None


def test_superpixels_of_long_voxels_reach_as_far_as_they_do() -> None:
    runs = make_runs(**{"dataset.spatial_axes": 3, "dataset.pixel_lengths": "40 x 8 x 8 nanometer"})
    part = make_structures_part(runs, make_scores(runs, {30.0: (0.5, 1.0)}))
    assert part is not None
    assert part.sentences[0].startswith("Superpixels of 30 voxels (about 1 x 5 x 5) lose thin parts of line")
