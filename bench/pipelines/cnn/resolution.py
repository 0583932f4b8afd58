"""A network at lower resolution: images averaged down, class scores interpolated up to the image's own pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F


def reduce_images(images: Tensor, scale: int) -> Tensor:
    """Average blocks of `scale` x `scale` pixels of images (B, C, *lead, H, W), H and W being multiples of `scale`."""
    if scale == 1:
        return images
    return F.avg_pool2d(images, scale) if images.dim() == 4 else F.avg_pool3d(images, (1, scale, scale))


def restore_scores(scores: Tensor, scale: int) -> Tensor:
    """Interpolate class scores (K, *lead, h, w) bilinearly to (K, *lead, h * scale, w * scale), in float32."""
    if scale == 1:
        return scores
    planes = scores.reshape(1, -1, *scores.shape[-2:]).float()
    restored = F.interpolate(planes, scale_factor=scale, mode="bilinear", align_corners=False)
    return restored.reshape(*scores.shape[:-2], *restored.shape[-2:])


def count_blocks(labels: Tensor, num_classes: int, scale: int) -> Tensor:
    """Count the pixels of each class in blocks of `scale` x `scale` pixels.

    Args:
        labels: Classes (B, *lead, H, W), H and W multiples of `scale`; numbers outside [0, num_classes) count for
            nothing.
        num_classes: K.
        scale: Side of a block in pixels.

    Returns:
        Counts (B, *lead, H / scale, W / scale, K), float32.
    """
    height, width = labels.shape[-2:]
    blocks = labels.reshape(*labels.shape[:-2], height // scale, scale, width // scale, scale)
    return torch.stack([(blocks == index).sum(dim=(-3, -1)) for index in range(num_classes)], dim=-1).float()


def merge_blocks(counts: Tensor, factor: int) -> Tensor:
    """Add the counts (B, *lead, H, W, K) of `factor` x `factor` blocks, H and W multiples of it."""
    height, width, classes = counts.shape[-3:]
    blocks = counts.reshape(*counts.shape[:-3], height // factor, factor, width // factor, factor, classes)
    return blocks.sum(dim=(-4, -2))
