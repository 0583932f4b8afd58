"""`python -m bench predict run=<run or results folder> image=<file> out=<file>`: a trained arm on images of any size.

`image` may be a folder or a pattern with `*`; `out` is then a folder, and the masks are called like the images.
"""

import glob
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.config import require
from bench.datasets.listing import walk_images
from bench.datasets.opening import is_image, strip_suffix
from bench.datasets.zarr_files import is_store
from bench.files import clear_stale
from bench.predict import outputs
from bench.predict.choice import choose_run
from bench.predict.prediction import PredictConfig, Work, check_work, hide_progress, predict_one
from bench.predict.run_directory import read_run


def main(settings: PredictConfig) -> int:
    """Predict one image or several, and print a line for each. Returns the exit code."""
    place = Path(settings.run)
    chosen = choose_run(place, settings.pipeline, settings.dataset)
    if chosen != place:
        print(f"run: {chosen}, the best of {place} by its validation score", file=sys.stderr, flush=True)
    works = plan_works(replace(settings, run=str(chosen)))
    unfinished = [work for work in works if not work.is_finished]
    if len(unfinished) < len(works):
        skipped = f"skipped {len(works) - len(unfinished)} of {len(works)} image{'s' * (len(works) > 1)}"
        print(f"{skipped}: their masks are there already, and were not compared", file=sys.stderr, flush=True)
    for folder in sorted({work.out.parent for work in unfinished}):
        folder.mkdir(parents=True, exist_ok=True)
    return predict_all(unfinished, settings) if unfinished else 0


def predict_all(works: Sequence[Work], settings: PredictConfig) -> int:
    """Predict one image after the other; where there are workers, several at once, or one in parts.

    Returns the exit code.
    """
    has_workers = settings.parallel.workers > 0 or settings.parallel.scheduler is not None
    if has_workers and len(works) == 1:
        from bench.predict.divided import divide_pipeline

        print(predict_one(works[0], adapt=divide_pipeline), flush=True)
        return 0
    if has_workers:
        from bench.measure.machine import default_threads
        from bench.pipelines.parallel import stream_parallel

        quiet = partial(predict_one, progress=hide_progress)
        for done in stream_parallel(quiet, works, settings.parallel, default_threads()):
            print(done, flush=True)
        return 0
    for work in works:
        print(predict_one(work), flush=True)
    return 0


def plan_works(settings: PredictConfig) -> list[Work]:
    """List the images that are meant and where their masks go.

    Args:
        settings: Those of the verb, with a run's directory as `run`.

    Returns:
        One piece of work per image, finished ones too, everything checked that can be without reading a pixel or making
        a folder.

    Raises:
        InputError: The run, an image or a place for a mask cannot be used.
    """
    run, out = read_run(Path(settings.run)), Path(settings.out)
    several = is_several(settings.image)
    into_folder = is_folder(settings.out, several)
    require(
        into_folder or not several,
        f"out={out} must be a folder, because image={settings.image} may be several images",
    )
    images = match_images(settings.image) if several else [Path(settings.image)]
    if into_folder:
        outs = [out / f"{strip_suffix(image)}.{settings.format}" for image in images]
        outputs.check_folder(out)
    else:
        outs = [out]
        outputs.check_parent(out)
    twice = next((place for place in outs if outs.count(place) > 1), None)
    require(twice is None, f"several images would become {twice}: predict them in two turns")
    if outs[0].parent.is_dir():
        clear_stale(
            outs[0]
        )  # one whose prediction was killed as it was replaced is there again, and is not overwritten
    works = [Work(run.directory, image, place, settings) for image, place in zip(images, outs, strict=True)]
    for work in works:
        check_work(work, run)
    check_images_kept(works)
    return works


def check_images_kept(works: Sequence[Work]) -> None:
    """Refuse to write over an image of the call, into one, or over what holds one, such as an overlay beside its image.

    Raises `InputError`.
    """
    images = {work.image.resolve(): work.image for work in works}
    holders = {folder: image for path, image in images.items() for folder in path.parents}
    for out in (out for work in works for out in work.outs):
        place = out.resolve()
        image = next((images[path] for path in (place, *place.parents) if path in images), holders.get(place))
        require(image is None, f"out={out} is the image {image} itself, or lies inside it: choose another place")


def is_folder(out: str, several: bool) -> bool:
    """Whether `out` means a folder for masks.

    Args:
        out: As it was typed; one that ends in a slash means a folder, and so does one that is there.
        several: Whether several masks go there; then a name without a suffix means a folder too.
    """
    path = Path(out)
    if path.is_dir():
        return not path.name.lower().endswith(".zarr")
    return out.endswith("/") or (several and path.suffix == "")


def is_several(pattern: str) -> bool:
    """Whether `image` may mean several images; a name that is there is one, whatever characters it holds."""
    path = Path(pattern)
    if is_store(path) or path.is_file():
        return False
    return path.is_dir() or glob.has_magic(pattern)


def match_images(pattern: str) -> list[Path]:
    """Return the images of a folder, or those that a pattern matches, sorted. Raises `InputError` where it is none."""
    base, parts = Path(), list(Path(pattern).parts)
    while parts and (base / parts[0]).is_dir():  # what is there is meant as it stands
        base /= parts.pop(0)
    found = base.glob(str(Path(*parts))) if parts else base.iterdir()
    images = sorted(path for path in found if is_image(path) and path.name[0] != ".")
    require(len(images) > 0, f"image={pattern} matches no image of a kind that is read{advise_subfolders(base, parts)}")
    return images


def advise_subfolders(folder: Path, parts: Sequence[str]) -> str:
    """Return, in words, the pattern for the images in the subfolders of a folder; empty where there are none.

    Args:
        folder: The folder that was named.
        parts: What follows it in a pattern.
    """
    below = next((path for path in walk_images(folder) if is_image(path)), None) if not parts else None
    if below is None:
        return ""
    depth = len(below.relative_to(folder).parts) - 1
    return f"; for those in its subfolders give image='{folder.joinpath(*'*' * depth, f'*{below.suffix}')}'"
