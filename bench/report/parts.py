"""The parts of a report that answer one question each: frontier, budgets, break-even, decomposition, edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.config import IDLE_FLIPS, InputError
from bench.plots.style import KINDS, Plotted
from bench.tables.breakeven import FORMULA, Rates, find_break_evens
from bench.tables.chosen import find_sides
from bench.tables.collect import Tables
from bench.tables.comparison import rank_arm
from bench.tables.decomposition import decompose, list_idle_configurations, tabulate_edge_ablation
from bench.tables.frontier import (
    CONFIGURATION,
    COSTS,
    TOLERANCE,
    Cost,
    Within,
    explain_too_few,
    make_frontier,
    search_budgets,
)
from bench.tables.statistics import Estimate
from bench.tables.text import format_outcome, format_points, format_seconds, name_for_readers

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReportPart:
    """A heading with sentences, a table and figures, any of them empty."""

    title: str
    sentences: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    rows: Rows = ()
    figures: tuple[Plotted, ...] = ()


def make_answers(runs: pd.DataFrame, tables: Tables, figures: Sequence[Plotted]) -> tuple[ReportPart, ...]:
    """Return what runs can answer beyond the comparison; what they cannot is left out.

    Args:
        runs: Rows of `list_configurations` of one data set and machine.
        tables: All tables.
        figures: The figures of that data set and machine.
    """
    found = (
        _frontier(runs, _of(figures, "frontier")),
        _budgets(runs),
        _break_even(runs, tables.stages, _of(figures, "break_even")),
        _decomposition(runs, _of(figures, "decomposition")),
        _edges(runs),
    )
    return tuple(part for part in found if part is not None)


def _of(figures: Sequence[Plotted], kind: str) -> tuple[Plotted, ...]:
    return tuple(figure for figure in figures if figure.name.startswith(kind) and figure.png is not None)


# --------------------------------------------------------------------------------------------------------- frontier


def _frontier(runs: pd.DataFrame, figures: tuple[Plotted, ...]) -> ReportPart | None:
    found = make_frontier(runs)
    if found.empty:
        return None
    marked = found[found["mark"] != ""]
    groups = sorted(marked.groupby("mark"), key=lambda item: (len(str(item[0])), str(item[0])))
    rows = tuple(_front_row(str(mark), group) for mark, group in groups)
    beaten = len(found[CONFIGURATION].drop_duplicates()) - len(rows)
    sentences = (
        f"Configurations that their own arm does not beat at some cost; {beaten} more were run and are beaten at every "
        "cost. In brackets the 95 % interval of the mean over runs; in percent how often a configuration is on the "
        "front of all arms together when its runs are drawn anew, where one run can only give 0 % or 100 %.",
        *_explain_star(bool(marked["contended"].any())),
    )
    headings = ("", "configuration", "runs", "test Dice", *(f"{cost.unit}, {cost.name}" for cost in COSTS))
    return ReportPart("Frontier", sentences, headings, rows, figures)


def _front_row(mark: str, group: pd.DataFrame) -> tuple[str, ...]:
    first = group.iloc[0]
    dice = _with_interval(Estimate(first["dice"], first["dice_low"], first["dice_high"]), "{:.3f}")
    cells = []
    for cost in COSTS:
        points = group[group["cost_name"] == cost.name]
        kinds = len(points) > 1
        cells.append("; ".join(_cost_cell(point, kinds) for _, point in points.iterrows()))
    return (mark, name_for_readers(dict(first)), f"{first['runs']}", dice, *cells)


def _cost_cell(point: "pd.Series[float]", kinds: bool) -> str:
    cost = _with_interval(Estimate(point["cost"], point["cost_low"], point["cost_high"]), "{:.3g}", whole=True)
    star = "*" if point["contended"] else ""
    return f"{cost}{star}, {point['share']:.0%}" + (f" ({point['kind']})" if kinds else "")


def _explain_star(contended: bool) -> tuple[str, ...]:
    star = "* Every run that this time is of shared the machine (contended), so that it is too long."
    return (star,) if contended else ()


def _with_interval(estimate: Estimate, form: str, whole: bool = False) -> str:
    value, low, high = (
        f"{number:.0f}" if whole and abs(number) >= 1000 else form.format(number)
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]" if estimate.has_interval else value


# ---------------------------------------------------------------------------------------------------------- budgets


def _budgets(runs: pd.DataFrame) -> ReportPart | None:
    if explain_too_few(runs):
        return None
    found = search_budgets(runs)
    rows = tuple(_budget_row(item) for item in found)
    sentences = (
        "Each rival's best configuration sets a budget, and the other's best one within it (up to "
        f"{TOLERANCE - 1:.0%} more) is sought; best by validation Dice, compared by test Dice over common seeds.",
        *_explain_star(any(any(item.contended) for item in found)),
    )
    headings = ("question", "budget", "answer", "it takes", "test Dice", "against", "difference in points")
    return ReportPart("Within the other's budget", sentences, headings, rows)


def _budget_row(item: Within) -> tuple[str, ...]:
    taker, giver = item.names
    kind = f" ({KINDS.get(item.kind, item.kind)})" if item.kind else ""
    question = f"the best {taker} within the {giver}'s {item.cost.name}{kind}"
    takes_star, budget_star = ("*" if contended else "" for contended in item.contended)
    budget = f"{_amount(item.budget, item.cost)}{budget_star} ({name_for_readers(dict(item.giver.iloc[0]))})"
    given = f"{item.giver['dice'].mean():.3f}"
    if item.taker.empty:
        return question, budget, f"none: the least is {_amount(item.least, item.cost)}", "", "", given, ""
    takes = _amount(item.taken, item.cost) + takes_star
    points = Estimate(*(100 * value for value in (item.difference.value, item.difference.low, item.difference.high)))
    difference = _with_interval(points, "{:+.1f}") if points.value == points.value else "no common seed"
    name = name_for_readers(dict(item.taker.iloc[0]))
    return question, budget, name, takes, f"{item.taker['dice'].mean():.3f}", given, difference


def _amount(value: float, cost: Cost) -> str:
    return f"{format_seconds(value)} {cost.unit}"


# ------------------------------------------------------------------------------------------------------- break-even


def _break_even(runs: pd.DataFrame, stages: pd.DataFrame, figures: tuple[Plotted, ...]) -> ReportPart | None:
    """Absent without its arms; with the reason in words where they are there and cannot be believed."""
    try:
        found = find_break_evens(runs, stages)
    except InputError as error:
        arms = set(find_sides(runs)) <= set(runs["pipeline"])
        return ReportPart("Break-even", (f"Not computed: {error}.",)) if arms else None
    rows = [_crossing_row(crossing.quantity.name, crossing.quantity.now(found.project), format_outcome(crossing))
            for crossing in found.crossings]  # fmt: skip
    sides = zip(found.names, (found.gnn, found.cnn), strict=True)
    rates = "; ".join(f"{label}: {_rates(part)}" for label, part in sides)
    sentences = (FORMULA, f"Measured on this machine, means over runs: {rates}.")
    return ReportPart("Break-even", sentences, ("what is varied", "here", "outcome"), tuple(rows), figures)


def _crossing_row(name: str, now: float, outcome: str) -> tuple[str, ...]:
    return name, "" if now != now else f"{now:.3g}", outcome


def _rates(rates: Rates) -> str:
    start, prepare, epoch, epochs, predict = (format_seconds(value) for value in rates.means())
    return (
        f"start {start} s, prepare {prepare} s/Mpx, epoch {epoch} s/Mpx, {epochs} epochs, predict {predict} s/Mpx "
        f"({len(rates)} run{'s'[: len(rates) > 1]})"
    )


# ------------------------------------------------------------------------------------------------- decomposition


def _decomposition(runs: pd.DataFrame, figures: tuple[Plotted, ...]) -> ReportPart | None:
    try:
        found = decompose(runs)
    except InputError:
        return None
    rows = tuple((step.name, format_points(step), str(step.seeds), step.meaning) for step in found.steps)
    levels = ", ".join(f"{name} {values.mean():.3f}" for name, values in found.levels.items())
    sentence = (
        f"Pooled macro Dice at {found.size:g} px per superpixel: {levels}; the ceiling of these superpixels is "
        f"{found.ceiling:.3f}. Brackets are 95 % intervals over seeds, where both levels have the same ones."
    )
    return ReportPart(
        "Where the accuracy goes", (sentence,), ("loss due to", "change", "seeds", "how it is seen"), rows, figures
    )


def _edges(runs: pd.DataFrame) -> ReportPart | None:
    found = tabulate_edge_ablation(runs)
    if found.empty:
        return None
    idle = [name_for_readers({"arm": arm, "superpixel_size": size}) for arm, size in list_idle_configurations(found)]
    few = f"fewer than {100 * IDLE_FLIPS:g} % of the validation pixels change class"
    sentences = [f"The edges of {name} do nothing: without them {few}." for name in idle]
    ranked = sorted(found.to_dict("records"), key=lambda row: (rank_arm(str(row["arm"])), row["superpixel_size"]))
    rows = tuple(
        (name_for_readers(row), f"{row['runs']}", _share(row, "message_share"), _share(row, "flip_share"))
        for row in ranked
    )
    headings = ("configuration", "runs", "message mass from other nodes", "pixels that change without edges")
    return ReportPart("What the edges do", tuple(sentences), headings, rows)


def _share(row: dict[object, object], name: str) -> str:
    value, low, high = (float(str(row[column])) for column in (name, f"{name}_low", f"{name}_high"))
    if value != value:
        return ""
    return f"{value:.2%}" + (f" [{low:.2%}, {high:.2%}]" if high > low else "")
