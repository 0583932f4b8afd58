"""Compile the kernels that most tests need, once, before workers start that would each compile them.

`make test` does so while mypy checks the types: both leave a core to the other.
"""

from itertools import product

from bench.config import (
    Config,
    DatasetConfig,
    GraphConfig,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SuperpixelTreesConfig,
)
from bench.datasets.sample import Task
from bench.graphs.edges import EDGES
from bench.graphs.features import FEATURES
from bench.pipelines.registry import build_pipeline
from bench.superpixels.registry import SUPERPIXELS, warm_up_segmentation

ARMS: tuple[PipelineConfig, ...] = (OracleConfig(), SuperpixelGnnConfig(), SuperpixelTreesConfig(), PixelForestConfig())


def compile_kernels() -> None:
    """Build every arm that has kernels, for flat images and volumes, and warm every method of superpixels up."""
    for axes, channels in product((2, 3), (1, 3)):
        for name, method in SUPERPIXELS.items():
            if axes in method.axes:
                warm_up_segmentation(axes, channels, SuperpixelsConfig(method=name))
        features = [name for name in FEATURES if channels == 3 or name not in ("colour", "lightness")]
        for arm, views in product(ARMS, (1, 2)):
            config = Config(
                dataset=DatasetConfig(),
                pipeline=arm,
                superpixels=SuperpixelsConfig(views=views),
                graph=GraphConfig(features=features, edges=list(EDGES)),
                device="cpu",
            )
            build_pipeline(config, Task(("a", "b"), channels, axes))


if __name__ == "__main__":
    compile_kernels()
