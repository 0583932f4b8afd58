"""A finished run applied to arrays in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.config import InputError, require, require_spacing
from bench.datasets.examine import examine
from bench.datasets.files import Arranged, Scaled
from bench.datasets.stored import Header
from bench.pipelines.protocol import Pipeline, Probabilistic
from bench.predict.choice import choose_run
from bench.predict.loading import load_run
from bench.predict.prediction import find_channels, predict_part
from bench.predict.run_directory import FinishedRun
from bench.predict.voxels import choose_spacing

IMAGE = Path("the image")  # what sentences call an array


class Prediction(NamedTuple):
    """Classes (*spatial) of an image, and the probability of each class (K, *spatial) float32."""

    mask: NDArray[np.integer]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run with its weights, ready to segment arrays."""

    run: FinishedRun
    pipeline: Pipeline[Any]
    device: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, of class 0 first."""
        return self.run.task.class_names

    def predict(self, image: ArrayLike, spacing: Sequence[float] | None = None) -> NDArray[np.integer]:
        """Segment an image.

        Args:
            image: Grey values as they are in the image's file, not scaled: (*spatial, C), or (*spatial) of one channel.
            spacing: Length of a pixel along each axis, in any unit, which superpixels and graphs follow; None: as in
                training.

        Returns:
            Class of each pixel (*spatial), the same as `python -m bench predict` writes for the same values.

        Raises:
            InputError: The image is not of the kind that the run was trained on.
        """
        scaled = self._scale(np.asarray(image))
        mask = np.empty(scaled.shape[:-1], np.min_scalar_type(len(self.class_names) - 1))
        self._predict_into(scaled, mask, None, spacing)
        return mask

    def predict_probabilities(self, image: ArrayLike, spacing: Sequence[float] | None = None) -> Prediction:
        """Segment an image, and say how probable each class is.

        Args:
            image: As in `predict`.
            spacing: As in `predict`.

        Returns:
            The mask, and probabilities that add up to 1 in each pixel.

        Raises:
            InputError: As in `predict`; or the method of the run has no probabilities.
        """
        able, name = isinstance(self.pipeline, Probabilistic), self.run.config.pipeline.name
        require(able, f"{name} does not say how probable a class is: use predict, or a run of another method")
        scaled = self._scale(np.asarray(image))
        shape = scaled.shape[:-1]
        mask = np.empty(shape, np.min_scalar_type(len(self.class_names) - 1))
        probabilities = np.empty((len(self.class_names), *shape), np.float32)
        self._predict_into(scaled, mask, probabilities, spacing)
        return Prediction(mask, probabilities)

    def _scale(self, image: NDArray[Any]) -> Scaled:
        layout = find_channels(IMAGE, Header(image.shape, image.dtype, None, False), self.run.task, None)
        stored = Arranged(image, layout)
        return Scaled(stored, self.run.normalization.scaling(stored.dtype, examine(IMAGE, stored)))

    def _predict_into(
        self,
        image: Scaled,
        mask: NDArray[np.integer],
        probabilities: NDArray[np.float32] | None,
        spacing: Sequence[float] | None,
    ) -> None:
        require_spacing("spacing", None if spacing is None else list(spacing))
        lengths, pipeline = choose_spacing(spacing, None, self.run.task), self.pipeline
        if lengths is not None:
            _, pipeline = load_run(self.run.directory, self.device, lengths)
        with TemporaryDirectory() as scratch:
            try:
                predict_part(pipeline, image, (mask, probabilities), Path(scratch), lambda _: None)
            except ValueError as error:
                if str(error).startswith("superpixels."):
                    raise InputError(str(error)) from error
                raise


def load_trained(place: Path, pipeline: str | None, dataset: str | None, device: str) -> TrainedRun:
    """Load the run that is meant by a run's directory or a results folder, as `choose_run` does.

    Args:
        place: A run's directory, or a results folder.
        pipeline: In a results folder, only runs of this arm count.
        dataset: In a results folder, only runs on the data set of this name count.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: There is no such run, or its checkpoint cannot be read.
    """
    return TrainedRun(*load_run(choose_run(place, pipeline, dataset), device), device)
