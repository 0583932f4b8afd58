"""Whether thin and small structures survive: agreement of centre lines, and into how many pieces a class falls.

The background (class 0) has no score here: its centre lines are no structure that anybody looks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.scores.boundaries import Matches

Mask = NDArray[np.bool_]
NONE = Matches()


@dataclass(frozen=True)
class Structures:
    """Centre lines and connected components of one class in a predicted and a true mask.

    Sums over images are the structures of all images.

    Attributes:
        lines: Centre-line pixels of either side, and those that lie on the class in the other mask.
        predicted_components: Connected components of the class in the predicted mask.
        true_components: The same in the true mask.
    """

    lines: Matches = NONE
    predicted_components: int = 0
    true_components: int = 0

    def __add__(self, other: "Structures") -> "Structures":
        return Structures(
            self.lines + other.lines,
            self.predicted_components + other.predicted_components,
            self.true_components + other.true_components,
        )

    @property
    def component_ratio(self) -> float:
        """Predicted components over true ones: above 1 for fragments, below 1 for merged or lost objects.

        0 for a class that was missed altogether, NaN for one that the truth does not have.
        """
        return self.predicted_components / self.true_components if self.true_components else float("nan")


def match_structures(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int, ignore_index: int | None = None
) -> list[Structures]:
    """Compare centre lines and components of every class but the background.

    `lines.f1` is clDice, the harmonic mean of the share of the predicted centre line that lies in the true class and
    the share of the true one that lies in the predicted class: Shit et al., "clDice - a novel topology-preserving loss
    function for tubular structure segmentation", CVPR 2021. It is 0 where only one mask has the class and NaN where
    neither has. Components are connected across faces, edges and corners.

    Args:
        truth: True classes (*spatial), 2 or 3 axes.
        predicted: Predicted classes, of the same shape.
        num_classes: Number of classes K.
        ignore_index: True value of pixels that belong to no class on either side; None counts all.

    Returns:
        The structures of the classes 1 to K - 1.
    """
    kept = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    return [_compare((truth == label) & kept, (predicted == label) & kept) for label in range(1, num_classes)]


def pool_structures(images: Sequence[Sequence[Structures] | None]) -> list[Structures] | None:
    """Add up the structures of each class over images; None where those of an image are not known."""
    known = [structures for structures in images if structures is not None]
    if len(known) < len(images):
        return None
    return [sum(per_class, Structures()) for per_class in zip(*known, strict=True)]


def _compare(true: Mask, predicted: Mask) -> Structures:
    true_line, true_components = centre_line(true)
    predicted_line, predicted_components = centre_line(predicted)
    lines = Matches(
        int((predicted_line & true).sum()),
        int(predicted_line.sum()),
        int((true_line & predicted).sum()),
        int(true_line.sum()),
    )
    return Structures(lines, predicted_components, true_components)


def centre_line(mask: Mask) -> tuple[Mask, int]:
    """Thin a mask (*spatial) bool to lines of one pixel, and count its connected components.

    Thinning by scikit-image: Zhang and Suen, Communications of the ACM 27:236, 1984, in 2-D; Lee, Kashyap and Chu,
    CVGIP 56:462, 1994, in 3-D. Either may remove a small compact component entirely; such a component keeps all its
    pixels, so that no object is without a centre line.
    """
    from scipy import ndimage  # both only here: they would count as memory of the arm that is measured before
    from skimage.morphology import skeletonize

    labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim, bool))
    if not count:
        return np.zeros_like(mask), 0
    line: Mask = skeletonize(mask).astype(bool)
    survived = np.zeros(count + 1, bool)
    survived[labels[line]] = True
    survived[0] = True  # the background of the labels is no component
    return line | ~survived[labels], int(count)
