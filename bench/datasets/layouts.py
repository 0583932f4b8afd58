"""Where a data set keeps its images and masks, and which settings would find them where they lie elsewhere."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.config import FolderConfig, InputError
from bench.datasets.listing import Listing, extract_name, list_images, match_masks, propose_patterns, walk_images
from bench.datasets.manifest import SPELLINGS, find_dataset_root
from bench.datasets.opening import is_image, strip_suffix

MASK_WORDS = re.compile(r"mask|label|seg|truth|annot|manual|(?<![a-z])gt(?![a-z])", re.IGNORECASE)
IMAGE_WORDS = re.compile(r"img|image|raw", re.IGNORECASE)
NNUNET = ("imagesTr", "labelsTr")
TABLE = "pair the files by a table with the columns image,mask,split, as in dataset.manifest=split.csv"


def list_folders(config: FolderConfig) -> tuple[Listing, Listing]:
    """Return what the folders of images and of masks hold; one of them may lie in the other.

    Where the root has no such folders but its folders train, val and test have them, these are read as one, and the
    keys begin with `train/` and so on. Raises `InputError` where a folder is missing or holds no image, and where the
    root has both.
    """
    root = find_dataset_root(config)
    images, masks = root / config.images, root / config.masks
    if images.is_dir() and config.manifest is None and not (root / "splits.json").is_file():
        refuse_both_layouts(root, config)
    splits = [] if images.is_dir() or masks.is_dir() else find_split_folders(root, config)
    if splits:
        return join_listings(root, splits, config.images), join_listings(root, splits, config.masks)
    for folder in (images, masks):
        if not folder.is_dir():
            raise InputError(explain_layout(root, folder, config))
    return list_images(images, masks), list_images(masks, images)


def refuse_both_layouts(root: Path, config: FolderConfig) -> None:
    """Refuse folders of splits with images beside the folder of images: the images of either would go unnoticed.

    Args:
        root: Folder of the data set, with the folder of images.
        config: Its settings.

    Raises:
        InputError: There are such folders.
    """
    own = (root / config.images).resolve()
    found = [
        path / config.images
        for path in list_subfolders(root)
        if path.name.lower() in SPELLINGS and (path / config.images).is_dir() and not own.is_relative_to(path.resolve())
    ]
    if found and own != root.resolve():
        there = ", ".join(place.relative_to(root).as_posix() for place in found)
        raise InputError(
            f"{root} holds {config.images}/ and {there}: which of them are the data set is not clear; move "
            f"{config.images}/ and {config.masks}/ into train/ beside the other splits, move the folders of splits "
            "elsewhere, or name each image's split by dataset.manifest"
        )


def find_split_folders(root: Path, config: FolderConfig) -> list[Path]:
    """Return the folders of the splits, such as `train`, each with images and masks of its own; none in other layouts.

    Args:
        root: Folder of the data set.
        config: Its settings.

    Returns:
        The folders that spell a split, sorted.

    Raises:
        InputError: One of them lacks a folder, or a folder beside them has images and spells no split.
    """
    places = [path for path in list_subfolders(root) if (path / config.images).is_dir()]
    splits = [path for path in list_subfolders(root) if path.name.lower() in SPELLINGS]
    if not set(places) & set(splits):
        return []
    for path in places:
        if path not in splits:
            raise InputError(f"{path} holds {config.images}/ and names no split: call it train, val, test or excluded")
    for folder in (path / name for path in splits for name in (config.images, config.masks)):
        if not folder.is_dir():
            held = ", ".join(path.name for path in list_subfolders(folder.parent)) or "no folders"
            raise InputError(
                f"{folder} is not a folder: {', '.join(path.name for path in splits)} must each hold the folders that "
                f"dataset.images={config.images} and dataset.masks={config.masks} name; {folder.parent} holds {held}"
            )
    return splits


def list_subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, sorted."""
    return sorted(path for path in folder.glob("*/") if path.name[0] != ".")


def join_listings(root: Path, splits: Sequence[Path], name: str) -> Listing:
    """Return what the folders called `name` of all splits hold, as one listing.

    Args:
        root: Folder of the data set.
        splits: Its folders of splits.
        name: Of the folder of images or masks in each.

    Returns:
        Images by key, which begins with the name of the split's folder.

    Raises:
        InputError: One of the folders holds no image.
    """
    parts = [list_images(split / name) for split in splits]
    files = {f"{s.name}/{key}": path for s, part in zip(splits, parts, strict=True) for key, path in part.files.items()}
    place = root / f"{{{','.join(split.name for split in splits)}}}" / name  # as a shell writes several folders
    return Listing(place, files, tuple(path for part in parts for path in part.others))


# ------------------------------------------------------------------------------------------------- advice in sentences


def explain_layout(root: Path, missing: Path, config: FolderConfig) -> str:
    """Return the sentence on a folder that is not there, with settings that read what is there instead.

    Args:
        root: Folder of the data set.
        missing: The folder of images or masks that the settings name.
        config: Settings of the data set.
    """
    folders = list_subfolders(root)
    held = f" ({root} holds {', '.join(path.name for path in folders[:8])})" if folders else ""
    return f"{missing} is not a folder{held}: {advise_layout(root, folders, config)}"


def explain_own_mask(image: Path, masks: Listing, config: FolderConfig) -> str:
    """Return the sentence on an image that is found as its own mask, with settings that tell both apart.

    Args:
        image: The image.
        masks: What the folder of masks holds, and of images.
        config: Settings of the data set.
    """
    root, settings = find_dataset_root(config), propose_in_one_folder(list(masks.files), config)
    if not settings and masks.folder.resolve() == root.resolve():
        return f"{image} is its own mask: {advise_layout(root, list_subfolders(root), config)}"
    advice = settings or f"dataset.masks to the folder of the masks, or {TABLE}"
    return f"{image} is its own mask: set {advice}"


def advise_layout(root: Path, folders: Sequence[Path], config: FolderConfig) -> str:
    """Return what to do about a layout that is not read as it is, in words.

    Args:
        root: Folder of the data set.
        folders: Those in it.
        config: Settings of the data set.
    """
    settings = propose_folders(root, *NNUNET) if all((root / name).is_dir() for name in NNUNET) else ""
    if settings:
        rest = "; these are its training images, and imagesTs is left out" if (root / "imagesTs").is_dir() else ""
        return f"set {settings}{rest}"
    single = [path for path in folders if (path / "images").is_dir() and (path / "masks").is_dir()]
    if 2 * len(single) > len(folders):
        return (
            "each image has a folder of its own: put the images into images/ and one mask for each, of the same name, "
            "into masks/ (docs/your-images.md shows how to merge a mask file for each object)"
        )
    found = [path.name for path in folders if any(is_image(file) for file in walk_images(path))]
    marked = [name for name in found if MASK_WORDS.search(name)]
    if len(found) == 2 and len(marked) == 1:
        [other] = set(found) - set(marked)
        settings = propose_folders(root, other, marked[0])
    if not settings:
        files = [path for path in walk_images(root) if is_image(path)]
        keys = [path.with_name(strip_suffix(path)).relative_to(root).as_posix() for path in files]
        patterns = propose_in_one_folder(keys, config)
        settings = patterns and f"dataset.images=. dataset.masks=. {patterns}"
    if settings:
        return f"set {settings}"
    return (
        "a data set has one folder of images and one of masks, images/ and masks/, or those that dataset.images and "
        f"dataset.masks name (a dot is the folder itself); or {TABLE}"
    )


def propose_folders(root: Path, images: str, masks: str) -> str:
    """Return the settings that read two folders, with the patterns that their files need.

    Args:
        root: Folder of the data set.
        images: Name of the folder of images in it.
        masks: Name of the folder of masks.

    Returns:
        Part of a command line; empty where no pattern gives each image a mask.

    Raises:
        InputError: One of the folders holds no image, or two of one name.
    """
    names, files = (list_images(root / folder).files for folder in (images, masks))
    folders = f"dataset.images={images} dataset.masks={masks}"
    if len(match_masks(list(names), files)) == len(names):
        return folders
    patterns = propose_patterns(list(names), list(files))
    return patterns and f"{folders} {patterns}"


def propose_in_one_folder(keys: Sequence[str], config: FolderConfig) -> str:
    """Return settings that tell images from masks in one folder for both; empty where none gives each image a mask.

    Args:
        keys: Those of all files.
        config: Settings of the data set, whose patterns are tried first.
    """
    proposals = (propose_patterns(images, masks) for images, masks in divide_keys(keys, config) if images and masks)
    return next(filter(None, proposals), "")


def divide_keys(keys: Sequence[str], config: FolderConfig) -> Iterator[tuple[list[str], list[str]]]:
    """Yield ways to divide the files of a folder into images and masks: by patterns that are set, then by words.

    Args:
        keys: Those of all files.
        config: Settings of the data set.
    """
    if config.mask_name != "*":
        masks = [key for key in keys if extract_name(config.mask_name, key) is not None]
        yield [key for key in keys if key not in set(masks)], masks
    if config.image_names != ["*"]:
        images = [key for key in keys if any(extract_name(one, key) is not None for one in config.image_names)]
        yield images, [key for key in keys if key not in set(images)]
    masks = [key for key in keys if MASK_WORDS.search(key.rpartition("/")[2])]
    others = [key for key in keys if key not in set(masks)]
    yield [key for key in others if IMAGE_WORDS.search(key.rpartition("/")[2])], masks
    yield others, masks
