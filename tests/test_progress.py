"""Progress is a line per tenth where nobody watches a terminal."""

import pytest

from bench.progress import Progress


def test_a_line_per_tenth_with_its_note_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("work") as bar:
        for step in range(1, 101):
            bar.show(step / 100, "epoch 2" if step == 100 else "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{share}%" for share in range(10, 101, 10)]
    assert all(line.endswith(" left") for line in lines)
    assert " epoch 2, 00:00 left" in lines[-1]
