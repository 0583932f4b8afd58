"""Which heavy libraries the measured process of each arm may have loaded when its last stage ends."""

HEAVY = {
    *("torch", "torch_geometric", "segmentation_models_pytorch", "numba", "scipy", "skimage", "sklearn", "pandas"),
    *("monai", "matplotlib", "hydra", "omegaconf", "dask", "distributed", "zarr"),
}
GRAPHS = {"torch", "torch_geometric", "numba", "scipy", "pandas"}  # torch_geometric loads pandas by itself
NEEDED: dict[str, set[str]] = {  # of `HEAVY`, by arm
    "tiled_cnn": {"torch", "segmentation_models_pytorch"},
    "tiled_cnn_25d": {"torch", "segmentation_models_pytorch"},
    "tiled_cnn_3d": {"torch", "monai"},
    "superpixel_gnn": GRAPHS,
    "coarse_gnn": GRAPHS | {"segmentation_models_pytorch"},
    "superpixel_mlp": GRAPHS,
    "superpixel_trees": {"numba", "scipy"},
    "pixel_forest": {"numba", "scipy"},
    "oracle": {"numba", "scipy"},
    "threshold": set(),
}
