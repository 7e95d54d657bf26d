from __future__ import annotations

import logging
import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from dicom_phantoms import (
    BIRTH_DATE,
    PATIENT_ID,
    PATIENT_NAME,
    oblique,
    stored_values,
    write_enhanced,
    write_series,
)
from monai.data import (
    CacheDataset,
    DataLoader,
    Dataset,
    MetaTensor,
    NibabelReader,
    PersistentDataset,
    decollate_batch,
)
from monai.transforms import CenterSpatialCropd, Compose, EnsureChannelFirstd, LoadImage, LoadImaged, SaveImage
from volume_meta import finding_texts, instance_uids

from monai_vggunet.data.reader import DicomSeriesReader
from monai_vggunet.dicom import patient_key
from monai_vggunet.dicom.referenced_series import ReferencedSeries
from monai_vggunet.errors import (
    ConfigurationError,
    DicomGeometryError,
    DicomPixelError,
    DicomReadError,
    SeriesSelectionError,
)


def load(path: object, **arguments: object) -> MetaTensor:
    return LoadImage(reader=DicomSeriesReader(**arguments))(path)


def test_folder_becomes_a_volume_with_its_meta_data(tmp_path: Path) -> None:
    stored = stored_values()
    files = write_series(tmp_path, stored, series_uid="1.2.9", orientation=oblique())
    image = load(tmp_path)
    assert image.shape == (5, 6, 4)
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), stored.transpose(2, 1, 0).astype(np.float32))
    meta = image.meta
    assert meta["modality"] == "CT"
    assert meta["series_uid"] == "1.2.9"
    assert meta["study_uid"] == "1.2.3.4.5"
    assert meta["frame_of_reference_uid"] == "1.2.3.4.5.7"
    assert meta["slice_axis"] == 2
    assert meta["space"] == "RAS"
    assert meta["gantry_tilt_deg"] == pytest.approx(0, abs=1e-3)
    assert meta["spacing_mm"] == pytest.approx((0.6, 0.8, 2.5), abs=1e-6)
    assert tuple(image.pixdim.tolist()) == pytest.approx((0.6, 0.8, 2.5), abs=1e-6)
    assert image.affine.dtype == torch.float64
    assert len(instance_uids(meta)) == len(files)
    assert finding_texts(meta) == []


def test_affine_is_ras(tmp_path: Path) -> None:
    write_series(tmp_path, origin=(-30.0, 12.5, -100.0))
    affine = load(tmp_path).affine.numpy()
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [30.0, -12.5, -100.0, 1])
    np.testing.assert_allclose(affine @ [1, 1, 1, 1], [29.4, -13.3, -97.5, 1])


def test_instance_uids_follow_the_slices(tmp_path: Path) -> None:
    uids = [f"1.2.9.{k}" for k in range(4)]
    write_series(tmp_path, step_mm=-2.5, per_slice=[{"SOPInstanceUID": uid} for uid in uids])
    assert instance_uids(load(tmp_path).meta) == uids[::-1]


def test_frames_of_a_multiframe_file_are_numbered(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e", stored_values(slices=3), [[0, 0, 6], [0, 0, 0], [0, 0, 3]])
    meta = load(tmp_path / "e").meta
    source = ReferencedSeries.from_meta(meta)
    assert source is not None
    assert [image.frame_number for image in source.images] == [2, 3, 1]
    assert len(set(instance_uids(meta))) == 1


def test_one_file_is_one_slice(tmp_path: Path) -> None:
    files = write_series(tmp_path, SliceThickness="3")
    image = load(files[2])
    assert image.shape == (5, 6, 1)
    assert "single slice" in finding_texts(image.meta)[0]


def test_list_of_files_is_one_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path, stored_values(slices=6))
    assert load(files[1:5]).shape == (5, 6, 4)


def test_series_is_chosen_by_argument(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=3), prefix="A")
    write_series(tmp_path, stored_values(slices=5), prefix="B", Modality="MR")
    assert load(tmp_path, modality="MR").shape[-1] == 5
    assert load(tmp_path, modality="CT").shape[-1] == 3


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda files: files[1].unlink(), DicomGeometryError, "slice gap of 5 mm"),
        (lambda files: files[1].write_bytes(files[1].read_bytes()[:-9]), DicomPixelError, "IM_98"),
        (lambda files: [file.unlink() for file in files], DicomReadError, "no DICOM image found"),
        (lambda files: write_series(files[0].parent, prefix="B"), SeriesSelectionError, "several image volumes"),
    ],
    ids=["gap", "truncated", "nothing", "several"],
)
def test_refusal_reaches_the_caller_through_monai(tmp_path: Path, spoil, error: type, text: str) -> None:
    spoil(write_series(tmp_path))
    with pytest.raises(error, match=text):
        load(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        Compose([LoadImaged("image", reader=DicomSeriesReader())])({"image": tmp_path})
    assert isinstance(caught.value.__cause__, error)


def test_missing_path_is_named() -> None:
    with pytest.raises(DicomReadError, match="/nowhere/study does not exist"):
        load("/nowhere/study")


def test_junk_named_as_dicom_is_refused_by_us(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("no DICOM")
    with pytest.raises(DicomReadError, match=r"a\.dcm: not a DICOM file"):
        load(tmp_path / "a.dcm")


def test_list_with_folders_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    with pytest.raises(DicomReadError, match="expected one folder, or files alone"):
        load([tmp_path / "a", tmp_path / "a"])


def test_other_formats_fall_back_to_the_reader_before(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "image.nii.gz")
    write_series(tmp_path / "dicom")
    loader = LoadImage(reader=[NibabelReader(), DicomSeriesReader()])
    np.testing.assert_array_equal(loader(tmp_path / "image.nii.gz").numpy(), array)
    assert loader(tmp_path / "dicom").shape == (5, 6, 4)


def test_read_raises_only_for_what_is_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "image.nii.gz").write_bytes(b"\x1f\x8b" + bytes(500))
    with pytest.raises(DicomReadError, match=r"image\.nii\.gz is neither a folder nor a DICOM file"):
        DicomSeriesReader().read(str(tmp_path / "image.nii.gz"))
    assert DicomSeriesReader().read(tmp_path) is not None


def test_suffix_is_verified_by_content(tmp_path: Path) -> None:
    files = write_series(tmp_path / "dicom")
    (tmp_path / "text").write_text("text")
    reader = DicomSeriesReader()
    assert reader.verify_suffix(tmp_path / "dicom")
    assert reader.verify_suffix(files)
    assert reader.verify_suffix("/nowhere/a.dcm")
    assert not reader.verify_suffix(tmp_path / "text")
    assert not reader.verify_suffix([*files, tmp_path / "image.nii.gz"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"on_gap": "ignore"}, "on_gap is 'ignore', expected one of error, keep, resample"),
        ({"on_tilt": None}, "on_tilt is None"),
        ({"on_duplicate": "keep"}, "on_duplicate is 'keep'"),
        ({"series_uid": 5}, "series_uid is 5, expected text or None"),
        ({"modality": " "}, "modality is ' '"),
        ({"stack": -1}, "stack is -1"),
        ({"stack": True}, "stack is True"),
        ({"num_workers": 0}, "num_workers is 0"),
        ({"channel_dim": 0}, "has no argument 'channel_dim'; expected some of series_uid, .*, num_workers$"),
    ],
)
def test_senseless_argument_is_refused_at_construction(arguments: dict, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        DicomSeriesReader(**arguments)


def test_arguments_survive_construction_by_name() -> None:
    loader = LoadImage(reader="monai_vggunet.data.reader.DicomSeriesReader", modality="MR", on_gap="keep")
    reader = loader.readers[-1]
    assert isinstance(reader, DicomSeriesReader)
    assert (reader.choice["modality"], reader.policies["on_gap"]) == ("MR", "keep")
    with pytest.raises(ConfigurationError, match="has no argument"):
        LoadImage(reader="monai_vggunet.data.reader.DicomSeriesReader", modalty="MR")


@pytest.mark.parametrize("workers", [0, 2])
def test_volumes_with_different_numbers_of_instances_are_collated(tmp_path: Path, workers: int) -> None:
    write_series(tmp_path / "a", stored_values(slices=4), series_uid="1.2.1")
    write_series(tmp_path / "b", stored_values(slices=7), series_uid="1.2.2", shear_mm=0.5)
    steps = [
        LoadImaged("image", reader=DicomSeriesReader()),
        EnsureChannelFirstd("image"),
        CenterSpatialCropd("image", (4, 4, 3)),
    ]
    cases = [{"image": str(tmp_path / name)} for name in "ab"]
    batch = next(iter(DataLoader(Dataset(cases, Compose(steps)), batch_size=2, num_workers=workers)))
    assert batch["image"].shape == (2, 1, 4, 4, 3)
    one, other = (case["image"].meta for case in decollate_batch(batch))
    assert (one["series_uid"], other["series_uid"]) == ("1.2.1", "1.2.2")
    assert (len(instance_uids(one)), len(instance_uids(other))) == (4, 7)
    assert (len(finding_texts(one)), len(finding_texts(other))) == (0, 1)


def test_meta_data_survive_pickling_and_saving(tmp_path: Path) -> None:
    write_series(tmp_path / "a", shear_mm=0.5)
    image = LoadImage(reader=DicomSeriesReader(), ensure_channel_first=True)(tmp_path / "a")
    again = pickle.loads(pickle.dumps(image))
    assert again.meta["findings"] == image.meta["findings"]
    SaveImage(tmp_path / "out", output_ext=".nii.gz", separate_folder=False, print_log=False)(image)
    saved = nibabel.load(next((tmp_path / "out").iterdir()))
    np.testing.assert_allclose(saved.affine, image.affine.numpy(), atol=1e-5)


def test_cached_volumes_are_the_volumes(tmp_path: Path) -> None:
    write_series(tmp_path / "a", shear_mm=0.5)
    load = Compose([LoadImaged("image", reader=DicomSeriesReader())])
    cases = [{"image": str(tmp_path / "a")}]
    fresh = load(cases[0])["image"]
    persistent = {"cache_dir": tmp_path / "cache", "track_meta": True, "weights_only": False}
    for _ in range(2):  # the second time from the disk
        for dataset in (CacheDataset(cases, load, progress=False), PersistentDataset(cases, load, **persistent)):
            cached = dataset[0]["image"]
            assert torch.equal(cached, fresh)
            assert torch.equal(cached.affine, fresh.affine)
            assert instance_uids(cached.meta) == instance_uids(fresh.meta)
            assert finding_texts(cached.meta) == finding_texts(fresh.meta)


def test_reader_can_be_pickled() -> None:
    reader = pickle.loads(pickle.dumps(DicomSeriesReader(modality="CT", on_gap="keep")))
    assert reader.policies["on_gap"] == "keep"


def test_choice_and_findings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path, series_uid="1.2.9", shear_mm=0.5)
    (tmp_path / "notes.txt").write_text("text")
    with caplog.at_level(logging.INFO, logger="monai_vggunet"):
        load(tmp_path)
    levels = {record.message: record.levelname for record in caplog.records}
    assert levels["chosen: CT series 1.2.9, 4 x 5 x 6 axial"] == "INFO"
    assert any("degrees off" in text and level == "WARNING" for text, level in levels.items())
    assert any("notes.txt: not a DICOM file" in text for text in levels)


def test_patient_is_named_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = []
    with caplog.at_level(logging.DEBUG):
        write_series(tmp_path / "a", shear_mm=0.5)
        texts.append(repr(load(tmp_path / "a").meta))
        texts.append(patient_key(tmp_path / "a"))
        write_series(tmp_path / "a", prefix="B", offsets_mm=[0, 1, 5, 9])
        with pytest.raises(SeriesSelectionError, match="several") as several:
            load(tmp_path / "a")
        write_series(tmp_path / "b", offsets_mm=[0, 1, 5, 9])
        with pytest.raises(DicomGeometryError, match="slice") as gap:
            load(tmp_path / "b")
    text = " ".join([*texts, str(several.value), str(gap.value), caplog.text])
    for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE):
        assert secret not in text
