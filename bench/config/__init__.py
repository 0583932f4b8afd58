"""Every setting of a run, as plain dataclasses that check themselves. Standard library only: `--help` is instant.

`bench/cli.py` composes these from `conf/`; everything below receives them as plain values. Lists stand where tuples
would be nicer because that is what comes back from a YAML file.
"""

from bench.config.checks import InputError as InputError
from bench.config.checks import check_pattern as check_pattern
from bench.config.checks import map_numbers as map_numbers
from bench.config.checks import parse_colours as parse_colours
from bench.config.checks import require as require
from bench.config.checks import require_one_of as require_one_of
from bench.config.checks import require_spacing as require_spacing
from bench.config.cnn import CnnConfig as CnnConfig
from bench.config.cnn import TiledCnn3dConfig as TiledCnn3dConfig
from bench.config.cnn import TiledCnn25dConfig as TiledCnn25dConfig
from bench.config.cnn import TiledCnnConfig as TiledCnnConfig
from bench.config.cnn import TilesConfig as TilesConfig
from bench.config.cnn import VolumeCnnConfig as VolumeCnnConfig
from bench.config.data import FEWEST_TEST_IMAGES as FEWEST_TEST_IMAGES
from bench.config.data import MAX_PIXELS as MAX_PIXELS
from bench.config.data import MOST_PIXELS as MOST_PIXELS
from bench.config.data import NORMALIZATIONS as NORMALIZATIONS
from bench.config.data import DatasetConfig as DatasetConfig
from bench.config.data import EmbeddedConfig as EmbeddedConfig
from bench.config.data import FolderConfig as FolderConfig
from bench.config.data import PublicConfig as PublicConfig
from bench.config.data import SyntheticConfig as SyntheticConfig
from bench.config.gnn import IDLE_FLIPS as IDLE_FLIPS
from bench.config.gnn import CoarseGnnConfig as CoarseGnnConfig
from bench.config.gnn import GnnConfig as GnnConfig
from bench.config.gnn import SuperpixelGnnConfig as SuperpixelGnnConfig
from bench.config.gnn import SuperpixelMlpConfig as SuperpixelMlpConfig
from bench.config.graphs import DEEP as DEEP
from bench.config.graphs import MOST_VIEWS as MOST_VIEWS
from bench.config.graphs import GraphConfig as GraphConfig
from bench.config.graphs import SuperpixelsConfig as SuperpixelsConfig
from bench.config.pipelines import ExternalConfig as ExternalConfig
from bench.config.pipelines import LearningConfig as LearningConfig
from bench.config.pipelines import OracleConfig as OracleConfig
from bench.config.pipelines import PipelineConfig as PipelineConfig
from bench.config.pipelines import PixelForestConfig as PixelForestConfig
from bench.config.pipelines import SuperpixelTreesConfig as SuperpixelTreesConfig
from bench.config.pipelines import ThresholdConfig as ThresholdConfig
from bench.config.run import Config as Config
from bench.config.run import ExperimentConfig as ExperimentConfig
from bench.config.run import MeasureConfig as MeasureConfig
from bench.config.run import MetricsConfig as MetricsConfig
from bench.config.run import ParallelConfig as ParallelConfig
from bench.config.run import TrainingConfig as TrainingConfig
from bench.config.run import flatten as flatten
from bench.config.run import walk_subclasses as walk_subclasses
