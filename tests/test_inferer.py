"""`python -m bench inferer` on a tiny image: its row, its settings, and what it says without MONAI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.cli import run_verb
from bench.config import InputError
from bench.perf import inferer
from bench.perf.inferer import InfererConfig
from bench.settings import read_settings

if TYPE_CHECKING:
    import pandas as pd


def test_both_sides_are_measured_and_their_masks_are_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        inferer, "_measure_isolated", lambda function, argument: function(argument)
    )  # fresh ones take seconds
    settings = ["size=96", "tile_size=64", "overlap=16", "batch_size=2", "repeats=2", "blend=gaussian", "threads=1"]
    assert run_verb("inferer", [*settings, "device=cpu", "precision=float32", f"results_dir={tmp_path}"]) == 0
    (row,) = pd.read_csv(tmp_path / "inferer.csv").to_dict("records")
    assert row["ratio_min"] <= row["throughput_ratio"] <= row["ratio_max"]
    assert row["throughput_ratio"] > 0.2
    assert 0 < row["peak_ratio"] < 1.2
    assert row["agreement"] > 0.9
    assert "times MONAI's" in capsys.readouterr().out


def test_settings_are_read_by_their_type_and_misspelt_ones_refused() -> None:
    assert read_settings(InfererConfig, ["size=512", "blend=discard"], "inferer").size == 512
    for wrong in ("sizes=512", "size=big", "blend=linear", "repeats=0", "size=64"):
        with pytest.raises(InputError, match=wrong.partition("=")[0]):
            read_settings(InfererConfig, [wrong], "inferer")


def test_without_monai_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inferer, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"MONAI, which is not installed: pip install"):
        run_verb("inferer", [])
