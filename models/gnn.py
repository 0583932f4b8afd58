"""Graph networks for node classification: an encoder, pre-norm residual blocks around one convolution, a head."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg


class Message(nn.Module):
    """A convolution from (N, H) to (N, H), given what it takes of a graph: nodes | edges | weights | attributes."""

    def __init__(self, takes: str, conv: nn.Module) -> None:
        super().__init__()
        self.takes = takes
        self.conv = conv

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        if self.takes == "nodes":
            return self.conv(x)  # type: ignore[no-any-return]
        if self.takes == "weights":
            return self.conv(x, edge_index, edge_weight)  # type: ignore[no-any-return]
        if self.takes == "attributes":
            return self.conv(x, edge_index, edge_attr=edge_attr)  # type: ignore[no-any-return]
        return self.conv(x, edge_index)  # type: ignore[no-any-return]


def _mlp(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))


def _heads(channels: int) -> int:
    return next(heads for heads in (4, 2, 1) if channels % heads == 0)


def _gatv2(channels: int, edge_dim: int) -> Message:
    heads = _heads(channels)
    return Message("attributes", pyg.GATv2Conv(channels, channels // heads, heads, edge_dim=edge_dim, residual=True))


def _transformer(channels: int, edge_dim: int) -> Message:
    heads = _heads(channels)
    return Message("attributes", pyg.TransformerConv(channels, channels // heads, heads, edge_dim=edge_dim, beta=True))


def _gine(channels: int, edge_dim: int) -> Message:
    return Message("attributes", pyg.GINEConv(_mlp(channels), train_eps=True, edge_dim=edge_dim))


CONVS: dict[str, Callable[[int, int], Message]] = {  # (channels, edge_dim) -> Message
    "gcn": lambda channels, _: Message("weights", pyg.GCNConv(channels, channels)),
    "sage": lambda channels, _: Message("edges", pyg.SAGEConv(channels, channels)),
    "graphconv": lambda channels, _: Message("weights", pyg.GraphConv(channels, channels, aggr="mean")),
    "gin": lambda channels, _: Message("edges", pyg.GINConv(_mlp(channels), train_eps=True)),
    "gine": _gine,
    "gatv2": _gatv2,
    "transformer": _transformer,
    "resgated": lambda channels, dim: Message("attributes", pyg.ResGatedGraphConv(channels, channels, edge_dim=dim)),
    "none": lambda channels, _: Message("nodes", nn.Linear(channels, channels)),
}


def _norm(name: str, channels: int) -> nn.Module:
    """Per node over its channels, per channel over the nodes of a batch, or nothing."""
    norms: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": nn.Identity}
    return norms[name](channels)


class Block(nn.Module):
    """x + dropout(W act(conv(norm(x)))): the residual keeps deep stacks from smoothing every node alike."""

    def __init__(self, conv: nn.Module, channels: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = _norm(norm, channels)
        self.conv = conv
        self.update = nn.Sequential(nn.GELU(), nn.Linear(channels, channels), nn.Dropout(dropout))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        message = self.conv(self.norm(x), edge_index, edge_weight, edge_attr)  # (N, H)
        return x + self.update(message)  # type: ignore[no-any-return]


class Gnn(nn.Module):
    """Features (N, F) and edges to logits (N, K). Standardises its inputs by buffers that travel with the weights."""

    def __init__(
        self, encoder: nn.Module, blocks: nn.ModuleList, head: nn.Module, in_channels: int, edge_dim: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.blocks = blocks
        self.head = head
        for name, size in (("feature", in_channels), ("edge", edge_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def standardize(self, x: Tensor, edge_attr: Tensor) -> None:
        """Take the mean and standard deviation of training inputs (M, F) and (E, D); a constant column becomes zero."""
        for name, rows in (("feature", x), ("edge", edge_attr)):
            if len(rows):
                scale = rows.double().std(dim=0, correction=0)
                self.get_buffer(f"{name}_mean").copy_(rows.double().mean(dim=0))
                self.get_buffer(f"{name}_scale").copy_(torch.where(scale > 1e-6, scale, 1))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        """x (N, F), edges (2, E) from source to target, their weights (E,), attributes (E, D) -> logits (N, K)."""
        edge_attr = (edge_attr - self.get_buffer("edge_mean")) / self.get_buffer("edge_scale")
        x = self.encoder((x - self.get_buffer("feature_mean")) / self.get_buffer("feature_scale"))  # (N, H)
        states = [x]
        for block in self.blocks:
            x = block(x, edge_index, edge_weight, edge_attr)
            states.append(x)
        return self.head(torch.cat([states[0], states[-1]], dim=1))  # type: ignore[no-any-return]


def build_gnn(
    conv: str,
    in_channels: int,
    hidden_channels: int,
    num_layers: int,
    num_classes: int,
    edge_dim: int,
    dropout: float = 0.1,
    norm: str = "layer",
) -> Gnn:
    """A network of `num_layers` residual blocks of the convolution `conv`, a key of `CONVS`.

    Raises ValueError for a convolution or norm (layer | batch | none) that does not exist.
    """
    if conv not in CONVS:
        raise ValueError(f"conv must be one of {', '.join(CONVS)}, got {conv!r}")
    if norm not in ("layer", "batch", "none"):
        raise ValueError(f"norm must be layer, batch or none, got {norm!r}")
    width = hidden_channels
    encoder = nn.Sequential(nn.Linear(in_channels, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))
    blocks = nn.ModuleList(Block(CONVS[conv](width, edge_dim), width, dropout, norm) for _ in range(num_layers))
    head = nn.Sequential(_norm(norm, 2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, num_classes))
    return Gnn(encoder, blocks, head, in_channels, edge_dim)
