"""The verdict: numbers of the tables in words that follow them, refusals that say what would answer, swapped arms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from support.results import IMAGES, copy_results, make_results, make_run, score

from bench.tables.names import WEIGHTS, find_family, label_variety, name_arm, name_configuration

if TYPE_CHECKING:
    import pandas as pd

    from bench.plots.all import split_groups
    from bench.report.verdict import Verdict, reach_verdict
    from bench.report.words import format_share, join_list
    from bench.tables.chosen import choose_configurations
    from bench.tables.collect import Tables, collect
    from bench.tables.comparison import compare_arms, list_configurations


SCORE, TIME, PREDICTION, MEMORY, MEMORY_IN_PREDICTION = range(5)  # lines of the scorecard
GNN, UNET = "superpixel_gnn", "tiled_cnn"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("template"), seeds=6, sizes=(50, 100))


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copy_results(template, tmp_path / "results")


def verdicts(tables: Tables) -> list[Verdict]:
    found = split_groups(list_configurations(tables))
    return [reach_verdict(heading, runs, tables.scores, tables.history) for runs, _, heading in found]


def only(folder: Path) -> Verdict:
    [found] = verdicts(collect(folder))
    return found


def texts(found: Verdict) -> list[str]:
    return [line.text for line in found.lines]


def middle(values: NDArray[np.float64]) -> float:
    return float(np.exp(np.median(np.log(values))))


def both(folder: Path, seeds: int = 3, **changes: object) -> Path:
    for seed in range(seeds):
        for pipeline in (GNN, UNET):
            make_run(folder, pipeline, seed, **changes)  # type: ignore[arg-type]
    return folder


def test_five_lines_hold_the_numbers_of_the_tables(folder: Path) -> None:
    found = only(folder)
    assert [line.title for line in found.lines] == [
        "Score when both have converged", "Time to the same score", "Time per megapixel of prediction",
        "Memory in training", "Memory in prediction",
    ]  # fmt: skip
    gnn, unet = (
        np.array([[score(name, seed, 50, image) for image in range(len(IMAGES))] for seed in range(6)])
        for name in (GNN, UNET)
    )
    points = 100 * (unet - gnn).mean()
    head = f"The GNN scored {points:.1f} points less macro Dice per test image than the U-Net, {gnn.mean():.3f} against"
    assert texts(found)[SCORE].startswith(f"{head} {unet.mean():.3f} (95 % interval ")
    low, high = (float(text) for text in re.findall(r"interval (\S+) to (\S+)\)", texts(found)[SCORE])[0])
    assert low < -points < high < 0
    assert f"pooled over all test pixels {gnn.mean():.3f} against {unet.mean():.3f}" in texts(found)[SCORE]
    assert "the GNN needed 3.89 s and the U-Net 11.4 s, U-Net : GNN = 2.93 (95 % interval" in texts(found)[PREDICTION]
    assert "the GNN needed 1100 MiB and the U-Net 3000 MiB, U-Net : GNN = 2.73 (95 %" in texts(found)[MEMORY]
    assert "resident memory of the process" in texts(found)[MEMORY]
    assert (
        "the GNN needed 63 % less; net (resident above what was loaded before) 900 MiB against 2800 MiB"
        in texts(found)[MEMORY]
    )
    head = (
        "At its peak in prediction, gross (resident memory of the process, libraries included), the GNN needed 550 MiB"
    )
    assert texts(found)[MEMORY_IN_PREDICTION].startswith(f"{head} and the U-Net 1500 MiB, U-Net : GNN = 2.73 (95 %")


def test_the_time_to_the_same_score_is_that_of_the_first_validation_at_it(folder: Path) -> None:
    """Made-up scores rise as best - 0.5 exp(-epoch / 4), validated at every second of 20 epochs."""
    text = texts(only(folder))[TIME]
    epochs = np.arange(2, 21, 2)
    curves = {n: [score(n, s, 50) - 0.5 * np.exp(-epochs / 4) for s in range(6)] for n in (GNN, UNET)}
    target = min(curve[-1] for curve in [*curves[GNN], *curves[UNET]])
    times = {}
    for name, whole, prepare in ((GNN, 40.0, 4.8), (UNET, 600.0, 0.4)):
        first = [epochs[np.argmax(curve >= target)] for curve in curves[name]]
        times[name] = np.array([epoch * whole / 20 + prepare for epoch in first])
    ratio = middle(times[UNET] / times[GNN])
    assert f"To a validation Dice of {target:.3f}" in text
    assert f"the GNN needed {middle(times[GNN]):.3g} s and the U-Net {middle(times[UNET]):.3g} s" in text
    assert f"U-Net : GNN = {ratio:.3g} (95 % interval" in text
    assert f"to {target - 0.01:.3f}: " in text
    assert f"to {target - 0.02:.3f}: " in text


def test_the_first_sentence_is_the_scorecard_in_short(folder: Path) -> None:
    assert re.fullmatch(
        r"Compared with the U-Net, the GNN at 50 pixels per superpixel \(about 7 x 7\) scored \d\.\d points less Dice "
        r"per image, reached a common score in \d\d % less time, predicted a megapixel in 66 % less time, needed 63 % "
        r"less memory in training and 63 % less memory in prediction\.",
        only(folder).first,
    )


def test_no_sentence_stands_twice(folder: Path) -> None:
    found = only(folder)
    every = [part for text in [found.first, *texts(found), *found.notes] for part in re.split(r"(?<=\.) |; ", text)]
    assert len(every) == len(set(every))


def test_swapping_the_arms_in_the_tables_swaps_the_sentences(tmp_path: Path) -> None:
    tables = collect(make_results(tmp_path, seeds=6, sizes=(50,)))
    other = {GNN: UNET, UNET: GNN}
    swapped = tables.runs.assign(pipeline=tables.runs["pipeline"].replace(other))
    before, after = (verdicts(Tables(runs, *rest)) for runs in (tables.runs, swapped) for rest in [_rest(tables)])
    for line, mirrored in zip(before[0].lines[1:], after[0].lines[1:], strict=True):
        assert _amounts(line.text) == {name: _amounts(mirrored.text)[other[name]] for name in other}
        assert re.search(r"the GNN needed \d+ % less", line.text)
        assert re.search(r"the GNN needed \d\S* times as much", mirrored.text)
        assert " less " in line.short
        assert " times as much" in mirrored.short
    assert "GNN scored 2.5 points less macro Dice per test image than the U-Net" in before[0].lines[SCORE].text
    assert "GNN scored 2.5 points more macro Dice per test image than the U-Net" in after[0].lines[SCORE].text


def _rest(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return tables.stages, tables.scores, tables.history


def _amounts(text: str) -> dict[str, str]:
    [(gnn, unet)] = re.findall(r"the GNN needed (\S+) \S+ and the U-Net (\S+) ", text)
    return {GNN: gnn, UNET: unet}


def test_a_rival_that_is_better_and_faster_gives_ratios_below_one_in_words(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, GNN, seed)
        make_run(tmp_path, UNET, seed, slow=0.02)
    found = only(tmp_path)
    ratio = float(re.findall(r"U-Net : GNN = (\S+) ", texts(found)[TIME])[0])
    assert ratio < 1
    [part] = re.findall(r"^.*?the GNN needed (\S+) times as much", texts(found)[TIME])
    assert float(part) == pytest.approx(1 / ratio, rel=0.01)
    assert "points less Dice per image, reached a common score in" in found.first
    assert re.search(r"reached a common score in \S+ times as much time", found.first)


def test_shares_are_percent_up_to_twice_as_much() -> None:
    assert [format_share(ratio) for ratio in (1 / 0.85, 1 / 1.15, 14.0, 400.0, 0.4, 1.001)] == [
        "15 % less", "15 % more", "93 % less", "99.8 % less", "2.5 times as much", "as much",
    ]  # fmt: skip
    assert [format_share(ratio) for ratio in (3000.0, 20_000.0, 1 / 1.995)] == [
        "99.97 % less", "99.995 % less", "99.5 % more",
    ]  # fmt: skip
    assert join_list(["a", "b", "c"]) == "a, b and c"


# ---------------------------------------------------------------------------------------------------------- refusals


def test_one_seed_answers_nothing_and_says_what_would(tmp_path: Path) -> None:
    found = only(both(tmp_path, seeds=1))
    assert all(not line.short for line in found.lines)
    assert all(line.text.startswith("Not answered: one seed gives no interval.") for line in found.lines)
    assert all("three seeds of both (seed=0,1,2)" in line.text for line in found.lines)
    assert "the GNN needed 900 MiB and the U-Net 3000 MiB" in texts(found)[MEMORY]  # seen, not concluded
    assert "less" not in texts(found)[MEMORY]
    assert found.first.startswith("No verdict on the GNN")
    two = only(both(tmp_path / "two", seeds=2))
    assert all(line.text.startswith("Not answered: 2 seeds of both are too few.") for line in two.lines)


def test_too_few_test_images_leave_the_score_open(tmp_path: Path) -> None:
    both(tmp_path)
    tables = collect(tmp_path)
    few = tables.scores[~tables.scores["image"].isin(IMAGES[4:])]
    [found] = verdicts(Tables(tables.runs, tables.stages, few, tables.history))
    assert found.lines[SCORE].text.startswith("Not answered: 4 test images say too little about other images.")
    assert "at least 5 images in the test split" in found.lines[SCORE].text
    assert found.lines[MEMORY].short
    assert "no answer on score when both have converged" in found.first
    assert "the GNN below the U-Net on 4 of 4" in " ".join(found.notes)


def test_planes_of_a_stack_are_one_test_image(tmp_path: Path) -> None:
    """Six images that agree: of six stacks an answer, of planes of two stacks none."""
    for planes in (False, True):
        folder = both(tmp_path / str(planes), dataset__planes=planes)
        tables = collect(folder)
        names = {name: f"{'ab'[number % 2]}_z{number:03d}" for number, name in enumerate(IMAGES)}
        renamed = tables.scores.assign(image=tables.scores["image"].replace(names))
        again = Tables(tables.runs, tables.stages, renamed, tables.history)
        [found] = verdicts(again)
        assert bool(found.lines[SCORE].short) is not planes
        assert any("planes of a stack count as one" in note for note in found.notes) is planes
        assert set(list_configurations(again)["test_images"]) == {2 if planes else 6}
        if planes:
            assert "2 test images say too little about other images" in texts(found)[SCORE]


def test_images_of_a_folder_that_was_drawn_whole_are_one_test_image(tmp_path: Path) -> None:
    """A folder is a specimen there: of six images of two specimens there is no answer."""
    tables = collect(both(tmp_path, dataset__split_rule="by folder, seed 0"))
    names = {name: f"{'ab'[number % 2]}/{name}" for number, name in enumerate(IMAGES)}
    renamed = tables.scores.assign(image=tables.scores["image"].replace(names))
    again = Tables(tables.runs, tables.stages, renamed, tables.history)
    [found] = verdicts(again)
    assert any("images of a folder count as one" in note for note in found.notes)
    assert set(list_configurations(again)["test_images"]) == {2}
    assert "2 test images say too little about other images" in texts(found)[SCORE]


def test_without_scores_of_images_the_score_is_not_answered(tmp_path: Path) -> None:
    tables = collect(both(tmp_path))
    pooled = tables.scores[tables.scores["image"] == "all"]
    [found] = verdicts(Tables(tables.runs, tables.stages, pooled, tables.history))
    assert texts(found)[SCORE].startswith("Not answered: no test image has a score in both")


def test_strips_of_training_images_are_called_so(tmp_path: Path) -> None:
    rule = "all images train; testing on strips of 0.2 of the training images"
    for number, said in enumerate((rule, "by image, seed 0")):
        notes = only(both(tmp_path / str(number), dataset__split_rule=said)).notes
        assert any("strips of the images that trained" in note for note in notes) is (said == rule)


def test_times_of_runs_that_shared_the_machine_are_not_compared(tmp_path: Path) -> None:
    both(tmp_path, flags="contended: others computed")
    found = only(tmp_path)
    for line in (found.lines[TIME], found.lines[PREDICTION]):
        assert line.text.startswith("Not answered: 6 of the 6 compared runs shared the machine")
        assert "rerun=all" in line.text
    assert found.lines[SCORE].short
    assert found.lines[MEMORY].short


def test_three_undisturbed_pairs_are_enough_for_times(tmp_path: Path) -> None:
    both(tmp_path, seeds=3)
    make_run(tmp_path, GNN, 3, slow=50.0, flags="contended: others computed")
    make_run(tmp_path, UNET, 3, slow=50.0)
    found = only(tmp_path)
    alone = only(both(tmp_path / "alone", seeds=3))
    assert _amounts(texts(found)[PREDICTION]) == _amounts(texts(alone)[PREDICTION])
    assert found.lines[TIME].short


def test_unlike_kinds_of_memory_are_not_compared(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, GNN, seed)
        make_run(tmp_path, UNET, seed, peak_memory_kind="gpu_process")
    text = texts(only(tmp_path))[MEMORY]
    assert text.startswith("Not answered: peaks of memory of different kinds are not divided: cpu_rss and gpu_process")


def test_no_difference_is_called_none(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, GNN, seed, gain=0.0365)
        make_run(tmp_path, UNET, seed)
    found = only(tmp_path)
    assert texts(found)[SCORE].startswith("No clear difference: the GNN scored ")
    assert "; no clear difference in score when both have converged" in found.first


def test_without_an_arm_there_is_no_verdict(tmp_path: Path) -> None:
    make_run(tmp_path, GNN)
    make_run(tmp_path, UNET, status="out_of_memory")
    found = only(tmp_path)
    assert found.first == "No verdict: there is no finished, valid run of the U-Net (pipeline=tiled_cnn)."
    assert "1 out_of_memory" in found.notes[0]


def test_seeds_without_a_partner_are_left_out(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        make_run(tmp_path / "a", GNN, seed)
    for seed in (1, 2):
        make_run(tmp_path / "a", UNET, seed)
    assert "2 paired seeds" in only(tmp_path / "a").notes[1]
    make_run(tmp_path / "b", GNN, 0)
    make_run(tmp_path / "b", UNET, 1)
    assert "no seed in common" in only(tmp_path / "b").first


# ------------------------------------------------------------------------------------------------------ undertrained


def test_an_arm_that_was_cut_while_rising_gives_no_verdict_but_its_name_reason_and_command(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, GNN, seed)
        make_run(tmp_path, UNET, seed, stopped="steps", steps=300, late_gain=0.021, training__steps=300)
    found = only(tmp_path)
    assert found.lines == ()
    assert found.first == (
        "No verdict: both runs of the U-Net are undertrained (cut after 300 steps while its validation score rose by "
        "2.1 points in the last quarter; to finish it: python -m bench pipeline=tiled_cnn seed=0 training.steps=600, "
        "and the same with seed=1)."
    )


def test_undertrained_runs_of_others_are_named_in_the_first_sentence(tmp_path: Path) -> None:
    both(tmp_path)
    make_run(tmp_path, "superpixel_mlp", stopped="seconds", steps=40)
    found = only(tmp_path)
    assert len(found.lines) == 5
    assert found.first.count(". ") == 0
    named = (
        "left out as undertrained: 1 run of the MLP at 100 pixels per superpixel (why, and how to finish it, below)."
    )
    assert found.first.endswith(named)
    [note] = [note for note in found.notes if note.startswith("Undertrained: the MLP")]
    assert "the clock ended it; " in note
    assert "training.seconds=null training.steps=80" in note
    make_run(tmp_path, "superpixel_mlp", size=50, validations=2, stopped="steps")
    several = only(tmp_path)
    assert "1 run of the MLP at 50 pixels per superpixel and 1 run of the MLP at 100" in several.first
    assert len([note for note in several.notes if note.startswith("Undertrained: the MLP")]) == 2


# ------------------------------------------------------------------------------------------------------- best rival


def raise_history(tables: Tables, pipeline: str, by: float) -> Tables:
    """The tables with the validation scores over time of one pipeline raised."""
    wanted = tables.history["run_id"].isin(tables.runs.loc[tables.runs["pipeline"] == pipeline, "run_id"])
    history = tables.history.assign(val_score=tables.history["val_score"] + by * wanted)
    return Tables(tables.runs, tables.stages, tables.scores, history)


@pytest.fixture
def rivals(tmp_path: Path) -> Tables:
    """A U-Net at a quarter of the resolution, and an MLP that is better and sooner than the GNN."""
    both(tmp_path)
    for seed in range(3):
        name = f"reduced-{seed}"
        make_run(tmp_path, UNET, seed, run_id=name, run_key=name, pipeline__scale=4, slow=0.05)
        make_run(tmp_path, "superpixel_mlp", seed, slow=0.2, gain=0.05)
    return raise_history(collect(tmp_path), "superpixel_mlp", 0.05)


def test_the_best_rival_is_the_soonest_at_the_score_whatever_its_kind(rivals: Tables) -> None:
    found = verdicts(rivals)[0]
    assert found.rival.startswith(
        "Best rival of any kind: of 3 configurations of other arms that converged, the MLP at 100 pixels per "
        "superpixel reached the GNN's validation score soonest; compared with the GNN it scored 1.0 points more Dice "
        "per image"
    )
    assert len(found.rival_lines) == 5
    without = rivals.runs[rivals.runs["pipeline"] != "superpixel_mlp"]
    found = verdicts(Tables(without, *_rest(rivals)))[0]
    assert "the U-Net at 1/4 resolution reached the GNN's validation score soonest" in found.rival


def test_a_rival_of_one_seed_is_called_so_beside_several(rivals: Tables) -> None:
    first = (rivals.runs["pipeline"] != "superpixel_mlp") | (rivals.runs["seed"] == 0)
    found = verdicts(Tables(rivals.runs[first], *_rest(rivals)))[0]
    assert "the MLP at 100 pixels per superpixel (one seed, of which" in found.rival
    assert "one seed" not in verdicts(rivals)[0].rival


@pytest.mark.parametrize(("images", "noted"), [(20, False), (19, True), (6, True)])
def test_an_interval_over_some_images_is_said_to_be_too_narrow_where_few_decide(
    tmp_path: Path, images: int, noted: bool
) -> None:
    tables = collect(both(tmp_path))
    by_image = tables.scores[tables.scores["image"] != "all"]
    many = [by_image[by_image["image"] == IMAGES[0]].assign(image=f"{number:03d}") for number in range(images)]
    scores = pd.concat([tables.scores[tables.scores["image"] == "all"], *many], ignore_index=True)
    notes = " ".join(verdicts(Tables(tables.runs, tables.stages, scores, tables.history))[0].notes)
    assert (f"Over {images} test images the interval comes out too narrow" in notes) == noted


def test_an_arm_without_validations_counts_as_a_whole(rivals: Tables) -> None:
    runs = rivals.runs.assign(pipeline=rivals.runs["pipeline"].replace({"superpixel_mlp": "superpixel_trees"}))
    fitted = set(runs.loc[runs["pipeline"] == "superpixel_trees", "run_id"])
    history = rivals.history[~rivals.history["run_id"].isin(fitted)]
    found = verdicts(Tables(runs, rivals.stages, rivals.scores, history))[0]
    assert "the boosted trees at 100 pixels per superpixel reached the GNN's validation score soonest" in found.rival
    train_s = 0.2 * (4 * 1.1 + 1.5 + 1.1 * 20 * 1.05)  # of the median seed
    assert f"the boosted trees needed {train_s:.3g} s" in found.rival_lines[TIME].text


def test_where_none_reaches_the_score_the_closest_is_named(tmp_path: Path) -> None:
    both(tmp_path)
    for seed in range(3):
        make_run(tmp_path, "superpixel_mlp", seed)
    tables = raise_history(collect(tmp_path), GNN, 0.1)
    assert "the U-Net itself came closest to the GNN's validation score" in verdicts(tables)[0].rival
    assert only(both(tmp_path / "two")).rival == ""


# ------------------------------------------------------------------------------------------------------------- notes


def test_flagged_runs_are_counted_or_left_out(folder: Path) -> None:
    make_run(folder, UNET, 0, run_id="i", run_key="i", flags="invalid: the sampler died")
    make_run(folder, UNET, 7, run_id="c", run_key="c", flags="contended: others computed")
    make_run(folder, GNN, 7, 50)
    notes = " ".join(only(folder).notes)
    assert "1 run flagged invalid is left out" in notes
    assert "1 of the 14 compared runs shared the machine" in notes


def test_the_order_of_the_controls_is_told_either_way(folder: Path) -> None:
    tables = collect(folder)
    assert only(folder).notes[0].startswith("As expected, oracle >= GNN >= MLP holds at 50 pixels per superpixel (")
    runs = list_configurations(tables)
    runs.loc[runs["pipeline"] == "superpixel_mlp", "dice"] = 0.99
    assert "does not hold" in reach_verdict("", runs, tables.scores, tables.history).notes[0]
    missing = runs[runs["pipeline"] != "superpixel_mlp"]
    assert "MLP did not converge there" in reach_verdict("", missing, tables.scores, tables.history).notes[0]


def test_each_data_set_and_machine_has_its_own_verdict(folder: Path) -> None:
    for pipeline in (GNN, UNET):
        make_run(folder, pipeline, run_id=f"other-{pipeline}", machine__id="another")
        make_run(folder, pipeline, run_id=f"data-{pipeline}", dataset="data", dataset__root="there")
    assert len(verdicts(collect(folder))) == 3


def test_images_of_another_data_set_in_the_folder_are_not_counted(tmp_path: Path) -> None:
    for pipeline in (GNN, UNET):
        make_run(tmp_path, pipeline)
        name = f"data-{pipeline}"
        other = make_run(tmp_path, pipeline, run_id=name, run_key=name, dataset="data", dataset__root="there")
        table = other / "scores.csv"
        table.write_text(table.read_text().replace(",00", ",other_00"))  # images with names of their own
    texts_of = [found.lines[SCORE].text for found in verdicts(collect(tmp_path))]
    assert len(texts_of) == 2
    assert texts_of[0] == texts_of[1]


def test_seeds_and_choice_are_told(folder: Path, tmp_path: Path) -> None:
    notes = " ".join(only(folder).notes)
    assert "over 6 paired seeds: p = 0.031" in notes
    assert "the GNN at 50 pixels per superpixel, chosen among 2 on validation images; the U-Net, the only" in notes
    assert "at least 6 seeds" in " ".join(only(both(tmp_path / "three")).notes)


def test_names_show_a_reduced_resolution_and_what_else_differs() -> None:
    run = {"pipeline": UNET, "method": f"{UNET} scale=4 batch_size=2", "superpixel_size": np.nan}
    assert name_configuration(run | {"pipeline.scale": 4.0}) == "U-Net at 1/4 resolution batch_size=2"
    assert name_configuration(run | {"pipeline.scale": np.nan, "method": UNET}) == "U-Net"
    assert name_configuration({"pipeline": "elsewhere", "method": "elsewhere", "superpixel_size": 50.0}) == (
        "elsewhere at 50 pixels per superpixel"
    )


ELSEWHERE = {
    "flags": "elsewhere: ",
    "pipeline__label": "nnU-Net v2",
    "peak_memory_bytes": None,
    "peak_memory_kind": None,
}
PRETRAINED = {"pipeline__model__encoder_weights": "imagenet"}


def test_masks_made_elsewhere_are_compared_by_their_score_alone(folder: Path) -> None:
    before = only(folder)
    make_run(folder, "external", **ELSEWHERE)  # type: ignore[arg-type]
    found = only(folder)
    assert (found.first, found.lines, found.rival) == (before.first, before.lines, before.rival)
    [note] = set(found.notes) - set(before.notes)
    gnn = np.array([[score(GNN, seed, 50, image) for image in range(len(IMAGES))] for seed in range(6)])
    theirs = np.array([score("external", 0, 100, image) for image in range(len(IMAGES))])
    points, means = 100 * (theirs - gnn).mean(), f"{theirs.mean():.3f} against {gnn.mean():.3f}"
    assert note.startswith(
        f"nnU-Net v2 (run elsewhere): The nnU-Net v2 (run elsewhere) scored {points:.1f} points more "
        f"macro Dice per test image than the GNN, {means} (95 % interval"
    )
    assert " MiB" not in note


def test_stated_costs_never_make_the_best_rival(folder: Path) -> None:
    stated = ELSEWHERE | {"peak_memory_bytes": 1, "peak_memory_kind": "cpu_rss"}
    make_run(folder, "external", **stated)  # type: ignore[arg-type]
    assert "nnU-Net" not in only(folder).rival


def test_a_pretrained_network_stands_beside_the_one_from_scratch(folder: Path) -> None:
    before = only(folder)
    for seed in range(6):
        name = f"pretrained-{seed}"
        make_run(folder, UNET, seed, 50, gain=0.01, slow=0.5, run_id=name, run_key=name, **PRETRAINED)  # type: ignore[arg-type]
    found = only(folder)
    assert (found.first, found.lines) == (before.first, before.lines), "the question is about networks from scratch"
    rows = compare_arms(collect(folder)).set_index("arm")
    assert list(rows.loc[[UNET, f"{UNET} pretrained"], "runs"]) == [6, 6]
    dice = dict(zip(rows.index, rows["dice"].to_numpy(np.float64), strict=True))
    assert dice[f"{UNET} pretrained"] == pytest.approx(dice[UNET] + 0.01)
    assert "U-Net, pretrained" in found.rival
    assert any("the U-Net, the only one" in note for note in found.notes)


def test_a_pretrained_network_alone_stands_for_its_arm_and_is_called_so(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, GNN, seed)
        make_run(tmp_path, UNET, seed, **PRETRAINED, pipeline__scale=4.0)  # type: ignore[arg-type]
    found = only(tmp_path)
    assert found.first.startswith("Compared with the U-Net, pretrained at 1/4 resolution, the GNN")


@pytest.mark.parametrize("column", WEIGHTS)
def test_any_network_that_started_from_weights_is_called_pretrained(column: str) -> None:
    run = {"pipeline": "coarse_gnn", "method": "coarse_gnn pretrained", "superpixel_size": 30.0, column: "some.pt"}
    assert name_configuration(run) == f"{name_arm('coarse_gnn')}, pretrained at 30 pixels per superpixel"
    scratch = run | {column: None, "method": "coarse_gnn"}
    assert name_configuration(scratch) == f"{name_arm('coarse_gnn')} at 30 pixels per superpixel"


SEGFORMER = {"model": "Segformer", "pipeline__model__architecture": "Segformer"}


def test_another_architecture_or_resolution_is_a_line_of_its_own_and_no_unet(folder: Path) -> None:
    before = only(folder)
    for seed in range(6):
        for number, changes in enumerate((SEGFORMER, {"pipeline__scale": 4.0}, {"pipeline__scale": 8.0})):
            name = f"other-{number}-{seed}"
            make_run(folder, UNET, seed, 50, gain=0.01 * number, run_id=name, run_key=name, **changes)  # type: ignore[arg-type]
    found = only(folder)
    assert (found.first, found.lines) == (before.first, before.lines)
    rows = compare_arms(collect(folder)).set_index("arm")
    names = [UNET, f"{UNET} Segformer", f"{UNET} scale=4", f"{UNET} scale=8"]
    assert list(rows.loc[names, "runs"]) == [6, 6, 6, 6]
    assert set(names) <= set(choose_configurations(list_configurations(collect(folder))))


def test_another_architecture_alone_stands_for_its_arm_under_its_own_name(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, GNN, seed)
        make_run(tmp_path, UNET, seed, **SEGFORMER)  # type: ignore[arg-type]
    assert only(tmp_path).first.startswith("Compared with the SegFormer, the GNN")


def test_recipes_and_the_control_of_both_have_words_of_their_own() -> None:
    recipe = {"pipeline.augmentation": "strong", "pipeline.deep_supervision": True, "pipeline.flips": True}
    assert label_variety({"pipeline": UNET, **recipe}) == "nnU-Net-like"
    assert label_variety({"pipeline": UNET, **recipe, "pipeline.flips": False}) == ""
    assert label_variety({"pipeline": "coarse_gnn", "pipeline.refine": False}) == "painted"
    assert label_variety({"pipeline": "coarse_gnn", "pipeline.refine": True, "pipeline.coarse.scale": 4}) == ""


def test_names_of_families() -> None:
    for arm, family, name in (
        ("tiled_cnn", "tiled_cnn", "U-Net"),
        ("tiled_cnn scale=4 batch_size=2", "tiled_cnn scale=4", "U-Net at 1/4 resolution batch_size=2"),
        ("tiled_cnn scale=4 pretrained", "tiled_cnn scale=4 pretrained", "U-Net, pretrained at 1/4 resolution"),
        ("tiled_cnn Segformer blend=gaussian", "tiled_cnn Segformer", "SegFormer blend=gaussian"),
        ("tiled_cnn slice-wise Segformer", "tiled_cnn slice-wise Segformer", "slice-wise SegFormer"),
        ("tiled_cnn nnU-Net-like", "tiled_cnn nnU-Net-like", "nnU-Net-like U-Net"),
        ("coarse_gnn scale=2", "coarse_gnn", "U-Net + GNN scale=2"),
        ("coarse_gnn painted", "coarse_gnn painted", "coarse U-Net painted by superpixels"),
        ("tiled_cnn pretrained weights_file=/a/b/c.pt", "tiled_cnn pretrained", "U-Net, pretrained weights_file=c.pt"),
        ("external", "external", "external (run elsewhere)"),
        ("external nnU-Net v2", "external nnU-Net v2", "nnU-Net v2 (run elsewhere)"),
        ("external nnU-Net v2 masks=a b", "external nnU-Net v2", "nnU-Net v2 masks=a b (run elsewhere)"),
        ("elsewhere pretrained", "elsewhere pretrained", "elsewhere, pretrained"),
    ):
        assert (find_family(arm), name_arm(arm)) == (family, name)


def test_crops_that_are_small_for_the_objects_are_pointed_out(tmp_path: Path) -> None:
    for number, (width, scale, said) in enumerate(((229.0, 1, True), (229.0, 4, False), (40.0, 1, False))):
        folder = tmp_path / str(number)
        for seed in range(3):
            make_run(folder, GNN, seed, dataset__object_width=width)
            make_run(folder, UNET, seed, dataset__object_width=width, pipeline__crop_size=128, pipeline__scale=scale)
        notes = only(folder).notes
        assert any("about 229 pixels wide" in note and "crops of 128" in note for note in notes) == said


def test_classes_that_no_test_image_holds_are_named(folder: Path) -> None:
    tables = collect(folder)
    [before] = verdicts(tables)
    assert not any("No test image holds" in note for note in before.notes)
    pooled = (
        (tables.scores["metric"] == "dice") & (tables.scores["image"] == "all") & (tables.scores["split"] == "test")
    )
    name = next(name for name in tables.scores.loc[pooled, "class"] if name != "macro")
    tables.scores.loc[pooled & (tables.scores["class"] == name), "value"] = np.nan
    [after] = verdicts(tables)
    assert f"No test image holds {name}: it has no score, and means over the classes leave it out." in after.notes
