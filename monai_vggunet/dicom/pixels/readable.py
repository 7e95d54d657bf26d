"""Whether pixels can be read at all, as far as the header tells: the reader refuses what `inspect` says it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pydicom.pixels import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID

from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.headers.stored_pixels import PixelFormat
from monai_vggunet.dicom.pixels.decoding import PLUGINS
from monai_vggunet.dicom.pixels.deflated_frames import DEFLATED_IMAGE_FRAMES
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.names import counted
from monai_vggunet.privacy import clean_text, clean_uid

__all__ = ["require_readable"]

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_PIXEL_DATA = Tag("PixelData")
_READ_BITS = (1, 8, 16, 32, 64)  # BitsAllocated for which there is a type of numbers
# Transfer syntaxes that pydicom 3.0 does not name.
_NEWER_NAMES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    DEFLATED_IMAGE_FRAMES: "Deflated Image Frame Compression",
}


def require_readable(frames: Sequence[FrameRecord]) -> None:
    """Refuse planes whose pixels cannot be read even if they are not damaged.

    Args:
        frames: with what their headers say about pixels; where that is unknown, the color alone is judged.

    Raises:
        DicomPixelError: says what is the matter with the first of them, and how many there are.
    """
    found = [(frame, refusal) for frame in frames if (refusal := _judge(frame))]
    if not found:
        return
    first, (kind, what) = found[0]
    alike = [frame for frame, refusal in found if refusal[0] is kind]
    many = "" if len(alike) == 1 else f" ({len(alike)} of {counted(len(frames), 'plane')})"
    raise DicomPixelError(f"{first.name} {what}{many}", kind, [frame.sop_instance_uid for frame in alike])


def _judge(frame: FrameRecord) -> tuple[FindingKind, str] | None:
    refusal = _judge_format(frame.format) if frame.format else None
    return refusal or _judge_color(frame.samples_per_pixel, frame.photometric)


def _judge_color(samples: int, photometric: str) -> tuple[FindingKind, str] | None:
    if samples == 1 and photometric in _MONOCHROME:
        return None
    return (
        FindingKind.COLOR,
        f"has {counted(samples, 'sample')} per pixel, {clean_text(photometric) or 'no PhotometricInterpretation'}; "
        "expected one sample of MONOCHROME1 or MONOCHROME2: color images are not a volume of measured values",
    )


@lru_cache(maxsize=256)
def _judge_format(coded: PixelFormat) -> tuple[FindingKind, str] | None:
    if coded.element is None:
        return FindingKind.TRUNCATED_PIXELS, "holds no pixel data: cut short; restore or remove it"
    if coded.element != _PIXEL_DATA:
        return FindingKind.FLOATING_POINT, "holds floating-point pixels, expected integers in PixelData"
    if coded.transfer_syntax and (refusal := _judge_syntax(coded.transfer_syntax)):
        return refusal
    if coded.lacking:
        return (
            FindingKind.PIXELS_NOT_DESCRIBED,
            f"lacks {', '.join(coded.lacking)}; expected a header that says how its pixels are to be read (PS3.3 "
            "C.7.6.3): restore it, perhaps by another export",
        )
    if coded.bits_allocated not in _READ_BITS:
        return (
            FindingKind.UNSUPPORTED_BITS,
            f"has BitsAllocated {coded.bits_allocated}, expected {', '.join(map(str, _READ_BITS[:-1]))} or "
            f"{_READ_BITS[-1]}: packed pixels are not read; convert it, for example with dcm2niix, and give the NIfTI "
            "file",
        )
    return None


def _judge_syntax(uid: str) -> tuple[FindingKind, str] | None:
    """Return why pixels of a transfer syntax cannot be decoded here: nothing can, or its codec is not installed."""
    try:
        decoder = get_decoder(UID(uid))
    except NotImplementedError:
        decoder = None
    forced = PLUGINS.get(uid, "")
    if decoder is not None and decoder.is_available and (not forced or forced in decoder.available_plugins):
        return None
    name = _NEWER_NAMES.get(uid) or (UID(uid).name if UID(uid).name != uid else "an unknown transfer syntax")
    stored = f"is stored as {name} ({clean_uid(uid)})"
    if decoder is None:
        return (
            FindingKind.UNSUPPORTED_SYNTAX,
            f"{stored}, which is not read here; expected uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000: transcode it, "
            "for example with gdcmconv --raw, or export it uncompressed",
        )
    missing = "; ".join(decoder.missing_dependencies) or forced
    return FindingKind.UNSUPPORTED_SYNTAX, f"{stored}, whose codec is not installed: install {missing}"
