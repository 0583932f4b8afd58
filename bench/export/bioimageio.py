"""A CNN run as a model of bioimage.io: one ZIP file with `rdf.yaml`, weights, a tested example, a text and a cover.

`rdf.yaml` follows the specification `model 0.5` (https://github.com/bioimage-io/spec-bioimage-io). The model takes grey
values as they are in an image's file and gives the probability of each class. What the specification has no words for
is refused (images that are reduced before the network, grey values whose full scale differs from image to image) or
said in README.md (how tiles are stitched, mirror images).
"""

import hashlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.config import TiledCnnConfig, require
from bench.datasets.normalization import find_full_scale
from bench.export.example import (
    STEP,
    check_spread,
    draw_cover,
    find_least,
    get_settings,
    list_steps,
    make_example,
    predict_example,
)
from bench.export.formats import compare_networks, ignore_warnings, write_network
from bench.files import fill_atomically, read_json, read_text, write_atomically
from bench.predict.run_directory import FinishedRun

FORMAT_VERSION = "0.5.5"  # the first one with softmax
KINDS = {".pt": "torchscript", ".onnx": "onnx"}  # weights by suffix, as the specification calls them
ARTICLES = (
    ("Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015",
     "10.1007/978-3-319-24574-4_28"),
    ("Jain et al., Memory-efficient semantic segmentation of large microscopy images using graph-based neural "
     "networks, Microscopy 2024", "10.1093/jmicro/dfad049"),
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """What a model of bioimage.io is made of.

    Attributes:
        run: A run of `tiled_cnn`.
        network: Its network, from (B, C, H, W) to logits (B, K, H, W), in eval mode.
        suffixes: Of the weights to be written: .pt for TorchScript, which comes first, and .onnx.
        image: An image whose middle becomes the example; None: a generated pattern.
        authors: Their names.
        licence: Of the weights, an identifier of SPDX.
    """

    run: FinishedRun
    network: Any
    suffixes: tuple[str, ...] = (".pt",)
    image: Path | None = None
    authors: tuple[str, ...] = ()
    licence: str | None = None

    @property
    def is_tiled(self) -> bool:
        """Whether the model may see an image in tiles: not where it takes the mean of what it sees away."""
        return self.run.normalization.mode != "centred"

    @property
    def settings(self) -> TiledCnnConfig:
        """Settings of the arm."""
        return get_settings(self.run)


def pack_model(package: Package, out: Path) -> int:
    """Write the ZIP file, whole or not at all.

    Args:
        package: What it is made of.
        out: The file.

    Returns:
        The number of pixels on which each kind of weights was compared with the run's network.

    Raises:
        InputError: The specification cannot describe the run, the image is not of the run's kind, or the weights do
            not give the run's classes.
    """
    check_describable(package)
    with fill_atomically(out) as temporary, TemporaryDirectory() as name:
        folder = Path(name)
        compared = write_model(package, folder)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
    return compared


def check_describable(package: Package) -> None:
    """Refuse what the specification has no words for. Raises InputError."""
    settings, normalization = package.settings, package.run.normalization
    again = "train one without, or choose out=NAME.pt, whose description says it"
    require(
        settings.scale == 1,
        f"pipeline.scale={settings.scale}: a model of bioimage.io cannot reduce images before the network: {again}",
    )
    scales = {find_full_scale(np.dtype(name)) for name in normalization.dtypes}
    require(
        normalization.mode != "none" or len(scales) == 1,
        f"dataset.normalization=none on images of {' and '.join(normalization.dtypes) or 'unknown types'}: a model of "
        f"bioimage.io has one scale of grey values: {again}",
    )
    known = package.licence is None or re.fullmatch(r"[A-Za-z0-9.+-]+", package.licence) is not None
    require(known, f"licence must be an identifier of https://spdx.org/licenses, such as MIT, got {package.licence!r}")
    wrong = [name for name in package.authors if not name.strip() or re.search(r"[/\\]", name)]
    require(not wrong, f"authors must be names without slashes, separated by commas, got {wrong[:1]}")


def complete_network(package: Package) -> Any:
    """Return the network with what no preprocessing step of the specification does before it."""
    if package.is_tiled:
        return package.network
    from bench.export.centred import Centred

    check_spread(min(package.run.normalization.std))
    return Centred(package.network, package.run.normalization.std).eval()


def write_model(package: Package, folder: Path) -> int:
    """Write every file of the model into an empty folder. Returns the number of pixels compared; raises InputError."""
    import yaml

    example, compared = make_example(package.run, package.image), 0
    network, channels = complete_network(package), package.run.task.in_channels
    for suffix in package.suffixes:
        with ignore_warnings():
            forward = write_network(network, channels, folder / f"weights{suffix}", suffix)
            compared = compare_networks(network, forward, channels)
    probabilities = predict_example(package.run, network, example)
    np.save(folder / "test_input.npy", example)
    np.save(folder / "test_output.npy", probabilities)
    draw_cover(folder / "cover.png", example[0], probabilities[0].argmax(axis=0))
    write_atomically(folder / "README.md", write_text(package))
    description = describe_package(package, folder)
    write_atomically(folder / "rdf.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
    return compared


# ------------------------------------------------------------------------------------------------------ description


def describe_package(package: Package, folder: Path) -> dict[str, Any]:
    """Return what `rdf.yaml` holds; the other files of the model are in `folder` already."""
    facts = read_facts(package.run.directory)
    people = {"authors": [{"name": name.strip()} for name in package.authors]} if package.authors else {}
    licence = {"license": package.licence} if package.licence else {}
    started = {"timestamp": str(facts["started"])} if facts.get("started") else {}
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": name_model(package, facts),
        "description": describe_in_short(package, facts),
        **people,
        **licence,
        "cite": [{"text": text, "doi": doi} for text, doi in ARTICLES],
        "tags": ["semantic-segmentation", "2d", "pytorch", package.settings.model.architecture.lower()],
        "version": "0.1.0",
        **started,
        "documentation": "README.md",
        "covers": ["cover.png"],
        "inputs": [describe_input(package, folder)],
        "outputs": [describe_output(package, folder)],
        "weights": describe_weights(package.suffixes, folder),
        "config": {"gnn-vs-cnn": {"run": package.run.directory.name, "classes": list(package.run.task.class_names)}},
    }


def read_facts(directory: Path) -> Mapping[str, Any]:
    """Return the row of a run, where its directory holds one."""
    path = directory / "run.json"
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def name_model(package: Package, facts: Mapping[str, Any]) -> str:
    """Return a name of letters, digits, spaces and dashes, at most 64 of them."""
    model, place = package.settings.model, facts.get("dataset") or package.run.config.dataset.name
    return re.sub(r"[^A-Za-z0-9_+ ()-]+", "-", f"{model.architecture} {model.encoder_name} on {place}")[:64]


def describe_in_short(package: Package, facts: Mapping[str, Any]) -> str:
    """Return a sentence on what the model does."""
    names = ", ".join(package.run.task.class_names)
    place = facts.get("dataset") or package.run.config.dataset.name
    return f"Probability of each class ({names}) in every pixel of two-dimensional images, trained on {place}."[:512]


def refer(folder: Path, name: str) -> dict[str, str]:
    """Return a file of the model with its hash."""
    return {"source": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}


def describe_input(package: Package, folder: Path) -> dict[str, Any]:
    """Return the description of the image."""
    size = {"min": find_least(package.settings), "step": STEP}
    channels = [f"channel{number}" for number in range(package.run.task.in_channels)]
    return {
        "id": "image",
        "description": "grey values as they are in the image's file",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": channels},
            *({"type": "space", "id": axis, "size": dict(size), "concatenable": package.is_tiled} for axis in "yx"),
        ],
        "data": {"type": "float32"},
        "preprocessing": [dict(step) for step in list_steps(package.run.normalization, len(channels))],
        "test_tensor": refer(folder, "test_input.npy"),
    }


def describe_output(package: Package, folder: Path) -> dict[str, Any]:
    """Return the description of the probabilities."""
    halo = {"halo": package.settings.overlap} if package.settings.overlap and package.is_tiled else {}
    sides = [{"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}, **halo} for axis in "yx"]
    names = make_identifiers(package.run.task.class_names)
    return {
        "id": "probabilities",
        "description": "probability of each class, in [0, 1]",
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": names}, *sides],
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "postprocessing": [{"id": "softmax", "kwargs": {"axis": "channel"}}],
        "test_tensor": refer(folder, "test_output.npy"),
    }


def make_identifiers(names: Sequence[str]) -> list[str]:
    """Return different names that the specification takes: identifiers of Python that are no keywords."""
    found: list[str] = []
    for number, name in enumerate(names):
        made = re.sub(r"\W", "_", name)
        proper = made.isidentifier() and not iskeyword(made) and made not in found
        found.append(made if proper else f"class{number}_{made}")
    return found


def describe_weights(suffixes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return the description of the files of weights; the first kind is the one that the others were made of."""
    import torch

    found: dict[str, Any] = {}
    for suffix in suffixes:
        entry: dict[str, Any] = refer(folder, f"weights{suffix}")
        entry |= {"parent": KINDS[suffixes[0]]} if found else {}
        if suffix == ".onnx":
            entry["opset_version"] = read_opset(folder / "weights.onnx")
        else:
            entry["pytorch_version"] = torch.__version__.split("+")[0]
        found[KINDS[suffix]] = entry
    return found


def read_opset(path: Path) -> int:
    """Return the version of ONNX's own operators that a file uses."""
    import onnx

    [version] = [entry.version for entry in onnx.load(str(path)).opset_import if entry.domain in ("", "ai.onnx")]
    return int(version)


# ------------------------------------------------------------------------------------------------------------- text


def write_text(package: Package) -> str:
    """Return README.md: what the model is, what `rdf.yaml` cannot say, how to validate it, and the run's model card."""
    run = package.run
    source = "a generated pattern, which shows nothing" if package.image is None else "the middle of an image"
    return f"""# {name_model(package, read_facts(run.directory))}

{describe_in_short(package, read_facts(run.directory))}
Height and width are multiples of {STEP}. The class of a pixel is the one with the largest probability.

{describe_tiling(package)}
The example and the cover are {source}.

## Validation

Compare the predicted classes with masks drawn by hand on images that no training has seen, at best as many as the
model card below names, and compute the Dice score of each class over all their pixels. Other microscopes, stains and
magnifications need a validation of their own.

{read_card(run.directory)}"""


def describe_tiling(package: Package) -> str:
    """Return sentences on how the run sees an image, where this model cannot do the same."""
    settings = package.settings
    more = []
    if package.run.task.spatial_axes == 3 and package.run.normalization.mode in ("per_image", "centred"):
        more.append("It sees the planes of a volume one by one, whose grey values the run scaled together.")
    if settings.flips:
        more.append("The run averages what it sees in the mirror images of each tile; this model does not.")
    if not package.is_tiled:
        return " ".join(["It takes the mean of what it sees away: give it whole images, not tiles.", *more])
    margin = f"{settings.overlap} pixels are {'discarded' if settings.blend == 'discard' else 'blended'}"
    return f"""The run segments an image in tiles of {settings.tile_size} pixels, of whose edges {margin};
other programs stitch in their own way, and their masks may differ near the seams.
Grey values are scaled by the statistics of what a program takes for one image: give it whole images.
{" ".join(more)}""".strip()


def read_card(directory: Path) -> str:
    """Return the model card of a run, one level lower, without what names places of this machine."""
    path = directory / "model_card.md"
    if not path.is_file():
        return "This run has no model card: `python -m bench report` writes one.\n"
    text = read_text(path).split("\n## How to apply it")[0]
    lines = [line for line in text.splitlines() if not line.startswith("- command:")]
    return re.sub(r"^#", "##", "\n".join(lines), flags=re.MULTILINE) + "\n"
