"""A header read by comparison with earlier ones is the one that parsing it alone gives, whatever its bytes."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicom_phantoms import stored_values, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_vggunet.dicom import header_stencil
from monai_vggunet.dicom.header_stencil import HeaderReader
from monai_vggunet.dicom.plain_header import PlainHeader, read_plain_header, wanted_tags

TAGS = wanted_tags(["Rows", "PatientID", "SOPInstanceUID", "ImagePositionPatient", "SliceThickness", "BitsStored"])


@pytest.fixture
def by_comparison(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Says of each file that was tried against a stencil whether it fitted."""
    fitted: list[bool] = []
    read = header_stencil._Stencil.read

    def told(*args: object) -> PlainHeader | None:
        found = read(*args)  # type: ignore[arg-type]
        fitted.append(found is not None)
        return found

    monkeypatch.setattr(header_stencil._Stencil, "read", told)
    return fitted


def said(header: PlainHeader | None) -> object:
    """Return all that a header says."""
    if header is None:
        return None
    # Not where a value lies in the file, which nobody asks an element.
    parts = (header.elements.raw.values(), header.meta.raw.values())
    elements = [[element._replace(value_tell=0) for element in part] for part in parts]
    return elements, header.transfer_syntax, header.pixel_offset, header.pixel_length


def series(folder: Path, syntax: str) -> list[Path]:
    files = write_series(folder, stored_values(slices=5))
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.SliceThickness = "2.5"
        dataset.add_new(0x00091010, "OB", bytes(path.name, "ascii") * 2)
        dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return files


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_slices_of_a_series_are_read_by_comparison_and_equal(
    tmp_path: Path, syntax: str, by_comparison: list[bool]
) -> None:
    files = series(tmp_path, syntax)
    reader = HeaderReader(TAGS)
    found = [said(reader.read(path)) for path in files]
    assert found == [said(read_plain_header(path, TAGS)) for path in files]
    assert by_comparison == [True] * (len(files) - 2)


def test_an_element_that_varies_later_is_learned(tmp_path: Path, by_comparison: list[bool]) -> None:
    files = series(tmp_path, ExplicitVRLittleEndian)
    for n, path in enumerate(files[2:]):
        dataset = pydicom.dcmread(path)
        dataset.SliceThickness = f"{n + 3}.25"
        dataset.save_as(path)
    reader = HeaderReader(TAGS)
    assert [said(reader.read(path)) for path in files] == [said(read_plain_header(path, TAGS)) for path in files]
    assert by_comparison == [False, True, True]


def test_of_an_element_that_stands_there_twice_the_last_counts(tmp_path: Path) -> None:
    files = series(tmp_path, ExplicitVRLittleEndian)
    for n, path in enumerate(files):
        content, element = path.read_bytes(), b"\x10\x00\x20\x00LO\x02\x00"
        place = content.index(b"\x10\x00\x20\x00LO")
        path.write_bytes(content[:place] + element + str(10 + n).encode() + element + b"ZZ" + content[place:])
    reader = HeaderReader(TAGS)
    assert [said(reader.read(path)) for path in files] == [said(read_plain_header(path, TAGS)) for path in files]


def test_a_transfer_syntax_that_varies_is_read_each_time(tmp_path: Path) -> None:
    """The same one is written with other padding, and then another one follows."""
    files = series(tmp_path, ExplicitVRLittleEndian)
    explicit = b"1.2.840.10008.1.2.1\0"
    for path, written in ((files[1], b"1.2.840.10008.1.2.1 "), (files[3], b"1.2.840.10008.1.2.5\0")):
        content = path.read_bytes()
        assert explicit in content
        path.write_bytes(content.replace(explicit, written))
    reader = HeaderReader(TAGS)
    found = [reader.read(path) for path in files]
    assert [said(header) for header in found] == [said(read_plain_header(path, TAGS)) for path in files]
    assert found[3].transfer_syntax == "1.2.840.10008.1.2.5"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_never_taken_for_the_old_ones(tmp_path: Path, syntax: str, data: st.DataObject) -> None:
    folder = tmp_path / syntax
    if not folder.is_dir():
        series(folder, syntax)
    files = sorted(folder.iterdir())  # the same ones for every example
    reader = HeaderReader(TAGS)
    for path in files[:3]:
        reader.read(path)
    content = bytearray(files[3].read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        kind = data.draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        count = data.draw(st.integers(1, 12))
        new = data.draw(st.binary(min_size=count, max_size=count))
        if kind == "cut":
            del content[max(place, 1) :]
        else:
            content[place : place + (0 if kind == "insert" else count)] = b"" if kind == "remove" else new
    odd = tmp_path / "odd.dcm"
    odd.write_bytes(content)
    assert said(reader.read(odd)) == said(read_plain_header(odd, TAGS))


def test_on_real_series_nothing_changes(shared_data: Path, by_comparison: list[bool]) -> None:
    files = [path for path in sorted((shared_data / "dicom").rglob("*")) if path.is_file()]
    reader = HeaderReader(TAGS)
    assert [said(reader.read(path)) for path in files] == [said(read_plain_header(path, TAGS)) for path in files]
    assert sum(by_comparison) > len(files) / 3
