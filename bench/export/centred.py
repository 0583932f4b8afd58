"""A network that scales grey values itself, as `dataset.normalization=centred` does: bioimage.io has no such step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Centred(nn.Module):
    """A network behind the subtraction of each image's own mean and the division by the spread of training images.

    It must see whole images: the mean of a tile is another one.
    """

    std: Tensor

    def __init__(self, network: nn.Module, std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return what the network makes of grey values (B, C, H, W) as they are in a file."""
        logits: Tensor = self.network((image - image.mean(dim=(2, 3), keepdim=True)) / self.std)
        return logits
