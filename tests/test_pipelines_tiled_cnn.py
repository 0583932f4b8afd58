"""The pixel arm learns, predicts any size whatever the batch, blends sure pixels unchanged, and saves its weights."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.arrays.rows import MOST_ROWS
from bench.config import CnnConfig, Config, DatasetConfig, InputError, TiledCnnConfig, TrainingConfig
from bench.datasets.files import ImageFile, Layout, Scaled
from bench.datasets.normalization import Scaling
from bench.datasets.sample import Sample, Task
from bench.scores.metrics import confusion_matrix, macro_dice

if TYPE_CHECKING:
    import torch
    import zarr
    from support.networks import Local, Pixelwise
    from torch import Tensor, nn

    from bench.learning.devices import choose_dtype
    from bench.pipelines.cnn import flat, tiled_cnn
    from bench.pipelines.cnn.tiled_cnn import TiledCnn


TASK = Task(("background", "cell"), in_channels=1, spatial_axes=2, ignore_index=9)
SMALL = CnnConfig(decoder_channels=[16, 8, 8, 8, 8])  # the encoder of the default, and a decoder that is soon run


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(_: str, __: str, ___: None, in_channels: int, num_classes: int, ____: None) -> nn.Module:
        return Pixelwise(in_channels, num_classes)

    monkeypatch.setattr(flat, "build_cnn", build)


def pipeline(
    blend: str = "discard",
    batch_size: int = 2,
    tile_size: int = 64,
    epochs: int = 15,
    model: CnnConfig | None = None,
    task: Task = TASK,
    **options: bool | int,
) -> TiledCnn:
    settings = TiledCnnConfig(
        model=model or SMALL,
        crop_size=tile_size,
        tile_size=tile_size,
        overlap=16 if tile_size > 32 else 0,
        blend=blend,
        batch_size=batch_size,
        learning_rate=0.1,
        jitter=0.02,
        precision="float32",
        **options,  # type: ignore[arg-type]
    )
    training = TrainingConfig(epochs=epochs, steps=None)
    return TiledCnn(Config(DatasetConfig(), settings, training=training, device="cpu"), task)


def sample(seed: int, *shape: int) -> Sample:
    """Bright pixels are cells; the first few pixels count for nothing."""
    rng = np.random.default_rng(seed)
    mask: NDArray[np.uint8] = rng.integers(0, 2, shape, dtype=np.uint8)
    image: Any = (mask - 0.5 + rng.normal(0, 0.05, shape))[..., None].astype(np.float32)
    labels: Any = np.where(np.arange(mask.size).reshape(shape) < 5, 9, mask)
    return Sample(str(seed), image, labels)


def fitted(arm: TiledCnn) -> TiledCnn:
    arm.fit([arm.prepare(sample(0, 100, 70)), arm.prepare(sample(1, 40, 90))], [arm.prepare(sample(2, 50, 50))])
    return arm


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("blend", ["discard", "gaussian"])
@pytest.mark.parametrize("shape", [(130, 97), (20, 33), (64, 64), (5, 200)])
def test_pixels_of_any_image_find_their_class(blend: str, shape: tuple[int, int]) -> None:
    arm, held_out = fitted(pipeline(blend)), sample(3, *shape)
    predicted = arm.predict(arm.prepare(held_out))
    counted = held_out.mask[:] != 9
    assert predicted.dtype == np.uint8
    np.testing.assert_array_equal(predicted[counted], held_out.mask[:][counted])


@pytest.mark.usefixtures("stand_in")
def test_the_validation_score_is_pooled_macro_dice_without_ignored_pixels() -> None:
    arm = pipeline(epochs=1)
    held_out = [sample(2, 50, 50), sample(4, 70, 40)]
    items = [arm.prepare(one) for one in held_out]
    log = arm.fit([arm.prepare(sample(0, 100, 70))], items)
    pairs = [(one.mask[:], arm.predict(item)) for one, item in zip(held_out, items, strict=True)]
    pooled = sum(confusion_matrix(truth, guess, 2, ignore_index=9) for truth, guess in pairs)
    assert log.best_score == pytest.approx(macro_dice(np.asarray(pooled)))
    assert log.best_score is not None
    assert log.best_score < 1


@pytest.mark.usefixtures("stand_in")
def test_slices_of_a_volume_are_predicted_one_by_one() -> None:
    arm = pipeline(task=Task(("background", "cell"), in_channels=1, spatial_axes=3, ignore_index=9))
    volume = sample(0, 5, 40, 70)
    item = arm.prepare(volume)
    arm.fit([item], [item])
    np.testing.assert_array_equal(arm.predict(item).ravel()[5:], volume.mask[:].ravel()[5:])


@pytest.mark.usefixtures("stand_in")
def test_the_batch_size_changes_nothing_but_the_batches() -> None:
    arm = fitted(pipeline())
    item = arm.prepare(sample(3, 130, 97))
    expected = arm.predict(item)
    assert isinstance(arm.model, Pixelwise)
    arm.settings.batch_size = 3
    arm.model.shapes.clear()
    np.testing.assert_array_equal(arm.predict(item), expected)
    assert item.facts["num_tiles"] == sum(shape[0] for shape in arm.model.shapes)
    assert {shape[1:] for shape in arm.model.shapes} == {(1, 64, 64)}
    assert max(shape[0] for shape in arm.model.shapes) == 3


@pytest.mark.usefixtures("stand_in")
def test_small_images_make_small_crops() -> None:
    arm = pipeline(tile_size=256, epochs=1)
    arm.fit([arm.prepare(sample(0, 40, 70))], [arm.prepare(sample(1, 33, 20))])
    assert isinstance(arm.model, Pixelwise)
    assert set(arm.model.shapes) == {(2, 1, 96, 96), (1, 1, 64, 32)}


def test_a_real_network_is_saved_and_loaded(tmp_path: Path) -> None:
    first = pipeline(epochs=1, tile_size=32)
    item = first.prepare(sample(0, 60, 40))
    log = first.fit([item], [item])
    first.save(tmp_path / "checkpoint.pt")
    second = pipeline(tile_size=32)
    assert (second.predict(item) != first.predict(item)).any()
    second.load(tmp_path / "checkpoint.pt")
    np.testing.assert_array_equal(second.predict(item), first.predict(item))
    assert log.parameters == sum(p.numel() for p in first.model.parameters())


def test_no_weights_are_there_before_a_fit_begins() -> None:
    """Net memory is counted from the first stage on: weights that were there before would be missing from it."""
    before = count_weights()
    arm = pipeline(epochs=1, tile_size=32)
    assert count_weights() == before
    item = arm.prepare(sample(0, 60, 40))
    arm.fit([item], [item])
    assert count_weights() >= before + sum(p.numel() for p in arm.model.parameters())


def count_weights() -> int:
    """Return the numbers in all parameters of networks that something still refers to."""
    gc.collect()  # networks of earlier tests may wait for it
    return sum(one.numel() for one in gc.get_objects() if type(one) is torch.nn.Parameter)


def test_wrong_networks_are_refused_by_the_trial() -> None:
    with pytest.raises(InputError, match=r"pipeline\.model: encoder_name must be"):
        pipeline(model=CnnConfig(encoder_name="resnet17")).try_settings()


def test_precision_follows_the_settings_and_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capable, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda capable=capable: {"avx512_bf16": capable})
        assert choose_dtype("auto", cpu, amp=True) == dtype
        assert choose_dtype("auto", cpu, amp=False) == torch.float32
        assert choose_dtype("float32", cpu, amp=True) == torch.float32
        assert choose_dtype("bfloat16", cpu, amp=False) == torch.bfloat16


class Band:
    """An image of which no more than `most` rows may be asked for at once."""

    def __init__(self, content: Any, most: int) -> None:
        self.content, self.most = content, most
        self.shape, self.dtype = content.shape, content.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        part: NDArray[Any] = self.content[key]
        assert len(part) <= self.most
        return part

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> NDArray[Any]:
        raise AssertionError("the whole image was asked for")


@pytest.mark.parametrize("blend", ["discard", "gaussian"])
@pytest.mark.parametrize("shape", [(MOST_ROWS + 90, 33), (3, 70, 100)])
def test_a_large_image_gets_the_same_mask_from_bands_of_it(blend: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    arm = pipeline(blend, batch_size=3, task=Task(("a", "b", "c"), 1, len(shape)))
    image = np.random.default_rng(0).standard_normal((*shape, 1), dtype=np.float32)
    expected = arm.predict(arm.prepare(Sample("", image, np.zeros(shape, np.uint8))))
    out = zarr.create_array(
        tmp_path / "mask.zarr", shape=shape, chunks=(shape[0] // 3, 50, 50)[: len(shape)], dtype="u1"
    )
    shares: list[float] = []
    arm.predict_into(Band(image, MOST_ROWS), out, tmp_path, shares.append)
    np.testing.assert_array_equal(out[...], expected)
    assert len(np.unique(expected)) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_flips_make_the_prediction_follow_the_image() -> None:
    """Mirroring the image mirrors the averaged mask; without flips a network that was not trained does not do so."""

    def disagreement(flips: bool) -> float:
        torch.manual_seed(0)
        arm = pipeline(tile_size=64, task=Task(("a", "b", "c"), 1, 2), flips=flips)
        image = np.random.default_rng(0).standard_normal((64, 64, 1), dtype=np.float32)
        seen, mirrored = (
            arm.predict(arm.prepare(Sample("", view, np.zeros((64, 64), np.uint8)))) for view in (image, image[:, ::-1])
        )
        return float(np.mean(seen != mirrored[:, ::-1]))

    assert disagreement(flips=True) < 0.001 < disagreement(flips=False)


@pytest.mark.usefixtures("stand_in")
def test_checkpointing_is_of_the_network_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it changes no step is a law of `models.checkpointing`."""
    seen: list[nn.Module] = []
    monkeypatch.setattr(tiled_cnn, "checkpoint_blocks", lambda model, _: seen.append(model))
    assert fitted(pipeline(epochs=1)).model not in seen
    assert fitted(pipeline(epochs=1, checkpointing=True)).model in seen


@pytest.mark.usefixtures("stand_in")
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch() -> None:
    def step(accumulate: int) -> tuple[dict[str, Tensor], int]:
        torch.manual_seed(0)
        arm = pipeline(batch_size=5, epochs=1, accumulate=accumulate)
        item = arm.prepare(sample(0, 100, 70))
        arm.fit([item], [item])
        assert isinstance(arm.model, Pixelwise)
        return arm.model.state_dict(), arm.model.shapes[0][0]

    (whole, five), (parts, two) = step(1), step(3)
    assert (five, two) == (5, 2)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def test_training_starts_from_a_weights_file_and_the_row_says_so(tmp_path: Path) -> None:
    first = pipeline(epochs=1, tile_size=32)
    item = first.prepare(sample(0, 60, 40))
    assert first.fit([item], [item]).facts["from_scratch"] is True
    first.save(tmp_path / "checkpoint.pt")
    second = pipeline(epochs=1, tile_size=32, model=replace(SMALL, weights_file=str(tmp_path / "checkpoint.pt")))
    np.testing.assert_array_equal(second.predict(item), first.predict(item))
    assert second.fit([item], [item]).facts["from_scratch"] is False
    with pytest.raises(InputError, match=r"pipeline\.model: weights_file .*absent.* cannot be read"):
        pipeline(model=CnnConfig(weights_file=str(tmp_path / "absent.pt"))).try_settings()


def test_images_lie_in_memory_or_in_scratch_files_in_the_type_of_their_file_or_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.random.default_rng(0).integers(0, 65535, (130, 97), dtype=np.uint16))
    scaling = Scaling(np.array([30000.0]), np.array([20000.0]))
    file = ImageFile(tmp_path / "image.tif", Layout(None, False), scaling, (130, 97, 1))
    torch.manual_seed(0)
    arm = pipeline(tile_size=64)
    mask = np.zeros((130, 97), np.uint8)
    plain = arm.prepare(Sample("", file[...], mask))
    items = [arm.prepare(Sample("", file, mask))]
    assert items[0].stored_bytes == 0
    monkeypatch.setattr(tiled_cnn, "MEMORY_VALUES", 1000)
    monkeypatch.setattr(arm.config.graph, "scratch_dir", str(tmp_path))
    items.append(arm.prepare(Sample("", file, mask)))
    assert items[1].stored_bytes == 2 * mask.size == sum(path.stat().st_size for path in tmp_path.glob("*.bin"))
    arm.held_pixels = 1000
    items.append(arm.prepare(Sample("", file, mask)))
    for item in items[:2]:
        assert isinstance(item.image, Scaled)
        assert item.image.stored.dtype == np.uint16
    assert items[2].image is file
    for item in items:
        np.testing.assert_array_equal(arm.predict(item), arm.predict(plain))
        for (one, _), (other, _) in zip(
            arm.make_sampler([item], np.empty(0, np.intp)).draw_epoch(np.random.default_rng(0)),
            arm.make_sampler([plain], np.empty(0, np.intp)).draw_epoch(np.random.default_rng(0)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    del item, items
    assert not list(tmp_path.glob("*.bin"))


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("shape", [(130, 97), (3, 70, 100)])
def test_blending_equals_averaging_over_the_whole_image_whatever_the_batch(shape: tuple[int, ...], flips: bool) -> None:
    """The reference: weighted probabilities of every tile and mirror image, one by one, divided by the weights."""
    torch.manual_seed(0)
    arm = pipeline("gaussian", task=Task(("a", "b", "c"), 1, len(shape)), flips=flips)
    arm._model = Local(1, 3)  # sees its neighbours and the tile's margin, and mirrors nothing
    image = np.random.default_rng(0).standard_normal((*shape, 1), dtype=np.float32)
    item = arm.prepare(Sample("", image, np.zeros(shape, np.uint8)))
    extended = [*shape[:-2], 160, 128]
    sums, total = np.zeros((3, *extended)), np.zeros(extended)
    offset = (np.arange(64) - 31.5) / 8
    weights = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2))
    for window in item.windows:
        tile = torch.from_numpy(tiles.read_padded(image, window.read)).reshape(1, 1, 64, 64)
        views = arm.sight.mirrors if flips else [()]
        with torch.no_grad():
            shares = [arm.model(tile.flip(view)).softmax(dim=1).flip(view)[0].numpy() for view in views]
        sums[(slice(None), *window.read)] += (np.mean(shares, axis=0) * weights).reshape(3, *window.shape)
        total[window.read] += weights
    inside = tuple(slice(0, length) for length in shape)
    means = (sums[(slice(None), *inside)] / total[inside]).astype(np.float32)
    for batch_size in (1, 2, 5):
        arm.settings.batch_size = batch_size
        got = np.take_along_axis(means, arm.predict(item)[None], axis=0)[0]
        np.testing.assert_allclose(got, means.max(axis=0), rtol=1e-4)
    assert len(np.unique(means.argmax(axis=0))) > 1
