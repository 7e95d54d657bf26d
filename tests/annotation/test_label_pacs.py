"""Annotation on a real Orthanc: studies come over DICOMweb, labels go back as DICOM SEG, the index names no patient."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_phantoms import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, oblique, write_series
from label_server import PYTHON, Server, ras_affine, running_server, tiny_model
from monai.transforms import LoadImage
from phantoms import ct_array, label_array, write_nifti

from monai_vggunet.data import DicomSeriesReader

orthanc_server = pytest.importorskip("orthanc_server", reason="the tests of the PACS are not here")
pytestmark = [pytest.mark.label, pytest.mark.pacs]
SERIES = {"1.2.3.4.100": {}, "1.2.3.4.200": {"orientation": oblique()}, "1.2.3.4.300": {"shear_mm": 0.4}}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three series of a CT, one oblique, one with a tilted gantry; an MR series that the filter must leave out."""
    root = tmp_path_factory.mktemp("pacs")
    stored = np.ascontiguousarray(ct_array(label_array()).T)
    for uid, options in SERIES.items():
        write_series(root / "dicom" / uid, stored, series_uid=uid, **options)
    write_series(root / "dicom" / "mr", stored, series_uid="1.2.3.4.900", Modality="MR")
    return root


@pytest.fixture(scope="module")
def orthanc(archive: Path) -> Iterator[object]:
    if why := orthanc_server.why_no_orthanc():
        pytest.skip(why)
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    server = orthanc_server.Orthanc()
    try:
        server.upload(path for path in (archive / "dicom").rglob("*") if path.is_file())
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def pacs_server(archive: Path, orthanc: object) -> Iterator[Server]:
    secret = {
        "MONAI_LABEL_DICOMWEB_USERNAME": orthanc_server.USER,
        "MONAI_LABEL_DICOMWEB_PASSWORD": orthanc_server.PASSWORD,
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "1",
    }
    with running_server(orthanc.dicomweb, tiny_model(archive / "model"), archive, **secret) as running:
        yield running


def affine_of_series(folder: Path, uid: str) -> np.ndarray:
    return np.asarray(LoadImage(reader=DicomSeriesReader())(folder / "dicom" / uid).affine)


def test_the_series_of_the_models_modality_are_offered(pacs_server: Server) -> None:
    assert pacs_server.get("/datastore/").json()["total"] == len(SERIES)
    assert pacs_server.post("/activelearning/first", json={}).json()["id"] in SERIES


@pytest.mark.parametrize("uid", SERIES)
def test_a_mask_lies_on_its_series_in_the_world(pacs_server: Server, archive: Path, tmp_path: Path, uid: str) -> None:
    answer = pacs_server.infer("vggunet", uid, result_extension=".nii.gz")
    assert answer.status_code == 200, answer.text
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert len(np.unique(np.asarray(mask.dataobj))) > 1
    np.testing.assert_allclose(mask.affine, affine_of_series(archive, uid), atol=1e-3)


def test_a_tilted_series_keeps_its_tilt_for_slicer(pacs_server: Server, archive: Path, tmp_path: Path) -> None:
    """NRRD, which 3D Slicer and OHIF ask for, holds axes that are not at right angles."""
    uid = "1.2.3.4.300"
    (tmp_path / "mask.nrrd").write_bytes(pacs_server.infer("vggunet", uid, result_extension=".nrrd").content)
    affine = ras_affine(SimpleITK.ReadImage(str(tmp_path / "mask.nrrd")))
    np.testing.assert_allclose(affine, affine_of_series(archive, uid), atol=1e-3)


def test_ohif_gets_a_dicom_seg(pacs_server: Server, archive: Path, tmp_path: Path) -> None:
    uid = "1.2.3.4.200"
    names = [{"name": "spleen", "model_name": "vggunet"}, {"name": "liver", "model_name": "vggunet"}]  # in any order
    answer = pacs_server.infer("vggunet", uid, output="dicom_seg", label_info=names, result_extension=".nii.gz")
    assert answer.status_code == 200, answer.text
    (tmp_path / "seg.dcm").write_bytes(answer.content)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == uid
    (tmp_path / "mask.nii.gz").write_bytes(pacs_server.infer("vggunet", uid, result_extension=".nii.gz").content)
    found = [int(number) for number in np.unique(np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj)) if number]
    named = {item.SegmentNumber: item.SegmentLabel for item in seg.SegmentSequence}
    assert {number: named[number] for number in found} == {n: ["", "liver", "spleen"][n] for n in found}
    assert str(seg.PatientID) == PATIENT_ID  # of the same patient, as a derived object must be


def test_a_submitted_label_becomes_a_dicom_seg_in_the_archive(
    pacs_server: Server, orthanc: object, archive: Path, tmp_path: Path
) -> None:
    """And is learned from: it is drawn onto the series' grid again, slices without a frame included."""
    uid = "1.2.3.4.200"
    label, affine = label_array(), affine_of_series(archive, uid)
    answer = pacs_server.submit(uid, write_nifti(tmp_path / "label.nii.gz", label, affine))
    assert answer.status_code == 200, answer.text
    stored = [orthanc.get(f"/series/{one}") for one in orthanc.get("/series")]
    segs = [one for one in stored if one["MainDicomTags"]["Modality"] == "SEG"]
    assert len(segs) == 1
    (tmp_path / "seg.dcm").write_bytes(orthanc.request(f"/instances/{segs[0]['Instances'][0]}/file"))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["liver", "spleen"]
    cases = pacs_server.get("/datastore/?output=train").json()
    assert [Path(case["image"]).name for case in cases] == [f"{uid}.nii.gz"]
    learned = nib.load(cases[0]["label"])
    np.testing.assert_array_equal(np.asarray(learned.dataobj), label)
    np.testing.assert_allclose(learned.affine, affine, atol=1e-3)


def test_a_label_that_another_station_stored_is_drawn_onto_the_series(
    pacs_server: Server, archive: Path, tmp_path: Path
) -> None:
    """What the archive holds counts, when this server's own copy is gone."""
    uid = "1.2.3.4.200"
    cache = next((pacs_server.app / "cache" / "dicom").glob("*/labels/final"))
    if not (cache / f"{uid}.nii.gz").exists():
        pytest.skip("nothing was submitted before")
    (cache / f"{uid}.nii.gz").unlink()
    label = nib.load(pacs_server.get("/datastore/?output=train").json()[0]["label"])
    np.testing.assert_array_equal(np.asarray(label.dataobj), label_array())
    np.testing.assert_allclose(label.affine, affine_of_series(archive, uid), atol=1e-3)


@pytest.mark.parametrize("uid", ["9.9.9", "../../etc"])
def test_a_series_the_archive_lacks_is_refused(pacs_server: Server, uid: str) -> None:
    assert pacs_server.infer("vggunet", uid).status_code == 404


def test_the_viewer_may_read_the_archive_by_its_own_resources_alone(pacs_server: Server, orthanc: object) -> None:
    """MONAI Label's proxy sends its own credentials along: to wherever a path leads, and to store too."""
    held = orthanc.get("/statistics")
    study = pacs_server.get("/proxy/dicom/qido/studies?limit=1").json()[0]["0020000D"]["Value"][0]
    assert pacs_server.get(f"/proxy/dicom/wado/studies/{study}/metadata").ok
    away = ["..%2f..%2fsystem", "studies%3F../../system", f"studies/{study}%2f..%2f..%2f..%2fsystem", "%2e%2e/system"]
    away += [
        "instances",
        f"studies/{study}/series/%2e%2e/metadata",
        "//127.0.0.1/studies",
        f"studies/{study}/metadata%00",
    ]
    writing = [("POST", "studies"), ("POST", f"studies/{study}"), ("DELETE", f"studies/{study}"), ("PUT", "studies")]
    writing += [("POST", "tools/execute-script"), ("POST", "..%2f..%2ftools%2freset")]
    for prefix in ("/proxy/dicom/", "/proxy/dicom/wado/", "/proxy/dicom/qido/", "/proxy/dicom/stow/"):
        for path in away:
            assert status_of(pacs_server, "GET", prefix + path) == 404, prefix + path
        for method, path in writing:
            assert status_of(pacs_server, method, prefix + path) in (404, 405), (method, prefix + path)
    assert status_of(pacs_server, "GET", "/proxy/dicom/wado/studies", Origin="http://evil.example") == 404
    assert status_of(pacs_server, "GET", "/proxy/dicom/qido/studies", Origin="http://evil.example") == 403
    assert orthanc.get("/statistics") == held


def status_of(server: Server, method: str, target: str, **headers: str) -> int:
    """Return the status of a request that no client tidies up."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request(method, target, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("path", ["/datastore/image", "/datastore/"])
def test_an_upload_does_not_take_the_place_of_a_series_copy(pacs_server: Server, archive: Path, path: str) -> None:
    (archive / "mine.nii.gz").write_bytes(gzip.compress(b"not the series"))
    for image in ("1.2.3.4.100", "1.2.3.4.555", "mine"):
        files = {"file": ("x.nii.gz", (archive / "mine.nii.gz").read_bytes())}
        answer = pacs_server.send("PUT", path, params={"image": image}, files=files)
        assert (answer.status_code, "none where the studies are a DICOMweb server's" in answer.json()["detail"]) == (
            422,
            True,
        )


def test_the_index_and_the_log_name_no_patient(pacs_server: Server) -> None:
    files = [*(pacs_server.app / "cache" / "dicom").glob("*/datastore_v2.json"), pacs_server.log]
    assert len(files) == 2
    assert orthanc_server.PASSWORD not in pacs_server.log.read_text()
    for file in files:
        text = file.read_text()
        assert not [secret for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE) if secret in text], file


def test_an_archive_that_is_gone_is_answered(pacs_server: Server, orthanc: object) -> None:
    """Last: the archive does not come back."""
    orthanc.kill()
    known = pacs_server.infer("vggunet", "1.2.3.4.100")
    assert known.status_code == 200  # its copy is here
    lost = pacs_server.infer("vggunet", "1.2.3.4.555")
    assert lost.status_code == 502
    assert "could not be fetched" in lost.json()["detail"]
