"""Names planted in every place that can hold one, and a search for them in whatever a program leaves behind."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from dicom_phantoms import stored_values, write_series
from phantoms import affine_of, ct_array, label_array
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

__all__ = ["MARK", "leaks", "marked", "plant_nifti", "plant_picture", "plant_series", "plant_texts"]

MARK = "Zqxvjk"  # begins every planted name; no word holds it, and no random bytes, in a test's lifetime
TEXT_VRS = {"AE": 16, "LO": 64, "LT": 64, "PN": 64, "SH": 16, "ST": 64, "UC": 64, "UT": 64}
# Groups of what a scanner, a hospital or a viewer writes into an image.
GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040, 0x0088, 0x4008)
# Elements of one value that read their text as something else, or that a phantom needs as they are. A CT of another
# unit than HU is chosen by nobody who does not ask for it.
LEFT_ALONE = {"SpecificCharacterSet", "EscapeTriplet", "RunLengthTriplet", "HuffmanTableTriplet", "RescaleType"}
LOCAL_LISTS = ("names.json", "datalist.json")
GROUND_UIDS = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1"}


def marked(place: str) -> str:
    """Return the name planted at a place: `ZqxvjkPatientName`."""
    return MARK + "".join(filter(str.isalnum, place))


def plant_texts(dataset: Dataset) -> None:
    """Give every element of text that the dictionary knows a value of its own, private and nested ones too."""
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        known = tag >> 16 in GROUPS and vr in TEXT_VRS and keyword and not retired
        if known and multiplicity in ("1", "1-n") and keyword not in LEFT_ALONE:
            setattr(dataset, keyword, marked(keyword)[: TEXT_VRS[vr]])
    dataset.SeriesDescription = f"Thorax {marked('SeriesDescription')} 5.0 B30f"
    dataset.PatientName = f"{marked('PatientName')}^{marked('Given')}"
    dataset.ImageComments = f"see {marked('ImageComments')}\nand {marked('SecondLine')}"
    block = dataset.private_block(0x0029, marked("PrivateCreator"), create=True)
    block.add_new(0x01, "LO", marked("PrivateText"))
    block.add_new(0x02, "UN", marked("PrivateBytes").encode())
    item = Dataset()
    item.RequestedProcedureDescription, item.RequestedProcedureID = marked("NestedDescription"), marked("NestedID")[:16]
    dataset.RequestAttributesSequence = Sequence([item])
    dataset.file_meta.SourceApplicationEntityTitle = marked("MetaAE")
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.826.0.1.3680043.8.498.9"
    dataset.file_meta.PrivateInformation = marked("MetaPrivate").encode() + b"\0" * (len(marked("MetaPrivate")) % 2)


def plant_series(folder: Path, slices: int = 4, **attributes: Any) -> list[Path]:
    """Write a CT series with a name in every element of text, in files that bear names; return them slice by slice."""
    files = []
    uids = {**GROUND_UIDS, "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2"}
    for path in write_series(folder, stored_values(slices, 16, 16), **{**uids, **attributes}):
        dataset = pydicom.dcmread(path)
        written = {keyword: dataset[keyword].value for keyword in attributes if keyword in dataset}
        plant_texts(dataset)
        for keyword, value in written.items():
            setattr(dataset, keyword, value)
        named = path.with_name(f"{marked(folder.name)}File, {path.name}.dcm")
        dataset.save_as(named, enforce_file_format=True)
        path.unlink()
        files.append(named)
    return files


def plant_nifti(path: Path, array: np.ndarray | None = None) -> Path:
    """Write a NIfTI file with a name in each of its texts."""
    image = nib.Nifti1Image(ct_array(label_array()) if array is None else array, affine_of())
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = marked(field).encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", marked("extension").encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def plant_picture(path: Path) -> Path:
    """Write a PNG with names in its text chunks, plain and compressed."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", marked("Author"))
    texts.add_itxt("Title", marked("Title"), zip=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path, pnginfo=texts)
    return path


def leaks(said: str = "", folders: Iterable[Path] = (), allowed: Iterable[str] = LOCAL_LISTS) -> set[str]:
    """Return every planted name found in what was printed and in the content of the files that were written.

    Args:
        said: standard output and error.
        folders: searched as a whole: contents in several encodings, unpacked where they are packed, and the names of
            files. The names of folders are the user's own.
        allowed: names of files that may hold names.
    """
    found = _found_in(said.encode("utf-8", "surrogatepass"), "output")
    for folder in folders:
        for file in filter(Path.is_file, folder.rglob("*")):
            if file.name not in allowed:
                where = str(file.relative_to(folder))
                found |= _found_in(file.name.encode(), f"name of {where}") | _found_in(_unpacked(file), where)
    return found


def _found_in(content: bytes, where: str) -> set[str]:
    """Search in any case; escapes of URLs, JSON and HTML leave plain letters alone."""
    found = set()
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
        mark, length = MARK.lower().encode(encoding), len("a" * 40) * len("a".encode(encoding))
        for start in (match.start() for match in re.finditer(re.escape(mark), content.lower())):
            found.add(f"{content[start : start + length].decode(encoding, 'replace')!r} in {where}")
    return found


def _unpacked(file: Path) -> bytes:
    content = file.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    if content[:4] == b"\x89PNG":
        with Image.open(file) as picture:
            content += repr(getattr(picture, "text", {})).encode()
    if content[:2] == b"PK":  # as torch writes its files; numbers of tensors hold no text
        with zipfile.ZipFile(file) as archive:
            texts = [name for name in archive.namelist() if "/data/" not in name]
            content = b"".join(archive.read(name) for name in texts) + repr(archive.namelist()).encode()
    if content[:1] == b"\x78":
        content += zlib.decompress(content)
    return content
