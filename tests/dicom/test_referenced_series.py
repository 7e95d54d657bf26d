"""What a reader says of its series arrives at the writer, whatever lies between them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from dicom_phantoms import stored_values, write_series
from monai.data import DataLoader, Dataset, MetaTensor, ThreadDataLoader, decollate_batch, list_data_collate
from monai.transforms import Compose, EnsureTyped, Flipd, SaveImaged, Spacingd
from volume_meta import instance_uids

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.dicom.referenced_series import ReferencedSeries, ReferencedSlice
from monai_vggunet.outputs import DicomSegWriter
from monai_vggunet.transforms import inference_postprocessing, inference_preprocessing, loading

SERIES = ReferencedSeries(
    (ReferencedSlice("1.2.3", 2), ReferencedSlice("1.2.3", 1), ReferencedSlice("", 1)),
    (Path("/data/a"), Path("/data/b \\ 0\n")),
    modality="CT",
    series_description='thin "5 mm"',
    study_uid="1.2",
    series_uid="1.2.1",
)


@pytest.mark.parametrize(
    "series",
    [
        SERIES,
        replace(SERIES, slices=(None, None)),
        ReferencedSeries((ReferencedSlice("1.2.3", 1),)),
        replace(SERIES, files=(Path(os.fsdecode(b"/data/M\xfcller")),)),  # a name that is not UTF-8
    ],
)
def test_what_is_put_into_metadata_is_found_there(series: ReferencedSeries) -> None:
    meta = series.to_meta()
    assert all(type(value) is str for value in meta.values())
    assert ReferencedSeries.from_meta(meta) == series
    batch = list_data_collate([{"image": MetaTensor(torch.zeros(1, 1, 1, 1), meta=meta)} for _ in range(2)])
    assert [ReferencedSeries.from_meta(one["image"].meta) for one in decollate_batch(batch)] == [series, series]


def test_images_are_told_from_interpolated_slices() -> None:
    assert SERIES.instance_uids == ["1.2.3", "1.2.3", ""]
    assert SERIES.images == list(SERIES.slices)
    interpolated = replace(SERIES, slices=(None, None))
    assert (interpolated.instance_uids, interpolated.images) == (["", ""], [])


def test_other_images_have_no_series() -> None:
    assert ReferencedSeries.from_meta({"affine": np.eye(4), "modality": "CT"}) is None


def two_series(folder: Path) -> list[dict[str, str]]:
    """Write two series of one shape whose slices lie in other files each."""
    cases = [{"image": str(folder / name), "case": name} for name in "ab"]
    for case in cases:
        write_series(Path(case["image"]), stored_values(), shear_mm=0.2)
    return cases


@pytest.mark.parametrize("loader", [DataLoader, ThreadDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_it_comes_through_a_batch_with_the_transforms_that_move_voxels(
    tmp_path: Path, loader: Any, workers: int
) -> None:
    cases = two_series(tmp_path)
    moving = [Flipd("image", 0), Spacingd("image", (1.0, 1.0, 2.0)), EnsureTyped("image")]
    pipeline = Compose([*loading(with_label=False).transforms, *moving])
    expected = [ReferencedSeries.from_meta(loading(with_label=False)(case)["image"].meta) for case in cases]
    assert None not in expected
    assert expected[0] != expected[1]
    batches = loader(Dataset(cases * 2, pipeline), batch_size=2, num_workers=workers, collate_fn=list_data_collate)
    found = [ReferencedSeries.from_meta(one["image"].meta) for batch in batches for one in decollate_batch(batch)]
    assert found == expected * 2


@pytest.mark.parametrize("loader", [DataLoader, ThreadDataLoader])
def test_each_mask_of_a_batch_refers_to_its_own_series(tmp_path: Path, loader: Any) -> None:
    cases = two_series(tmp_path)
    preprocessing = Preprocessing("CT", "axial", (0.7, 0.7), (32, 32), ((-100.0, 300.0),))
    spec = ModelSpec(
        {"in_channels": preprocessing.in_channels, "out_channels": 2}, preprocessing, ["background", "all"]
    )
    read = inference_preprocessing(spec)
    (batch,) = loader(Dataset(cases, read), batch_size=2, num_workers=2, collate_fn=list_data_collate)
    batch["pred"] = MetaTensor(torch.ones_like(batch["image"].as_tensor())).copy_meta_from(batch["image"])
    batch["pred"].applied_operations = batch["image"].applied_operations
    folder = tmp_path / "out"
    save = SaveImaged("pred", output_dir=folder, output_ext=".dcm", writer=DicomSegWriter, separate_folder=False)
    for one in decollate_batch(batch):
        inference_postprocessing(read, save)(one)
    for case in cases:
        series = loading(with_label=False)(case)["image"].meta
        (file,) = folder.glob(f"{case['case']}_*.dcm")
        (referenced,) = pydicom.dcmread(file).ReferencedSeriesSequence
        assert referenced.SeriesInstanceUID == series["series_uid"]
        named = [image.ReferencedSOPInstanceUID for image in referenced.ReferencedInstanceSequence]
        assert sorted(named) == sorted(instance_uids(series))
