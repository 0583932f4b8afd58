"""The network of Jain et al., Microscopy 2024 (doi 10.1093/jmicro/dfad049), to be replayed with its own weights."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GraphConv

HIDDEN = 32


class Jain2024(nn.Module):
    """Three graph convolutions that add up their neighbours by weight, after two of them leaky ReLU and dropout.

    Certain, from the published code (github.com/rsinghlab/gnn_microscopy_segment): the layers `conv_first`, `conv1`
    and `conv_last`, each a `GraphConv` of torch_geometric (`lin_rel` with a bias for the weighted sum of the
    neighbours, `lin_root` without for the node itself); 32 hidden channels; slope 0.01; dropout 0.5 in the script,
    which gives no other value; raw features, not standardised. Not certain: whether the published scores were taken
    with exactly that script; it trains on superpixels smoothed with sigma 1 and tests on unsmoothed ones.
    """

    def __init__(self, in_channels: int, num_classes: int, hidden_channels: int = HIDDEN, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv_first = GraphConv(in_channels, hidden_channels)
        self.conv1 = GraphConv(hidden_channels, hidden_channels)
        self.conv_last = GraphConv(hidden_channels, num_classes)
        self.dropout = dropout

    @property
    def hops(self) -> int:
        """Steps along the edges that a message can take."""
        return 3

    @property
    def edge_columns(self) -> tuple[str, ...]:
        """The columns of edges that the network reads, beside their ends."""
        return ("edge_weight",)

    def standardize(
        self, x: Sequence[Tensor], edge_attr: Sequence[Tensor], done: Callable[[], None] | None = None
    ) -> None:
        """Do nothing, since this network takes the features as they are.

        Args:
            x: Features (M, F) of each graph, not read.
            edge_attr: Attributes (E, D) of the edges of each graph, not read.
            done: Not called.
        """

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        """Compute logits (N, K).

        Args:
            x: Features (N, F), as they come.
            edge_index: Edges (2, E) from source to target.
            edge_weight: Their weights (E,).
            edge_attr: Not used.
        """
        del edge_attr
        for conv in (self.conv_first, self.conv1):
            x = F.dropout(F.leaky_relu(conv(x, edge_index, edge_weight)), self.dropout, self.training)
        return self.conv_last(x, edge_index, edge_weight)  # type: ignore[no-any-return]


def replay(weights: Mapping[str, Tensor], in_channels: int, num_classes: int) -> Jain2024:
    """Build the network with published weights.

    Args:
        weights: A `state_dict`.
        in_channels: Features of a node.
        num_classes: K.

    Returns:
        The network.

    Raises:
        ValueError: Names what is missing, unknown, or of another shape.
    """
    model = Jain2024(in_channels, num_classes)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        raise ValueError(
            f"these are not the weights of the published network: missing {', '.join(missing) or 'nothing'}, "
            f"unknown {', '.join(unknown) or 'nothing'}"
        )
    wrong = [f"{name} is {found[name]}, not {shape}" for name, shape in expected.items() if found[name] != shape]
    if wrong:
        raise ValueError(f"the weights do not fit {in_channels} features and {num_classes} classes: {'; '.join(wrong)}")
    model.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return model.eval()
