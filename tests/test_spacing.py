"""Pixels that are no cubes: superpixels, graphs, filters and tolerances are those of the same volume resampled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from support.segments import noise, voronoi

from bench.arrays.spacing import relate_spacing
from bench.config import Config, DatasetConfig, FolderConfig, GraphConfig, InputError, OracleConfig, SuperpixelsConfig
from bench.datasets.folder import load_folder
from bench.datasets.sample import Task
from bench.pipelines.registry import build_pipeline
from bench.predict.voxels import adopt_lengths, choose_spacing, describe_difference
from bench.scores.boundaries import dilate, match_boundaries

if TYPE_CHECKING:
    from bench.arrays.threads import Workers
    from bench.graphs.build import build_graph
    from bench.graphs.features import compute_features
    from bench.graphs.volume import filter_volume
    from bench.pipelines.oracle import Oracle
    from bench.superpixels.registry import segment
    from bench.superpixels.scaling import fit_grid


FOUR = [4.0, 1.0, 1.0]  # a plane is as thick as four pixels are wide


def repeat(planes: NDArray[Any], times: int = 4) -> NDArray[Any]:
    """The volume of cubes: every plane so many times."""
    return np.repeat(planes, times, axis=0)


def blocks() -> NDArray[np.float32]:
    """(8, 32, 32, 1): boxes of 2 x 8 x 8 pixels, so cubes where planes are four thick, each of its own grey value."""
    values = np.random.default_rng(0).permutation(64).reshape(4, 4, 4)
    return np.kron(values, np.ones((2, 8, 8)))[..., None].astype(np.float32)


# ------------------------------------------------------------------------------------------------------- superpixels


def test_lengths_count_in_units_of_the_shortest() -> None:
    assert relate_spacing([0.6, 0.2, 0.2], 3) == pytest.approx((3, 1, 1))
    assert relate_spacing(None, 2) == (1, 1)
    with pytest.raises(ValueError, match="one length for each of 3 axes"):
        relate_spacing([1, 1], 3)


def test_cells_are_cubes_in_space() -> None:
    assert fit_grid((8, 32, 32), 64, FOUR) == fit_grid((32, 32, 32), 64) == (4, 4, 4)
    assert fit_grid((3, 64, 64), 192, [30, 1, 1]) == (3, 8, 8)  # a plane is thicker than a cell
    assert fit_grid((7, 20, 40), 90, [2, 2, 2]) == fit_grid((7, 20, 40), 90)


@pytest.mark.parametrize("method", ["slic", "grid", "skimage_slic", "compact_watershed"])
@pytest.mark.parametrize("shape", [(6, 14, 15), (20, 24)])
def test_cubes_of_any_size_change_nothing(method: str, shape: tuple[int, ...]) -> None:
    image, usual = noise(shape), SuperpixelsConfig(method, 30.0)
    same = SuperpixelsConfig(method, 30.0, spacing=[0.25] * len(shape))
    np.testing.assert_array_equal(segment(image, same), segment(image, usual))


@pytest.mark.parametrize("method", ["slic", "grid"])
def test_a_volume_and_its_resampling_have_the_same_superpixels(method: str) -> None:
    """Where the image decides: cubes of one grey value, which a grid of as many cells begins with."""
    usual: dict[str, Any] = {"superpixel_size": None, "n_segments": 64, "sigma": 0.0}
    image = blocks()
    coarse = segment(image, SuperpixelsConfig(method, spacing=FOUR, **usual))
    fine = segment(repeat(image), SuperpixelsConfig(method, **usual))
    np.testing.assert_array_equal(repeat(coarse), fine)


def test_superpixels_of_a_rough_volume_are_nearly_those_of_its_resampling() -> None:
    smooth = np.random.default_rng(1).normal(size=(10, 40, 40, 1)).astype(np.float32)
    usual: dict[str, Any] = {"superpixel_size": None, "n_segments": 60, "sigma": 0.0, "compactness": 1.0}
    fine = segment(repeat(smooth), SuperpixelsConfig(**usual))

    def purity(spacing: list[float] | None) -> float:
        found = repeat(segment(smooth, SuperpixelsConfig(spacing=spacing, **usual)))
        shared = np.zeros((found.max() + 1, fine.max() + 1), np.int64)
        np.add.at(shared, (found.ravel(), fine.ravel()), 1)
        return float(shared.max(axis=1).sum() / fine.size)

    assert purity(FOUR) > 0.8
    assert purity(FOUR) > purity(None) + 0.1


def test_the_arms_are_given_the_spacing_of_their_images() -> None:
    task = Task(("a", "b"), 1, 3, spacing=(4.0, 1.0, 1.0))
    arm = build_pipeline(Config(DatasetConfig(), OracleConfig()), task)
    assert isinstance(arm, Oracle)
    assert arm.config.superpixels.spacing == arm.config.graph.spacing == FOUR
    own = Config(DatasetConfig(), OracleConfig(), SuperpixelsConfig(spacing=[1, 1, 1]))
    assert build_pipeline(own, task).config.superpixels.spacing == [1, 1, 1]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"superpixels\.spacing must hold one length for each of 3 axes, got \[1, 1\]"):
        build_pipeline(Config(DatasetConfig(), OracleConfig(), SuperpixelsConfig(spacing=[1, 1])), task)
    with pytest.raises(InputError, match=r"superpixels\.spacing must be null or a positive length"):
        SuperpixelsConfig(spacing=[0, 1, 1])


# ------------------------------------------------------------------------------------------------------------ graphs


def test_distances_directions_and_shapes_are_those_in_space() -> None:
    segments = voronoi((7, 16, 17))
    image = noise(segments.shape)
    settings: dict[str, Any] = {"features": ["shape"], "edges": ["adjacency"]}
    coarse = build_graph(image, segments, GraphConfig(spacing=FOUR, **settings))
    fine = build_graph(repeat(image), repeat(segments), GraphConfig(**settings))
    np.testing.assert_array_equal(coarse.edge_index, fine.edge_index)
    np.testing.assert_allclose(coarse.edge_attr[:, 3:], fine.edge_attr[:, 3:], atol=1e-4)
    np.testing.assert_allclose(coarse.edge_weight, fine.edge_weight, rtol=1e-4)
    middle = np.array([1.5, 0, 0])  # of four planes
    np.testing.assert_allclose(coarse.pos.numpy() + middle, fine.pos.numpy(), rtol=1e-5)
    np.testing.assert_allclose(coarse.x[:, 1], fine.x[:, 1], rtol=1e-4)  # elongation


def test_places_lie_between_0_and_1_whatever_the_spacing() -> None:
    segments = voronoi((7, 8, 9))
    image = noise(segments.shape)
    plain = compute_features(["position"], image, segments)
    np.testing.assert_allclose(compute_features(["position"], image, segments, spacing=FOUR), plain, rtol=1e-6)


def test_filters_see_slopes_in_space() -> None:
    """A ramp along each axis, and a bowl: every response is what it is where pixels are cubes."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (60, 40, 40)), indexing="ij")
    for volume in (np.asarray(one, np.float32) for one in (z, y + 2 * z, (z - 30) ** 2 / 20 + x * y / 30)):
        with Workers(1) as workers:
            fine = filter_volume(volume, 2.0, workers)[::2]
            coarse = filter_volume(np.ascontiguousarray(volume[::2]), 2.0, workers, (2.0, 1.0, 1.0))
        for one, other in zip(np.moveaxis(fine, -1, 0), np.moveaxis(coarse, -1, 0), strict=True):
            middle = np.s_[10:-10, 15:-15, 15:-15]
            np.testing.assert_allclose(one[middle], other[middle], rtol=0.05, atol=0.02)


# ------------------------------------------------------------------------------------------------------------ scores


def test_tolerances_are_lengths() -> None:
    truth, moved = np.zeros((8, 9, 9), np.uint8), np.zeros((8, 9, 9), np.uint8)
    truth[3:], moved[4:] = 1, 1  # one plane apart: four pixels
    assert match_boundaries(truth, moved, 2, 2.0)[1].f1 == 1
    assert match_boundaries(truth, moved, 2, 2.0, spacing=FOUR)[1].f1 < 0.7  # as every edge has two planes
    assert match_boundaries(truth, moved, 2, 4.0, spacing=FOUR)[1].f1 == 1


@pytest.mark.parametrize("tolerance", [1.0, 2.5, 4.0])
def test_what_is_near_in_space_is_so_by_shifts_and_by_distances(tolerance: float) -> None:
    edge = np.random.default_rng(0).random((6, 12, 12)) > 0.98
    sides = [2.5, 1.0, 1.5]
    found = dilate(edge, tolerance, spacing=sides)
    np.testing.assert_array_equal(found, dilate(edge, tolerance, shifted=-1.0, spacing=sides))


# ------------------------------------------------------------------------------------------------------- from files


def write_volumes(root: Path, save: Any, count: int = 3) -> FolderConfig:
    for number in range(count):
        volume = np.random.default_rng(number).integers(0, 255, (4, 12, 14), dtype=np.uint8)
        for folder, content in (("images", volume), ("masks", (volume > 128).astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            save(root / folder / f"v{number}", content)
    return FolderConfig(root=str(root))


def save_ome(path: Path, volume: NDArray[np.uint8]) -> None:
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 500.0, "PhysicalSizeX": 500.0}
    units = {"PhysicalSizeZUnit": "µm", "PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(path.with_suffix(".ome.tif"), volume, metadata={"axes": "ZYX", **sizes, **units})


def save_imagej(path: Path, volume: NDArray[np.uint8]) -> None:
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "micron"}
    tifffile.imwrite(path.with_suffix(".tif"), volume, imagej=True, resolution=(2, 2), metadata=about)


def save_plain(path: Path, volume: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), volume, photometric="minisblack")


@pytest.mark.parametrize("save", [save_ome, save_imagej])
def test_the_files_say_how_long_voxels_are(save: Any, tmp_path: Path) -> None:
    data = load_folder(write_volumes(tmp_path, save))
    assert data.task.spacing is not None
    assert relate_spacing(data.task.spacing, 3) == pytest.approx((4, 1, 1))
    assert data.task.shortest == (4, 12, 14)
    assert any("voxels are" in note for note in data.notes)


def test_settings_outweigh_the_files_and_silence_means_cubes(tmp_path: Path) -> None:
    config = write_volumes(tmp_path, save_plain)
    data = load_folder(config)
    assert data.task.spacing is None
    assert any("count as cubes; dataset.spacing=[z,y,x]" in note for note in data.notes)
    config.spacing = [5.0, 1.0, 1.0]
    assert load_folder(config).task.spacing == (5, 1, 1)
    config.spacing = [5.0, 1.0]
    with pytest.raises(InputError, match=r"dataset\.spacing must hold one length for each of 3 axes"):
        load_folder(config)


@pytest.mark.parametrize(("stated", "axes"), [("XY", "ZYX"), ("X", "YX")])
def test_a_file_that_states_some_lengths_states_none(stated: str, axes: str, tmp_path: Path) -> None:
    """A length that is missing is not 1 micrometre."""

    def save(path: Path, volume: NDArray[np.uint8]) -> None:
        sizes = {f"PhysicalSize{letter}": 0.005 for letter in stated}
        values = volume if axes == "ZYX" else volume[0]
        tifffile.imwrite(path.with_suffix(".ome.tif"), values, metadata={"axes": axes, **sizes})

    data = load_folder(write_volumes(tmp_path, save))
    assert data.task.spacing is None
    assert any("do not say how long voxels are along every axis" in note for note in data.notes) == (axes == "ZYX")


def test_pixels_that_are_no_squares_are_said(tmp_path: Path) -> None:
    def save(path: Path, volume: NDArray[np.uint8]) -> None:
        sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.3}
        tifffile.imwrite(path.with_suffix(".ome.tif"), volume[0], metadata={"axes": "YX", **sizes})

    assert any(
        note.startswith("pixels are 0.3 x 0.1 micrometer (")
        for note in load_folder(write_volumes(tmp_path, save)).notes
    )


def test_volumes_of_other_voxels_are_refused_by_name(tmp_path: Path) -> None:
    def save(path: Path, volume: NDArray[np.uint8]) -> None:
        about = {"axes": "ZYX", "spacing": 2.0 + int(path.name[1:]), "unit": "um"}
        tifffile.imwrite(path.with_suffix(".tif"), volume, imagej=True, resolution=(2, 2), metadata=about)

    with pytest.raises(InputError, match=r"v\d\.tif has pixels of \d x 0\.5 x 0\.5 and .*resample them"):
        load_folder(write_volumes(tmp_path, save))


TRAINED = Task(("a", "b"), 1, 3, spacing=(4.0, 1.0, 1.0))


def test_a_new_volume_has_the_voxels_given_or_those_of_its_file_or_those_of_training() -> None:
    assert choose_spacing(None, None, TRAINED) is None
    assert choose_spacing(None, (0.8, 0.2, 0.2), TRAINED) is None  # of the same shape
    assert choose_spacing(None, (0.2, 0.2, 0.2), TRAINED) == (0.2, 0.2, 0.2)
    assert choose_spacing([2, 1, 1], (0.2, 0.2, 0.2), TRAINED) == (2, 1, 1)
    assert choose_spacing([8, 2, 2], (0.2, 0.2, 0.2), TRAINED) is None
    assert choose_spacing(None, (5.0, 2.0, 1.0), Task(("a", "b"), 1, 2)) == (2, 1)  # a plane of a stack
    with pytest.raises(InputError, match=r"spacing must hold one length for each of 3 axes, got \[1, 2\]"):
        choose_spacing([1, 2], None, TRAINED)


def test_superpixels_of_a_new_volume_follow_its_voxels_unless_the_run_set_its_own() -> None:
    own = SuperpixelsConfig(spacing=[9.0, 1.0, 1.0])
    config = Config(DatasetConfig(), OracleConfig(), superpixels=own)
    assert adopt_lengths(config, TRAINED, None) == config
    adopted = adopt_lengths(config, TRAINED, (2.0, 1.0, 1.0))
    assert (adopted.superpixels.spacing, adopted.graph.spacing) == ([9, 1, 1], [2, 1, 1])


def test_other_voxels_than_in_training_are_noted() -> None:
    assert describe_difference("tiled_cnn_3d", None, TRAINED) == ""
    note = describe_difference("tiled_cnn_3d", (0.2, 0.2, 0.2), TRAINED)
    assert note.startswith("has pixels of 1 x 1 x 1 and the run was trained on those of 4 x 1 x 1: resample it")
    assert describe_difference("superpixel_gnn", (0.2, 0.2, 0.2), TRAINED).endswith("edges follow the image")
