"""Networks over volumes: boxes and neighbouring planes, tiled or whole, and levels planned as nnU-Net plans them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.arrays import tiles
from bench.config import (
    CnnConfig,
    Config,
    DatasetConfig,
    InputError,
    TiledCnn3dConfig,
    TiledCnn25dConfig,
    TilesConfig,
    TrainingConfig,
    VolumeCnnConfig,
)
from bench.datasets.sample import Sample, Task
from bench.pipelines.cnn.crops import IGNORED, CropSampler, Labelled
from bench.pipelines.cnn.sight import Sight
from bench.pipelines.registry import build_pipeline
from models.levels import UnetLevel, multiply_strides, plan_levels

if TYPE_CHECKING:
    import torch
    from support.networks import Local, Pixelwise
    from torch import nn

    from bench.pipelines.cnn import flat, volume
    from bench.pipelines.cnn.inference import Inferer, Tiling
    from bench.pipelines.cnn.tiled_cnn import TiledCnn
    from models import volume_unet
    from models.checkpointing import checkpoint_blocks
    from models.volume_unet import build_volume_cnn, list_levels, list_network_blocks


BOX, CONTEXT = Sight(3, 0, (2, 4, 4)), Sight(context=2)
CPU = "cpu"


def numbered(*shape: int) -> Labelled:
    mask = np.arange(int(np.prod(shape))).reshape(shape)
    return Labelled(mask[..., None].astype(np.float32), mask)


def noise(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((*shape, 1), dtype=np.float32)


# --------------------------------------------------------------------------------------------------- the levels


def halvings(shape: tuple[int, ...], spacing: tuple[float, ...] = (1, 1, 1)) -> tuple[int, ...]:
    return multiply_strides(plan_levels(shape, spacing))


@pytest.mark.parametrize(
    ("shape", "spacing", "total"),
    [
        ((128, 128, 128), (1, 1, 1), (32, 32, 32)),
        ((16, 128, 128), (1, 1, 1), (4, 32, 32)),
        ((10, 128, 128), (1, 1, 1), (2, 32, 32)),
        ((10, 128, 128), (5, 1, 1), (2, 32, 32)),
        ((7, 128, 128), (1, 1, 1), (1, 32, 32)),
        ((20, 320, 256), (9, 1.25, 1.25), (4, 32, 32)),  # the prostate of nnU-Net's paper: strides 1, 64, 64 uncapped
        ((8, 8, 8), (1, 1, 1), (2, 2, 2)),
        ((1, 64, 8), (1, 1, 1), (1, 8, 2)),
    ],
)
def test_axes_are_halved_as_their_size_and_spacing_allow(
    shape: tuple[int, ...], spacing: tuple[float, ...], total: tuple[int, ...]
) -> None:
    assert halvings(shape, spacing) == total
    assert all(length // stride >= 4 or stride == 1 for length, stride in zip(shape, total, strict=True))


def test_a_coarse_axis_waits_until_the_others_have_caught_up() -> None:
    levels = plan_levels((16, 128, 128), (4, 1, 1))
    assert levels[:4] == [
        UnetLevel((1, 3, 3), (1, 1, 1)),
        UnetLevel((1, 3, 3), (1, 2, 2)),
        UnetLevel((3, 3, 3), (1, 2, 2)),
        UnetLevel((3, 3, 3), (2, 2, 2)),
    ]
    assert levels[-1].kernel == (3, 3, 3)


def test_a_plan_does_not_depend_on_the_unit_and_follows_a_turn_of_the_axes() -> None:
    assert plan_levels((16, 96, 64), (0.5, 0.1, 0.1)) == plan_levels((16, 96, 64), (500, 100, 100))
    turned = [UnetLevel(level.kernel[::-1], level.stride[::-1]) for level in plan_levels((64, 96, 16), (1, 2, 5))]
    assert plan_levels((16, 96, 64), (5, 2, 1)) == turned


# ---------------------------------------------------------------------------------------------- what a network sees


def test_neighbouring_planes_are_channels_and_mirrored_beyond_the_ends() -> None:
    image = noise(0, 4, 6, 5)
    seen = CONTEXT.read(image, (slice(1, 2), slice(2, 5), slice(0, 5)))
    expected = [image[plane, 2:5, :, 0] for plane in (1, 0, 1, 2, 3)]  # plane -1 is the reflection of plane 1
    np.testing.assert_array_equal(seen, np.stack(expected, axis=-1))
    two = np.concatenate([image, image + 10], axis=-1)
    np.testing.assert_array_equal(CONTEXT.read(two, (slice(2, 3), slice(0, 6), slice(0, 5)))[..., 4:6], two[2])


def test_reversed_planes_are_those_of_the_reversed_volume() -> None:
    labelled = numbered(5, 6, 4)
    reversed_image = np.ascontiguousarray(labelled.image[::-1])
    where = (slice(2, 3), slice(0, 6), slice(0, 4))
    image, labels = CONTEXT.read(labelled.image, where), CONTEXT.read_labels(labelled.mask, where)
    mirrored, same = CONTEXT.reverse_planes(image, labels)
    np.testing.assert_array_equal(mirrored, CONTEXT.read(reversed_image, where))
    np.testing.assert_array_equal(same, labels)
    box = (slice(0, 5), slice(0, 6), slice(0, 4))
    mirrored, turned = BOX.reverse_planes(BOX.read(labelled.image, box), BOX.read_labels(labelled.mask, box))
    np.testing.assert_array_equal(mirrored, reversed_image)
    np.testing.assert_array_equal(turned, labelled.mask[::-1])


@pytest.mark.parametrize(("sight", "size"), [(BOX, (4, 8, 8)), (Sight(3), (4, 8, 8)), (Sight(context=1), (8, 8))])
def test_labels_stay_with_their_voxels_through_every_turn(sight: Sight, size: tuple[int, ...]) -> None:
    drawn = set()
    sampler = CropSampler([numbered(5, 20, 30)], size, 4, sight=sight)
    for epoch in range(8):
        for images, labels in sampler.draw_epoch(np.random.default_rng(epoch)):
            assert images.shape == (4, *size, 3 if sight.context else 1)
            for image, label in zip(images, labels, strict=True):
                np.testing.assert_array_equal(image[..., image.shape[-1] // 2], label)
                deep = label if sight.axes == 3 else np.moveaxis(image, -1, 0)
                drawn.add((int(deep[2, 1, 1] - deep[1, 1, 1]), int(label[..., 0, 1].min() - label[..., 0, 0].min())))
    assert {plane for plane, _ in drawn} >= {600, -600}
    assert {column for _, column in drawn} == {1, -1, 30, -30}


def test_boxes_reach_every_voxel_and_ignore_what_lies_beyond() -> None:
    sampler = CropSampler([numbered(3, 20, 30)], (4, 8, 8), 4, sight=BOX)
    epochs = (batch for epoch in range(80) for batch in sampler.draw_epoch(np.random.default_rng(epoch)))
    seen = np.concatenate([labels.ravel() for _, labels in epochs])
    assert set(seen) == {IGNORED, *range(3 * 20 * 30)}  # three planes of four


# ---------------------------------------------------------------------------------------------- tiled equals whole


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("sight", [BOX, CONTEXT])
def test_tiled_is_whole(sight: Sight, gaussian: bool) -> None:
    """Where tiles overlap by the receptive field, the mask is that of the whole volume at once."""
    torch.manual_seed(0)
    network = Local(sight.count_channels(1), 3, sight.axes).eval()
    image = noise(0, 10, 44, 52)
    out = np.full(image.shape[:3], 9, np.uint8)
    side = 8 if sight.axes == 3 else 32
    cut = Tiling(side, side // 4 if sight.axes == 3 else 0, planes=4, plane_overlap=1, sight=sight).cut(out.shape)
    assert len({window.shape for window in cut}) == 1 < len(cut)
    Inferer(network, torch.device(CPU), torch.float32, 3, gaussian, sight=sight).segment(
        image, cut, out, lambda _: None
    )
    with torch.inference_mode():
        if sight.axes == 3:
            logits = network(torch.from_numpy(image).movedim(-1, 0)[None])[0]
        else:
            planes = [sight.read(image, (slice(z, z + 1), slice(0, 44), slice(0, 52))) for z in range(10)]
            logits = network(torch.from_numpy(np.stack(planes)).movedim(-1, 1)).movedim(1, 0)
    top = logits.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-3).numpy()
    same = (out == logits.argmax(dim=0).numpy()) | ~clear
    assert clear.mean() > 0.9
    if sight.axes == 2:  # tiles that do not overlap differ at their edges alone
        same = same[:, 1:30, 1:30]
    assert same.all() if not gaussian else same.mean() > 0.9


# ---------------------------------------------------------------------------------------------------- the arms


def pipeline(settings: TilesConfig, shortest: tuple[int, ...] | None = None, **training: Any) -> TiledCnn:
    task = Task(("background", "cell"), 1, 3, ignore_index=9, shortest=shortest)
    budget = TrainingConfig(**({"epochs": 12, "steps": None} | training))
    return TiledCnn(Config(DatasetConfig(), settings, training=budget, device=CPU), task)


def box_settings(**options: Any) -> TiledCnn3dConfig:
    usual: dict[str, Any] = {
        "crop_size": 32, "tile_size": 32, "overlap": 0, "crop_planes": 8, "tile_planes": 8, "overlap_planes": 2,
        "jitter": 0.02, "precision": "float32", "learning_rate": 0.1, "model": VolumeCnnConfig(channels=2),
    }  # fmt: skip
    return TiledCnn3dConfig(**(usual | options))


def sample(seed: int, *shape: int) -> Sample:
    """Bright voxels are cells; the first few voxels count for nothing."""
    rng = np.random.default_rng(seed)
    mask: NDArray[np.uint8] = rng.integers(0, 2, shape, dtype=np.uint8)
    image: Any = (mask - 0.5 + rng.normal(0, 0.05, shape))[..., None].astype(np.float32)
    return Sample(str(seed), image, np.where(np.arange(mask.size).reshape(shape) < 5, 9, mask).astype(np.uint8))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(_: str, __: int, ___: str, in_channels: int, num_classes: int, levels: list[UnetLevel]) -> nn.Module:
        return Pixelwise(in_channels, num_classes, len(levels[0].stride))

    monkeypatch.setattr(volume_unet, "build_volume_cnn", build)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("blend", ["discard", "gaussian"])
@pytest.mark.parametrize("scale", [1, 2])
def test_voxels_of_any_volume_find_their_class(blend: str, scale: int) -> None:
    arm = pipeline(box_settings(blend=blend, flips=blend == "gaussian", scale=scale))
    arm.fit([arm.prepare(sample(0, 10, 40, 70))], [arm.prepare(sample(1, 5, 40, 33))])
    assert isinstance(arm.model, Pixelwise)
    assert {len(shape) for shape in arm.model.shapes} == {5}
    for shape in ((10, 64, 50), (1, 33, 40), (21, 32, 32)):
        held_out = sample(3, *shape)
        predicted = arm.predict(arm.prepare(held_out))
        counted = held_out.mask[...] != 9
        right = predicted[counted] == held_out.mask[...][counted]
        assert right.all() if scale == 1 else right.mean() > 0.5


@pytest.mark.usefixtures("stand_in")
def test_crops_have_no_more_planes_than_the_volumes_and_a_multiple_of_the_stride() -> None:
    arm = pipeline(box_settings(crop_planes=16, tile_planes=16), shortest=(10, 40, 40))
    assert arm.sight.strides[0] == 2
    assert arm.make_sampler([arm.prepare(sample(0, 9, 40, 70))], np.empty(0, np.intp)).size == (10, 32, 32)
    assert {window.shape[0] for window in arm.tiling.cut((10, 40, 40))} == {10}


@pytest.mark.parametrize("architecture", ["DynUNet", "BasicUNet", "SegResNet"])
def test_a_real_network_streams_and_is_saved_and_learns_alike(architecture: str, tmp_path: Path) -> None:
    model = VolumeCnnConfig(architecture, channels=2, norm="batch")
    settings = box_settings(model=model, crop_planes=16, tile_planes=16, overlap_planes=0)
    first, item = pipeline(settings, epochs=None, steps=2), sample(0, 18, 40, 40)
    prepared = first.prepare(item)
    log = first.fit([prepared], [prepared])
    expected = first.predict(prepared)
    first.save(tmp_path / "checkpoint.pt")
    second = pipeline(settings, epochs=None, steps=2)
    second.load(tmp_path / "checkpoint.pt")
    out, shares = np.full(expected.shape, 9, np.uint8), list[float]()
    second.predict_into(item.image, out, tmp_path, shares.append)
    np.testing.assert_array_equal(out, expected)
    assert shares == sorted(shares)
    assert log.parameters == sum(p.numel() for p in first.model.parameters())
    second.fit([second.prepare(item)], [second.prepare(item)])
    for (name, value), again in zip(first.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(value, again), name


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_only_batch_normalisation_predicts_a_tile_from_what_its_pixels_see(norm: str) -> None:
    """Group and instance normalisation look at all of a tile: what lies far away changes every pixel."""
    levels = [UnetLevel((3, 3, 3), (1, 1, 1))] * 3
    network = build_volume_cnn("DynUNet", 8, norm, 1, 2, levels)
    tile = torch.randn(1, 1, 4, 8, 64, generator=torch.Generator().manual_seed(0))
    network(tile)  # statistics of its own for batch normalisation
    network.eval()
    other = tile.clone()
    other[..., 48:] *= 5
    with torch.inference_mode():
        same = torch.equal(network(tile)[..., :16], network(other)[..., :16])
    assert same == (norm == "batch")


def test_checkpointed_blocks_of_a_dynamic_network_are_each_one_of_its_levels() -> None:
    levels = list_levels("DynUNet", plan_levels((8, 32, 32), (1, 1, 1)))
    network = build_volume_cnn("DynUNet", 2, "batch", 1, 2, levels).train()
    image = torch.randn(2, 1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = network(image)
    plain.sum().backward()
    before = {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}
    network.zero_grad()
    blocks = list_network_blocks(network)
    assert blocks is not None
    assert len(blocks) == 2 * len(levels) - 1

    checkpoint_blocks(network, blocks)
    again = network(image)
    again.sum().backward()
    torch.testing.assert_close(again, plain)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(weight.grad, before[name], msg=name)


@pytest.mark.parametrize(
    ("settings", "shortest", "axes", "sentence"),
    [
        (TiledCnn3dConfig(), None, 2, r"pipeline=tiled_cnn_3d is for volumes, and the images have two axes"),
        (TiledCnn25dConfig(), None, 2, r"pipeline=tiled_cnn_25d is for volumes"),
        (TiledCnn3dConfig(precision="bfloat16"), (3, 99, 99), 3, r"precision=bfloat16 on a CPU needs crops with four"),
        (TiledCnn3dConfig(model=VolumeCnnConfig("UNETR")), None, 3, r"architecture must be one of DynUNet, BasicUNet"),
        (
            TiledCnn3dConfig(model=VolumeCnnConfig("BasicUNet")),
            (10, 99, 99),
            3,
            r"halves the planes to one in 16, and a training volume has 10: give .*DynUNet",
        ),
        (
            TiledCnn3dConfig(tile_planes=9, overlap_planes=4, model=VolumeCnnConfig("BasicUNet")),
            None,
            3,
            r"pipeline\.overlap_planes must lie in \[0, 0\].* tiles of 16 planes advance by 16 or more, got 4",
        ),
    ],
)
def test_what_does_not_fit_volumes_is_refused(
    settings: TilesConfig, shortest: tuple[int, ...] | None, axes: int, sentence: str
) -> None:
    task = Task(("a", "b"), 1, axes, shortest=shortest)
    with pytest.raises(InputError, match=sentence):
        build_pipeline(Config(DatasetConfig(), settings, device=CPU), task)


@pytest.mark.parametrize(("planes", "dtype"), [(3, "float32"), (4, "bfloat16"), (10, "bfloat16")])
def test_thin_volumes_are_convolved_in_single_precision(
    planes: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 the gradient of a kernel of three over two planes is wrong on a CPU."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert pipeline(box_settings(precision="auto"), shortest=(planes, 64, 64)).dtype == getattr(torch, dtype)


def test_without_monai_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs MONAI, which is not installed: pip install 'gnn-vs-cnn\[volumes\]'"):
        pipeline(box_settings())


def test_planes_see_their_neighbours_in_training_and_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of a voxel is that of the plane above it, which one plane alone cannot tell."""
    monkeypatch.setattr(flat, "build_cnn", lambda *a: Pixelwise(a[3], a[4]))
    settings = TiledCnn25dConfig(
        model=CnnConfig(), crop_size=32, tile_size=32, overlap=0, learning_rate=0.1, jitter=0.0, precision="float32"
    )
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 2, (6, 32, 32))
    image = (bright - 0.5)[..., None].astype(np.float32)
    both = bright[tiles._reflect(-1, 5, 6)] + bright[tiles._reflect(1, 7, 6)]  # of the planes above and below
    item = Sample("", image, (both > 0).astype(np.uint8))
    arm = pipeline(settings, epochs=60)
    prepared = arm.prepare(item)
    arm.fit([prepared], [prepared])
    predicted = arm.predict(prepared)
    assert (predicted == item.mask).mean() > 0.98
    out = np.zeros_like(predicted)
    arm.predict_into(image, out, Path(), lambda _: None)
    np.testing.assert_array_equal(out, predicted)
