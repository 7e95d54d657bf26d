"""What `inspect` marks is what the reader reads, and what it does not mark, the reader refuses for the same reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_cases import CASES, make_case, needs_cases
from dicom_phantoms import rewritten, write_enhanced, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from monai_vggunet.dicom import FindingKind, read_volume
from monai_vggunet.dicom.places import scan_path
from monai_vggunet.dicom.survey import CaseSurvey, survey
from monai_vggunet.errors import DicomRefusedError

CORPUS = Path(__file__).parents[2].parent / "shared" / "data" / "dicom"
FOLDERS = sorted(CORPUS.glob("*/dicom"))
# Damage inside the pixels, which headers do not show.
DAMAGED = {"d27_dirty_truncated"}


def kind_read(folder: Path) -> str:
    """Return the kind for which the reader refuses a folder; nothing if it reads it."""
    try:
        read_volume(scan_path(folder).choose_series())
    except DicomRefusedError as error:
        return str(error.kind)
    return ""


def kinds_told(case: CaseSurvey) -> tuple[bool, set[str]]:
    """Return whether `inspect` marks a series of a case, and the kinds of refusal that it gives."""
    refused = [finding for finding in case.findings if finding.severity == "refused"]
    reasons = [series.reason for series in case.series if series.reason is not None]
    problems = [stack.problem for series in case.series for stack in series.stacks if stack.problem]
    marked = any(series.chosen is not None for series in case.series)
    return marked, {str(finding.kind) for finding in (*refused, *reasons, *problems)}


def assert_true(folder: Path) -> None:
    """Compare `inspect` with the reader on every case that it tells of."""
    cases = survey(folder)
    for case in cases:
        marked, kinds = kinds_told(case)
        refused = kind_read(case.folder)
        assert marked == (not refused), (
            f"{case.folder.name}: inspect says {kinds or 'yes'}, the reader {refused or 'yes'}"
        )
        if refused:
            assert refused in kinds


@pytest.mark.skipif(not FOLDERS, reason=f"the shared corpus is not at {CORPUS}")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_it_tells_what_the_reader_does_with_real_folders(folder: Path) -> None:
    if folder.parent.name in DAMAGED:
        pytest.skip("damage inside the pixels")
    assert_true(folder)


@needs_cases
@pytest.mark.parametrize("name", CASES)
def test_it_tells_what_the_reader_does_with_inputs_that_people_met(tmp_path: Path, name: str) -> None:
    assert_true(make_case(name, tmp_path / "input"))


# Siblings


def _compressed(dataset: Dataset, syntax: str) -> None:
    dataset.PixelData = encapsulate([dataset.PixelData])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax


def _floating(dataset: Dataset, keyword: str, kind: str) -> None:
    shape = (dataset.Rows, dataset.Columns)
    del dataset.PixelData
    setattr(dataset, keyword, np.ones(shape, kind).tobytes())
    dataset.BitsAllocated = np.dtype(kind).itemsize * 8


def _allocated(dataset: Dataset, bits: int) -> None:
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelData = b"\1" * (dataset.Rows * dataset.Columns * bits // 8)


CHANGES: dict[str, tuple[Callable[[Dataset], Any], FindingKind | None]] = {
    "three colors": (lambda d: setattr(d, "SamplesPerPixel", 3), FindingKind.COLOR),
    "palette": (lambda d: setattr(d, "PhotometricInterpretation", "PALETTE COLOR"), FindingKind.COLOR),
    "one sample of YBR": (lambda d: setattr(d, "PhotometricInterpretation", "YBR_FULL"), FindingKind.COLOR),
    "float": (lambda d: _floating(d, "FloatPixelData", "f4"), FindingKind.FLOATING_POINT),
    "double": (lambda d: _floating(d, "DoubleFloatPixelData", "f8"), FindingKind.FLOATING_POINT),
    "MPEG": (lambda d: _compressed(d, "1.2.840.10008.1.2.4.102"), FindingKind.UNSUPPORTED_SYNTAX),
    "JPIP": (lambda d: _compressed(d, "1.2.840.10008.1.2.4.94"), FindingKind.UNSUPPORTED_SYNTAX),
    "4 bits": (lambda d: _allocated(d, 4), FindingKind.UNSUPPORTED_BITS),
    "12 bits": (lambda d: _allocated(d, 12), FindingKind.UNSUPPORTED_BITS),
    "24 bits": (lambda d: _allocated(d, 24), FindingKind.UNSUPPORTED_BITS),
    "40 bits": (lambda d: _allocated(d, 40), FindingKind.UNSUPPORTED_BITS),
    "1 bit": (lambda d: _allocated(d, 1), None),
    "8 bits": (lambda d: _allocated(d, 8), None),
    "32 bits": (lambda d: _allocated(d, 32), None),
    "64 bits": (lambda d: _allocated(d, 64), None),
    "no HighBit": (lambda d: delattr(d, "HighBit"), None),
    **{
        f"no {keyword}": (lambda d, keyword=keyword: delattr(d, keyword), FindingKind.PIXELS_NOT_DESCRIBED)
        for keyword in (
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "BitsAllocated",
            "BitsStored",
            "PixelRepresentation",
        )
    },
    "too few pixels": (lambda d: setattr(d, "PixelData", d.PixelData[:-200]), FindingKind.NO_IMAGE),
    "pixels of three frames": (lambda d: setattr(d, "PixelData", d.PixelData * 3), FindingKind.NO_IMAGE),
    "a block behind the pixels": (lambda d: setattr(d, "PixelData", d.PixelData + b"\xab" * 512), None),
}


@pytest.mark.parametrize("encoding", ["explicit", ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("change", CHANGES)
def test_what_headers_tell_of_pixels_is_told(tmp_path: Path, change: str, encoding: str) -> None:
    alter, kind = CHANGES[change]
    for path in write_series(tmp_path, np.full((3, 24, 20), 40, dtype=np.uint16)):
        dataset = pydicom.dcmread(path)
        alter(dataset)
        native = dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1" and "PixelData" in dataset
        dataset.save_as(path)
        if native and encoding != "explicit":
            rewritten(path, encoding)
    assert_true(tmp_path)
    assert kind_read(tmp_path) == (kind or "")


def test_pixels_without_a_length_are_no_uncompressed_pixels(tmp_path: Path) -> None:
    for path in write_series(tmp_path, np.full((3, 24, 20), 40, dtype=np.uint16)):
        content = path.read_bytes()
        at = content.index(b"\xe0\x7f\x10\x00OW")
        items = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + content[at + 8 : at + 12] + content[at + 12 :]
        path.write_bytes(content[: at + 8] + b"\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0")
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.NO_IMAGE


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, "1.2.840.10008.1.2.4.201"])
def test_uncompressed_pixels_under_a_compressed_syntax_are_told(tmp_path: Path, syntax: str) -> None:
    for path in write_series(tmp_path, np.full((3, 24, 20), 40, dtype=np.uint16)):
        meta, data_set = path.read_bytes().split(b"1.2.840.10008.1.2.1\0", 1)
        value = syntax.encode() + b"\0" * (len(syntax) % 2)
        meta = meta[:-2] + len(value).to_bytes(2, "little")
        path.write_bytes(meta + value + data_set)
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.UNREADABLE_PIXELS


def test_compressed_pixels_that_state_their_length_are_read(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 500, (3, 64, 64)).astype(np.uint16)
    for path in write_series(tmp_path, stored, transfer_syntax=RLELossless):
        content = path.read_bytes()
        at = content.index(b"\xe0\x7f\x10\x00OB") + 8
        value = content[at + 4 : -8]  # without the delimiter of the sequence
        path.write_bytes(content[:at] + len(value).to_bytes(4, "little") + value)
    assert_true(tmp_path)
    assert kind_read(tmp_path) == ""


@pytest.mark.parametrize("syntax", ["explicit", ExplicitVRBigEndian])
@pytest.mark.parametrize("frames", [1, 3])
def test_files_cut_short_are_told(tmp_path: Path, syntax: str, frames: int) -> None:
    if frames > 1:
        positions = [[0.0, 0.0, 3.0 * k] for k in range(frames)]
        write_enhanced(tmp_path / "a", np.zeros((frames, 24, 20), np.int16), positions)
    else:
        write_series(tmp_path, np.full((3, 24, 20), 40, dtype=np.uint16))
    for path in sorted(tmp_path.iterdir()):
        if syntax != "explicit":
            rewritten(path, syntax)
    path.write_bytes(path.read_bytes()[:-300])
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.TRUNCATED_PIXELS


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0" * 8000])
def test_a_modality_lut_that_cannot_be_applied_is_told(tmp_path: Path, data: bytes) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [4000, 0, 16], "US", data
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "OW"
    write_series(tmp_path, np.full((3, 24, 20), 40, dtype=np.uint16), ModalityLUTSequence=[lut])
    assert_true(tmp_path)
    assert (kind_read(tmp_path) == FindingKind.PIXELS_NOT_DESCRIBED) == (len(data) != 8000)


def test_the_refusal_counts_the_planes(tmp_path: Path) -> None:
    write_series(tmp_path, np.zeros((3, 24, 20), dtype=np.uint16), PhotometricInterpretation="PALETTE COLOR")
    (case,) = survey(tmp_path)
    problem = case.series[0].stacks[0].problem
    assert problem is not None
    assert problem.text.endswith("(3 of 3 planes)")
    assert len(problem.instances) == 3


def test_color_in_frames_of_one_object_is_told(tmp_path: Path) -> None:
    positions = [[0.0, 0.0, 3.0 * k] for k in range(3)]
    write_enhanced(tmp_path / "a", np.zeros((3, 6, 5), np.int16), positions, PhotometricInterpretation="PALETTE COLOR")
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.COLOR


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("fresh", [False, True], ids=["the same instances", "new UIDs"])
def test_copies_of_an_export_are_told_and_left_out(tmp_path: Path, copies: int, fresh: bool) -> None:
    files = write_series(tmp_path, np.random.default_rng(0).integers(0, 90, (3, 24, 20)).astype(np.uint16))
    for number in range(copies):
        for path in files:
            dataset = pydicom.dcmread(path)
            if fresh:
                dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            (tmp_path / f"copy{number}").mkdir(exist_ok=True)
            dataset.save_as(tmp_path / f"copy{number}" / path.name)
    assert_true(tmp_path)
    assert kind_read(tmp_path) == ""


def test_other_pixels_at_the_same_places_are_told(tmp_path: Path) -> None:
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 90, (3, 24, 20)).astype(np.uint16)
        write_series(tmp_path / str(number), values, series_uid="1.2.3", prefix=f"{number}_")
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.SEVERAL_VOLUMES_IN_ONE


@pytest.mark.parametrize("has_table", [True, False], ids=["table of offsets", "none"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_more_compressed_frames_than_the_header_says_are_told(tmp_path: Path, syntax: str, has_table: bool) -> None:
    stored = np.random.default_rng(0).integers(0, 500, (5, 64, 64)).astype(np.uint16)
    files = write_series(tmp_path, stored, transfer_syntax=syntax)
    frames = [next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)) for path in files]
    for path in files[1:]:
        path.unlink()
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData = encapsulate(frames, has_bot=has_table)
    dataset.save_as(files[0])
    assert_true(tmp_path)
    assert kind_read(tmp_path) == FindingKind.DAMAGED_HEADER
    dataset.PixelData = encapsulate(frames[:1], fragments_per_frame=1 if syntax == RLELossless else 3)
    dataset.save_as(files[0])
    assert_true(tmp_path)
    assert kind_read(tmp_path) == ""
