"""From the reader to the network: padded voxels are zero, and count in no percentile, fingerprint or median."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_phantoms import write_series
from monai.data import list_data_collate
from phantoms import write_nifti

from monai_vggunet.data import Datalist, ModelSpec, Preprocessing, compute_fingerprint
from monai_vggunet.data.padded_voxels import is_measured, padding_share
from monai_vggunet.segment.segmenter import _median_inside
from monai_vggunet.transforms import inference_preprocessing, loading

PADDED_COLUMNS = 5


def write_padded(folder: Path, modality: str, value: int | None) -> np.ndarray:
    """Write a series (columns, rows, slices) with padded columns, all else alike; return where it is padded."""
    stored = np.random.default_rng(0).integers(100, 900, (6, 16, 16)).astype(np.int16)
    mask = np.zeros(stored.shape, dtype=bool)
    mask[:, :, :PADDED_COLUMNS] = value is not None
    stored[mask] = value or 0
    plain = {"pixel_spacing": (1.0, 1.0), "Modality": modality, "RescaleIntercept": "-500"}
    write_series(folder, stored, PixelPaddingValue=value, **plain)  # type: ignore[arg-type]
    return mask.transpose(2, 1, 0)


@pytest.mark.parametrize("value", [-32768, 32000, 0])
def test_padding_is_zero_for_the_network_and_scales_nothing(tmp_path: Path, value: int) -> None:
    prep = Preprocessing("MR", "axial", (1.0, 1.0), (32, 32), ((0.0, 1.0),))
    spec = ModelSpec({"in_channels": prep.in_channels, "out_channels": 2}, prep, ["background", "liver"])
    mask = write_padded(tmp_path / "padded", "MR", value)
    write_padded(tmp_path / "plain", "MR", None)
    padded, plain = (inference_preprocessing(spec)({"image": str(tmp_path / n)})["image"] for n in ("padded", "plain"))
    own = loading(with_label=False)({"image": str(tmp_path / "padded")})["image"]
    assert padding_share(own.meta) == pytest.approx(mask.mean())
    assert (own.as_tensor()[0].numpy()[mask] == own.as_tensor()[0].numpy()[~mask].min()).all()
    zero = int((padded.as_tensor() == 0).sum())
    assert zero >= mask.sum()
    rest = padded.as_tensor()[padded.as_tensor() > 0]
    # The plain series' other columns have the same distribution: its percentiles lie near.
    assert float(rest.median()) == pytest.approx(float(plain.as_tensor().median()), abs=0.03)


@pytest.mark.parametrize("value", [-32768, 32000, -400])
def test_padding_inside_a_class_is_not_in_the_fingerprint(tmp_path: Path, value: int) -> None:
    mask = write_padded(tmp_path / "a", "CT", value)
    image = loading(with_label=False)({"image": str(tmp_path / "a")})["image"]
    label = write_nifti(tmp_path / "l.nii", np.ones(mask.shape, dtype=np.uint8), image.affine.numpy())
    case = {"image": str(tmp_path / "a"), "label": str(label), "case": "a"}
    found = compute_fingerprint(Datalist([case], []), loading())
    real = image.as_tensor()[0].numpy()[~mask]
    np.testing.assert_allclose(found.foreground_percentiles, np.percentile(real, (0.5, 50.0, 99.5)), atol=1.5)
    assert found.class_voxels[1] == mask.size


def test_padding_inside_the_mask_is_not_in_the_median(tmp_path: Path) -> None:
    mask = write_padded(tmp_path, "CT", 32000)
    image = loading(with_label=False)({"image": str(tmp_path)})["image"]
    batch = list_data_collate([{"image": image}])["image"]
    everywhere = torch.ones(mask.shape)
    found = _median_inside(batch.as_tensor()[0, 0], everywhere, batch.meta)
    assert found == pytest.approx(float(np.median(image.as_tensor()[0].numpy()[~mask])), abs=1.0)


def test_without_padding_all_is_measured(tmp_path: Path) -> None:
    write_padded(tmp_path, "MR", None)
    image = loading(with_label=False)({"image": str(tmp_path)})["image"]
    assert is_measured(image.as_tensor(), image.meta) is None
    assert padding_share(image.meta) == 0.0
