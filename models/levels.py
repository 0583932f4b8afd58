"""Which axes a U-Net over a volume halves on each level, by the size of what it sees and the spacing of its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_SIZE = 4  # pixels that an axis keeps when it is halved
MOST_LEVELS = 6  # five halvings, as those of the encoders over two axes
FEWEST_LEVELS = 3  # with which MONAI's DynUNet is built


@dataclass(frozen=True)
class UnetLevel:
    """One level of a U-Net: the kernel of its convolutions and the stride by which it is reached, one per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]


def plan_levels(shape: Sequence[int], spacing: Sequence[float]) -> list[UnetLevel]:
    """Plan the levels of a U-Net by the rules of nnU-Net (Isensee et al., Nature Methods 18:203, 2021).

    An axis is halved as long as it keeps `LEAST_SIZE` pixels and its pixels are less than twice as long as those of the
    finest axis that can be halved; a kernel has the length 1 along an axis until its pixels are less than twice as long
    as the shortest. So a coarse axis is left alone until the others have caught up with it, and a short one never falls
    below `LEAST_SIZE`.

    Args:
        shape: Size of a training crop in pixels, one per axis.
        spacing: Length of a pixel along each axis, in any unit.

    Returns:
        The levels, the highest resolution first; at least `FEWEST_LEVELS`, where need be without halving.
    """
    size, pitch, wide = list(shape), list(spacing), [False] * len(shape)
    kernels, strides = [], [(1,) * len(shape)]
    while True:
        wide = [was or length < 2 * min(pitch) for was, length in zip(wide, pitch, strict=True)]
        kernels.append(tuple(3 if one else 1 for one in wide))
        halved = _find_halved(size, pitch)
        if not any(halved) or len(strides) == MOST_LEVELS:
            break
        strides.append(tuple(2 if one else 1 for one in halved))
        size = [-(-length // 2) if one else length for length, one in zip(size, halved, strict=True)]
        pitch = [2 * length if one else length for length, one in zip(pitch, halved, strict=True)]
    missing = FEWEST_LEVELS - len(strides)
    strides += [strides[0]] * missing
    kernels += [kernels[-1]] * missing
    kernels[-1] = (3,) * len(shape)  # the deepest level sees all directions
    return [UnetLevel(*pair) for pair in zip(kernels, strides, strict=True)]


def multiply_strides(levels: Sequence[UnetLevel]) -> tuple[int, ...]:
    """Return the total stride along each axis: sizes of images must be multiples of it."""
    total = [1] * len(levels[0].stride)
    for level in levels:
        total = [one * other for one, other in zip(total, level.stride, strict=True)]
    return tuple(total)


def _find_halved(size: Sequence[int], pitch: Sequence[float]) -> list[bool]:
    """Whether each axis is halved next."""
    long = [length >= 2 * LEAST_SIZE for length in size]
    finest = min((one for one, fits in zip(pitch, long, strict=True) if fits), default=0.0)
    halved = [fits and one < 2 * finest for one, fits in zip(pitch, long, strict=True)]
    if sum(halved) == 1 and size[halved.index(True)] < 3 * LEAST_SIZE:
        return [False] * len(size)
    return halved
