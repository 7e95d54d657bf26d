"""A mask's classes as DICOM SEG describes segments: label, codes, color, algorithm and tracking identifier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from monai_vggunet._version import __version__
from monai_vggunet.outputs.case_mask import Classes
from monai_vggunet.outputs.class_colors import class_color

__all__ = ["ALGORITHM_NAME", "class_text", "segment_descriptions"]

ALGORITHM_NAME = "monai-vggunet VGG16-U-Net"
# Codes of our own, for classes without one: a designator that begins with 99 is private (PS3.16, 8.2).
PRIVATE_SCHEME = "99VGGUNET"
LONGEST_TEXT, LONGEST_CODE = 64, 16  # characters of LO and SH (PS3.5 6.2)


def segment_descriptions(classes: Classes, model_sha256: str) -> list[SegmentDescription]:
    """Return the description of every class but the background; segment n is mask value n.

    A class without a code gets a private one made from its name, with the name as its meaning.

    Args:
        classes: of the mask.
        model_sha256: hash of the weights; empty when unknown.
    """
    algorithm = AlgorithmIdentificationSequence(
        name=ALGORITHM_NAME,
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        parameters={"model_sha256": model_sha256} if model_sha256 else None,
    )
    return [_description(number, classes, algorithm) for number in range(1, len(classes.names))]


def class_text(name: str, number: int) -> str:
    r"""Return a class's name as DICOM text holds it: at most 64 characters, no control characters, no backslash."""
    text = "".join(c if c.isprintable() and c != "\\" else " " for c in name).strip()
    return text[:LONGEST_TEXT].strip() or f"class {number}"


def _description(number: int, classes: Classes, algorithm: AlgorithmIdentificationSequence) -> SegmentDescription:
    name = classes.names[number]
    text = class_text(name, number)
    code = classes.codes.get(name) or {}
    category = _concept(code["category"]) if code.get("category") else codes.SCT.AnatomicalStructure
    description = SegmentDescription(
        segment_number=number,
        segment_label=text,
        segmented_property_category=category,
        segmented_property_type=_concept(code) if code else _private(name, text),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=generate_uid(),
        tracking_id=text,
        display_color=CIELabColor.from_rgb(*class_color(number)),
    )
    if code.get("modifier"):
        item = description.SegmentedPropertyTypeCodeSequence[0]
        item.SegmentedPropertyTypeModifierCodeSequence = [_concept(code["modifier"])]
    return description


def _concept(code: Mapping[str, Any]) -> CodedConcept:
    return CodedConcept(code["value"], code["scheme"], code["meaning"])


def _private(name: str, text: str) -> CodedConcept:
    """Return a code of our own: the name where it is short and plain, else a hash of it."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum() and len(name) <= LONGEST_CODE
    return CodedConcept(
        name if plain else hashlib.sha256(name.encode()).hexdigest()[:LONGEST_CODE], PRIVATE_SCHEME, text
    )
