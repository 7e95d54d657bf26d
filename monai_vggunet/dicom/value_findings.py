"""What a user should know about a volume's values: what they may stand for, and what was lost of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monai_vggunet.dicom.findings import Finding, FindingKind, note, warning
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.hounsfield import hounsfield_findings
from monai_vggunet.dicom.pixels.planes import PlaneValues, read_pixels
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.names import counted

__all__ = ["findings_of_pixels", "findings_of_sample", "value_findings"]

_SAMPLED_PLANES = 5  # of a series, which takes little longer than reading as many headers


def value_findings(modality: str, frames: Sequence[FrameRecord]) -> tuple[Finding, ...]:
    """Return findings about the values of planes that form a volume, as their headers alone describe them.

    Args:
        modality: of their series.
        frames: the planes.
    """
    findings = hounsfield_findings(frames) if modality == "CT" else []
    lossy = [frame for frame in frames if frame.format and frame.format.is_lossy is not False]
    if lossy:
        findings.append(_of_loss(lossy, len(frames)))
    if any(frame.photometric == "MONOCHROME1" for frame in frames):
        text = "MONOCHROME1: values are as measured, low ones are meant to be shown bright"
        findings.append(warning(FindingKind.LOW_VALUES_BRIGHT, text))
    return tuple(findings)


def findings_of_pixels(planes: PlaneValues, frames: Sequence[FrameRecord]) -> tuple[Finding, ...]:
    """Return findings about pixels that were read: how many are padded, or hold more than BitsStored says.

    Args:
        planes: as they were read.
        frames: the planes in the same order.
    """
    findings: list[Finding] = []
    if planes.padding:
        padding = planes.padding
        many = counted(padding.voxels, "padded pixel")
        text = f"{many} ({padding.share:.2%} of all): background, {padding.background:g}"
        if padding.is_among_values:
            text += "; the padding value lies among the measured ones, so pixels that were measured may be lost"
        severe = warning if padding.is_among_values else note
        findings.append(severe(FindingKind.PADDING, text, count=padding.voxels))
    odd = [index for index, count in enumerate(planes.beyond) if count]
    if odd:
        pixels, first = int(planes.beyond.sum()), frames[odd[0]]
        known = first.format
        bits = f"BitsStored {known.bits_stored} and HighBit {known.high_bit}" if known else "BitsStored and HighBit"
        text = (
            f"{counted(pixels, 'pixel')} of {counted(len(odd), 'plane')}, from {first.name}, hold more than {bits} "
            "allow; the other bits are left out (PS3.5 8.1.1): if they are no overlay, the header is wrong and so are "
            "these values"
        )
        instances = [frames[index].sop_instance_uid for index in odd]
        findings.append(warning(FindingKind.BITS_BEYOND, text, instances, pixels))
    return tuple(findings)


def findings_of_sample(frames: Sequence[FrameRecord]) -> tuple[Finding, ...]:
    """Return whether a few planes hold more than BitsStored says, without reading the others.

    Args:
        frames: planes of a volume. Compressed ones are not looked at: what does not fit is refused when it is decoded.
    """
    places = sorted(set(np.linspace(0, len(frames) - 1, _SAMPLED_PLANES).astype(int).tolist()))
    sample = [frames[place] for place in places if frames[place].has_unused_bits]
    try:
        found = findings_of_pixels(read_pixels(sample, 1), sample) if sample else ()
    except DicomPixelError:  # a truncated file, which is told elsewhere
        return ()
    looked_at = f" (seen in {len(sample)} of {counted(len(frames), 'plane')})"
    return tuple(replace(one, text=one.text + looked_at) for one in found if one.kind is FindingKind.BITS_BEYOND)


def _of_loss(lossy: Sequence[FrameRecord], count: int) -> Finding:
    ratios = sorted({frame.format.lossy_ratios for frame in lossy if frame.format})
    stated = sorted({" and then ".join(f"{ratio:g}:1" for ratio in steps) for steps in ratios if steps})
    certain = any(frame.format and frame.format.is_lossy for frame in lossy)
    many = "" if len(lossy) == count else f"{len(lossy)} of {counted(count, 'plane')} "
    ratio = f"ratio {' or '.join(stated[:2])}" if stated else "of unknown ratio"
    text = f"{many}{'lossy compression' if certain else 'perhaps lossy compression'}, {ratio}: values are not exact"
    return warning(FindingKind.LOSSY, text, count=len(lossy))
