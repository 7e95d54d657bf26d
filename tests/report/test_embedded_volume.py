"""What a page carries is the study itself, or says by how much it was made coarser."""

from __future__ import annotations

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from phantoms import affine_of, ct_array, label_array

from monai_vggunet.report.pages.display_view import DisplayView, display_view
from monai_vggunet.report.pages.embedded_volume import EmbeddedStudy, embed_study


def unpacked(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def study(
    shape: tuple[int, int, int] = (20, 16, 6), spacing: tuple[float, float, float] = (0.7, 0.9, 3.0)
) -> DisplayView:
    labels = label_array(shape)
    return display_view(labels, affine_of("oblique", spacing), ct_array(labels)[None], modality="CT")


def test_image_and_mask_come_back_as_they_were() -> None:
    view = study()
    embedded = embed_study(view)
    image, mask = unpacked(embedded.image), unpacked(embedded.mask)
    np.testing.assert_array_equal(np.asarray(image.dataobj), view.image)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), view.labels)
    assert (image.get_data_dtype(), mask.get_data_dtype()) == (np.int16, np.uint8)
    for part in (image, mask):
        np.testing.assert_allclose(part.affine, view.affine, atol=1e-5)
        assert part.header.get_xyzt_units()[0] == "mm"
    assert (embedded.factors, embedded.rounded_to) == ((1, 1, 1), 0.0)


def test_a_sheared_grid_stays_sheared() -> None:
    affine = affine_of("axial")
    affine[1, 2] += 1.5
    view = display_view(label_array(), affine, ct_array(label_array())[None])
    mask = unpacked(embed_study(view).mask)
    np.testing.assert_allclose(mask.affine, view.affine, atol=1e-5)
    assert int(mask.header["qform_code"]) == 0


@pytest.mark.parametrize("scale", [1e-6, 0.37, 1e5])
def test_other_numbers_are_rounded_to_a_step_that_is_stated(scale: float) -> None:
    labels = label_array()
    values = (np.random.default_rng(0).normal(0, 1, labels.shape) * scale)[None]
    view = display_view(labels, affine_of(), values)
    embedded = embed_study(view)
    found = unpacked(embedded.image).get_fdata()
    assert 0 < embedded.rounded_to < scale / 1000
    assert np.abs(found - view.image).max() <= 0.51 * embedded.rounded_to + 1e-6 * scale


def test_a_large_image_becomes_coarser_where_it_is_finest_and_stays_in_place() -> None:
    view = study((64, 48, 6), (0.7, 0.7, 3.0))
    whole = embed_study(view)
    limit_mb = 0.4 * len(whole.image) * 3 / 4 / 1e6
    embedded = embed_study(view, limit_mb)
    assert embedded.factors == (2, 2, 1)
    assert len(embedded.image) * 3 / 4 / 1e6 < 1.2 * limit_mb
    image, mask = unpacked(embedded.image), unpacked(embedded.mask)
    assert image.shape == mask.shape == embedded.shape == (32, 24, 6)
    np.testing.assert_allclose(image.affine, mask.affine)
    for number in (1, 2):  # the centers of mass of image and mask stay where they were, in mm
        before, after = (
            center(part, a, number) for part, a in ((view.labels, view.affine), (np.asarray(mask.dataobj), mask.affine))
        )
        assert np.linalg.norm(before - after) < 0.7
    blocks = view.image.reshape(32, 2, 24, 2, 6).astype(float).mean((1, 3))
    assert np.abs(image.get_fdata() - blocks).max() <= 0.51


def center(labels: np.ndarray, affine: np.ndarray, number: int) -> np.ndarray:
    return np.argwhere(labels == number).mean(0) @ affine[:3, :3].T + affine[:3, 3]


def test_odd_sizes_become_coarser_too() -> None:
    embedded = embed_study(study((33, 17, 5), (0.7, 0.7, 3.0)), limit_mb=0.001)
    assert embedded.shape == tuple(-(-n // f) for n, f in zip((33, 17, 5), embedded.factors))


def test_a_class_of_few_voxels_survives_where_it_is_no_minority() -> None:
    view = study((64, 48, 6), (0.7, 0.7, 3.0))
    view.labels[:] = 0
    view.labels[10:12, 20:21] = 3  # half of a block of two by two
    embedded = embed_study(view, 0.4 * len(embed_study(view).image) * 3 / 4 / 1e6)
    assert 3 in np.asarray(unpacked(embedded.mask).dataobj)


def test_without_an_image_the_mask_stands_alone() -> None:
    embedded: EmbeddedStudy = embed_study(display_view(label_array(), affine_of()))
    assert embedded.image == ""
    assert unpacked(embedded.mask).shape == (20, 16, 6)
