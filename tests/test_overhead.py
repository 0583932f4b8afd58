"""What `python -m bench overhead` says of a run."""

import pytest

from bench.cli import run_verb
from bench.config import InputError
from bench.perf.overhead import PARTS, describe_costs


def test_the_parts_add_up_to_the_time_outside_the_stages() -> None:
    row = {"pipeline": "tiled_cnn", "process_seconds": 20.0, "stages_seconds": 15.0}
    row |= dict(zip(PARTS, (0.25, 0.75, 1.0, 2.5), strict=True))
    head, *parts = describe_costs(row)
    assert "outside 5.0 s, 25.0% of the run" in head
    assert sum(float(line.split()[0]) for line in parts) == pytest.approx(5.0)


@pytest.mark.parametrize("override", ["steps=0", "steps=many", "epochs=3", "seconds"])
def test_a_setting_that_does_not_exist_is_named(override: str) -> None:
    with pytest.raises(InputError, match=override.partition("=")[0]):
        run_verb("overhead", [override])
