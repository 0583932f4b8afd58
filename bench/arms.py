"""What each arm of the comparison is, said once. Standard library only.

Adding an arm costs one class (and its settings class in `bench/config/`), one entry of `ARMS`, and one YAML file in
`conf/pipeline`. Every other module asks here: registries, checks, tables, figures and reports.
"""

from dataclasses import dataclass

from bench.config import (
    CoarseGnnConfig,
    ExternalConfig,
    OracleConfig,
    PipelineConfig,
    PixelForestConfig,
    SuperpixelGnnConfig,
    SuperpixelMlpConfig,
    SuperpixelTreesConfig,
    ThresholdConfig,
    TiledCnn3dConfig,
    TiledCnn25dConfig,
    TiledCnnConfig,
)


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: Key of `ARMS`, value of `pipeline=` on the command line and of the column `pipeline`.
        label: Its name for readers, in sentences and legends.
        settings: Its settings class in `bench.config`.
        implementation: `module:Class` of its `bench.pipelines.protocol.Pipeline`, imported when a run builds it.
        colour: Hexadecimal colour in figures, of Okabe and Ito, "Color universal design", 2008, as far as theirs reach.
        marker: Marker in figures, as matplotlib names it.
        uses_training: Whether it is a network that `bench.learning.training` trains, so that training settings mean
            anything to it.
        uses_superpixels: Whether superpixel settings mean anything to it.
        uses_features: Whether node features, and the settings of the graph, mean anything to it.
        uses_edges: Whether its nodes see their neighbours.
        sees_truth: Whether it is given the true mask, which makes it a ceiling and not a method.
        is_floor: Whether an arm that scores lower than it on validation images has learned nothing worth comparing.
        runs_elsewhere: Whether another program makes its masks, so that nothing of what it costs is measured here.
        needs_volume: Whether it is for images of three spatial axes only.
        volume_label: Its name for readers where the images are volumes; empty: `label`.
        ceiling: The setting that bounds the steps of its fit; empty: that of `training` for a network, else none.
        patience: The setting that ends its fit without a better score; empty: as for `ceiling`.
    """

    name: str
    label: str
    settings: type[PipelineConfig]
    implementation: str
    colour: str
    marker: str
    uses_training: bool = False
    uses_superpixels: bool = False
    uses_features: bool = False
    uses_edges: bool = False
    sees_truth: bool = False
    is_floor: bool = False
    runs_elsewhere: bool = False
    needs_volume: bool = False
    volume_label: str = ""
    ceiling: str = ""
    patience: str = ""


_CNN = "bench.pipelines.cnn.tiled_cnn:TiledCnn"
_TREES = "bench.pipelines.trees"
_GNN = "bench.pipelines.gnn.superpixel_gnn:SuperpixelGnn"
ARMS: dict[str, Arm] = {  # in the order of tables and legends
    arm.name: arm
    for arm in (
        Arm(
            *("tiled_cnn", "U-Net", TiledCnnConfig, _CNN, "#0072B2", "s"),
            uses_training=True,
            volume_label="slice-wise U-Net",
        ),
        Arm(
            *("tiled_cnn_25d", "2.5-D U-Net", TiledCnn25dConfig, _CNN, "#AA4499", "<"),
            uses_training=True,
            needs_volume=True,
        ),
        Arm(
            *("tiled_cnn_3d", "3-D U-Net", TiledCnn3dConfig, _CNN, "#661100", "H"),
            uses_training=True,
            needs_volume=True,
        ),
        Arm(
            *("superpixel_gnn", "GNN", SuperpixelGnnConfig, _GNN, "#D55E00", "o"),
            uses_training=True,
            uses_superpixels=True,
            uses_features=True,
            uses_edges=True,
        ),
        Arm(
            *(
                "coarse_gnn",
                "U-Net + GNN",
                CoarseGnnConfig,
                "bench.pipelines.both.coarse_gnn:CoarseGnn",
                "#332288",
                "h",
            ),
            uses_training=True,
            uses_superpixels=True,
            uses_features=True,
            uses_edges=True,
        ),
        Arm(
            *("superpixel_mlp", "MLP", SuperpixelMlpConfig, _GNN, "#009E73", "^"),
            uses_training=True,
            uses_superpixels=True,
            uses_features=True,
        ),
        Arm(
            *("superpixel_trees", "boosted trees", SuperpixelTreesConfig, f"{_TREES}.superpixel_trees:SuperpixelTrees"),
            *("#E69F00", "P"),
            uses_superpixels=True,
            uses_features=True,
            uses_edges=True,
            ceiling="pipeline.iterations",
            patience="pipeline.patience",
        ),
        Arm(
            *("pixel_forest", "pixel forest", PixelForestConfig, f"{_TREES}.pixel_forest:PixelForest"),
            *("#56B4E9", "X"),
        ),
        Arm(
            *("external", "external", ExternalConfig, "bench.pipelines.external:External", "#8B5A2B", ">"),
            runs_elsewhere=True,
        ),
        Arm(
            *("oracle", "oracle", OracleConfig, "bench.pipelines.oracle:Oracle", "#000000", "D"),
            uses_superpixels=True,
            sees_truth=True,
        ),
        Arm(
            *("threshold", "threshold", ThresholdConfig, "bench.pipelines.threshold:Threshold", "#CC79A7", "v"),
            is_floor=True,
        ),
    )
}
RIVALS = ("superpixel_gnn", "tiled_cnn")  # the two sides of the question


def pixel_arms() -> tuple[str, ...]:
    """Return the names of the arms that never see a superpixel."""
    return tuple(arm.name for arm in ARMS.values() if not arm.uses_superpixels)


def ceiling_arms() -> tuple[str, ...]:
    """Return the names of the arms that are given the true mask."""
    return tuple(arm.name for arm in ARMS.values() if arm.sees_truth)


def floor_arms() -> tuple[str, ...]:
    """Return the names of the arms that any learning arm has to beat."""
    return tuple(arm.name for arm in ARMS.values() if arm.is_floor)


def convolving_arms() -> tuple[str, ...]:
    """Return the names of the arms that are the tiled network: over planes, planes with neighbours, or boxes."""
    tiled = ARMS[RIVALS[1]]
    return tuple(arm.name for arm in ARMS.values() if arm.implementation == tiled.implementation)


def edgeless_arms() -> tuple[str, ...]:
    """Return the names of the arms that are the graph network without its edges."""
    graph = ARMS[RIVALS[0]]
    return tuple(a.name for a in ARMS.values() if a.implementation == graph.implementation and not a.uses_edges)


def external_arms() -> tuple[str, ...]:
    """Return the names of the arms whose masks another program makes: their scores count, no time of theirs does."""
    return tuple(arm.name for arm in ARMS.values() if arm.runs_elsewhere)


def contending_arms() -> tuple[str, ...]:
    """Return the names of the methods that are measured here: neither ceilings, nor floors, nor run elsewhere."""
    return tuple(arm.name for arm in ARMS.values() if not (arm.sees_truth or arm.is_floor or arm.runs_elsewhere))
