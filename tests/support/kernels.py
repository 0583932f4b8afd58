"""Compile the kernels that most tests need, once, before workers start that would each compile them.

`make test` does so while mypy checks the types: both leave a core to the other.
"""

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.config import (
    Config,
    DatasetConfig,
    GnnConfig,
    GraphConfig,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelsConfig,
    SuperpixelTreesConfig,
    TrainingConfig,
)
from bench.datasets.sample import Sample, Task
from bench.graphs.edges import EDGES
from bench.graphs.features import FEATURES
from bench.pipelines.registry import build_pipeline
from bench.superpixels.registry import SUPERPIXELS, segment

ARMS: tuple[PipelineConfig, ...] = (
    OracleConfig(),
    SuperpixelGnnConfig(model=GnnConfig(hidden_channels=8, num_layers=2)),
    SuperpixelTreesConfig(iterations=2, validate_every=1, least_nodes=5),
    PixelForestConfig(trees=2),
)


def make_scene(shape: tuple[int, ...], channels: int) -> Sample:
    """Return an image of noise on two classes."""
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, np.uint8)
    mask[..., : shape[-1] // 2] = 1
    return Sample("scene", rng.normal(mask[..., None], 0.3, (*shape, channels)).astype(np.float32), mask)


def compile_kernels() -> None:
    """Segment with every method, and fit and predict with every arm that has kernels, on flat images and volumes."""
    for shape, channels in product(((24, 20), (4, 24, 20)), (1, 3)):
        for name, method in SUPERPIXELS.items():
            if len(shape) in method.axes:
                segment(make_scene(shape, channels).image, SuperpixelsConfig(method=name, superpixel_size=20))
        sample, task = make_scene(shape, channels), Task(("a", "b"), channels, len(shape))
        for arm, views in product(ARMS, (1, 2)):
            features = [name for name in FEATURES if channels == 3 or name not in ("colour", "lightness")]
            config = Config(
                dataset=DatasetConfig(),
                pipeline=arm,
                superpixels=SuperpixelsConfig(superpixel_size=20, views=views),
                graph=GraphConfig(features=features, edges=list(EDGES), neighbours=2),
                training=TrainingConfig(steps=1),
                device="cpu",
            )
            pipeline = build_pipeline(config, task)
            items = [pipeline.prepare(sample) for _ in range(2)]
            pipeline.fit(items[:1], items[1:])
            pipeline.predict(items[0])
            with TemporaryDirectory() as scratch:
                if not isinstance(arm, OracleConfig):
                    pipeline.predict_into(sample.image, np.empty(shape, np.uint8), Path(scratch), lambda _: None)


if __name__ == "__main__":
    compile_kernels()
