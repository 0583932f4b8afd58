"""A network at lower resolution: images averaged down, class scores interpolated up to the image's own pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F


def reduce_images(images: Tensor, scale: int) -> Tensor:
    """Average blocks of `scale` x `scale` pixels of images (B, C, H, W), whose sides are multiples of `scale`."""
    return images if scale == 1 else F.avg_pool2d(images, scale)


def restore_scores(scores: Tensor, scale: int) -> Tensor:
    """Interpolate class scores (K, h, w) bilinearly to (K, h * scale, w * scale), in float32."""
    if scale == 1:
        return scores
    return F.interpolate(scores[None].float(), scale_factor=scale, mode="bilinear", align_corners=False)[0]


def count_blocks(labels: Tensor, num_classes: int, scale: int) -> Tensor:
    """Count the pixels of each class in blocks of `scale` x `scale` pixels.

    Args:
        labels: Classes (B, H, W), sides multiples of `scale`; numbers outside [0, num_classes) count for nothing.
        num_classes: K.
        scale: Side of a block in pixels.

    Returns:
        Counts (B, H / scale, W / scale, K), float32.
    """
    batch, height, width = labels.shape
    blocks = labels.reshape(batch, height // scale, scale, width // scale, scale)
    return torch.stack([(blocks == index).sum(dim=(2, 4)) for index in range(num_classes)], dim=-1).float()
