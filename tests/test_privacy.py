"""Names planted everywhere are found nowhere: not in what is printed, nor in any file but the local lists of names."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from annotation_phantoms import STUDY, contour, write_rtstruct, write_seg
from phantoms import label_array
from privacy_phantoms import MARK, leaks, marked, plant_nifti, plant_picture, plant_series, plant_texts
from pydicom.fileset import FileSet
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from monai_vggunet.cli.main import app
from monai_vggunet.data import Datalist, compute_fingerprint, load_datalist
from monai_vggunet.errors import VGGUNetError
from monai_vggunet.outputs.dicom.patient_study import HEADER_KEYWORDS
from monai_vggunet.privacy import known_names, private_traceback, protect_logs, redact, show_phi
from monai_vggunet.segment.archive import Segmenter, segment
from monai_vggunet.transforms import loading

EVERY_OUTPUT = "nifti,nifti_per_class,dicom_seg,rtstruct"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def _edited(path: Path, **changes: Any) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good study, and one for each kind of failure; names in all folders, files, headers."""
    root = tmp_path_factory.mktemp("in") / f"{MARK}root Clinic^Dr. {MARK}head"
    good = root / f"{MARK}good Jane^Doe" / "ct"
    plant_series(good)
    plant_series(root / f"{MARK}gap", 5, SeriesInstanceUID="1.2.826.0.1.3680043.8.498.11")[2].unlink()
    cut = plant_series(root / f"{MARK}cut", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.12")[1]
    cut.write_bytes(cut.read_bytes()[:-100])
    color = plant_series(root / f"{MARK}color", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.13")
    for file in color:
        _edited(file, PhotometricInterpretation=marked("color").upper()[:16])
    slope = plant_series(root / f"{MARK}slope", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.14")[0]
    slope.write_bytes(slope.read_bytes().replace(b"DS\x02\x001 ", b"DS\x02\x00" + MARK[:2].encode()))
    plant_series(root / f"{MARK}mr", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.15", Modality="MR")
    other = plant_series(root / f"{MARK}modality", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.16")
    for file in other:
        _edited(
            file, Modality=marked("modality").upper()[:16], ImageType=["ORIGINAL", "PRIMARY", marked("type").upper()]
        )
    several = root / f"{MARK}several"
    for number in (17, 18):
        plant_series(several / f"{MARK}part{number}", SeriesInstanceUID=f"1.2.826.0.1.3680043.8.498.{number}")
    shutil.copy(next(several.rglob("*.dcm")), several / f"{MARK}copy.dcm")
    stacks = plant_series(root / f"{MARK}stacks", 4, SeriesInstanceUID="1.2.826.0.1.3680043.8.498.19")
    places = [pydicom.dcmread(file).ImagePositionPatient for file in stacks]
    for number, file in enumerate(stacks):
        _edited(file, ImagePositionPatient=places[number // 2], StackID=f"{MARK}{number % 2}")
    for file in plant_series(root / f"{MARK}uid", SeriesInstanceUID="1.2.3.4.5.6"):
        file.write_bytes(file.read_bytes().replace(b"1.2.3.4.5.6", f"{MARK}uidxx".encode()))
    unit = marked("unit").upper()[:16]
    plant_series(root / f"{MARK}beside", SeriesInstanceUID="1.2.826.0.1.3680043.8.498.20", RescaleType=unit)
    (root / f"{MARK}beside" / f"{MARK}notes.doc").write_text("no DICOM")
    (root / f"{MARK}beside" / f"{MARK}empty").touch()
    (root / f"{MARK}texts").mkdir()
    (root / f"{MARK}texts" / f"{MARK}only.doc").write_text("no DICOM")
    (root / f"{MARK}damaged.nii.gz").write_bytes(b"no gzip")
    plant_picture(root / f"{MARK}photo.png")
    plant_nifti(root / f"{MARK}volume.nii.gz")
    return root


def _run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai_vggunet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def segmented(model: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Everything at once: all outputs, several views, pages, every failure."""
    out = tmp_path_factory.mktemp("results") / "out"
    words = ("segment", archive, "-o", out, "--model", model, "--output", EVERY_OUTPUT, "--tta", "scale", "--report")
    done = _run(*words, "--engine", "torch", "--description", marked("SeriesDescription"))
    assert done.returncode == 1, done.stderr
    return out, done.stdout + done.stderr


def test_the_planted_names_are_where_they_should_be(archive: Path) -> None:
    """The search below must not pass because nothing was planted, or because it sees nothing."""
    found = leaks("", [archive], allowed=())
    for place in ("PatientName", "ImageComments", "PrivateText", "PrivateBytes", "NestedDescription", "MetaAE"):
        assert any(marked(place) in one for one in found), place
    for place in ("descrip", "auxfile", "extension", "Author", "Title"):
        assert any(marked(place) in one for one in found), place
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    plant_texts(dataset)
    assert len(dataset) > 290, "every element of text"


def test_segmenting_names_nobody(segmented: tuple[Path, str]) -> None:
    out, said = segmented
    of_dicom = ("seg.dcm", "rtstruct.dcm")
    assert leaks(said, [out], allowed=("names.json", *of_dicom)) == set()
    assert "2 of 14 cases done" in said or "3 of 14 cases done" in said, said[:100]
    good = out / f"{MARK}good Jane^Doe_ct"
    assert {"mask.nii.gz", "seg.dcm", "rtstruct.dcm", "report.html", "sheet.png"} <= {f.name for f in good.iterdir()}
    assert len(list(out.glob("*/record.json"))) >= 12
    kinds = {json.loads(file.read_text()).get("kind") for file in out.glob("*/record.json")}
    assert {"DicomGeometryError", "DicomPixelError", "SeriesSelectionError", "ModelMismatchError"} <= kinds, kinds


def test_dicom_results_carry_the_patient_and_no_other_text(segmented: tuple[Path, str]) -> None:
    """For the archive they belong to the patient (PS3.3 C.7.1.1, C.7.2.1); nothing else is copied."""
    for name in ("seg.dcm", "rtstruct.dcm"):
        dataset = pydicom.dcmread(segmented[0] / f"{MARK}good Jane^Doe_ct" / name)
        named = {element.keyword for element in dataset.iterall() if MARK in str(element.value) and element.VR != "SQ"}
        assert "PatientName" in named
        assert named <= set(HEADER_KEYWORDS), named - set(HEADER_KEYWORDS)


def test_the_user_finds_a_study_by_its_pseudonym(segmented: tuple[Path, str]) -> None:
    out, said = segmented
    listed = json.loads((out / "names.json").read_text())["names"]
    assert stat.S_IMODE((out / "names.json").stat().st_mode) == 0o600
    for folder in (path.parent for path in out.glob("*/record.json")):
        record = json.loads((folder / "record.json").read_text())
        assert listed[record["case"]]["name"] == folder.name
        assert record["case"] in (folder / "report.html").read_text()
        assert record["case"] in said or record["status"] == "done"
    done = json.loads((out / f"{MARK}good Jane^Doe_ct" / "record.json").read_text())
    assert marked("SeriesDescription") in listed[done["case"]]["description"]
    assert listed[done["case"]]["input"].endswith(f"{MARK}good Jane^Doe/ct")
    index = (out / "index.html").read_text()
    assert "names.json" not in index
    for link in re.findall(r'(?:href|src)="([^"]+)"', index):
        assert (out / link).is_file(), link
    pseudonyms = set(re.findall(r"\b(?:case|file|folder|text)-[0-9a-f]{8,}", said))
    assert pseudonyms <= set(listed), "each can be looked up"


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_inspecting_names_nobody(archive: Path, words: tuple[str, ...]) -> None:
    done = _run("inspect", archive, *words, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    assert leaks(done.stdout + done.stderr) == set()
    if words:
        told = json.loads(done.stdout)
        assert {series["case"] for series in told["series"]} >= {"case 1", "case 2"}
        assert "1.2.826.0.1.3680043.8.498.11" in {series["series_uid"] for series in told["series"]}
        assert "Thorax … 5.0 B30f" in {series["description"] for series in told["series"]}
    else:
        assert "case 1" in done.stdout
        assert "Thorax … 5.0 B30f" in done.stdout
        assert "left out: 1 file: not a DICOM file" in done.stdout
        assert done.stdout.rstrip().endswith("--show-phi shows them")


def test_inspect_shows_everything_when_it_is_asked_for(archive: Path) -> None:
    done = _run("inspect", archive, "--show-phi", COLUMNS="300")
    for place in ("root", "good", "SeriesDescription", "PatientName", "notes"):
        assert marked(place) in done.stdout, place


def test_results_show_everything_when_it_is_asked_for_and_later_pages_do_not(
    model: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In this process: another one takes seconds to start."""
    out = tmp_path / "out"
    words = ["segment", str(archive / f"{MARK}gap"), "-o", str(out), "--model", str(model), "--engine", "torch"]
    done = CliRunner().invoke(app, [*words, "--report", "--show-phi"])
    assert f"failed: {MARK}gap: slice gap" in done.output
    assert f"{MARK}gapFile" in caplog.text
    record = json.loads((out / f"{MARK}gap" / "record.json").read_text())
    assert record["case"] == f"{MARK}gap"
    assert f"{MARK}gapFile" in record["error"]
    assert f"{MARK}gap" in (out / "index.html").read_text()
    assert not (out / "names.json").exists()
    show_phi(False)
    done = CliRunner().invoke(app, ["report", str(out), "--images", str(archive / f"{MARK}gap")])
    assert done.exit_code == 0
    pages = [out / "index.html", out / f"{MARK}gap" / "report.html"]
    assert leaks(done.output + "".join(page.read_text() for page in pages)) == set()


def test_a_failure_nobody_foresaw_names_nobody(
    model: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError(marked("quoted"))

    monkeypatch.setattr(Segmenter, "compute", fail)
    with caplog.at_level("DEBUG"):
        segment([archive / f"{MARK}volume.nii.gz"], tmp_path / "out", Segmenter(model), show_progress=False)
    assert "failed in a way nobody foresaw (KeyError at test_privacy.py" in caplog.text
    assert leaks(caplog.text, [tmp_path / "out"]) == set()


def test_a_volume_leaves_no_text_of_its_header(model: Path, archive: Path, tmp_path: Path) -> None:
    segment([archive / f"{MARK}volume.nii.gz"], tmp_path / "out", Segmenter(model), show_progress=False)
    assert (tmp_path / "out" / f"{MARK}volume" / "mask.nii.gz").is_file()
    assert leaks("", [tmp_path / "out"]) == set()


def _contours() -> dict[str, list[Any]]:
    square = np.array([[-30.0, 12.5, -100.0], [-25.0, 12.5, -100.0], [-25.0, 18.5, -100.0]])
    return {marked("roi"): [contour(square)], f"Liver {marked('other')}": [contour(square)]}


@pytest.mark.parametrize("segments", [None, {"spleen": 1}, {"1": 1}])
@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_labels_name_nobody(
    kind: str, segments: dict[str, int] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Names of segments and structures that are no class are free text; so are names of files."""
    image, label = tmp_path / "images" / f"{MARK}case", tmp_path / "labels" / f"{MARK}case.dcm"
    files = plant_series(image, StudyInstanceUID="1.2.3.4.5", FrameOfReferenceUID="1.2.3.4.5.7", **STUDY)
    label.parent.mkdir()
    if kind == "seg":
        drawn = (np.arange(4 * 16 * 16) % 3).astype(np.uint8).reshape(4, 16, 16)
        write_seg(label, files, drawn, names=(marked("segment"), f"Liver {marked('other')}"))
    else:
        write_rtstruct(label, _contours(), files[0])
    listed = load_datalist(tmp_path)
    said = ""
    with caplog.at_level("DEBUG"):
        try:
            loading(segments=segments)(listed.training[0])
        except RuntimeError as error:
            said = private_traceback(error)
            logging.getLogger("third.party").error("failed", exc_info=True)
    assert leaks(said + caplog.text) == set()
    assert "Liver …" in said + caplog.text


@pytest.mark.parametrize("damage", ["label", "pair", "numbers", "missing"])
def test_a_data_set_that_is_refused_names_nobody(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    label = label_array()
    label[0, 0, 0] = 7 if damage == "numbers" else 0
    for name in ("Jane", "Joe"):
        plant_nifti(tmp_path / "images" / f"{marked(name)} 01.nii.gz")
        plant_nifti(tmp_path / "labels" / f"{marked(name)} 01.nii.gz", label_array() if name == "Jane" else label)
    if damage == "label":
        plant_nifti(tmp_path / "labels" / f"{marked('Joe')} 01.nii.gz", label_array((8, 8, 4)))
    elif damage == "pair":
        (tmp_path / "labels" / f"{marked('Joe')} 01.nii.gz").rename(tmp_path / "labels" / f"{marked('Jo')}.nii.gz")
    elif damage == "missing":
        gone = {"image": f"images/{marked('Gone')}.nii.gz", "label": f"/x/{marked('y')}/{marked('Gone')}.nii.gz"}
        (tmp_path / "dataset.json").write_text(json.dumps({"training": [gone]}))
    with pytest.raises(VGGUNetError, match=MARK) as refused, caplog.at_level("DEBUG"):
        compute_fingerprint(replace(load_datalist(tmp_path), class_names=["background", "a", "b"]), loading())
    assert leaks(private_traceback(refused.value) + caplog.text) == set()


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Path, Path]:
    """A data set whose one case lies elsewhere, behind a link; and the series, whose slices have a gap."""
    series = tmp_path / "far" / f"{MARK}series"
    plant_series(series, 5)[2].unlink()
    label = plant_nifti(tmp_path / "far" / f"{MARK}label.nii.gz", label_array())
    for folder, target in (("images", series), ("labels", label)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / f"case{'.nii.gz' * (folder == 'labels')}").symlink_to(target)
    return tmp_path / "data", series


@pytest.mark.parametrize("how", ["link", "list"])
def test_a_case_that_lies_elsewhere_names_nobody(how: str, elsewhere: tuple[Path, Path], tmp_path: Path) -> None:
    data, series = elsewhere
    listed = load_datalist(data)
    if how == "list":
        cases = [case | {"image": str(series)} for case in listed.training]
        replace(listed, training=cases, validation=cases).write(tmp_path / "datalist.json")
        known_names._known = known_names.KnownNames()
        listed = Datalist.read(tmp_path / "datalist.json")
    with pytest.raises(VGGUNetError, match=MARK) as refused:
        compute_fingerprint(listed, loading())
    assert leaks(private_traceback(refused.value)) == set()


def test_files_that_a_dicomdir_lists_name_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Names come from the directory's records: those of files that are there, and of one that is not."""
    listed = FileSet()
    for file in plant_series(tmp_path / "source", **STUDY):
        listed.add(file)
    listed.write(tmp_path / "disc")
    directory = tmp_path / "disc" / "DICOMDIR"
    folder, gone = f"{MARK}SE".upper(), f"{MARK}IM".upper()
    records = directory.read_bytes().replace(b"SE000000", folder.encode()).replace(b"IM000000", gone.encode())
    directory.write_bytes(records)
    (series,) = (tmp_path / "disc").rglob("SE000000")
    series.rename(series.with_name(folder))
    said = [_run("inspect", directory, *words) for words in ((), ("--json",))]
    assert "listed in the DICOMDIR, but not there" in said[0].stdout
    protect_logs()
    with caplog.at_level("DEBUG"):
        image = loading(with_label=False)({"image": str(directory)})["image"]
    assert "listed in the DICOMDIR" in caplog.text
    texts = [text for each in said for text in (each.stdout, each.stderr)]
    assert leaks("".join([*texts, caplog.text, redact(str(image.meta["findings"]))])) == set()
