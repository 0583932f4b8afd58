"""Settings of data sets, and of how their grey values are scaled."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

from bench.config.checks import check_pattern, map_numbers, parse_colours, require, require_one_of, require_spacing

FEWEST_TEST_IMAGES = 5  # for scores to say something of other images
MAX_PIXELS = 2**30  # values of a file that are decoded, unless another limit is given
MOST_PIXELS = 2**34  # of a generated image: 131072 x 131072
NORMALIZATIONS = ("per_image", "centred", "dataset", "none")


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
    manifest: str | None = None  # CSV below root with the columns image, mask, split; else splits.json, folders, seeded
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
    test_strip: float = 0.0  # the same for testing, as of a single large image; 0: refuse where no image tests
    spacing: list[float] | None = None  # length of a pixel along each axis, in any unit; null: what the files say
    planes: bool = False  # read the planes of stacks, of depth or of time, as images; false: a stack is one volume
    max_pixels: int = MAX_PIXELS  # values in one file; a header that promises more is refused before anything is read

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
        for name, share in (("val_strip", self.val_strip), ("test_strip", self.test_strip)):
            require(0 <= share <= 0.5, f"dataset.{name} must lie in [0, 0.5], got {share}")
        require(
            self.test_strip == 0 or self.val_strip > 0,
            "dataset.test_strip needs a strip that validates: give dataset.val_strip a share above 0",
        )
        fractions = self.split_fractions
        require(
            len(fractions) == 3 and min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6,
            f"dataset.split_fractions must be three positive numbers that add up to 1, got {fractions}",
        )
