"""Damage to DICOM files (headers, bytes, whole files), with one entry point that damages a series in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable

from dicom_fuzz.editing import Rng
from dicom_fuzz.geometry_damage import GEOMETRY_DAMAGE
from dicom_fuzz.header_damage import HEADER_DAMAGE
from dicom_fuzz.phantom_series import Files
from dicom_fuzz.raw_elements import RawFile

__all__ = ["KINDS", "mutate"]

# A further damage to the same series: none mostly.
_FURTHER = (0.8, 0.15, 0.05)
_DELIMITERS = [b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"]


def mutate(files: Files, rng: Rng, kind: str | None = None) -> tuple[Files, str, str]:
    """Damage a series in one way, now and then in two or three.

    Args:
        files: the series; it stays as it is.
        rng: all choices come from it.
        kind: the first damage, one of `KINDS`; drawn when absent.

    Returns:
        The damaged series, the kind of the first damage, and what was done in words.
    """
    files = dict(files)
    kinds = [kind or str(rng.choice(list(KINDS))), *rng.choice(list(KINDS), int(rng.choice(3, p=_FURTHER)))]
    done = []
    for each in kinds:
        try:
            done.append(f"{each}: {KINDS[each](files, rng)}")
        except (ValueError, LookupError, NotImplementedError, TypeError, OverflowError, struct.error) as error:
            done.append(f"{each}: not possible ({type(error).__name__})")  # an earlier damage left nothing to edit
    return files, kinds[0], "; ".join(done)


def _one_of(files: Files, rng: Rng) -> tuple[str, bytes]:
    names = [name for name, data in files.items() if data]
    name = str(rng.choice(names))
    return name, files[name] or b""


def _pixels_start(data: bytes) -> int:
    """Return where in the file the pixels begin; raise ValueError if they cannot be found."""
    file = RawFile.from_bytes(data)
    if file.deflated:
        raise ValueError("compressed as a whole")
    return len(file.head) + file.find("PixelData")[0].value_start


def _truncated(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    end = int(rng.integers(0, len(data)))
    files[name] = data[:end]
    return f"{name} to {end} of {len(data)} bytes"


def _truncated_pixels(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    start = _pixels_start(data)
    end = len(data) - 1 - int(rng.integers(0, len(data) - start) * rng.random() ** 2)
    files[name] = data[:end]
    return f"{name} to {end} of {len(data)} bytes, pixels from {start}"


def _flip(files: Files, rng: Rng, first: float, last: float) -> str:
    """Flip some bits between two places, as fractions of header (0 to 1) and pixels (1 to 2)."""
    name, data = _one_of(files, rng)
    start = _pixels_start(data) if (first, last) != (0, 2) else len(data) // 2
    bounds = [int(min(p, 1) * start + max(p - 1, 0) * (len(data) - start)) for p in (first, last)]
    changed = bytearray(data)
    places = []
    for _ in range(int(rng.integers(1, 9))):
        place, bit = int(rng.integers(max(bounds[0], 132), bounds[1])), int(rng.integers(8))
        changed[place] ^= 1 << bit
        places.append(f"{place}.{bit}")
    files[name] = bytes(changed)
    return f"{name}, bytes {', '.join(places)} of {len(data)}, pixels from {start}"


def _overwritten(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    new = [bytes(length), b"\xff" * length, rng.bytes(length)][int(rng.integers(3))]
    files[name] = (data[:start] + new + data[start + length :])[: len(data)]
    return f"{name}, {length} bytes from {start}"


def _shifted(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    start, length = int(rng.integers(132, len(data))), int(rng.integers(1, 40))
    out = rng.random() < 0.5
    files[name] = data[:start] + (data[start + length :] if out else rng.bytes(length) + data[start:])
    return f"{name}, {length} bytes {'taken out' if out else 'put in'} at {start}"


def _delimiter(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    marks = [place for mark in _DELIMITERS for place in _all_places(data, mark)]
    if not marks:
        raise LookupError("no sequence")
    changed, place = bytearray(data), int(rng.choice(marks))
    what = int(rng.integers(3))
    if what == 0:
        changed[place : place + 4] = rng.bytes(4)
    elif what == 1:
        changed[place + 4 : place + 8] = struct.pack("<I", int(rng.choice([0, 1, 3, 50, 2**31 - 1, 2**32 - 1])))
    else:
        del changed[place : place + 8]
    files[name] = bytes(changed)
    return f"{name}, {('tag', 'length', 'all')[what]} at {place}"


def _all_places(data: bytes, mark: bytes) -> list[int]:
    places, start = [], data.find(mark)
    while start >= 0:
        places.append(start)
        start = data.find(mark, start + 1)
    return places


def _length(files: Files, rng: Rng) -> str:
    """Give an element a wrong length: undefined, huge, or slightly off."""
    name, data = _one_of(files, rng)
    file = RawFile.from_bytes(data)
    elements = file.elements()
    element = elements[int(rng.integers(len(elements)))]
    wide = element.value_start - element.start == 12 or file.implicit
    size = 4 if wide else 2
    honest = (element.end - element.value_start) & (2**32 - 1 if wide else 0xFFFF)
    lies = [0, honest + 2, honest + 1, max(honest - 2, 0), 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFE, 0xFFFFFFFE]
    lie = int(rng.choice(lies)) & (2**32 - 1 if wide else 0xFFFF)
    new = struct.pack(file.order + ("I" if wide else "H"), lie)
    files[name] = file.with_bytes(element.value_start - size, element.value_start, new).to_bytes()
    return f"{name}, {element.tag} {lie}"


def _groups(files: Files, rng: Rng) -> str:
    """Take frames' descriptions out of a multi-frame file, or all that is in one of them."""
    name, data = _one_of(files, rng)
    file = RawFile.from_bytes(data)
    starts = [element.start for element in file.find("ImagePositionPatient")]
    if len(starts) < 2:
        raise LookupError("not a multi-frame file")
    # From one position to the next lies one frame's group with its delimiters; order of the rest does not matter.
    first = int(rng.integers(len(starts) - 1))
    files[name] = file.with_bytes(starts[first], starts[first + 1], b"").to_bytes()
    return f"{name}, frame {first + 1}"


def _pixel_data(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    file = RawFile.from_bytes(data)
    element = file.find("PixelData")[0]
    value = file.body[element.value_start : element.end]
    what = str(rng.choice(["empty", "shorter", "longer", "twice", "without", "byte by byte"]))
    if what == "without":
        changed = file.with_bytes(element.start, len(file.body), b"")
    elif what == "byte by byte":
        changed = file.with_value(element, value, b"OB")
    else:
        cut = 2 * int(rng.integers(1, 20))
        new = {"empty": b"", "shorter": value[:-cut], "longer": value + bytes(cut), "twice": value + value}[what]
        changed = file.with_value(element, new)
    files[name] = changed.to_bytes()
    return f"{what} in {name}"


def _files_exchanged(files: Files, rng: Rng) -> str:
    names = rng.permutation(list(files)).tolist()
    contents = list(files.values())
    files.clear()
    files.update(zip(names, contents))
    return "file names shuffled"


def _file_missing(files: Files, rng: Rng) -> str:
    names = rng.choice(list(files), int(rng.integers(1, len(files) + 1)), replace=False).tolist()
    for name in names:
        del files[name]
    return f"{sorted(names)} deleted"


def _file_twice(files: Files, rng: Rng) -> str:
    name, data = _one_of(files, rng)
    what = str(rng.choice(["same", "new UID", "other pixels", "other values"]))
    if what != "same":
        file = RawFile.from_bytes(data).with_element("SOPInstanceUID", b"UI", b"1.2.3.99")
        if what == "other pixels":
            place = file.find("PixelData")[0].value_start + 64
            file = file.with_bytes(place, place + 1, bytes([file.body[place] ^ 1]))
        if what == "other values":
            file = file.with_element("RescaleIntercept", b"DS", b"17")
        data = file.to_bytes()
    files[f"copy of {name}"] = data
    return f"{name}, {what}"


def _strange_file(files: Files, rng: Rng) -> str:
    what = str(rng.choice(["FIFO", "empty", "text", "noise", "noise with prefix", "instead"]))
    name = _one_of(files, rng)[0] if what == "instead" else "strange"
    content = {
        "FIFO": None,
        "empty": b"",
        "text": b"no image " * 90,
        "noise": rng.bytes(3000),
        "noise with prefix": bytes(128) + b"DICM" + rng.bytes(3000),
        "instead": rng.bytes(900),
    }
    files[name] = content[what]
    return f"{what}: {name}"


KINDS: dict[str, Callable[[Files, Rng], str]] = {
    **HEADER_DAMAGE,
    **GEOMETRY_DAMAGE,
    "truncated": _truncated,
    "truncated pixels": _truncated_pixels,
    "bits of the header": lambda files, rng: _flip(files, rng, 0, 1),
    "bits of the pixels": lambda files, rng: _flip(files, rng, 1, 2),
    "bits anywhere": lambda files, rng: _flip(files, rng, 0, 2),
    "bytes overwritten": _overwritten,
    "bytes shifted": _shifted,
    "delimiter": _delimiter,
    "length": _length,
    "functional groups": _groups,
    "pixel data": _pixel_data,
    "file names": _files_exchanged,
    "file missing": _file_missing,
    "file twice": _file_twice,
    "strange file": _strange_file,
}
