"""Checks of a sweep's settings that need its data and its arms' own libraries, made before it starts.

Such libraries are loaded in a process of their own, and only where settings were changed that need them.
"""

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.arms import ARMS
from bench.config import (
    DEEP,
    CnnConfig,
    CoarseGnnConfig,
    Config,
    ExternalConfig,
    InputError,
    SuperpixelGnnConfig,
    SuperpixelTreesConfig,
    ThresholdConfig,
    TiledCnn3dConfig,
    TiledCnnConfig,
    TilesConfig,
    flatten,
    require,
    require_one_of,
)
from bench.datasets.sample import Splits, Task

TRIED = {  # encoders that are known to fit these architectures
    "architectures": ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus"),
    "convolutions": ("sage", "none"),
    "encoders": ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet-b0"),
}
ANSWER = 10.0  # seconds in which a scheduler must answer
TIMEOUT = 600.0  # seconds: weights may have to be fetched


def check_names(configs: Iterable[Config]) -> None:
    """Raise InputError for a name that no registry has, or settings of one arm under the name of another.

    Names of networks are left to `check_arms`: only torch and its libraries know them.
    """
    from bench.graphs.edges import EDGES
    from bench.graphs.features import FEATURES
    from bench.superpixels.registry import SUPERPIXELS
    from bench.sweeps.trackers import TRACKERS

    for config in configs:
        require_one_of("pipeline.name", config.pipeline.name, tuple(ARMS))
        require_one_of("superpixels.method", config.superpixels.method, tuple(SUPERPIXELS))
        require_one_of("tracker", config.tracker, ("none", *TRACKERS))
        for setting, names, known in (
            ("graph.features", config.graph.features, (*FEATURES, DEEP)),
            ("graph.edges", config.graph.edges, EDGES),
        ):
            for name in names:
                require_one_of(setting, name, tuple(known))
        require(
            DEEP not in config.graph.features or not isinstance(config.pipeline, SuperpixelTreesConfig),
            f"graph.features={DEEP} are those of a network, which pipeline={config.pipeline.name} does without: "
            "leave them out",
        )
        for group, part in (("pipeline", config.pipeline), ("dataset", config.dataset)):
            own = type(part)().name
            require(
                part.name == own,
                f"{group}.name must stay {own} for {group}={own}, got {part.name!r}: give {group}={part.name} instead",
            )


def check_places(configs: Sequence[Config]) -> None:
    """Raise InputError where a folder of kept things cannot be written, or nobody answers at an address."""
    for config in configs:
        for name in ("dataset.cache_dir", "graph.cache_dir"):
            folder = flatten(config).get(name)
            try:
                if folder:
                    Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{name} {folder} cannot be written ({error.strerror}): choose another one") from error
        scratch = flatten(config).get("graph.scratch_dir")
        usable = scratch is None or (Path(scratch).is_dir() and os.access(scratch, os.W_OK))
        require(
            usable, f"graph.scratch_dir {scratch} is no folder that can be written to: make it, or name another one"
        )
    for address in sorted({config.parallel.scheduler or "" for config in configs} - {""}):
        place = urlsplit(address)
        if place.scheme in ("tcp", "tls"):
            try:
                socket.create_connection((place.hostname, place.port), ANSWER).close()
            except (OSError, ValueError, TypeError) as error:
                why = f"cannot be reached ({error}): start a Dask scheduler there, or give parallel.workers instead"
                raise InputError(f"parallel.scheduler {address} {why}") from error


def check_arms(found: Iterable[tuple[Config, Task]]) -> None:
    """Raise InputError for the first settings that their arm refuses, or that ask for a GPU that is not there."""
    from bench.graphs.features import check_sets

    tried: list[tuple[Config, Task]] = []
    for config, task in found:
        arm = config.pipeline
        check_volumes(config, task)
        if isinstance(arm, SuperpixelGnnConfig | SuperpixelTreesConfig | CoarseGnnConfig):
            check_sets(config.graph.features, task.in_channels)
        if isinstance(arm, ThresholdConfig):
            build_arm((config, task))
        if isinstance(arm, SuperpixelGnnConfig) and arm.weights is not None:
            require(Path(arm.weights).is_file(), f"pipeline.weights: there is no file {arm.weights}")
        one = (_strip_settings(config), task)
        if needs_trial(config) and one not in tried:
            tried.append(one)
    if tried:
        _build_in_child(tried)


def check_external_masks(config: Config, data: Splits) -> dict[str, Any]:
    """Check the masks and costs of an arm that ran elsewhere.

    Args:
        config: Settings of a run.
        data: Its data set.

    Returns:
        The column with a hash of the masks; nothing for every other arm.

    Raises:
        InputError: A mask or the file of costs cannot be used.
    """
    if not isinstance(config.pipeline, ExternalConfig):
        return {}
    from bench.pipelines.external import hash_masks

    return {"pipeline.masks_content": hash_masks(config.pipeline, data)}


def check_volumes(config: Config, task: Task) -> None:
    """Raise InputError for an arm that is for volumes, where the images are flat or its library is missing."""
    name = config.pipeline.name
    require(
        fits_axes(config, task),
        f"pipeline={name} is for volumes, and the images have two axes: give pipeline=tiled_cnn",
    )
    require(
        not isinstance(config.pipeline, TiledCnn3dConfig) or find_spec("monai") is not None,
        f"pipeline={name} needs MONAI, which is not installed: pip install 'gnn-vs-cnn[volumes]'",
    )


def fits_axes(config: Config, task: Task) -> bool:
    """Return whether an arm can be run on images of so many axes."""
    return task.spatial_axes == 3 or not ARMS[config.pipeline.name].needs_volume


def needs_trial(config: Config) -> bool:
    """Whether settings were changed of which only torch and the library of networks can say whether they will do."""
    arm = config.pipeline
    if isinstance(arm, TiledCnnConfig | CoarseGnnConfig):
        model = arm.model if isinstance(arm, TiledCnnConfig) else arm.coarse.model
        known = model.architecture in TRIED["architectures"] and model.encoder_name in TRIED["encoders"]
        plain = CnnConfig(architecture=model.architecture, encoder_name=model.encoder_name)
        if not known or model != plain:
            return True
    if isinstance(arm, TiledCnn3dConfig):
        usual = TiledCnn3dConfig()
        sizes = ("crop_planes", "tile_planes", "overlap_planes")
        if arm.model != usual.model or any(getattr(arm, name) != getattr(usual, name) for name in sizes):
            return True
    if isinstance(arm, SuperpixelGnnConfig) and (
        arm.model.conv not in TRIED["convolutions"] or DEEP in config.graph.features
    ):
        return True
    return isinstance(arm, TilesConfig | SuperpixelGnnConfig) and config.device not in ("auto", "cpu")


def build_arm(argument: tuple[Config, Task]) -> None:
    """Build the arm, and refuse settings by that; the arm itself is let go."""
    from bench.pipelines.registry import build_pipeline

    config, task = argument
    build_pipeline(config, task)


def find_refusal(found: list[tuple[Config, Task]]) -> str:
    """Return the sentence of the first arm that refuses its settings, empty where none does; in its own process."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)
        try:
            for one in found:
                build_arm(one)
        except InputError as error:
            return str(error)
    return ""


def _strip_settings(config: Config) -> Config:
    """Return the settings without those that no arm looks at before it learns."""
    return replace(config, seed=0, results_dir="results", tracker="none", tracker_uri=None)


def _build_in_child(found: list[tuple[Config, Task]]) -> None:
    """Build arms in a process of its own. Raises InputError with the sentence of the first that refuses."""
    from bench.measure.isolation import run_isolated

    outcome = run_isolated(find_refusal, found, TIMEOUT)
    if outcome.ok and outcome.result:  # what ended in another way ends so in the run too, whose row names the reason
        raise InputError(outcome.result)
