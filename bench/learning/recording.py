"""Optimiser steps on a GPU, recorded once and replayed: its kernels then do not wait for Python, one by one.

A step of either arm starts hundreds of kernels that run for a few microseconds each. Started one by one they take many
times as long as they run, and what is measured is the interpreter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bench.config import InputError

Batch = TypeVar("Batch")
WARM_UP = 3  # steps before one is recorded, in which libraries load and choose their kernels
_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


@dataclass(frozen=True)
class FixedInputs(Generic[Batch]):
    """A batch as tensors that have the same shapes and types in every step, and its loss from these.

    Attributes:
        make: The tensors of a batch, on the host; None of a batch that does not fit into the shapes.
        loss: The scalar loss of such tensors on the device, with the model in training mode, without a look at any
            value on the host.
    """

    make: Callable[[Batch], Sequence[Tensor] | None]
    loss: Callable[[Sequence[Tensor]], Tensor]


class StepRecorder(Generic[Batch]):
    """One optimiser step as a CUDA graph, whose inputs are replaced before each replay."""

    def __init__(
        self, fixed: FixedInputs[Batch], step_optimizer: Callable[[Callable[[], Tensor]], Tensor], device: torch.device
    ) -> None:
        """Take what is to be recorded, and leave the stream in which nothing can be.

        Args:
            fixed: The inputs of a step, and their loss.
            step_optimizer: Makes a step down the gradient of a loss, which it returns; it changes all in place.
            device: The GPU.
        """
        self.fixed, self.step_optimizer, self.device = fixed, step_optimizer, device
        self.inputs: list[Tensor] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss: Tensor | None = None
        self.seen = 0
        enter_stream(device)

    def run(self, batch: Batch) -> Tensor | None:
        """Make a step and return its loss; None, and no step, of a batch that does not fit into the shapes."""
        inputs = self.fixed.make(batch)
        if inputs is None:
            return None
        if not self.inputs:
            self.inputs = [value.to(self.device) for value in inputs]
        else:
            for own, value in zip(self.inputs, inputs, strict=True):
                own.copy_(value, non_blocking=True)
        if self.seen < WARM_UP:
            self.seen += 1
            return self._step()
        if self.graph is None or self.loss is None:
            self.graph, self.loss = self._record()
        self.graph.replay()
        return self.loss

    def _step(self) -> Tensor:
        return self.step_optimizer(lambda: self.fixed.loss(self.inputs))

    def _record(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Record a step, which is not made yet.

        Threads that prepare batches go on meanwhile, so that only calls of this one are watched. Memory is not handed
        back to the device before, as `torch.cuda.graph` does: the meter's proof of a peak needs an allocator that only
        grows.

        Raises:
            InputError: The step looks at a value on the host, say, which no recording can.
        """
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            loss = self._step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(
                f"a step of this network cannot be recorded: give training.replay=false ({error})"
            ) from error
        graph.capture_end()
        return graph, loss


def enter_stream(device: torch.device) -> None:
    """Have this thread go on in a stream of its own on a GPU, for good: the usual one cannot be recorded.

    It is one stream for all fits, and for what is predicted after them: cuBLAS keeps a workspace of 32 MiB for each
    stream that it meets.
    """
    usual, own = torch.cuda.current_stream(device), _STREAMS.get(device)
    if own is None:
        own = _STREAMS[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    if usual != own:
        own.wait_stream(usual)
        torch.cuda.set_stream(own)
