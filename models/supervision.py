"""Deep supervision: class scores at several levels of a decoder, which training compares with the truth as well."""

from collections.abc import Sequence

from torch import Tensor, nn

LEVELS = 3  # coarser ones beside the last: at a half, a quarter and an eighth of the sides


class DeepSupervision(nn.Module):
    """A U-Net with a head of its own for each of the `LEVELS` levels of its decoder before the last one.

    Lee et al., "Deeply-supervised nets", AISTATS 2015; as nnU-Net has it. The network stays as it is: its weights have
    the same names, and without this module it predicts as ever. `remove` takes away what listens in it.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        """Raises `ValueError` for a network whose decoder is no chain of levels."""
        import segmentation_models_pytorch as smp  # networks over three axes do without it

        super().__init__()
        if not isinstance(network, smp.Unet):
            raise ValueError(f"deep supervision needs the architecture Unet, got {type(network).__name__}")
        self.network = network
        levels = list(network.decoder.blocks)[-1 - LEVELS : -1][::-1]  # finest first
        self.heads = nn.ModuleList(nn.Conv2d(_count_outputs(level), num_classes, 1) for level in levels)
        self._features: list[Tensor] = []
        self._handles = [level.register_forward_hook(self._keep) for level in levels]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return logits (B, K, H, W) of images (B, C, H, W); in training also those of a half, a quarter, an eighth."""
        logits = self.network(images)
        if not self.training:
            return [logits]
        features, self._features = self._features[::-1], []  # they came from the coarsest level to the finest
        return [logits, *(head(one) for head, one in zip(self.heads, features, strict=True))]

    def remove(self) -> None:
        """Let the network go: nothing listens in it any more."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        if self.training:
            self._features.append(output)


def weigh_levels(losses: Sequence[Tensor]) -> Tensor:
    """Return the weighted mean of the losses of levels, finest first, each of which counts half the one before."""
    if len(losses) == 1:
        return losses[0]
    weights = [0.5**level for level in range(len(losses))]
    total = losses[0] * weights[0]
    for weight, loss in zip(weights[1:], losses[1:], strict=True):
        total = total + weight * loss
    return total / sum(weights)


def _count_outputs(block: nn.Module) -> int:
    """Channels that a block of a decoder returns: those of its last convolution."""
    return [layer.out_channels for layer in block.modules() if isinstance(layer, nn.Conv2d)][-1]
