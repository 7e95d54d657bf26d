"""Values that may mean something else than they seem to: each is a finding, at reading and in `inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_cases import make_case, needs_cases
from dicom_phantoms import header_of, rewritten, set_attributes, stored_values, write_enhanced, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit, JPEGLSNearLossless, RLELossless
from typer.testing import CliRunner

from monai_vggunet.cli.main import app
from monai_vggunet.dicom import DicomVolume, Finding, FindingKind, read_volume, scan_folder
from monai_vggunet.dicom.headers.pixel_format import pixel_format_of
from monai_vggunet.dicom.headers.stored_pixels import PixelElement
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import SeriesSelectionError


def read(folder: Path, **choice: Any) -> DicomVolume:
    return read_volume(scan_folder(folder).choose_series(**choice))


def found(folder: Path, kind: FindingKind, **choice: Any) -> Finding | None:
    """Return the reader's finding of a kind, of which there is at most one, as `inspect` also tells it."""
    findings = [finding for finding in read(folder, **choice).findings if finding.kind is kind]
    assert len(findings) <= 1
    (case,) = survey(folder, choice)
    told = [one for series in case.series for stack in series.stacks for one in stack.findings if one.kind is kind]
    assert told == findings
    return findings[0] if findings else None


# HU


def test_a_ct_without_rescale_is_perhaps_not_in_hu(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleSlope=None, RescaleIntercept=None)
    finding = found(tmp_path, FindingKind.NOT_RESCALED)
    assert finding is not None
    assert finding.severity == "warning"
    assert finding.count == 4
    assert "perhaps not HU" in finding.text


def test_other_modalities_need_no_rescale(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleSlope=None, RescaleIntercept=None, Modality="MR")
    assert found(tmp_path, FindingKind.NOT_RESCALED) is None


def test_half_a_rescale_is_a_rescale(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleSlope=None, RescaleIntercept="-1024")
    assert found(tmp_path, FindingKind.NOT_RESCALED) is None


def test_a_modality_lut_takes_the_place_of_a_rescale(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [8, 0, 16], "HU", np.arange(8, dtype=np.uint16).tobytes()
    stored = np.arange(60, dtype=np.uint16).reshape(3, 4, 5) % 8
    write_series(tmp_path, stored, ModalityLUTSequence=Sequence([lut]), RescaleSlope=None, RescaleIntercept=None)
    assert found(tmp_path, FindingKind.NOT_RESCALED) is None


@pytest.mark.parametrize("unit", ["HU", "hu", "Hounsfield", "H.U.", None])
def test_hu_by_any_of_its_names_is_no_finding(tmp_path: Path, unit: str | None) -> None:
    write_series(tmp_path, RescaleType=unit)
    assert found(tmp_path, FindingKind.OTHER_UNIT) is None


@pytest.mark.parametrize("unit", ["US", "HU_MOD", "unspecified"])
def test_what_may_be_hu_is_read_with_a_finding(tmp_path: Path, unit: str) -> None:
    write_series(tmp_path, RescaleType=unit)
    finding = found(tmp_path, FindingKind.OTHER_UNIT)
    assert finding is not None
    assert unit.upper() in finding.text


@pytest.mark.parametrize("unit", ["Z_EFF", "ED", "EDW", "OD", "PCT", "MGML", "electron density", "mg/ml iodine"])
def test_a_map_of_another_quantity_is_no_ct_unless_it_is_asked_for(tmp_path: Path, unit: str) -> None:
    write_series(tmp_path, RescaleType=unit, SeriesNumber="7", SeriesDescription="spectral")
    with pytest.raises(SeriesSelectionError, match=r"by their RescaleType, expected HU") as refusal:
        read(tmp_path)
    assert refusal.value.kind == FindingKind.OTHER_UNIT
    with pytest.raises(SeriesSelectionError, match="expected HU"):
        read(tmp_path, modality="CT")
    for choice in ({"series_uid": "7"}, {"description": "spectral"}, {"stack": 0}):
        assert found(tmp_path, FindingKind.OTHER_UNIT, **choice) is not None
    (case,) = survey(tmp_path)
    assert case.series[0].chosen is None
    assert case.series[0].reason is not None
    assert case.series[0].reason.kind is FindingKind.OTHER_UNIT


def test_the_ct_is_the_obvious_one_beside_its_maps(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RescaleType="HU", SeriesNumber="2")
    for number, unit in enumerate(("Z_EFF", "ED"), start=3):
        write_series(tmp_path / unit, RescaleType=unit, SeriesNumber=str(number))
    volume = read(tmp_path)
    assert volume.selection.series.series_number == "2"
    assert [finding.count for finding in volume.findings if finding.kind is FindingKind.OTHER_UNIT] == [2]
    assert read(tmp_path, series_uid="4").selection.series.series_number == "4"
    assert {read(tmp_path, modality=asked).selection.series.series_number for asked in ("CT", "ct")} == {"2"}


def test_frames_of_one_object_state_their_unit_too(tmp_path: Path) -> None:
    path = tmp_path / "enhanced"
    write_enhanced(path, stored_values(slices=3), [[0.0, 0.0, 3.0 * k] for k in range(3)], Modality="CT")
    dataset = pydicom.dcmread(path)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
    dataset.save_as(path)
    with pytest.raises(SeriesSelectionError, match="Z_EFF by their RescaleType"):
        read(tmp_path)


def test_the_unit_of_other_modalities_is_theirs(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleType="normalized", Modality="MR")
    assert found(tmp_path, FindingKind.OTHER_UNIT) is None


def test_a_unit_that_is_a_name_is_not_told(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleType="Doe^Jane")
    with pytest.raises(SeriesSelectionError, match="expected HU") as refusal:
        read(tmp_path)
    assert "Doe" not in str(refusal.value).title()


# Lossy compression


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"LossyImageCompressionRatio": "15"}, "lossy compression, ratio 15:1"),
        ({"LossyImageCompressionRatio": ["15", "2.5"]}, "lossy compression, ratio 15:1 and then 2.5:1"),
        ({}, "lossy compression, of unknown ratio"),
        ({"LossyImageCompressionMethod": "ISO_15444_1"}, "lossy compression, of unknown ratio"),
    ],
)
def test_lossy_compression_is_told_with_its_ratio(tmp_path: Path, attributes: dict[str, Any], said: str) -> None:
    write_series(tmp_path, LossyImageCompression="01", **attributes)
    finding = found(tmp_path, FindingKind.LOSSY)
    assert finding is not None
    assert finding.text.startswith(said)
    assert finding.count == 4


@pytest.mark.parametrize("stated", [None, "00"])
def test_what_was_never_compressed_with_loss_is_no_finding(tmp_path: Path, stated: str | None) -> None:
    write_series(tmp_path, LossyImageCompression=stated)
    assert found(tmp_path, FindingKind.LOSSY) is None


def test_some_lossy_planes_are_counted(tmp_path: Path) -> None:
    write_series(tmp_path, per_slice=[{"LossyImageCompression": "01"}, {}, {}, {"LossyImageCompression": "01"}])
    finding = found(tmp_path, FindingKind.LOSSY)
    assert finding is not None
    assert finding.text.startswith("2 of 4 planes lossy compression")


@pytest.mark.parametrize(
    ("syntax", "stated", "lossy"),
    [
        (JPEGBaseline8Bit, None, True),
        (JPEGLSNearLossless, "00", True),
        ("1.2.840.10008.1.2.4.91", None, None),
        ("1.2.840.10008.1.2.4.91", "00", False),
        ("1.2.840.10008.1.2.4.91", "01", True),
        ("1.2.840.10008.1.2.4.90", None, False),
    ],
)
def test_the_transfer_syntax_tells_of_loss_where_the_header_does_not(
    syntax: str, stated: str | None, lossy: bool | None
) -> None:
    header = header_of(syntax)
    set_attributes(header, {"LossyImageCompression": stated})
    assert pixel_format_of(header, syntax, PixelElement(0x7FE00010, None)).is_lossy is lossy


# Values beyond BitsStored


@pytest.mark.parametrize("how", ["native", "RLE", "big endian"])
@pytest.mark.parametrize(("dtype", "value"), [(np.int16, 3000), (np.int16, -3000), (np.uint16, 5000)])
def test_values_beyond_bits_stored_are_counted(tmp_path: Path, how: str, dtype: type, value: int) -> None:
    stored = np.random.default_rng(0).integers(0, 2000, (3, 6, 4)).astype(dtype)
    stored[1, :2, :2] = value
    files = write_series(tmp_path, stored, **({"transfer_syntax": RLELossless} if how == "RLE" else {}))
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.save_as(path)
        if how == "big endian":
            rewritten(path, ExplicitVRBigEndian)
    (finding,) = [one for one in read(tmp_path).findings if one.kind is FindingKind.BITS_BEYOND]
    assert finding.severity == "warning"
    assert finding.count == 4
    assert finding.instances == (pydicom.dcmread(files[1]).SOPInstanceUID,)
    assert "4 pixels of 1 plane" in finding.text
    told = [one.kind for one in survey(tmp_path)[0].series[0].stacks[0].findings]
    assert told == ([FindingKind.BITS_BEYOND] if how == "native" else [])  # only uncompressed little endian is sampled
    assert "BitsStored 12 and HighBit 11" in finding.text


def test_values_that_fit_are_no_finding(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-2048, 2048, (3, 6, 4)).astype(np.int16)
    stored[0, 0, :2] = -2048, 2047
    write_series(tmp_path, stored, BitsStored=12)
    assert FindingKind.BITS_BEYOND not in {one.kind for one in read(tmp_path).findings}


# The inputs that people met


@needs_cases
@pytest.mark.parametrize(
    ("case", "kind", "count"),
    [
        ("07", FindingKind.NOT_RESCALED, 6),
        ("08", FindingKind.PADDING, 4062),
        ("09", FindingKind.PADDING, 5760),
        ("38", FindingKind.BITS_BEYOND, 96),
        ("67", FindingKind.LOSSY, 6),
    ],
)
def test_inputs_that_people_met_have_their_finding(tmp_path: Path, case: str, kind: FindingKind, count: int) -> None:
    volume = read(make_case(case, tmp_path))
    assert [finding.count for finding in volume.findings if finding.kind is kind] == [count]
    assert volume.array.min() > -1100
    assert volume.array.max() < 1200


@needs_cases
@pytest.mark.parametrize(("case", "mean"), [("48", -412.065), ("68", 206434.69)])
def test_inputs_that_people_met_keep_their_values(tmp_path: Path, case: str, mean: float) -> None:
    assert float(read(make_case(case, tmp_path)).array.mean()) == pytest.approx(mean, rel=1e-5)


def test_inspect_tells_programs_and_people(tmp_path: Path) -> None:
    write_series(tmp_path, LossyImageCompression="01", LossyImageCompressionRatio="15", RescaleType="US")
    told = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path), "--json"]).output)
    kinds = {finding["kind"]: finding["count"] for finding in told["series"][0]["stacks"][0]["findings"]}
    assert kinds == {"lossy": 4, "other-unit": 4}
    output = CliRunner().invoke(app, ["inspect", str(tmp_path)], env={"COLUMNS": "200"}).output
    assert "lossy compression, ratio 15:1" in output
