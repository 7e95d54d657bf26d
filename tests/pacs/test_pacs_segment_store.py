"""The DICOM SEG back into a real archive by the command line: in the same study, of the right series, every voxel."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantoms import SEGMENTATION_CLASS
from faulty_proxy import Fault, FaultyProxy
from orthanc_server import ORTHANC_AET, PASSWORD, USER, Orthanc
from typer.testing import Result

from monai_vggunet.pacs import DicomWebServer
from monai_vggunet.pacs.credentials import Credentials

pytestmark = pytest.mark.pacs

STUDY, CT = "1.2.3.4.5", "1.2.3.4.5.61"


def record_of(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def the_seg_of(orthanc: Orthanc) -> pydicom.Dataset:
    """Return the one SEG of the study, found by QIDO and fetched by WADO."""
    client = DicomWebServer(orthanc.dicomweb, Credentials(user=USER, password=PASSWORD)).client
    series = [s["0020000E"]["Value"][0] for s in client.search_for_series(STUDY, search_filters={"Modality": "SEG"})]
    assert len(series) == 1
    (seg,) = client.retrieve_series(STUDY, series[0])
    return seg


def segs_in(orthanc: Orthanc) -> int:
    files = [pydicom.dcmread(BytesIO(orthanc.request(f"/instances/{i}/file"))) for i in orthanc.get("/instances")]
    return sum(file.SOPClassUID == SEGMENTATION_CLASS for file in files)


def check_seg(seg: pydicom.Dataset, source: Path, mask_file: Path) -> None:
    """Every voxel where the mask has it, by position; every instance of the source referenced."""
    mask = nib.load(mask_file)
    labels, to_index = np.asarray(mask.dataobj), np.linalg.inv(mask.affine)
    found = np.zeros_like(labels)
    for frame, groups in zip(np.atleast_3d(seg.pixel_array), seg.PerFrameFunctionalGroupsSequence):
        lps = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        i, j, k = (to_index @ [-lps[0], -lps[1], lps[2], 1])[:3]
        assert (abs(i), abs(j)) < (0.01, 0.01)
        assert abs(k - round(k)) < 0.01
        found[..., round(k)][frame.T > 0] = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    assert labels.any()
    np.testing.assert_array_equal(found, labels)
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in source.iterdir()]
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == CT
    referenced = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert sorted(referenced) == sorted(header.SOPInstanceUID for header in headers)
    assert (seg.StudyInstanceUID, seg.PatientID) == (headers[0].StudyInstanceUID, headers[0].PatientID)


def test_the_seg_goes_back_into_its_study(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / STUDY
    check_seg(the_seg_of(orthanc), study, folder / "mask.nii.gz")
    (stored,) = record_of(folder)["stored"]
    assert (stored["to"], stored["how"], stored["status"]) == (orthanc.dicomweb, "STOW-RS", "stored")
    assert stored["sop_instance_uid"] == pydicom.dcmread(folder / "seg.dcm").SOPInstanceUID


def test_what_was_stored_neither_changes_the_study_nor_is_stored_again(
    orthanc: Orthanc, study: Path, run: Callable[..., Result]
) -> None:
    words = ("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--resume")
    run(*words)
    assert "(1 of them by an earlier run)" in run(*words).output
    assert segs_in(orthanc) == 1


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_the_seg_goes_to_a_node_by_c_store(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path, source: str
) -> None:
    words = ("--dicomweb", orthanc.dicomweb, "--study", STUDY) if source == "archive" else (str(study),)
    node = f"127.0.0.1:{orthanc.dicom_port}:{ORTHANC_AET}"
    result = run(*words, "--store", node)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / (STUDY if source == "archive" else "ct")
    check_seg(the_seg_of(orthanc), study, folder / "mask.nii.gz")
    assert [(entry["to"], entry["how"]) for entry in record_of(folder)["stored"]] == [(node, "C-STORE")]


def test_a_folder_is_stored_by_stow_with_credentials_of_its_own(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run(str(study), "--store", orthanc.dicomweb)
    assert result.exit_code == 1
    assert "refused access (401 Unauthorized)" in result.output
    monkeypatch.setenv("MONAI_VGGUNET_STORE_USER", USER)
    monkeypatch.setenv("MONAI_VGGUNET_STORE_PASSWORD", PASSWORD)
    assert run(str(study), "--store", orthanc.dicomweb, "--resume").exit_code == 0
    check_seg(the_seg_of(orthanc), study, tmp_path / "out" / "ct" / "mask.nii.gz")


@pytest.mark.parametrize("status", [409, 500])
def test_a_store_that_fails_leaves_the_file_and_says_where_and_a_resumed_run_stores_it(
    orthanc: Orthanc, proxy: FaultyProxy, study: Path, run: Callable[..., Result], tmp_path: Path, status: int
) -> None:
    words = ("--dicomweb", proxy.dicomweb, "--study", STUDY)
    seg = tmp_path / "out" / STUDY / "seg.dcm"
    proxy.faults = [Fault("POST", status=status)]
    result = run(*words)
    assert result.exit_code == 1
    assert "0 of 1 case done" in result.output
    told = " ".join(result.output.split())
    assert f"not stored: 127.0.0.1, asked to store a result, answered {status}" in told
    assert f"The result lies in {seg}" in told
    assert record_of(seg.parent)["status"] == "done"
    assert record_of(seg.parent)["stored"][0]["status"] == "failed"
    before = seg.read_bytes()
    proxy.faults = []
    result = run(*words, "--resume")
    assert "1 of 1 case done (1 of them by an earlier run)" in result.output
    assert seg.read_bytes() == before
    assert the_seg_of(orthanc).SOPInstanceUID == pydicom.dcmread(seg).SOPInstanceUID
    assert record_of(seg.parent)["stored"][0]["status"] == "stored"


def test_nothing_is_stored_when_told_so(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--no-store", "--output", "dicom_seg")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / STUDY / "seg.dcm").is_file()
    assert segs_in(orthanc) == 0


def test_storing_without_a_seg_is_wrong_usage(orthanc: Orthanc, run: Callable[..., Result]) -> None:
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--output", "nifti")
    assert result.exit_code == 2
    assert "dicom_seg" in result.output
