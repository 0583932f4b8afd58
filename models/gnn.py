"""Graph networks for node classification: an encoder, pre-norm residual blocks around one convolution, a head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg

from models.neighbours import Dropout, MeanSage

ROWS = 1 << 16  # of inputs that are added up before they are added to the others
COLUMNS = 32  # of such rows in double precision at a time: torch adds columns up in groups of 16 or 32


class Message(nn.Module):
    """A convolution from (N, H) to (N, H), given what it takes of a graph: nodes | edges | weights | attributes."""

    def __init__(self, takes: str, conv: nn.Module) -> None:
        super().__init__()
        self.takes = takes
        self.conv = conv

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        """Convolve the features of nodes, with as much of the graph as the convolution `takes`.

        Args:
            x: Features (N, H).
            edge_index: Edges (2, E) from source to target.
            edge_weight: Their weights (E,).
            edge_attr: Their attributes (E, D), standardised.

        Returns:
            Features (N, H).
        """
        if self.takes == "nodes":
            return self.conv(x)  # type: ignore[no-any-return]
        if self.takes == "weights":
            return self.conv(x, edge_index, edge_weight)  # type: ignore[no-any-return]
        if self.takes == "attributes":
            return self.conv(x, edge_index, edge_attr=edge_attr)  # type: ignore[no-any-return]
        return self.conv(x, edge_index)  # type: ignore[no-any-return]


def _heads(channels: int) -> int:
    return next(heads for heads in (4, 2, 1) if channels % heads == 0)


def _gatv2(channels: int, edge_dim: int) -> Message:
    heads = _heads(channels)
    return Message("attributes", pyg.GATv2Conv(channels, channels // heads, heads, edge_dim=edge_dim, residual=True))


def _transformer(channels: int, edge_dim: int) -> Message:
    heads = _heads(channels)
    return Message("attributes", pyg.TransformerConv(channels, channels // heads, heads, edge_dim=edge_dim, beta=True))


CONVS: dict[str, Callable[[int, int], Message]] = {  # (channels, edge_dim) -> Message
    "gcn": lambda channels, _: Message("weights", pyg.GCNConv(channels, channels)),
    "sage": lambda channels, _: Message("edges", MeanSage(channels, channels)),
    "gatv2": _gatv2,
    "transformer": _transformer,
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
        self.update = nn.Sequential(nn.GELU(), nn.Linear(channels, channels), Dropout(dropout))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        """Add an update from the neighbours to the features of nodes.

        Args:
            x: Features (N, H).
            edge_index: Edges (2, E) from source to target.
            edge_weight: Their weights (E,).
            edge_attr: Their attributes (E, D), standardised.

        Returns:
            Features (N, H).
        """
        message = self.conv(self.norm(x), edge_index, edge_weight, edge_attr)  # (N, H)
        return x + self.update(message)  # type: ignore[no-any-return]


def measure_moments(
    parts: Sequence[Tensor], rows: int = ROWS, done: Callable[[], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Measure mean and deviation of each column, (F,) each, in double precision.

    Args:
        parts: Rows (M, F) each.
        rows: So many at a time: the training graphs are the largest thing in memory, and need no copies.
        done: Called after so many rows, whose memory may then be handed back; None calls nothing.

    Returns:
        Mean and deviation over the rows of all parts.
    """
    blocks = [block for part in parts for block in torch.split(part, rows)]  # views
    count = sum(len(block) for block in blocks)

    def add_up(measure: Callable[[Tensor, slice], Tensor]) -> Tensor:
        width, found = parts[0].shape[1], []
        for block in blocks:
            columns = [slice(start, min(start + COLUMNS, width)) for start in range(0, width, COLUMNS)]
            found.append(torch.cat([measure(block[:, some].to(torch.float64, copy=True), some) for some in columns]))
            if done is not None:
                done()
        return torch.stack(found).sum(dim=0)

    mean = add_up(lambda block, _: block.sum(dim=0)) / count
    squares = add_up(lambda block, some: block.sub_(mean[some]).square_().sum(dim=0))
    return mean, (squares / count).sqrt()


class Standardized(nn.Module):
    """A network that standardises its inputs by buffers, which travel with the weights."""

    def __init__(self, in_channels: int, edge_dim: int) -> None:
        super().__init__()
        for name, size in (("feature", in_channels), ("edge", edge_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def standardize(
        self, x: Sequence[Tensor], edge_attr: Sequence[Tensor], done: Callable[[], None] | None = None
    ) -> None:
        """Take the mean and standard deviation of training inputs; a constant column becomes zero.

        Args:
            x: Features (M, F) of each graph.
            edge_attr: Attributes (E, D) of the edges of each graph.
            done: Called after some rows, which are not needed in memory any more; None calls nothing.
        """
        for name, parts in (("feature", x), ("edge", edge_attr)):
            if sum(len(part) for part in parts):
                mean, scale = measure_moments(parts, done=done)
                self.get_buffer(f"{name}_mean").copy_(mean)
                self.get_buffer(f"{name}_scale").copy_(torch.where(scale > 1e-6, scale, 1))

    def standardize_rows(self, name: str, rows: Tensor) -> Tensor:
        """Return rows of `feature` (N, F) or `edge` (E, D) as z-scores, by the moments of the training inputs."""
        return (rows - self.get_buffer(f"{name}_mean")).div_(self.get_buffer(f"{name}_scale"))


class Gnn(Standardized):
    """Features (N, F) and edges to logits (N, K): an encoder, blocks, a head on the first and the last state."""

    def __init__(
        self, encoder: nn.Module, blocks: nn.ModuleList, head: nn.Module, in_channels: int, edge_dim: int
    ) -> None:
        super().__init__(in_channels, edge_dim)
        self.encoder = encoder
        self.blocks = blocks
        self.head = head
        self.takes = {part.takes for part in blocks.modules() if isinstance(part, Message)}

    @property
    def hops(self) -> int:
        """Steps along the edges beyond which nothing changes a node's logits.

        One for each block, and one more for the degrees by which convolutions divide that take weights; none where
        nodes are all that is taken.
        """
        return 0 if self.takes == {"nodes"} else len(self.blocks) + ("weights" in self.takes)

    @property
    def edge_columns(self) -> tuple[str, ...]:
        """The columns of edges that the network reads, beside their ends."""
        columns = {"weights": "edge_weight", "attributes": "edge_attr"}
        return tuple(column for takes, column in columns.items() if takes in self.takes)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        """Compute logits (N, K).

        Args:
            x: Features (N, F), as they come.
            edge_index: Edges (2, E) from source to target.
            edge_weight: Their weights (E,).
            edge_attr: Their attributes (E, D), as they come.
        """
        if "attributes" in self.takes:
            edge_attr = self.standardize_rows("edge", edge_attr)
        first = x = self.encoder(self.standardize_rows("feature", x))  # (N, H)
        for block in self.blocks:
            x = block(x, edge_index, edge_weight, edge_attr)
        return self.head(torch.cat([first, x], dim=1))  # type: ignore[no-any-return]


def build_encoder(in_channels: int, width: int, dropout: float) -> nn.Sequential:
    """Build what turns features into states.

    Args:
        in_channels: Features of a node.
        width: H, length of a state.
        dropout: Share of the states that is dropped in training, in [0, 1).

    Returns:
        (N, in_channels) to (N, H).
    """
    return nn.Sequential(nn.Linear(in_channels, width), nn.GELU(), Dropout(dropout), nn.Linear(width, width))


def build_head(width: int, num_classes: int, norm: str) -> nn.Sequential:
    """Build what turns the first and the last states, side by side, into logits.

    Args:
        width: H, length of a state.
        num_classes: K.
        norm: layer | batch | none.

    Returns:
        (N, 2 H) to (N, K).
    """
    return nn.Sequential(_norm(norm, 2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, num_classes))


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
    """Build a network of residual blocks of one convolution.

    Args:
        conv: Key of `CONVS`.
        in_channels: Features of a node.
        hidden_channels: Length of a state.
        num_layers: Number of blocks.
        num_classes: K.
        edge_dim: Attributes of an edge.
        dropout: Share of the states that is dropped in training, in [0, 1).
        norm: layer | batch | none.

    Returns:
        The network, from a graph of N nodes to logits (N, K).

    Raises:
        ValueError: There is no such convolution or norm.
    """
    if conv not in CONVS:
        raise ValueError(f"conv must be one of {', '.join(CONVS)}, got {conv!r}")
    if norm not in ("layer", "batch", "none"):
        raise ValueError(f"norm must be layer, batch or none, got {norm!r}")
    width = hidden_channels
    blocks = nn.ModuleList(Block(CONVS[conv](width, edge_dim), width, dropout, norm) for _ in range(num_layers))
    encoder, head = build_encoder(in_channels, width, dropout), build_head(width, num_classes, norm)
    return Gnn(encoder, blocks, head, in_channels, edge_dim)
