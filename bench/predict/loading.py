"""A finished run's pipeline with its weights, ready to predict."""

import sys
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.config import CnnConfig, CoarseGnnConfig, Config, InputError, VolumeCnnConfig
from bench.measure.environment import let_threads_sleep
from bench.pipelines.protocol import Pipeline
from bench.pipelines.registry import build_pipeline
from bench.predict.run_directory import FinishedRun, read_run
from bench.predict.voxels import Lengths, adopt_lengths


@lru_cache(maxsize=1)
def load_run(directory: Path, device: str, spacing: Lengths | None = None) -> tuple[FinishedRun, Pipeline[Any]]:
    """Return a run and its pipeline with the weights of its checkpoint; the last one is kept for the next image.

    Args:
        directory: Directory of the run.
        device: auto, cpu, cuda or cuda:N.
        spacing: Length of a pixel along each axis where its shape is another than in training; None: it is not.

    Raises:
        InputError: The run or its checkpoint cannot be read.
    """
    # torch_geometric uses it while it is imported; nothing that a user could mend
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
    let_threads_sleep()
    run = read_run(directory)
    config = replace(adopt_lengths(forgo_download(run.config), run.task, spacing), device=device)
    pipeline = build_pipeline(config, run.task, trial=False)
    pin_run(config)
    try:
        pipeline.load(run.checkpoint)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{run.checkpoint} cannot be loaded into {config.pipeline.name}: {reason}") from error
    return run, pipeline


def forgo_download(config: Config) -> Config:
    """Return the same settings without weights to be fetched: the checkpoint holds those of the encoder too."""
    pipeline: Any = config.pipeline
    if isinstance(pipeline, CoarseGnnConfig):
        coarse: Any = forgo_download(replace(config, pipeline=pipeline.coarse)).pipeline
        return replace(config, pipeline=replace(pipeline, coarse=coarse))
    model = getattr(pipeline, "model", None)
    if isinstance(model, CnnConfig):
        model = replace(model, encoder_weights=None)
    if not isinstance(model, CnnConfig | VolumeCnnConfig):
        return config
    return replace(config, pipeline=replace(pipeline, model=replace(model, weights_file=None)))


def pin_run(config: Config) -> None:
    """Give torch the settings under which the run was trained; nothing for an arm without torch."""
    if "torch" in sys.modules:
        from bench.measure.environment import pin_torch

        pin_torch(config.measure.threads, config.device)
