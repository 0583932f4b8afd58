"""Tiny networks for tests in which the network is not the point."""

import torch
from torch import Tensor, nn


class Line(nn.Module):
    """One weight w; the loss (w - batch)^2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def loss(self, target: float) -> Tensor:
        return (self.w - target) ** 2


class Pixelwise(nn.Module):
    """Two convolutions of one pixel, so that its class is its intensity's; `shapes` of the batches that it has seen."""

    def __init__(self, in_channels: int, num_classes: int, axes: int = 2) -> None:
        super().__init__()
        convolve = nn.Conv2d if axes == 2 else nn.Conv3d
        self.layers = nn.Sequential(convolve(in_channels, 8, 1), nn.ReLU(), convolve(8, num_classes, 1))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        logits: Tensor = self.layers(images)
        return logits


class Local(nn.Module):
    """A convolution of three pixels along each axis: its receptive field ends one pixel away."""

    def __init__(self, in_channels: int, num_classes: int, axes: int = 2) -> None:
        super().__init__()
        convolve = nn.Conv2d if axes == 2 else nn.Conv3d
        self.conv = convolve(in_channels, num_classes, 3, padding=1, padding_mode="reflect")

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)  # type: ignore[no-any-return]


class Curved(nn.Module):
    """Two layers with a normalisation of each image between them, and no statistics of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.layers(batch)
        return logits
