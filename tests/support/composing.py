"""Settings as the command line composes them."""

import hydra
from hydra.core.global_hydra import GlobalHydra

from bench.config import Config
from bench.sweeps import compose


def compose_settings(*overrides: str) -> Config:
    """Compose one run's settings from overrides in Hydra's grammar."""
    GlobalHydra.instance().clear()
    compose.register_schemas()
    with hydra.initialize_config_dir(str(compose.CONF), version_base="1.3"):
        return compose.convert_settings(hydra.compose("config", list(overrides)))
