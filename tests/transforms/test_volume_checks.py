from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Invertd
from phantoms import affine_of, label_array, meta_tensor

from monai_vggunet.data.stack_axis import spacing_of
from monai_vggunet.dicom.findings import FindingKind, pack_findings, unpack_findings, warning
from monai_vggunet.errors import GridMismatchError, ImageContentError, ModelMismatchError
from monai_vggunet.transforms import (
    AsVolume,
    AsVolumed,
    CheckPlaned,
    CheckVolume,
    CheckVolumed,
    InPlaneSpacing,
    InPlaneSpacingd,
)


def sheared_affine() -> np.ndarray:
    affine = affine_of("oblique", (0.6, 0.9, 2.5))
    affine[:3, 2] += 0.4 * affine[:3, 1]
    return affine


# A volume


def test_two_dimensional_image_becomes_a_volume_of_one_slice() -> None:
    image = meta_tensor(np.arange(12.0).reshape(1, 3, 4), affine_of(), filename_or_obj="a.nii")
    volume = AsVolumed("image")({"image": image})["image"]
    assert volume.shape == (1, 3, 4, 1)
    np.testing.assert_array_equal(volume.numpy()[..., 0], image.numpy())
    assert torch.equal(volume.affine, image.affine)
    assert volume.meta["filename_or_obj"] == "a.nii"


def test_volume_stays_what_it_is() -> None:
    image = meta_tensor(np.ones((1, 3, 4, 5)))
    assert AsVolume()(image) is image


# What is refused


def test_usable_image_passes_unchanged() -> None:
    image = meta_tensor(np.ones((1, 3, 4, 5)), sheared_affine())
    assert CheckVolumed("image")({"image": image})["image"] is image


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_no_number_is_refused_with_its_place(bad: float) -> None:
    array = np.zeros((1, 3, 4, 5), dtype=np.float32)
    array[0, 2, 1, 3] = array[0, 2, 3, 3] = bad
    with pytest.raises(ImageContentError, match=r"ct\.nii holds 2 NaN or infinite values.* voxel \(2, 1, 3\)"):
        CheckVolume()(meta_tensor(array, filename_or_obj="ct.nii"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 3, 4, 5), "7 channels or time points .* expected 1 or 3: a 4D file must be split"),
        ((2, 3, 4, 1), "2 channels or time points"),
        ((3, 3, 4, 5), "3 channels or time points of 5 slices; expected one volume, or a color picture"),
        ((1, 3, 4, 5, 2), r"4 dimensions \(shape \(3, 4, 5, 2\)\); expected a 2D image or a 3D volume"),
        ((1, 3), "1 dimensions"),
        ((1, 3, 0, 5), "is empty"),
    ],
)
def test_shape_that_is_no_volume_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ImageContentError, match=message):
        CheckVolume()(meta_tensor(np.zeros(shape)))


def test_color_picture_is_accepted_unless_gray_is_expected() -> None:
    picture = meta_tensor(np.zeros((3, 4, 5, 1)))
    assert CheckVolume()(picture) is picture
    assert CheckVolume(3)(picture) is picture
    with pytest.raises(ImageContentError, match=r"3 channels or time points .* expected 1:"):
        CheckVolume(1)(picture)


def test_pictures_and_volumes_are_called_so() -> None:
    picture = meta_tensor(np.zeros((3, 4, 5, 1)), filename_or_obj="photo.PNG")
    with pytest.raises(ModelMismatchError, match=r"photo\.PNG is a picture; the model was trained on volumes"):
        CheckVolume(1)(picture)
    volume = meta_tensor(np.zeros((1, 4, 5, 6)), filename_or_obj="mr.nii")
    with pytest.raises(ModelMismatchError, match=r"mr\.nii is a volume of one channel; .* on color pictures"):
        CheckVolume(3)(volume)


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (4, 3, 4, 5)])
def test_a_label_with_a_channel_per_class_is_called_so(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ImageContentError, match=r"expected a label of one channel .*: merge the channels, each a class"
    ):
        CheckVolumed("label", 1, is_label=True)({"label": meta_tensor(np.zeros(shape))})


@pytest.mark.parametrize(("value", "said"), [(0, "0"), (-1000, "-1000"), (0.5, "0.5")])
def test_a_blank_image_is_named(value: float, said: str, caplog: pytest.LogCaptureFixture) -> None:
    earlier = pack_findings([warning(FindingKind.UNIT_CHANGED, "lengths were in meters")])
    image = meta_tensor(np.full((1, 3, 4, 5), value), filename_or_obj="mr.nii", findings=earlier)
    findings = unpack_findings(CheckVolume()(image).meta["findings"])
    assert f"mr.nii: the image holds the value {said} everywhere: it is blank" in caplog.text
    assert [finding.kind for finding in findings] == [FindingKind.UNIT_CHANGED, FindingKind.BLANK_IMAGE]


def test_a_blank_label_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    CheckVolumed("label", 1, is_label=True)({"label": meta_tensor(np.zeros((1, 3, 4, 5)))})
    assert not caplog.text


def test_affine_without_an_inverse_is_refused() -> None:
    affine = np.eye(4)
    affine[2, 2] = 0.0
    with pytest.raises(ImageContentError, match=r"mr\.nii has an affine that cannot be inverted"):
        CheckVolume()(meta_tensor(np.zeros((1, 3, 4, 5)), affine, filename_or_obj="mr.nii"))


# Planes


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_series_of_the_models_plane_passes(plane: str) -> None:
    data = {"image": meta_tensor(np.zeros((1, 8, 8, 8)), affine_of(plane, (1.0, 1.0, 4.0)))}
    assert CheckPlaned("image", plane)(data)["image"] is data["image"]


def test_series_of_another_plane_is_refused_with_the_remedy() -> None:
    data = {"image": meta_tensor(np.zeros((1, 8, 8, 8)), affine_of("sagittal", (1.0, 1.0, 4.0)))}
    with pytest.raises(
        GridMismatchError,
        match=r"acquired in sagittal slices \(spacing 1\.00 x 1\.00 x 4\.00 mm\), the model segments axial",
    ):
        CheckPlaned("image", "axial")(data)
    assert CheckPlaned("image", "axial", reslice=True)(data)["image"] is data["image"]


def test_nearly_cubic_volume_can_be_cut_along_any_plane() -> None:
    data = {"image": meta_tensor(np.zeros((1, 8, 8, 8)), affine_of("sagittal", (1.0, 1.0, 1.4)))}
    assert CheckPlaned("image", "axial")(data)["image"] is data["image"]


def test_single_slice_of_another_plane_is_refused_however_thin_it_is() -> None:
    data = {"image": meta_tensor(np.zeros((1, 8, 8, 1)), affine_of("sagittal", (1.0, 1.0, 1.0)))}
    with pytest.raises(GridMismatchError, match="acquired in sagittal slices"):
        CheckPlaned("image", "axial")(data)


# In-plane spacing


def test_slices_are_resampled_in_their_plane_alone() -> None:
    slices = np.random.default_rng(0).normal(size=(1, 10, 12, 4)).astype(np.float32)
    whole = InPlaneSpacing((0.5, 0.8))(meta_tensor(slices, affine_of("axial", (1.0, 1.0, 3.0))))
    assert whole.shape == (1, 20, 15, 4)
    for k in range(4):
        alone = InPlaneSpacing((0.5, 0.8))(meta_tensor(slices[..., [k]], affine_of("axial", (1.0, 1.0, 3.0))))
        np.testing.assert_allclose(alone.numpy()[..., 0], whole.numpy()[..., k], atol=1e-6)


def test_size_is_the_nearest_whole_number_and_the_affine_says_the_exact_spacing() -> None:
    image = InPlaneSpacing((0.7, 0.7))(meta_tensor(np.zeros((1, 10, 11, 4)), affine_of("axial", (1.0, 1.0, 3.0))))
    assert image.shape == (1, 14, 16, 4)
    np.testing.assert_allclose(spacing_of(image.affine.numpy()), (10 / 14, 11 / 16, 3.0))


@pytest.mark.parametrize(
    "affine", [affine_of("sagittal", (0.6, 0.9, 2.5)), sheared_affine()], ids=["square", "sheared"]
)
def test_world_coordinates_are_kept(affine: np.ndarray) -> None:
    # A quantity that is linear in the world's coordinates must be the same at the same place after resampling.
    index = np.stack(np.meshgrid(*map(np.arange, (16, 20, 5)), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    direction = np.array([0.3, -0.5, 0.8])
    image = InPlaneSpacing((0.45, 0.6))(meta_tensor((world @ direction)[None].astype(np.float32), affine))
    moved = image.affine.numpy()
    index = np.stack(np.meshgrid(*map(np.arange, image.shape[1:]), indexing="ij"), -1)
    expected = (index @ moved[:3, :3].T + moved[:3, 3]) @ direction
    inside = (slice(2, -2), slice(2, -2), slice(None))  # at the border the outermost value repeats
    np.testing.assert_allclose(image.numpy()[0][inside], expected[inside], atol=1e-4)


def test_shear_is_kept() -> None:
    affine = sheared_affine()
    moved = InPlaneSpacing((0.3, 0.3))(meta_tensor(np.zeros((1, 16, 20, 5)), affine)).affine.numpy()
    np.testing.assert_allclose(moved[:3, 2], affine[:3, 2])
    np.testing.assert_allclose(moved[:3, 0], affine[:3, 0] / 2)
    np.testing.assert_allclose(moved[:3, 1], affine[:3, 1] / 3)


def test_spacing_that_fits_already_changes_no_value() -> None:
    image = meta_tensor(np.random.default_rng(0).normal(size=(1, 9, 9, 3)), affine_of("axial", (0.7, 0.7, 3.0)))
    moved = InPlaneSpacing((0.702, 0.7))(image)
    assert torch.equal(moved.as_tensor(), image.as_tensor().float())
    assert torch.equal(moved.affine, image.affine)


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (1 / 3, 0.25), (1.7, 2.3)])
def test_inverse_restores_size_and_affine(spacing: tuple[float, float]) -> None:
    transform = InPlaneSpacing(spacing)
    image = meta_tensor(np.random.default_rng(0).normal(size=(1, 10, 12, 4)).astype(np.float32), sheared_affine())
    restored = transform.inverse(transform(image))
    assert restored.shape == image.shape
    np.testing.assert_allclose(restored.affine.numpy(), image.affine.numpy(), atol=1e-9)
    assert restored.applied_operations == []


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_label_is_recovered_exactly_after_any_whole_factor(factor: int) -> None:
    label = meta_tensor(np.random.default_rng(0).integers(0, 4, (1, 10, 12, 4)).astype(np.uint8), affine_of())
    transform = InPlaneSpacing((1.0 / factor, 1.0 / factor), mode="nearest")
    fine = transform(label)
    assert fine.shape == (1, 10 * factor, 12 * factor, 4)
    assert torch.equal(transform.inverse(fine).as_tensor().to(torch.uint8), label.as_tensor())


def test_nearest_neighbor_invents_no_class() -> None:
    label = meta_tensor(label_array()[None] * 2, affine_of())
    assert set(InPlaneSpacing((0.63, 1.7), mode="nearest")(label).unique().tolist()) <= {0.0, 2.0, 4.0}


def test_label_that_invertd_brings_back_is_not_shifted() -> None:
    # `Invertd` asks for `nearest`, which rounds down and so treats the two ends of an axis differently.
    spacing = Compose([InPlaneSpacingd(("image", "label"), (1 / 1.4, 1 / 1.4), mode=("bilinear", "nearest"))])
    array = np.random.default_rng(0).integers(0, 4, (1, 10, 10, 4)).astype(np.float32)
    restored = []
    for label in (array, array[:, ::-1, ::-1].copy()):
        data = spacing({"image": meta_tensor(label, affine_of()), "label": meta_tensor(label, affine_of())})
        data["pred"] = data["label"].clone().copy_meta_from(data["image"])
        inverted = Invertd("pred", transform=spacing, orig_keys="image", nearest_interp=True)(data)["pred"]
        restored.append(inverted.as_tensor())
    assert restored[0].shape == array.shape
    assert torch.equal(restored[0], restored[1].flip(1, 2))


def test_dictionary_version_shares_the_grid_and_inverts() -> None:
    image = meta_tensor(np.random.default_rng(1).normal(size=(1, 10, 12, 4)).astype(np.float32), affine_of())
    label = meta_tensor(label_array((10, 12, 4))[None], affine_of())
    transform = InPlaneSpacingd(("image", "label"), (0.5, 0.25), mode=("bilinear", "nearest"))
    data = transform({"image": image, "label": label})
    assert data["image"].shape == data["label"].shape == (1, 20, 48, 4)
    assert torch.equal(data["image"].affine, data["label"].affine)
    restored = transform.inverse(data)
    assert torch.equal(restored["label"].as_tensor().to(torch.uint8), label.as_tensor())
    assert restored["image"].shape == image.shape


def test_slice_thinner_than_a_pixel_keeps_one() -> None:
    image = meta_tensor(np.ones((1, 2, 12, 4)), affine_of("axial", (0.1, 1.0, 3.0)))
    assert InPlaneSpacing((1.0, 1.0))(image).shape == (1, 1, 12, 4)
