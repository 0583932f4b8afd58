"""Every setting of a run, as plain dataclasses that check themselves. Standard library only: `--help` is instant.

`bench/cli.py` composes these from `conf/`; everything below receives them as plain values. Lists stand where tuples
would be nicer because that is what comes back from a YAML file.
"""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from math import inf, isfinite, prod
from typing import Any


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that names the culprit and what would be right."""


def require(condition: bool, sentence: str) -> None:
    """Raise `InputError(sentence)` unless `condition` holds."""
    if not condition:
        raise InputError(sentence)


def require_one_of(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check a setting that has a closed set of values.

    Args:
        setting: Name of the setting, for the message.
        value: What was given.
        allowed: The values that it may have.

    Raises:
        InputError: `value` is not one of `allowed`; a name that looks like it is suggested.
    """
    close = get_close_matches(str(value), allowed, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    require(value in allowed, f"{setting} must be one of {', '.join(allowed)}, got {value!r}{meant}")


DEEP = "deep"  # of graph.features: activations of an encoder, which only arms with a network have


def require_spacing(setting: str, lengths: list[float] | None) -> None:
    """Raise InputError unless the lengths of a pixel along two or three axes are positive, or not given."""
    proper = lengths is None or (len(lengths) in (2, 3) and all(0 < one < inf for one in lengths))
    require(proper, f"{setting} must be null or a positive length for each axis, as in [2,0.5,0.5], got {lengths}")


MOST_PIXELS = 2**34  # of a generated image: 131072 x 131072
MOST_VIEWS = 9  # sizes from 0.4 to 2.4 times the one asked for
NORMALIZATIONS = ("per_image", "centred", "dataset", "none")


# ---------------------------------------------------------------------------------------------------- data sets


@dataclass
class DatasetConfig:
    """What every data set has. `name` is a key of `bench.datasets.registry.DATASETS`."""

    name: str = ""  # the kind of data set
    normalization: str = "per_image"  # per_image | centred | dataset | none: scaling of the grey values, for all arms

    def __post_init__(self) -> None:
        require_one_of("dataset.normalization", self.normalization, NORMALIZATIONS)


@dataclass
class SyntheticConfig(DatasetConfig):
    """Generated scenes (`bench.datasets.synthetic`): pictures, or volumes where `image_size` has three numbers."""

    name: str = "synthetic"  # the kind of data set
    modality: str = "fluorescence"  # fluorescence | phase_contrast
    num_classes: int = 3  # 2: background and cell; 3: background and two textures of cell
    image_size: list[int] = field(default_factory=lambda: [384, 384])  # height and width in pixels; before them planes
    plane_distance: float = 3.0  # of volumes: how many pixels planes lie apart
    magnification: int = 1  # of how many pixels a side the field's own become: the same cells, so many times as large
    train_images: int = 12  # scenes to learn from
    val_images: int = 4  # scenes that choose the weights
    test_images: int = 8  # scenes that are scored
    seed: int = 0  # of the scenes, not of the run: every run of a sweep sees the same images
    cache_dir: str | None = None  # scenes too large to keep in memory are written here once; null: generated when read

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("dataset.modality", self.modality, ("fluorescence", "phase_contrast"))
        require(self.num_classes in (2, 3), f"dataset.num_classes must be 2 or 3, got {self.num_classes}")
        require(
            len(self.image_size) in (2, 3) and min(self.image_size[-2:]) >= 32 and min(self.image_size) >= 1,
            f"dataset.image_size must be [height, width] of at least 32 pixels each, or [planes, height, width], "
            f"got {self.image_size}",
        )
        require(
            prod(self.image_size) <= MOST_PIXELS,
            f"dataset.image_size must not exceed {MOST_PIXELS} pixels, got {self.image_size}: make smaller images",
        )
        require(self.plane_distance > 0, f"dataset.plane_distance must be positive, got {self.plane_distance}")
        require(
            len(self.image_size) == 2 or self.modality == "fluorescence",
            f"dataset.modality must be fluorescence for volumes, got {self.modality!r} with {self.image_size}",
        )
        require(
            len(self.image_size) == 2 or self.magnification == 1,
            f"dataset.magnification must be 1 for volumes, got {self.magnification} with {self.image_size}",
        )
        for split in ("train_images", "val_images", "test_images"):
            require(getattr(self, split) >= 1, f"dataset.{split} must be at least 1, got {getattr(self, split)}")
        require(self.seed >= 0, f"dataset.seed must not be negative, got {self.seed}")
        times = self.magnification
        require(
            times >= 1 and all(length % times == 0 for length in self.image_size[-2:]),
            f"dataset.magnification must be at least 1 and divide dataset.image_size, got {times} of {self.image_size}",
        )


def parse_colours(given: list[str] | None) -> list[str] | None:
    """Check `dataset.mask_colours`: null, or at least two different colours of six hexadecimal digits.

    Returns:
        The colours in lower case, without a leading #.

    Raises:
        InputError: A colour is none, or there twice.
    """
    if given is None:
        return None
    example = "as in [000000,ff0000], one for each number from 0 on"
    colours = [colour.lower().removeprefix("#") for colour in given]
    for colour in colours:
        proper = len(colour) == 6 and set(colour) <= set("0123456789abcdef")
        require(proper, f"dataset.mask_colours must hold six hexadecimal digits per colour, {example}, got {colour!r}")
    different = len(set(colours)) == len(colours) >= 2
    require(different, f"dataset.mask_colours must hold at least two colours, each once, {example}, got {given}")
    return colours


def map_numbers(setting: str, given: object) -> dict[int, int] | str | None:
    """Check a setting that maps the numbers of masks to classes.

    Args:
        setting: Its name, for the message.
        given: Null, foreground, or a map from whole numbers to classes, either of which may be text.

    Returns:
        The map with whole numbers; null and foreground as they are.

    Raises:
        InputError: It is none of these.
    """
    if given is None or given == "foreground":
        return given
    example = "must be foreground or a map from numbers to classes, as in {0: 0, 255: 1}"
    require(isinstance(given, dict) and len(given) > 0, f"{setting} {example}, got {given!r}")
    assert isinstance(given, dict)
    try:
        return {int(str(number)): int(str(of)) for number, of in given.items()}
    except ValueError as error:
        raise InputError(f"{setting} {example}, got {given!r}") from error


def check_pattern(setting: str, pattern: str) -> None:
    """Raise `InputError` unless a pattern of file names holds one `*`, which stands for the name of an image."""
    require(
        pattern.count("*") == 1 and "/" not in pattern,
        f"{setting} must hold one *, which stands for the image's name, as in *_mask, got {pattern!r}",
    )


@dataclass
class EmbeddedConfig(DatasetConfig):
    """Real images that ship with the project (`bench.datasets.shipped`)."""

    name: str = "embedded"  # the kind of data set
    subset: str = "nuclei"  # a folder below bench/datasets/embedded
    normalization: str = "centred"  # per_image | centred | dataset | none, as for every data set


@dataclass
class PublicConfig(DatasetConfig):
    """Public images that are downloaded when they are chosen by name (`bench.datasets.public`)."""

    name: str = "public"  # the kind of data set
    subset: str = "nist_phase_colony"  # a key of bench.downloads.catalogue.CATALOGUE; dataset=NAME chooses it
    cache_dir: str | None = None  # folder of downloaded sets; null: gnn-vs-cnn below XDG_CACHE_HOME or ~/.cache
    mirror: str | None = None  # address of a copy, with the files below SET/NAME; null: where they were published

    def __post_init__(self) -> None:
        super().__post_init__()
        mirror = self.mirror
        require(
            mirror is None or mirror.startswith(("http://", "https://")),
            f"dataset.mirror must be an address that begins with http:// or https://, got {mirror!r}",
        )


@dataclass
class FolderConfig(DatasetConfig):
    """The user's own images: `root/images` and `root/masks`, matched by stem (`bench.datasets.folder`)."""

    name: str = "folder"  # the kind of data set
    root: str = ""  # the folder of the data set
    images: str = "images"  # folder below root
    masks: str = "masks"  # folder below root
    manifest: str | None = None  # CSV below root with the columns image, mask, split; else splits.json; else seeded
    image_names: list[str] = field(default_factory=lambda: ["*"])  # * is the name; several: a file for each channel
    mask_name: str = "*"  # of the mask of the image *
    channel_axis: int | None = None  # among the file's axes longer than 1; null: what the file says, else the last
    mask_colours: list[str] | None = None  # of masks in colour: six hexadecimal digits for each number from 0 on
    mask_values: Any = None  # {number in the mask: class}; foreground: above 0 is class 1; null: they are the classes
    ignore_index: int | None = None  # class (after mapping) of pixels that are not annotated; they count nowhere
    class_names: list[str] | None = None  # background first; null: class_0, class_1, ...
    split_fractions: list[float] = field(default_factory=lambda: [0.6, 0.2, 0.2])  # train, val, test, if seeded
    split_seed: int = 0  # of the seeded split
    val_strip: float = 0.2  # share of a training image, at one end, that validates where no image does; 0: refuse
    spacing: list[float] | None = None  # length of a pixel along each axis, in any unit; null: what the files say
    planes: bool = False  # read the planes of stacks, of depth or of time, as images; false: a stack is one volume
    max_pixels: int = 2**30  # values in one file; a header that promises more is refused before anything is read

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_pixels >= 1, f"dataset.max_pixels must be at least 1, got {self.max_pixels}")
        require_spacing("dataset.spacing", self.spacing)
        require(len(self.image_names) > 0, "dataset.image_names must name at least one pattern, as in [*]")
        for setting, pattern in (*(("image_names", name) for name in self.image_names), ("mask_name", self.mask_name)):
            check_pattern(f"dataset.{setting}", pattern)
        self.mask_values = map_numbers("dataset.mask_values", self.mask_values)
        self.mask_colours = parse_colours(self.mask_colours)
        names = self.class_names or []
        for name in names:
            require(name.strip() != "", f"dataset.class_names must not hold an empty name, got {names}")
            require(names.count(name) == 1, f"dataset.class_names names {name} {names.count(name)} times")
            require(name != "macro", "dataset.class_names must not hold macro, which stands for the mean in the tables")
        require(0 <= self.val_strip <= 0.5, f"dataset.val_strip must lie in [0, 0.5], got {self.val_strip}")
        fractions = self.split_fractions
        require(
            len(fractions) == 3 and min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6,
            f"dataset.split_fractions must be three positive numbers that add up to 1, got {fractions}",
        )


# ---------------------------------------------------------------------------------------------- pixels to graphs


@dataclass
class SuperpixelsConfig:
    """How an image becomes segments. `method` is a key of `bench.superpixels.registry.SUPERPIXELS`."""

    method: str = "slic"  # slic | grid | skimage_slic | felzenszwalb | compact_watershed
    superpixel_size: float | None = 100.0  # pixels (area) or voxels of a superpixel; null: n_segments counts
    n_segments: int | None = None  # superpixels wanted per image, instead of superpixel_size
    compactness: float = 0.1  # how much shape counts against grey value, with scikit-image's meaning
    sigma: float = 1.0  # Gaussian smoothing before clustering, in pixels
    iterations: int = 10  # of the clustering
    views: int = 1  # segmentations of an image, of several sizes, whose mean is the mask
    spacing: list[float] | None = None  # length of a pixel along each axis; null: that of the data set

    def __post_init__(self) -> None:
        require(
            (self.superpixel_size is None) != (self.n_segments is None),
            "give exactly one of superpixels.superpixel_size and superpixels.n_segments (set the other to null), "
            f"got {self.superpixel_size} and {self.n_segments}",
        )
        size, count = self.superpixel_size, self.n_segments
        require(size is None or 1 <= size < inf, f"superpixels.superpixel_size must be at least 1 pixel, got {size}")
        require(count is None or count >= 1, f"superpixels.n_segments must be at least 1, got {count}")
        require(self.compactness > 0, f"superpixels.compactness must be positive, got {self.compactness}")
        require(self.sigma >= 0, f"superpixels.sigma must not be negative, got {self.sigma}")
        require(self.iterations >= 1, f"superpixels.iterations must be at least 1, got {self.iterations}")
        require(1 <= self.views <= MOST_VIEWS, f"superpixels.views must lie in [1, {MOST_VIEWS}], got {self.views}")
        require_spacing("superpixels.spacing", self.spacing)


@dataclass
class GraphConfig:
    """What the nodes and edges carry: keys of `FEATURES` and `EDGES` in `bench.graphs`."""

    features: list[str] = field(  # of nodes: intensity, quantiles, texture, lightness, colour, shape, position, deep
        default_factory=lambda: ["intensity", "quantiles", "texture", "shape"]
    )
    edges: list[str] = field(default_factory=lambda: ["adjacency"])  # adjacency (common boundary), knn, or both
    neighbours: int = 8  # nearest centroids that each node is joined to by the edges knn
    spacing: list[float] | None = None  # length of a pixel along each axis; null: that of the data set
    edge_weight: str = "spacing"  # spacing | published: exp(-distance in pixels) | normalised: exp(-distance / median)
    cache_dir: str | None = None  # prepared graphs are kept here and taken from here; null: made anew in every run
    scratch_dir: str | None = None  # for graphs, and the tables of trees, on a disk; null: the system's own
    deep_encoder: str = "resnet18"  # of the features deep: a name of segmentation_models_pytorch, or tu-<name of timm>
    deep_stage: int = 2  # whose activations: 1 (a half of the image's side), 2 (a quarter) ... 5
    deep_weights: str | None = None  # a file (of encoder or network, as checkpoint.pt) | imagenet ... | null: random

    def __post_init__(self) -> None:
        require(self.features not in ([], [DEEP]), f"graph.features must name at least one feature set beside {DEEP}")
        require(1 <= self.deep_stage <= 5, f"graph.deep_stage must lie in [1, 5], got {self.deep_stage}")
        require(self.neighbours >= 1, f"graph.neighbours must be at least 1, got {self.neighbours}")
        require_spacing("graph.spacing", self.spacing)
        require_one_of("graph.edge_weight", self.edge_weight, ("spacing", "published", "normalised"))


# ------------------------------------------------------------------------------------------------------ pipelines


@dataclass
class PipelineConfig:
    """What every arm has. `name` is a key of `bench.arms.ARMS`."""

    name: str = ""  # the arm

    def scale_work(self, effort: float) -> "PipelineConfig":
        """Return the settings with the arm's own budgets of work times `effort`; most arms have `training` alone."""
        del effort
        return self


@dataclass
class LearningConfig(PipelineConfig):
    """What every arm has that is trained by gradient descent."""

    learning_rate: float = 1e-3  # the highest, between warm-up and cool-down
    weight_decay: float = 1e-4  # of AdamW

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, f"pipeline.learning_rate must be positive, got {self.learning_rate}")
        require(self.weight_decay >= 0, f"pipeline.weight_decay must not be negative, got {self.weight_decay}")


@dataclass
class CnnConfig:
    """A network of segmentation_models_pytorch (`models.unet`)."""

    architecture: str = "Unet"  # as segmentation_models_pytorch calls it
    encoder_name: str = "resnet18"  # as segmentation_models_pytorch calls it
    encoder_weights: str | None = None  # null: from scratch; "imagenet" where the weights can be fetched
    weights_file: str | None = None  # of the whole network, as a run's checkpoint.pt; training starts from them
    decoder_channels: list[int] | None = None  # of the decoder's levels, deepest first; null: the architecture's own

    def __post_init__(self) -> None:
        require(
            self.encoder_weights is None or self.weights_file is None,
            "give pipeline.model.encoder_weights or pipeline.model.weights_file, not both: the file has all weights",
        )


@dataclass
class VolumeCnnConfig:
    """A network of MONAI that convolves over three axes (`models.volume_unet`)."""

    architecture: str = "DynUNet"  # DynUNet (as nnU-Net: axes halved by spacing and size) | BasicUNet | SegResNet
    channels: int = 16  # of the highest resolution; twice as many on each level below, up to 320
    norm: str = "batch"  # batch | group (8 groups of channels) | instance: the last two see each tile by itself
    weights_file: str | None = None  # of the whole network, as a run's checkpoint.pt; training starts from them

    def __post_init__(self) -> None:
        require(self.channels >= 1, f"pipeline.model.channels must be at least 1, got {self.channels}")
        require_one_of("pipeline.model.norm", self.norm, ("batch", "group", "instance"))
        require(
            self.norm != "group" or self.channels % 8 == 0,
            f"pipeline.model.channels must be a multiple of 8 with pipeline.model.norm=group, got {self.channels}",
        )


@dataclass
class TilesConfig(LearningConfig):
    """Random crops for training, overlapping tiles for prediction. Sizes in pixels as the network sees them."""

    scale: int = 1  # 1 | 2 | 4 | 8: of how many pixels the network sees the mean, along height and width of the image
    crop_size: int = 128  # side of a training crop: small crops make many steps, large ones show more surroundings
    tile_size: int = 512  # longest side of a tile in prediction
    overlap: int = 32  # on each side of a tile, discarded or blended
    blend: str = "discard"  # discard | gaussian
    flips: bool = False  # predict each tile in all its mirror images too, and average
    batch_size: int = 8  # crops per step, and the most tiles per forward pass in prediction
    accumulate: int = 1  # parts in which a step's crops go through the network: less memory, one more forward pass
    checkpointing: bool = False  # compute activations within blocks again for the gradient: less memory, more time
    foreground: float = 0.0  # share of crops around a class that is not the most frequent; 0: as training.rare_share
    precision: str = "auto"  # auto | float32 | bfloat16; auto: training.amp, and bfloat16 on a CPU that has it
    jitter: float = 0.1  # strength of the random gain, offset and noise on the intensities of a crop; 0: off
    augmentation: str = "light"  # of crops: light (mirrors, quarter turns, jitter) | strong (and all that nnU-Net does)
    deep_supervision: bool = False  # the loss looks at coarser levels of the decoder too; for the architecture Unet

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, size in (("crop_size", self.crop_size), ("tile_size", self.tile_size)):
            require(
                size >= 32 and size % 32 == 0,
                f"pipeline.{name} must be a multiple of 32 (five halvings in the encoder), got {size}",
            )
        require(
            0 <= self.overlap <= (self.tile_size - 32) // 2,
            f"pipeline.overlap must lie in [0, (tile_size - 32) / 2], so that tiles advance by 32 pixels or more, "
            f"got {self.overlap} with tile_size {self.tile_size}",
        )
        require(self.scale in (1, 2, 4, 8), f"pipeline.scale must be 1, 2, 4 or 8, got {self.scale}")
        require_one_of("pipeline.blend", self.blend, ("discard", "gaussian"))
        require_one_of("pipeline.precision", self.precision, ("auto", "float32", "bfloat16"))
        require_one_of("pipeline.augmentation", self.augmentation, ("light", "strong"))
        require(self.jitter >= 0, f"pipeline.jitter must not be negative, got {self.jitter}")
        require(0 <= self.foreground <= 1, f"pipeline.foreground must lie in [0, 1], got {self.foreground}")
        require(self.batch_size >= 1, f"pipeline.batch_size must be at least 1, got {self.batch_size}")
        require(
            1 <= self.accumulate <= self.batch_size,
            f"pipeline.accumulate must lie in [1, batch_size], got {self.accumulate} with batch_size {self.batch_size}",
        )


@dataclass
class TiledCnnConfig(TilesConfig):
    """A network over two axes: of a volume, every plane is an image of its own."""

    name: str = "tiled_cnn"  # the arm
    model: CnnConfig = field(default_factory=CnnConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not self.deep_supervision or (self.model.architecture == "Unet" and self.accumulate == 1),
            "pipeline.deep_supervision needs pipeline.model.architecture=Unet and pipeline.accumulate=1, got "
            f"{self.model.architecture} and {self.accumulate}",
        )


@dataclass
class TiledCnn25dConfig(TiledCnnConfig):
    """A network over two axes that sees the neighbouring planes of a volume as further channels."""

    name: str = "tiled_cnn_25d"  # the arm
    context_planes: int = 1  # on each side of a plane; beyond the first and the last one, their reflection

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.context_planes >= 1,
            f"pipeline.context_planes must be at least 1 (pipeline=tiled_cnn sees none), got {self.context_planes}",
        )


@dataclass
class TiledCnn3dConfig(TilesConfig):
    """A network over all three axes of a volume; crops and tiles are boxes."""

    name: str = "tiled_cnn_3d"  # the arm
    model: VolumeCnnConfig = field(default_factory=VolumeCnnConfig)
    crop_planes: int = 16  # planes of a training crop; of a volume with fewer, as many as it has
    tile_planes: int = 16  # planes of a tile in prediction
    overlap_planes: int = 4  # on each side of a tile, discarded or blended
    tile_size: int = 128  # longest side of a tile in prediction
    overlap: int = 16  # on each side of a tile, discarded or blended
    batch_size: int = 2  # crops per step, and the most tiles per forward pass in prediction

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_planes", "tile_planes"):
            require(getattr(self, name) >= 1, f"pipeline.{name} must be at least 1, got {getattr(self, name)}")
        require(
            0 <= self.overlap_planes <= (self.tile_planes - 1) // 2,
            "pipeline.overlap_planes must lie in [0, (tile_planes - 1) / 2], so that tiles advance, "
            f"got {self.overlap_planes} with tile_planes {self.tile_planes}",
        )
        require(
            self.augmentation == "light" and not self.deep_supervision,
            "pipeline.augmentation=strong and pipeline.deep_supervision=true are for networks over two axes: "
            "give pipeline=tiled_cnn or tiled_cnn_25d",
        )


@dataclass
class GnnConfig:
    """A network of torch_geometric layers (`models.gnn`); `conv` is a key of its `CONVS`, "none" has no edges.

    Or `jain2024`, the published network, which has three layers and no norm whatever the settings say.
    """

    conv: str = "sage"  # the graph layer: sage | gcn | gatv2 | transformer | none (no edges) | jain2024
    hidden_channels: int = 64  # numbers that describe a node between the layers
    num_layers: int = 6  # graph layers; each carries information one edge further
    dropout: float = 0.1  # share of a layer's numbers set to 0 in training
    norm: str = "layer"  # layer | batch | none

    def __post_init__(self) -> None:
        require(
            self.hidden_channels >= 1, f"pipeline.model.hidden_channels must be at least 1, got {self.hidden_channels}"
        )
        require(self.num_layers >= 1, f"pipeline.model.num_layers must be at least 1, got {self.num_layers}")
        require(0 <= self.dropout < 1, f"pipeline.model.dropout must lie in [0, 1), got {self.dropout}")
        require_one_of("pipeline.model.norm", self.norm, ("layer", "batch", "none"))

    @property
    def fits_bfloat16(self) -> bool:
        """Whether the network may compute in bfloat16 on a CPU, where rows are added that batch norm would see."""
        return self.conv in ("sage", "none") and self.norm != "batch"


@dataclass
class SuperpixelGnnConfig(LearningConfig):
    """Nodes are superpixels; the loss is weighted by their pixels; the prediction is painted back."""

    name: str = "superpixel_gnn"  # the arm
    model: GnnConfig = field(default_factory=GnnConfig)
    targets: str = "fractions"  # fractions (share of each class in a node) | majority
    batch_nodes: int | None = (
        4096  # per step, from windows of large graphs and several small ones; null: one whole graph
    )
    predict_nodes: int | None = 16384  # of a larger graph in prediction: parts of so many, with a halo; null: whole
    weights: str | None = None  # file of published weights for model.conv=jain2024, replayed instead of training
    jitter: float = 0.1  # spread of a random gain and offset of the intensities behind the features; 0: off
    learning_rate: float = 3e-3  # the highest, between warm-up and cool-down
    precision: str = "auto"  # auto | float32 | bfloat16; auto: training.amp, and bfloat16 on a CPU that has it

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("pipeline.targets", self.targets, ("fractions", "majority"))
        require_one_of("pipeline.precision", self.precision, ("auto", "float32", "bfloat16"))
        require(
            self.precision != "bfloat16" or self.model.fits_bfloat16,
            "pipeline.precision=bfloat16 is for pipeline.model.conv=sage or none, without norm=batch, got "
            f"{self.model.conv} and {self.model.norm}",
        )
        nodes = self.batch_nodes
        require(nodes is None or nodes >= 1, f"pipeline.batch_nodes must be at least 1, got {nodes}")
        limit = self.predict_nodes
        require(limit is None or limit >= 1, f"pipeline.predict_nodes must be at least 1, got {limit}")
        require(self.jitter >= 0, f"pipeline.jitter must not be negative, got {self.jitter}")
        require(
            self.weights is None or self.model.conv == "jain2024",
            f"pipeline.weights are for pipeline.model.conv=jain2024, got {self.model.conv!r}",
        )


@dataclass
class SuperpixelMlpConfig(SuperpixelGnnConfig):
    """The same network and features without edges: what the graph adds is the difference."""

    name: str = "superpixel_mlp"  # the arm
    model: GnnConfig = field(default_factory=lambda: GnnConfig(conv="none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        conv = self.model.conv
        require(conv == "none", f"pipeline.model.conv must be none for pipeline=superpixel_mlp, got {conv!r}")


@dataclass
class CoarseGnnConfig(SuperpixelGnnConfig):
    """A U-Net on a smaller image, whose class scores are node features of the graph network."""

    name: str = "coarse_gnn"  # the arm
    coarse: TiledCnnConfig = field(default_factory=lambda: TiledCnnConfig(scale=4))
    coarse_steps: int = 200  # ceiling of the U-Net's optimiser steps; patience ends them as in every fit
    folds: int = 1  # U-Nets, each of which leaves out a part of the training images and scores it for the graph network
    refine: bool = True  # false: the U-Net's scores painted by their means over superpixels, without a graph network

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("coarse_steps", "folds"):
            require(getattr(self, name) >= 1, f"pipeline.{name} must be at least 1, got {getattr(self, name)}")
        require(self.weights is None, f"pipeline.weights are for pipeline=superpixel_gnn, got {self.weights!r}")
        require(
            self.refine or self.folds == 1,
            f"pipeline.folds serve the graph network and must be 1 with pipeline.refine=false, got {self.folds}",
        )
        require(
            self.model.conv != "jain2024", "pipeline.model.conv=jain2024 is for pipeline=superpixel_gnn: choose another"
        )

    def scale_work(self, effort: float) -> "CoarseGnnConfig":
        """Return the settings with `effort` times as many steps of the U-Net."""
        return replace(self, coarse_steps=max(round(self.coarse_steps * effort), 1))


@dataclass
class SuperpixelTreesConfig(PipelineConfig):
    """Boosted trees on the node features of the graph network: a learner of the classes without a network."""

    name: str = "superpixel_trees"  # the arm
    hops: list[int] = field(
        default_factory=lambda: [1, 2, 4, 8]
    )  # edges over which features are averaged, as more features; []: none
    sample_nodes: int = 100000  # of the training images that trees grow on, at most, and 40 MB of their features
    iterations: int = 500  # ceiling of boosting iterations, of one tree for each class
    patience: int | None = 8  # validations without a better pixel score until the fit ends; null: never
    min_gain: float = 0.001  # by which a score must exceed the last better one to count as better
    validate_every: int = 10  # iterations
    learning_rate: float = 0.1  # share of its step that a tree is given
    leaves: int = 31  # of a tree, at most
    least_nodes: int = 20  # in a leaf

    def __post_init__(self) -> None:
        ascending = all(one < other for one, other in zip(self.hops, self.hops[1:], strict=False))
        require(
            ascending and min(self.hops, default=1) >= 1,
            f"pipeline.hops must be ascending numbers of at least 1, as in [1,2,4,8], got {self.hops}",
        )
        for name, least in (("sample_nodes", 2), ("iterations", 1), ("patience", 1), ("validate_every", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, f"pipeline.{name} must be at least {least}, got {value}")
        require(self.min_gain >= 0, f"pipeline.min_gain must not be negative, got {self.min_gain}")
        require(self.learning_rate > 0, f"pipeline.learning_rate must be positive, got {self.learning_rate}")
        require(self.leaves >= 2, f"pipeline.leaves must be at least 2, got {self.leaves}")
        require(self.least_nodes >= 1, f"pipeline.least_nodes must be at least 1, got {self.least_nodes}")

    def scale_work(self, effort: float) -> "SuperpixelTreesConfig":
        """Return the settings with `effort` times as many iterations."""
        return replace(self, iterations=max(round(self.iterations * effort), 1))


@dataclass
class PixelForestConfig(PipelineConfig):
    """A random forest on filter responses of single pixels, as ilastik has it: what needs no GPU and no superpixels."""

    name: str = "pixel_forest"  # the arm
    trees: int = 100  # of the forest
    least_pixels: int = 5  # in a leaf
    sample_pixels: int = 100000  # of the training images that the trees are grown on, at most; as many of each class

    def __post_init__(self) -> None:
        for name, least in (("trees", 1), ("least_pixels", 1), ("sample_pixels", 2)):
            require(
                getattr(self, name) >= least, f"pipeline.{name} must be at least {least}, got {getattr(self, name)}"
            )

    def scale_work(self, effort: float) -> "PixelForestConfig":
        """Return the settings with `effort` times as many trees."""
        return replace(self, trees=max(round(self.trees * effort), 1))


@dataclass
class ExternalConfig(PipelineConfig):
    """Masks that another program made, such as nnU-Net, ilastik or cellpose: a file per validation and test image."""

    name: str = "external"  # the arm
    masks: str = ""  # folder of the masks; a file is called as its image, or as `python -m bench export` calls it
    mask_name: str = "*"  # of the mask of the image *, as in *_cp_masks
    mask_values: Any = None  # {number in the mask: class}; foreground: above 0 is class 1; null: they are the classes
    label: str = "external"  # name of the program in tables, figures and the report
    costs: str | None = None  # CSV of what it cost: stage,seconds,peak_memory_bytes,peak_memory_kind; null: not known

    def __post_init__(self) -> None:
        check_pattern("pipeline.mask_name", self.mask_name)
        self.mask_values = map_numbers("pipeline.mask_values", self.mask_values)
        require(
            self.label.isprintable() and self.label == self.label.strip() != "" and not set(self.label) & set("=;|"),
            f"pipeline.label must be a name without =, ; and |, as in 'nnU-Net v2', got {self.label!r}",
        )


@dataclass
class OracleConfig(PipelineConfig):
    """The true mask voted onto the superpixels and painted back: the ceiling of every superpixel arm."""

    name: str = "oracle"  # the arm


@dataclass
class ThresholdConfig(PipelineConfig):
    """Multi-Otsu thresholds on one channel, classes assigned to intensity bands on the training images."""

    name: str = "threshold"  # the arm
    channel: int = 0  # that is thresholded, from 0

    def __post_init__(self) -> None:
        require(self.channel >= 0, f"pipeline.channel must not be negative, got {self.channel}")


# -------------------------------------------------------------------------------------------- training, measuring


@dataclass
class TrainingConfig:
    """What every learning arm shares: one loss, one optimiser (AdamW), one schedule, one rule for stopping.

    Budgets, warm-up, validations and patience count work, so that scores do not depend on the machine or its load.
    """

    steps: int | None = 10000  # ceiling of optimiser steps; patience usually ends a fit long before
    epochs: int | None = None  # ceiling of epochs
    seconds: float | None = None  # ceiling of seconds: what do I get in five minutes? The clock then decides scores
    patience: int | None = 8  # validations without a better pixel score before the cool-down; null: never
    min_gain: float = 0.001  # by which a score must exceed the last better one to count as better
    validate_every: int = 25  # steps, at least: later and costly validations are further apart
    warmup: int = 50  # steps in which the learning rate rises, at most a tenth of a budget in steps
    cooldown: float = 0.2  # share of all steps, at the end, in which the learning rate falls to zero; 0: constant
    forks: bool = False  # also cool down copies at doubling budgets: what fits planned for less work reach
    cross_entropy_weight: float = 1.0  # of cross-entropy in the loss
    dice_weight: float = 1.0  # of soft Dice in the loss
    class_weights: str = "sqrt"  # none | sqrt | inverse: of the class frequencies in the training pixels
    rare_share: float = 0.02  # classes of a smaller share of the training pixels are drawn more often; 0: none is
    gradient_clip: float = 1.0  # largest norm of the gradient; 0: any
    amp: bool = True  # mixed precision, on a GPU only

    def __post_init__(self) -> None:
        budgets = (self.steps, self.epochs, self.seconds)
        require(budgets != (None, None, None), "give at least one of training.steps, training.epochs, training.seconds")
        for name, least in (("steps", 1), ("epochs", 1), ("patience", 1), ("validate_every", 1), ("warmup", 0)):
            value = getattr(self, name)
            require(value is None or value >= least, f"training.{name} must be at least {least}, got {value}")
        require(self.seconds is None or self.seconds > 0, f"training.seconds must be positive, got {self.seconds}")
        require(self.min_gain >= 0, f"training.min_gain must not be negative, got {self.min_gain}")
        require(0 <= self.rare_share < 1, f"training.rare_share must lie in [0, 1), got {self.rare_share}")
        require(0 <= self.cooldown < 1, f"training.cooldown must lie in [0, 1), got {self.cooldown}")
        require(self.gradient_clip >= 0, f"training.gradient_clip must not be negative, got {self.gradient_clip}")
        require_one_of("training.class_weights", self.class_weights, ("none", "sqrt", "inverse"))
        require(
            min(self.cross_entropy_weight, self.dice_weight) >= 0 and self.cross_entropy_weight + self.dice_weight > 0,
            "training.cross_entropy_weight and training.dice_weight must not be negative, and one must be positive",
        )


@dataclass
class MetricsConfig:
    """How predictions are scored. `boundary_tolerance` in pixels."""

    boundary_tolerance: float = 2.0  # pixels within which a boundary counts as found
    voted: bool = False  # score a pixel arm's masks also as voted onto the superpixels of the settings: voted_dice

    def __post_init__(self) -> None:
        require(
            self.boundary_tolerance >= 0,
            f"metrics.boundary_tolerance must not be negative, got {self.boundary_tolerance}",
        )


@dataclass
class MeasureConfig:
    """How a run is watched. Times in seconds."""

    timeout: float | None = None  # seconds after which a run is ended; null: never
    threads: int | None = None  # CPU threads of the run; null: as many as the machine gives
    sample_period: float = 0.02  # seconds between two readings of memory
    memory_gib: float | None = None  # GiB that a run on the host may take, at most 90 % of the machine's; null: all
    share_gpu: bool = False  # whether runs at the same time may use one GPU; false: each holds one, or waits for one

    def __post_init__(self) -> None:
        require(self.timeout is None or self.timeout > 0, f"measure.timeout must be positive, got {self.timeout}")
        limit = self.memory_gib
        require(limit is None or limit >= 1, f"measure.memory_gib must be at least 1 GiB, got {limit}")
        require(self.threads is None or self.threads >= 1, f"measure.threads must be at least 1, got {self.threads}")
        require(self.sample_period > 0, f"measure.sample_period must be positive, got {self.sample_period}")


@dataclass
class ParallelConfig:
    """Who prepares the images of superpixel arms: this process, workers of this machine, or a Dask cluster's."""

    workers: int = 0  # images at once; 0: one after the other
    kind: str = "processes"  # threads | processes of this machine
    scheduler: str | None = None  # address of a dask.distributed scheduler, as in tcp://host:8786; outweighs both

    def __post_init__(self) -> None:
        require(self.workers >= 0, f"parallel.workers must not be negative, got {self.workers}")
        require_one_of("parallel.kind", self.kind, ("threads", "processes"))
        address = self.scheduler
        require(
            address is None or "://" in address,
            f"parallel.scheduler must be an address such as tcp://host:8786, got {address!r}",
        )


@dataclass
class ExperimentConfig:
    """A list of sweeps, each a map from settings to values: one run per combination, on top of the command line."""

    name: str = "single"  # also of the results folder
    description: str = ""  # one sentence, for the list of experiments
    kind: str = "runs"  # runs | smallest_memory: of each, the least memory with which it works | tuning: `search`
    resolution_mib: int = 128  # MiB to which the least memory is searched
    budget: str = "small"  # small | full: the runs of `sweeps`, or of `full_sweeps`
    sweeps: list[dict[str, Any]] = field(default_factory=list)  # of settings: a run per combination of the values
    full_sweeps: list[dict[str, Any]] = field(default_factory=list)  # the same, for budget=full
    search: list[dict[str, Any]] = field(default_factory=list)  # per arm: settings and their ranges, for Optuna
    trials: int = 20  # of each arm, for Optuna
    effort: float = 1.0  # every arm's budgets of work times this: 0.1 for a first look, alike for all
    largest: int | None = None  # pixels a side of generated images beyond which a sweep's runs are left out; null: any

    def __post_init__(self) -> None:
        side = self.largest
        require(side is None or side >= 32, f"experiment.largest must be at least 32 pixels a side, got {side}")
        require(self.effort > 0, f"experiment.effort must be positive, got {self.effort}")
        require_one_of("experiment.kind", self.kind, ("runs", "smallest_memory", "tuning"))
        require_one_of("experiment.budget", self.budget, ("small", "full"))
        require(
            self.budget == "small" or len(self.full_sweeps) > 0,
            f"experiment.budget=full is for experiments that have full_sweeps, and {self.name} has none",
        )
        require(self.trials >= 1, f"experiment.trials must be at least 1, got {self.trials}")
        require(self.resolution_mib >= 1, f"experiment.resolution_mib must be at least 1, got {self.resolution_mib}")

    @property
    def chosen_sweeps(self) -> list[dict[str, Any]]:
        """Those of the budget."""
        return self.full_sweeps if self.budget == "full" else self.sweeps

    def scale(self, training: TrainingConfig) -> TrainingConfig:
        """Return the training settings with the budgets of work times `effort`, at least one step or epoch."""
        scaled = {
            name: max(round(value * self.effort), 1)
            for name in ("steps", "epochs")
            if (value := getattr(training, name)) is not None
        }
        return replace(training, **scaled)


@dataclass
class Config:
    """One run, whole."""

    dataset: DatasetConfig
    pipeline: PipelineConfig
    superpixels: SuperpixelsConfig = field(default_factory=SuperpixelsConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    seed: int = 0  # of weights, crops and batches; the data set has seeds of its own
    device: str = "auto"  # auto | cpu | cuda | cuda:N; auto: a GPU where there is one
    results_dir: str = "results/single"  # by default results/ and the experiment's name
    rerun: str = "failed"  # failed | all | none: which of the finished runs are done again
    tracker: str = "none"  # none | tensorboard | mlflow: where finished runs are recorded besides
    tracker_uri: str | None = None  # TensorBoard's folder or MLflow's address; null: in results_dir

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed must not be negative, got {self.seed}")
        require_one_of("rerun", self.rerun, ("failed", "all", "none"))
        require(
            self.tracker_uri is None or self.tracker != "none",
            f"tracker_uri is for tracker=tensorboard or tracker=mlflow, got {self.tracker_uri!r} without one",
        )
        require(
            self.tracker != "mlflow" or self.tracker_uri is None or "://" in self.tracker_uri,
            "tracker_uri must be an address such as http://host:5000 or sqlite:///mlflow.db for tracker=mlflow, "
            f"got {self.tracker_uri!r}",
        )
        for name, value in flatten(self).items():
            finite = not isinstance(value, float) or isfinite(value)
            require(finite, f"{name} must be a finite number, got {value}")
        require(
            self.device in ("auto", "cpu", "cuda") or self.device.removeprefix("cuda:").isdigit(),
            f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}",
        )


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Settings as one level of dotted names, e.g. `superpixels.superpixel_size`; lists and dicts stay whole."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[f"{prefix}{item.name}"] = value
    return flat
