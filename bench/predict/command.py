"""`python -m bench predict run=<run directory> image=<file> out=<file>`: a trained arm on images of any size.

`image` may be a folder or a pattern with `*`; `out` is then a folder, and the masks are called like the images.
"""

import glob
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.config import require
from bench.datasets.opening import is_image, stem_of
from bench.datasets.zarr_files import is_store
from bench.predict import outputs
from bench.predict.prediction import PredictConfig, Work, axis_of, layout_of, opened, predict_one, silent
from bench.predict.run_directory import read_run


def main(settings: PredictConfig) -> int:
    """Predict one image or several, and print a line for each. Returns the exit code."""
    with ended_politely():
        return predict_all(plan(settings), settings)


def predict_all(works: Sequence[Work], settings: PredictConfig) -> int:
    """One image after the other, or several at once where there are workers."""
    if len(works) > 1 and (settings.parallel.workers > 0 or settings.parallel.scheduler is not None):
        from bench.measure.machine import default_threads
        from bench.pipelines.parallel import map_parallel

        quiet = partial(predict_one, progress=silent)
        for done in map_parallel(quiet, works, settings.parallel, default_threads()):
            print(done)
        return 0
    for work in works:
        print(predict_one(work), flush=True)
    return 0


@contextmanager
def ended_politely() -> Iterator[None]:
    """A request to terminate, as schedulers send, cleans up like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def plan(settings: PredictConfig) -> list[Work]:
    """The images that are meant and where their masks go, everything checked that can be without reading a pixel."""
    run = read_run(Path(settings.run))
    single = Path(settings.image)
    if is_store(single) or (not single.is_dir() and not glob.has_magic(settings.image)):
        works = [Work(run.directory, single, Path(settings.out), settings)]
    else:
        folder = Path(settings.out)
        require(folder.is_dir(), f"out={folder} must be a folder, because image={settings.image} may be several images")
        images = images_of(settings.image)
        works = [
            Work(run.directory, image, folder / f"{stem_of(image)}.{settings.format}", settings) for image in images
        ]
        outs = [work.out for work in works]
        twice = next((work for work in works if outs.count(work.out) > 1), None)
        require(twice is None, f"several images would become {twice and twice.out}: predict them in two turns")
    for work in works:
        outputs.check_writable(work.out, settings.overwrite)
        check_apart(work.image, work.out)
        layout_of(work.image, opened(work, run).header, run.task, axis_of(work, run))
    return works


def images_of(pattern: str) -> list[Path]:
    """The images of a folder, or those that a pattern matches, sorted. Raises `InputError` where there are none."""
    folder = Path(pattern)
    base = Path(folder.anchor or ".")
    found = folder.iterdir() if folder.is_dir() else base.glob(str(folder.relative_to(folder.anchor)))
    images = sorted(path for path in found if is_image(path) and path.name[0] != ".")
    require(len(images) > 0, f"image={pattern} matches no image of a kind that is read")
    return images


def check_apart(image: Path, out: Path) -> None:
    """Refuse to write into the image, or over it."""
    one, other = image.resolve(), out.resolve()
    apart = not other.is_relative_to(one) and not one.is_relative_to(other)
    require(apart, f"out={out} lies inside the image {image}, or is it: choose another place")
