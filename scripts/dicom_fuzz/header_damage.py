"""Damage to headers: elements that are removed, have another type, or hold values that are wrong or senseless."""

from __future__ import annotations

import struct
from collections.abc import Callable

from dicom_fuzz.editing import Rng, edit, some_files
from dicom_fuzz.phantom_series import Files
from dicom_fuzz.raw_elements import RawElement, RawFile
from pydicom.tag import Tag

__all__ = ["HEADER_DAMAGE"]

_DECIMALS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"]
_WORDS = ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel", "PixelRepresentation"]
_UIDS = ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID", "FrameOfReferenceUID"]
_TEXTS = ["ImageType", "Modality", "PhotometricInterpretation", "PatientID", "SeriesDescription", "InstanceNumber"]
_REQUIRED = [*_DECIMALS, *_WORDS, *_UIDS, *_TEXTS, "PixelData", "SliceThickness", "SpecificCharacterSet"]
_VRS = [b"DS", b"IS", b"US", b"UL", b"SS", b"FD", b"FL", b"LO", b"UI", b"PN", b"OB", b"OW", b"UN", b"SQ", b"AT", b"??"]
_SYNTAXES = [
    b"1.2.840.10008.1.2",
    b"1.2.840.10008.1.2.1",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.5",
    b"1.2.840.10008.1.2.4.50",
    b"1.2.840.10008.1.2.4.70",
    b"1.2.840.10008.1.2.4.80",
    b"1.2.840.10008.1.2.4.90",
    b"1.2.840.10008.1.2.4.201",
    b"1.2.840.10008.1.2.4.100",
    b"1.2.3.4",
    b"",
    b"junk",
]
_CLASSES = [
    b"1.2.840.10008.5.1.4.1.1.7",
    b"1.2.840.10008.5.1.4.1.1.66.4",
    b"1.2.840.10008.5.1.4.1.1.2.1",
    b"1.2.840.10008.1.3.10",
    b"1.2.840.10008.5.1.4.1.1.481.2",
    b"1.2",
]
_BAD_NUMBERS = [
    b"abc",
    b"nan",
    b"NaN",
    b"inf",
    b"-Infinity",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"",
    b" ",
    b"\\",
    b"1,5",
    b"1_0",
    b"0x10",
    b"\xb2",
    b"1.5.2",
    b"--1",
    b"1e",
    b".",
    b"+",
    b"0" * 300 + b"1.5",
    b"1." + b"3" * 60,
    b"\0\0",
    b"1\0 5",
    b"9" * 400,
    b"1\\2\\3\\4\\5\\6\\7",
    b"0",
    b"-0",
    b"1\n5",
    b"\xff\xfe",
]

_LUT_DESCRIPTOR, _LUT_DATA = (Tag("LUTDescriptor"), b"US"), (Tag("LUTData"), b"OW")


def _removed(files: Files, rng: Rng) -> str:
    keyword = str(rng.choice(_REQUIRED))
    names = edit(files, rng, keyword, lambda file, element: file.with_bytes(element.start, element.end, b""))
    return f"{keyword} of {names}"


def _other_vr(files: Files, rng: Rng) -> str:
    keyword, vr = str(rng.choice(_REQUIRED)), _VRS[int(rng.integers(len(_VRS)))]
    keep = rng.random() < 0.5

    def change(file: RawFile, element: RawElement) -> RawFile:
        value = file.body[element.value_start : element.end] if keep else rng.bytes(int(rng.integers(0, 9)))
        return file.with_value(element, value, vr)

    return f"{keyword} as {vr!r} of {edit(files, rng, keyword, change)}"


def _bad_number(files: Files, rng: Rng) -> str:
    keyword, bad = str(rng.choice(_DECIMALS)), _BAD_NUMBERS[int(rng.integers(len(_BAD_NUMBERS)))]
    whole = rng.random() < 0.3

    def change(file: RawFile, element: RawElement) -> RawFile:
        parts = file.body[element.value_start : element.end].split(b"\\")
        if element.vr != b"DS" or whole:
            return file.with_value(element, bad, b"DS")
        parts[int(rng.integers(len(parts)))] = bad
        return file.with_value(element, b"\\".join(parts))

    return f"{keyword} {bad[:20]!r} of {edit(files, rng, keyword, change)}"


def _value_count(files: Files, rng: Rng) -> str:
    keyword, more = str(rng.choice(_DECIMALS)), rng.random() < 0.5

    def change(file: RawFile, element: RawElement) -> RawFile:
        parts = file.body[element.value_start : element.end].split(b"\\")
        return file.with_value(element, b"\\".join([*parts, b"1"] if more else parts[:-1]))

    return f"{keyword} with one {'more' if more else 'less'} of {edit(files, rng, keyword, change)}"


def _words(files: Files, rng: Rng) -> str:
    keyword = str(rng.choice(_WORDS))
    value = int(rng.choice([0, 1, 2, 3, 4, 7, 8, 11, 12, 13, 15, 16, 17, 24, 32, 40, 64, 255, 4096, 30000, 65535]))

    def change(file: RawFile, element: RawElement) -> RawFile:
        draw = rng.random()
        if draw < 0.1:
            return file.with_value(element, struct.pack(f"{file.order}HH", value, 5))
        if draw < 0.2:
            return file.with_value(element, struct.pack(f"{file.order}I", value * 65521), b"UL")
        if draw < 0.25:
            return file.with_value(element, b"")
        return file.with_value(element, struct.pack(f"{file.order}H", value))

    return f"{keyword} {value} of {edit(files, rng, keyword, change)}"


def _huge_matrix(files: Files, rng: Rng) -> str:
    rows, columns = (int(value) for value in rng.choice([1, 256, 4096, 20000, 65535], 2))
    names = list(files) if rng.random() < 0.7 else some_files(files, rng)
    for name in names:
        file = RawFile.from_bytes(files[name] or b"")
        for keyword, value in (("Rows", rows), ("Columns", columns)):
            file = file.with_value(file.find(keyword)[0], struct.pack(f"{file.order}H", value))
        files[name] = file.to_bytes()
    return f"{rows} x {columns} in {len(names)} files"


def _signedness(files: Files, rng: Rng) -> str:
    def change(file: RawFile, element: RawElement) -> RawFile:
        now = struct.unpack_from(f"{file.order}H", file.body, element.value_start)[0]
        return file.with_value(element, struct.pack(f"{file.order}H", 1 - now))

    return f"PixelRepresentation turned in {edit(files, rng, 'PixelRepresentation', change)}"


def _frame_count(files: Files, rng: Rng) -> str:
    lies = [b"0", b"-1", b"1", b"2", b"5", b"7", b"99999999", b"2147483648", b"1e9", b"abc", b"", b"1.5", b"1\\2"]
    lie, names = lies[int(rng.integers(len(lies)))], some_files(files, rng)
    for name in names:
        files[name] = RawFile.from_bytes(files[name] or b"").with_element("NumberOfFrames", b"IS", lie).to_bytes()
    return f"NumberOfFrames {lie!r} in {names}"


def _rescale(files: Files, rng: Rng) -> str:
    keyword = str(rng.choice(["RescaleSlope", "RescaleIntercept"]))
    values = [b"nan", b"0", b"1e30", b"1e300", b"-1", b"1\\2", b"1e-300", b"inf", b"2", b"0.0000", b"1e38", b"-1e39"]
    value = values[int(rng.integers(len(values)))]
    names = edit(files, rng, keyword, lambda file, element: file.with_value(element, value, b"DS"))
    return f"{keyword} {value!r} in {names}"


def _transfer_syntax(files: Files, rng: Rng) -> str:
    uid, names = _SYNTAXES[int(rng.integers(len(_SYNTAXES)))], some_files(files, rng)
    for name in names:
        files[name] = RawFile.from_bytes(files[name] or b"").with_transfer_syntax(uid).to_bytes()
    return f"{uid!r} claimed by {names}"


def _uid(files: Files, rng: Rng) -> str:
    keyword = str(rng.choice(_UIDS))
    values = [*_CLASSES, b"1.2.3.4.5.6.1", b"", b"x" * 70, b"1.2\\1.3", b"1.2.3"]
    value = values[int(rng.integers(len(values)))]
    names = edit(files, rng, keyword, lambda file, element: file.with_value(element, value))
    return f"{keyword} {value!r} in {names}"


def _text(files: Files, rng: Rng) -> str:
    values = {
        "ImageType": [b"DERIVED\\SECONDARY\\MPR", b"ORIGINAL\\PRIMARY\\LOCALIZER", b"O\\P\\M\\MOSAIC", b"", b"\\\\"],
        "PhotometricInterpretation": [b"MONOCHROME1", b"RGB", b"PALETTE COLOR", b"YBR_FULL_422", b"", b"MONOCHROME"],
        "Modality": [b"SEG", b"MR", b"RTDOSE", b"", b"CT\\MR"],
        "SpecificCharacterSet": [b"ISO_IR 192", b"ISO 2022 IR 87", b"\\ISO 2022 IR 149", b"nonsense", b"GB18030"],
        "SeriesDescription": [b"\x1b$B\xff\xff", b"\xc3\x28", b"\0\0", b"a\\b\\c", b"\n\r\x1b[31m"],
        "InstanceNumber": [b"abc", b"1.5", b"", b"99999999999999999999", b"-", b"\xb2"],
        "PatientID": [b"MRN-0815-SECRET" * 8, b"\xff\xfe", b"MRN-0815-SECRET\\2", b"MRN-0815-SECRET\x1b\n"],
    }
    keyword = str(rng.choice(list(values)))
    value = values[keyword][int(rng.integers(len(values[keyword])))]
    names = some_files(files, rng)
    for name in names:
        file = RawFile.from_bytes(files[name] or b"")
        files[name] = file.with_value(file.find(keyword)[0], value).to_bytes()
    return f"{keyword} {value[:24]!r} in {names}"


def _lookup_table(files: Files, rng: Rng) -> str:
    names = some_files(files, rng)
    for name in names:
        file = RawFile.from_bytes(files[name] or b"")
        words = struct.pack(f"{file.order}HHH", int(rng.choice([0, 4, 4096])), 0, int(rng.choice([8, 16, 99])))
        item = file.encode(*_LUT_DESCRIPTOR, words) + file.encode(*_LUT_DATA, rng.bytes(int(rng.choice([0, 8, 8192]))))
        value = struct.pack(f"{file.order}HHI", 0xFFFE, 0xE000, len(item)) + item
        files[name] = file.with_element("ModalityLUTSequence", b"SQ", value).to_bytes()
    return f"ModalityLUTSequence in {names}"


def _padding(files: Files, rng: Rng) -> str:
    values = [int(value) for value in rng.choice([0, 1, 100, 1490, 4095, 32768, 63536, 64936, 65535], 2)]
    count, vr = int(rng.choice([1, 1, 2])), bytes(rng.choice([b"US", b"SS"]))
    names = list(files) if rng.random() < 0.5 else some_files(files, rng)
    for name in names:
        file = RawFile.from_bytes(files[name] or b"")
        for keyword, value in list(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), values))[:count]:
            file = file.with_element(keyword, vr, struct.pack(f"{file.order}H", value))
        files[name] = file.to_bytes()
    return f"padding from {values[:count]} in {names}"


HEADER_DAMAGE: dict[str, Callable[[Files, Rng], str]] = {
    "element removed": _removed,
    "another VR": _other_vr,
    "bad number": _bad_number,
    "number of values": _value_count,
    "size and bits": _words,
    "huge matrix": _huge_matrix,
    "signedness": _signedness,
    "number of frames": _frame_count,
    "rescale": _rescale,
    "transfer syntax": _transfer_syntax,
    "uid": _uid,
    "text": _text,
    "lookup table": _lookup_table,
    "padding": _padding,
}
