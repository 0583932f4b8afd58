"""What a pixel arm prepares of a sample: the image as it is stored, and its tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.arrays.protocols import Source
from bench.arrays.tiles import Window


@dataclass(frozen=True)
class TiledImage:
    """A sample, image (*spatial, C) and mask (*spatial), and the windows through which it is predicted.

    Decoded, in the types of the files: in memory, or, of more than a few values, in scratch files. A large one is read
    from its own file again and again.
    """

    image: Source
    mask: Source
    windows: Sequence[Window]
    facts: dict[str, float]
    in_memory: bool  # whether the mask that is predicted may be
    stored_bytes: int = 0  # in scratch files
    segments: None = None
