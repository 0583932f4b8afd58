"""A graph network in the shape of a U-Net: nodes are pooled into ever larger cells of space, and told the outcome."""

import torch
from torch import Tensor, nn

from models.gnn import CONVS, Block, Standardized, encoder_of, head_of
from models.lattice import number_cubes

LEVELS = 3  # the nodes themselves and two coarser ones
GROWTH = 3  # a cell's side over that of the level below; the nodes' own is the median length of an edge


def mean_of_cells(values: Tensor, cell: Tensor, count: int) -> Tensor:
    """Mean of the rows (N, H) of each cell, (count, H)."""
    sizes = torch.bincount(cell, minlength=count).clamp_min(1).to(values.dtype)
    return values.new_zeros(count, values.shape[1]).index_add(0, cell, values) / sizes[:, None]


def edges_of_cells(edge_index: Tensor, cell: Tensor, count: int) -> Tensor:
    """Each pair of different cells that an edge joins, once: (2, E')."""
    source, target = cell[edge_index]
    keys = torch.unique(target[source != target] * count + source[source != target])
    return torch.stack([keys % count, keys // count])


class HierarchicalGnn(Standardized):
    """Blocks of SAGE convolutions on the nodes, on cells of nodes and on cells of those, then back with skips.

    The lattice of the cells is shifted at random in training, so that nothing depends on where it lies.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        num_classes: int,
        edge_dim: int,
        dropout: float = 0.1,
        norm: str = "layer",
    ) -> None:
        """`num_layers` blocks: as many before as after the coarser levels, the rest at the coarsest."""
        super().__init__(in_channels, edge_dim)
        levels = min(LEVELS, max(num_layers // 2, 1))
        each = max(num_layers // (2 * levels), 1)
        rest = max(num_layers - 2 * levels * each, 0)

        def stack(count: int) -> nn.ModuleList:
            convs = (CONVS["sage"](hidden_channels, edge_dim) for _ in range(count))
            return nn.ModuleList(Block(conv, hidden_channels, dropout, norm) for conv in convs)

        self.encoder = encoder_of(in_channels, hidden_channels, dropout)
        self.down = nn.ModuleList(stack(each + (rest if level == levels - 1 else 0)) for level in range(levels))
        self.up = nn.ModuleList(stack(each) for _ in range(levels))
        self.told = nn.ModuleList(nn.Linear(hidden_channels, hidden_channels) for _ in range(levels - 1))
        self.head = head_of(hidden_channels, num_classes, norm)

    @property
    def hops(self) -> None:
        """How far a message travels depends on the cells: only the whole graph is sure to hold all of it."""
        return None

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor,
        edge_attr: Tensor,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """x (N, F), edges (2, E), centroids `pos` (N, axes) in pixels, `batch` (N,) -> logits (N, K)."""
        del edge_weight, edge_attr
        if pos is None:
            raise ValueError("a hierarchy needs the positions of the nodes")
        batch = torch.zeros(len(x), dtype=torch.long, device=x.device) if batch is None else batch
        length = (pos[edge_index[0]] - pos[edge_index[1]]).norm(dim=1)
        side = length[length > 0].median() if (length > 0).any() else pos.new_tensor(1.0)
        first = self.encoder(self.standardized("feature", x))
        return self.head(torch.cat([first, self._level(0, first, edge_index, pos, batch, side)], dim=1))  # type: ignore[no-any-return]

    def _level(self, level: int, x: Tensor, edges: Tensor, pos: Tensor, batch: Tensor, side: Tensor) -> Tensor:
        """States (N, H) of a level after those of the coarser ones have been heard."""
        x = _through(self.down[level], x, edges)
        if level + 1 < len(self.down):
            side = side * GROWTH
            shift = torch.rand(pos.shape[1], device=pos.device) * side if self.training else pos.new_zeros(pos.shape[1])
            cell = number_cubes(pos, side, shift, batch)
            count = int(cell.max()) + 1
            places = mean_of_cells(pos, cell, count)
            graphs = torch.zeros(count, dtype=batch.dtype, device=batch.device).index_copy(0, cell, batch)
            pooled = mean_of_cells(x, cell, count)
            coarse = self._level(level + 1, pooled, edges_of_cells(edges, cell, count), places, graphs, side)
            x = x + self.told[level](coarse)[cell]
        return _through(self.up[level], x, edges)


def _through(blocks: nn.Module, x: Tensor, edges: Tensor) -> Tensor:
    nothing = x.new_zeros(0)
    for block in blocks.children():
        x = block(x, edges, nothing, nothing)
    return x
