"""scikit-image's SLIC: the reference that ours is measured against."""

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

from bench.arrays.spacing import relate_spacing
from bench.config import SuperpixelsConfig
from bench.superpixels.connectivity import label_pieces
from bench.superpixels.scaling import choose_n_segments


def skimage_slic(image: NDArray[np.float32], config: SuperpixelsConfig) -> NDArray[np.int32]:
    """Segment an image (*spatial, C) by `skimage.segmentation.slic`, without colour conversion."""
    segments = slic(
        image,
        n_segments=choose_n_segments(image.shape[:-1], config),
        compactness=config.compactness,
        max_num_iter=config.iterations,
        sigma=config.sigma,
        spacing=None if config.spacing is None else relate_spacing(config.spacing, image.ndim - 1),
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return label_pieces(segments)  # its last step can leave pieces under one label
