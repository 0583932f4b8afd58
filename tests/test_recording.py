"""The recorder of steps without a GPU: what warms up, what is recorded once, and that inputs change in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.config import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from bench.learning import recording
    from bench.learning.recording import WARM_UP, FixedInputs, StepRecorder


class FakeGraph:
    """Counts what a CUDA graph is asked to do; a recording runs its step, which a CPU cannot put off."""

    log: list[str]

    def capture_begin(self, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.log.append("begin")

    def capture_end(self) -> None:
        self.log.append("end")

    def replay(self) -> None:
        self.log.append("replay")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    events: list[str] = []
    monkeypatch.setattr(FakeGraph, "log", events, raising=False)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(recording, "enter_stream", lambda _: None)
    return events


def make_recorder(log: list[str], loss: Callable[[Sequence[Tensor]], Tensor]) -> StepRecorder[float]:
    """Batches are numbers, of which those below 0 do not fit."""

    def step_optimizer(find_loss: Callable[[], Tensor]) -> Tensor:
        log.append("step")
        return find_loss()

    fixed = FixedInputs[float](lambda batch: None if batch < 0 else [torch.full((2,), batch)], loss)
    return StepRecorder(fixed, step_optimizer, torch.device("cpu"))


def test_a_step_is_recorded_once_after_the_warm_up_and_reads_the_same_tensors(log: list[str]) -> None:
    read: list[tuple[int, float]] = []

    def loss(inputs: Sequence[Tensor]) -> Tensor:
        read.append((inputs[0].data_ptr(), float(inputs[0][1])))
        return inputs[0].sum()

    recorder = make_recorder(log, loss)
    losses = [recorder.run(float(number)) for number in range(WARM_UP + 3)]
    assert log == ["step"] * WARM_UP + ["begin", "step", "end"] + ["replay"] * 3
    assert [number for _, number in read] == list(range(WARM_UP + 1))
    assert len({place for place, _ in read}) == 1
    assert recorder.inputs[0].tolist() == [WARM_UP + 2] * 2, "each replay finds the inputs of its batch"
    assert losses[-1] is losses[-2] is recorder.loss


def test_a_batch_that_does_not_fit_is_left_to_others(log: list[str]) -> None:
    recorder = make_recorder(log, lambda inputs: inputs[0].sum())
    assert recorder.run(-1.0) is None
    assert (log, recorder.inputs) == ([], [])


def test_a_step_that_cannot_be_recorded_names_the_setting(log: list[str]) -> None:
    def loss(inputs: Sequence[Tensor]) -> Tensor:
        if "begin" in log:
            raise RuntimeError("operation not permitted when stream is capturing")
        return inputs[0].sum()

    recorder = make_recorder(log, loss)
    for number in range(WARM_UP):
        recorder.run(float(number))
    with pytest.raises(InputError, match=r"cannot be recorded: give training\.replay=false \(operation not permitted"):
        recorder.run(0.0)
