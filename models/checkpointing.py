"""Less memory in training for more work: activations are computed again where the gradient needs them (torch only)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(network: nn.Module, blocks: Sequence[nn.Module] | None = None) -> int:
    """From now on keep, of each block of `network` in training mode, the input alone; returns how many blocks.

    Outputs, gradients, running statistics and the names of the weights stay the same.

    Args:
        network: It is changed in place.
        blocks: Modules in it, none of them within another; None: modules of two or more layers below the parts of the
            network (encoder, decoder, head) and any chains in them: a residual block, a level of the decoder.

    Returns:
        The number of blocks.
    """
    if blocks is None:
        blocks = [block for part in network.children() for child in part.children() for block in _blocks(child)]
    for block in blocks:
        block.forward = _checkpoint(block, block.forward)
    return len(blocks)


def run_in_parts(network: nn.Module, batch: Tensor, parts: int) -> Tensor:
    """Return `network(batch)` computed in parts along the first axis, of which only one holds activations at any time.

    The gradient of any function of the result is that of the whole batch, to rounding; it takes one more forward pass.
    Layers that look at the batch, such as batch normalisation, see one part.

    Args:
        network: Maps (B, ...) to (B, ...).
        batch: (B, ...).
        parts: Number of parts.

    Returns:
        (B, ...).
    """
    if parts == 1 or not torch.is_grad_enabled():
        return network(batch)  # type: ignore[no-any-return]
    run = _checkpoint(network, network)
    return torch.cat([run(part) for part in batch.tensor_split(min(parts, len(batch)))])


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks at or below `module`, in order."""
    chained = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    if chained and any(_layers(child) > 1 for child in module.children()):
        for child in module.children():
            yield from _blocks(child)
    elif _layers(module) > 1:
        yield module


def _layers(module: nn.Module) -> int:
    """Modules with weights of their own, at or below `module`."""
    return sum(next(layer.parameters(recurse=False), None) is not None for layer in module.modules())


def _checkpoint(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*inputs, **named)
        return checkpoint(partial(forward, **named), *inputs, use_reentrant=False, context_fn=lambda: _contexts(module))

    return run


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass and of its repetition."""
    return nullcontext(), keep_statistics(module)


@contextmanager
def keep_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation works as in training, but what it sees is not counted twice in its running statistics."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
        layer.num_batches_tracked = None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(norms, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
