"""Filter responses of single pixels, those of ilastik's pixel classification: in windows, the same as of the whole.

Berg et al., "ilastik: interactive machine learning for (bio)image analysis", Nature Methods 16, 2019. Gaussian, and at
each of `SCALES` Laplacian of Gaussian, gradient magnitude and the eigenvalues, largest first, of the Hessian and of the
structure tensor. Beyond the image its border is repeated.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.arrays.threads import Workers, list_singles
from bench.arrays.tiles import Window, cut_windows
from bench.graphs.volume import find_eigenvalues

SMOOTHINGS = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)  # deviations of the Gaussians, in pixels
SCALES = SMOOTHINGS[1:]  # of the Gaussians whose derivatives are taken
TRUNCATE = 3.0  # deviations at which a Gaussian ends
OUTER = 0.5  # deviation of the structure tensor's window, in those of its gradient
WINDOW_PIXELS = {2: 1 << 17, 3: 1 << 22}  # filtered at once, by the number of spatial axes

Response = NDArray[np.float32]
Consumer = Callable[[int, Response], None]


def count_responses(axes: int, channels: int) -> int:
    """Return the number of responses of an image of so many spatial axes and channels."""
    return channels * (len(SMOOTHINGS) + len(SCALES) * (2 + 2 * axes))


def cut_response_windows(shape: Sequence[int]) -> list[Window]:
    """Cut an image of `shape` (*spatial) into windows of about `WINDOW_PIXELS` that know what their responses need."""
    halo = max(_radius(sigma) + _radius(OUTER * sigma) for sigma in SCALES)
    sides = range(1, max(shape) + 1)
    fitting = bisect_right(sides, WINDOW_PIXELS[len(shape)], key=lambda side: prod(min(side, one) for one in shape))
    return cut_windows(shape, max(fitting, 4 * halo), halo)


def respond(pixels: Response, inner: tuple[slice, ...], consume: Consumer, workers: Workers) -> None:
    """Compute all responses of a window.

    Args:
        pixels: Its pixels with their halo, (*spatial, C).
        inner: The part whose responses are wanted.
        consume: Called as consume(number, response) with each response (*inner), in no certain order and from
            several threads.
        workers: Threads that take a channel at a scale each.
    """
    axes, channels = pixels.ndim - 1, pixels.shape[-1]
    each = count_responses(axes, 1)
    planes = [np.ascontiguousarray(pixels[..., channel]) for channel in range(channels)]
    scales = reversed(range(len(SMOOTHINGS)))  # the long tasks first
    tasks = [(channel, scale) for scale in scales for channel in range(channels)]

    def work(task: int, _: int) -> None:
        channel, scale = tasks[task]
        first = channel * each + scale * (3 + 2 * axes) - (2 + 2 * axes) * (scale > 0)
        for number, response in enumerate(_responses(planes[channel], SMOOTHINGS[scale], scale > 0)):
            consume(first + number, response[inner])

    workers.run(work, list_singles(len(tasks)))


def _responses(plane: Response, sigma: float, derived: bool) -> list[Response]:
    """The Gaussian of a channel and, where `derived`, the other responses at its scale."""
    axes = range(plane.ndim)
    if not derived:
        return [_gaussian(plane, sigma)]
    found = _derivatives(plane, sigma)
    zero = (0,) * plane.ndim
    pairs = list(combinations_with_replacement(axes, 2))
    first = [found[_raise(zero, axis)] for axis in axes]
    second = [found[_raise(_raise(zero, one), other)] for one, other in pairs]
    laplacian = sum(second[pairs.index((axis, axis))] for axis in axes[1:]) + second[0]
    magnitude = np.sqrt(sum(np.square(part) for part in first[1:]) + np.square(first[0]))
    tensor = [_gaussian(first[one] * first[other], OUTER * sigma) for one, other in pairs]
    return [found[zero], laplacian, magnitude, *_eigenvalues(second), *_eigenvalues(tensor)]


def _derivatives(plane: Response, sigma: float) -> dict[tuple[int, ...], Response]:
    """All derivatives up to the second of the Gaussian of a channel, by their order along each axis."""
    found: dict[tuple[int, ...], Response] = {(): plane}
    for axis in range(plane.ndim):
        found = {
            (*orders, order): _filter(part, sigma, axis, order)
            for orders, part in found.items()
            for order in range(3 - sum(orders))
        }
    return found


def _gaussian(plane: Response, sigma: float) -> Response:
    for axis in range(plane.ndim):
        plane = _filter(plane, sigma, axis, 0)
    return plane


def _filter(plane: Response, sigma: float, axis: int, order: int) -> Response:
    return ndimage.gaussian_filter1d(plane, sigma, axis, order, mode="nearest", truncate=TRUNCATE)


def _eigenvalues(entries: list[Response]) -> list[Response]:
    """Eigenvalues, largest first, of symmetric matrices given by their upper triangles."""
    if len(entries) == 6:
        with Workers(1) as alone:
            return [*find_eigenvalues(np.stack(entries), alone)]
    one, off, other = entries
    centre, step = (one + other) * np.float32(0.5), (one - other) * np.float32(0.5)
    spread = np.sqrt(step * step + off * off)
    return [centre + spread, centre - spread]


def _raise(orders: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """One order higher along one axis."""
    return (*orders[:axis], orders[axis] + 1, *orders[axis + 1 :])


def _radius(sigma: float) -> int:
    """Pixels from the centre of a Gaussian to its end, as in scipy."""
    return int(TRUNCATE * sigma + 0.5)
