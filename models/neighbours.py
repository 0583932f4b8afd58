"""Faster forms of what a graph network computes most often: means over neighbours, and on a CPU dropout.

Sums over bags are added up in a fixed order, so that a seed gives the same weights again on a GPU too, where the layers
of torch_geometric add up in any order. No message of an edge is kept for the gradient.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as pyg

DRAWS = 4  # numbers of 16 bits that come with one of 64, which takes as long as a small one


@dataclass(frozen=True)
class Bags:
    """Rows to add up for each node: `members[starts[n] : starts[n + 1]]` for node n; (E,) and (N + 1,)."""

    members: Tensor
    starts: Tensor

    def sums(self, x: Tensor) -> Tensor:
        """Return the sum of the rows of x (M, H) in each bag, (N, H); 0 for an empty one."""
        return F.embedding_bag(self.members, x, self.starts, mode="sum", include_last_offset=True)

    def means(self, x: Tensor) -> Tensor:
        """Return the mean of the rows of x (M, H) in each bag, (N, H), in one pass that has no gradient."""
        return F.embedding_bag(self.members, x, self.starts, mode="mean", include_last_offset=True)


def bags(nodes: Tensor, members: Tensor, count: int) -> Bags:
    """Put nodes into bags.

    Args:
        nodes: (E,) the bag of each member.
        members: (E,) the members.
        count: Number of bags.

    Returns:
        The bags, each with its members in their order.
    """
    if bool((nodes[1:] < nodes[:-1]).any()):
        order = torch.argsort(nodes, stable=True)
        members = members[order]
    return Bags(members, F.pad(torch.bincount(nodes, minlength=count).cumsum(0), (1, 0)))


@dataclass(frozen=True)
class Neighbours:
    """The edges of a graph as bags: those that end in each node, and (for gradients) those that begin there."""

    into: Bags
    out_of: Bags | None
    inverse_degree: Tensor  # (N, 1); 1 for a node without neighbours

    def to_tensors(self) -> list[Tensor]:
        """Return what `from_tensors` makes the same of, for bags with those of the gradient."""
        assert self.out_of is not None
        return [self.into.members, self.into.starts, self.out_of.members, self.out_of.starts, self.inverse_degree]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> "Neighbours":
        """Return bags of tensors that `to_tensors` returned, which may have moved to another device."""
        members, starts, sources, ends, inverse_degree = tensors
        return cls(Bags(members, starts), Bags(sources, ends), inverse_degree)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of the rows of x (N, H) over each node's neighbours, 0 where there are none."""
        if not torch.is_grad_enabled():
            return self.into.means(x)
        sums: Tensor = _Sum.apply(x, self.into, self.out_of)
        return sums * self.inverse_degree


class _Sum(torch.autograd.Function):
    """Sums over bags whose gradient is one as well; torch's own adds the rows one by one."""

    @staticmethod
    def forward(ctx, x, into, out_of):  # type: ignore[no-untyped-def]
        """Compute the sum of the rows in each bag.

        Args:
            ctx: Context of torch, which keeps `out_of` for the gradient.
            x: Rows (M, H).
            into: N bags of rows.
            out_of: The same edges in M bags, by the rows that they begin in; None where no gradient is needed.

        Returns:
            Sums (N, H).
        """
        ctx.out_of = out_of
        return into.sums(x)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        """Return the gradient (M, H) of the rows, given that of the sums, (N, H); the bags have none."""
        return ctx.out_of.sums(gradient.contiguous()), None, None


class _Last(threading.local):
    """The edges asked for last, in this thread: the blocks of a network ask one after another for the same."""

    edges: "ReferenceType[Tensor] | None" = None
    count = 0
    found: Neighbours | None = None


_LAST = _Last()


def group_neighbours(edge_index: Tensor, count: int) -> Neighbours:
    """Return the edges (2, E), from source to target, of `count` nodes as bags.

    The result for the latest tensor is kept, in each thread, so the tensor must not be changed in place.
    """
    last = _LAST
    known = last.edges is not None and last.edges() is edge_index and last.count == count
    if known and last.found is not None and (last.found.out_of is not None or not torch.is_grad_enabled()):
        return last.found
    found = find_neighbours(edge_index, count, torch.is_grad_enabled())
    remember_neighbours(edge_index, count, found)
    return found


def find_neighbours(edge_index: Tensor, count: int, gradient: bool) -> Neighbours:
    """Find the edges of each node.

    Args:
        edge_index: (2, E), from source to target.
        count: Number of nodes.
        gradient: Whether the gradient of a mean will be needed.

    Returns:
        The edges as bags.
    """
    source, target = edge_index[0], edge_index[1]
    into = bags(target, source, count)
    out_of = bags(source, target, count) if gradient else None
    degree = (into.starts[1:] - into.starts[:-1]).clamp_min(1)[:, None]
    return Neighbours(into, out_of, 1 / degree.float())


def remember_neighbours(edge_index: Tensor, count: int, found: Neighbours) -> None:
    """Have `group_neighbours` return, in this thread and for this very tensor, what was found elsewhere.

    Args:
        edge_index: (2, E), from source to target.
        count: Number of nodes.
        found: The edges as bags.
    """
    last = _LAST
    last.edges, last.count, last.found = ref(edge_index), count, found


class MeanSage(pyg.SAGEConv):
    """GraphSAGE with the mean of the neighbours (Hamilton et al., 2017): torch_geometric's, its means taken faster."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Convolve features x (N, H) of nodes along edges (2, E) from source to target, to (N, H)."""
        mean = group_neighbours(edge_index, len(x)).mean(x)
        return self.lin_l(mean) + self.lin_r(x)  # type: ignore[no-any-return]


class Dropout(nn.Dropout):
    """torch's dropout, of which drawing one random number per value is the larger part on a CPU.

    Four are drawn at once here, and `p` holds to one part in 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x, of any shape, with a random share `p` of its values 0 and the others times 1 / (1 - p)."""
        if x.device.type != "cpu" or not self.training or self.p == 0:
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // DRAWS), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        dropped = round(self.p * 65536)
        kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
        return x * (kept.to(x.dtype) * (65536 / (65536 - dropped)))
