"""One table of columns: schemas, checks and `results/README.md` come from it, and it explains every column there is."""

import csv
import re
from pathlib import Path

import pytest

from bench.arms import ARMS
from bench.config import Config, SyntheticConfig, flatten
from bench.measure.machine import machine_facts
from bench.measure.meter import Meter
from bench.tables.columns import TABLES, find_column, is_text, list_required, read_columns, read_entries
from bench.tables.explain import README, explain_columns, fill

ROOT = Path(__file__).parents[1]
TEXT = README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Meter:
    with Meter(tmp_path_factory.mktemp("run"), "cpu") as meter, meter.stage("train", "train"):
        pass
    return meter


def names(table: str) -> set[str]:
    return {column.name for column in read_columns() if column.table == table}


def test_the_readme_says_what_the_table_of_columns_says() -> None:
    assert fill(TEXT) == TEXT, "write it again: python -m bench.tables.explain"
    marked = re.findall(r"<!-- columns of (\w+): ([^>]+?) -->", TEXT)
    assert sorted(marked) == sorted({(entry.table, entry.section) for entry in read_entries()})


def test_an_explanation_is_one_row_of_a_table() -> None:
    for entry in read_entries():
        assert entry.source
        assert entry.empty
        assert not re.search(r"[|\n]", entry.source + entry.empty + entry.unit + entry.known), entry.names
    table = explain_columns("history", "History").splitlines()
    assert table[0] == "| column | unit | how it is obtained | empty when |"
    assert len({line.count(" | ") for line in table}) == 1


def test_no_column_is_explained_twice() -> None:
    every = [(column.table, column.name) for column in read_columns()]
    assert len(every) == len(set(every))
    assert {table for table, _ in every} == set(TABLES)


def test_schemas_begin_with_the_key_and_older_ones_are_part_of_them() -> None:
    for table in TABLES:
        assert list_required(table)[0] == "run_id"
        assert set(list_required(table, "any code")) <= set(list_required(table))
    assert set(list_required("history")) - set(list_required("history", "any code")) == {"step", "budget"}


def test_the_meter_writes_the_columns_of_stages(meter: Meter) -> None:
    assert names("stages") == {"run_id", *meter.rows()[0]}


def test_what_is_measured_of_a_run_is_explained(meter: Meter) -> None:
    measured = {*meter.facts(), *(f"machine.{name}" for name in machine_facts())}
    assert {name for name in measured if find_column("runs", name) is None} == set()
    assert {name for name in names("runs") if name.startswith("machine.") and "*" not in name} <= measured


@pytest.mark.parametrize("arm", ARMS)
def test_every_setting_is_explained(arm: str) -> None:
    for name in flatten(Config(SyntheticConfig(), ARMS[arm].settings())):
        known = name.startswith(("experiment.", "results_dir", "rerun", "tracker"))
        assert known or find_column("runs", name), name


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("results/reference/*/tables/*.csv")), ids=lambda p: "/".join(p.parts[-3:])
)
def test_every_column_of_the_committed_tables_is_explained(path: Path) -> None:
    if path.stem not in TABLES:
        return
    with path.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    assert [name for name in columns if find_column(path.stem, name) is None] == []


def test_a_name_wins_over_a_pattern() -> None:
    found = find_column("runs", "dataset.content")
    assert found is not None
    assert (found.name, found.kind) == ("dataset.content", "text")
    assert is_text("runs", "machine.torch_version")
    assert not is_text("runs", "seed")
    assert find_column("runs", "nobody.knows") is None
