"""Plain records of what DICOM headers say: an image plane, a file, a stack of planes, a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_vggunet.dicom.findings import DAMAGE, Finding, FindingKind
from monai_vggunet.dicom.headers.stored_pixels import PixelFormat, StoredPixels
from monai_vggunet.names import readable
from monai_vggunet.short_uid import short_uid

__all__ = [
    "FrameRecord",
    "ImageKind",
    "InstanceRecord",
    "Origin",
    "Series",
    "SkippedFile",
    "Stack",
    "Vector3",
    "Vector6",
    "tell_nothing",
]

Vector3 = tuple[float, float, float]
Vector6 = tuple[float, float, float, float, float, float]


class ImageKind(StrEnum):
    """What a plane is for: only an `IMAGE` is ever chosen without being asked for."""

    IMAGE = "image"
    LOCALIZER = "localizer"
    SECONDARY_CAPTURE = "secondary capture"


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One image plane: a classic single-frame file, or one frame of a multi-frame file.

    Positions are in mm in the patient's LPS coordinates, at the center of the first voxel (PS3.3 C.7.6.2.1.1).
    What a header lacks is None.

    Attributes:
        path: the file.
        sop_instance_uid: UID of the file's object.
        frame_index: 0-based place in the file.
        kind: image, localizer or secondary capture, for this plane alone.
        rows: number of rows (the second array axis, j).
        columns: number of columns (the first array axis, i).
        position_lps_mm: ImagePositionPatient.
        orientation_lps: ImageOrientationPatient: the direction of a growing column index, then of a growing row index.
        pixel_spacing_mm: PixelSpacing as written: between rows, then between columns.
        slice_spacing_mm: SpacingBetweenSlices.
        slice_thickness_mm: SliceThickness.
        rescale_slope: multiplied with a stored value; 1 when absent.
        rescale_intercept: added after the slope; 0 when absent.
        photometric: PhotometricInterpretation.
        samples_per_pixel: 1, or 3 for color.
        image_type: values of ImageType (FrameType in enhanced objects).
        instance_number: InstanceNumber, for messages only; never used to sort.
        discriminators: keyword and value of what may tell planes of two volumes apart (echo, time, kernel, ...), as far
            as the header has it.
        has_rescale: whether the header gives RescaleSlope or RescaleIntercept.
        rescale_type: RescaleType, the unit of rescaled values; empty when absent.
        stored: what was found out about its pixels while the header was read; the file itself says so too.
    """

    path: Path
    sop_instance_uid: str
    frame_index: int
    kind: ImageKind
    rows: int
    columns: int
    position_lps_mm: Vector3 | None
    orientation_lps: Vector6 | None
    pixel_spacing_mm: tuple[float, float] | None
    slice_spacing_mm: float | None
    slice_thickness_mm: float | None
    rescale_slope: float
    rescale_intercept: float
    photometric: str
    samples_per_pixel: int
    image_type: tuple[str, ...]
    instance_number: str
    discriminators: tuple[tuple[str, str], ...]
    has_rescale: bool = True
    rescale_type: str = ""
    stored: StoredPixels | None = field(default=None, compare=False, repr=False)

    @property
    def format(self) -> PixelFormat | None:
        """How its pixels are coded; None if the header was not read for that."""
        return self.stored.format if self.stored else None

    @property
    def padding(self) -> tuple[int, int] | None:
        """The lowest and the highest stored value that is padding; None if nothing is."""
        return self.format.padding if self.format else None

    @property
    def has_lut(self) -> bool:
        """Whether a Modality LUT takes the place of the rescale."""
        return self.format is not None and self.format.has_lut

    @property
    def has_unused_bits(self) -> bool:
        """Whether its words, which lie uncompressed in the file, are known to have bits above those of the value."""
        layout = self.stored.layout if self.stored else None
        return layout is not None and layout.high_bit < 8 * np.dtype(layout.dtype).itemsize - 1

    @property
    def is_derived(self) -> bool:
        """Whether the plane says that it was computed from others (PS3.3 C.7.6.1.1.2, the first value of ImageType)."""
        return self.image_type[:1] == ("DERIVED",)

    @property
    def is_color(self) -> bool:
        """Whether its pixels are colors, which are no measured values (PS3.3 C.7.6.3.1.2)."""
        return self.samples_per_pixel > 1 or self.photometric == "PALETTE COLOR"

    @property
    def name(self) -> str:
        """The plane's name in messages: its file, the frame where there are several, and which instance it is."""
        frame = f" frame {self.frame_index + 1}" if self.frame_index else ""
        uid = short_uid(self.sop_instance_uid) or "without UID"
        instance = f"InstanceNumber {self.instance_number}" if self.instance_number else f"SOP instance {uid}"
        return f"{readable(self.path.name)}{frame} ({instance})"


class Origin(NamedTuple):
    """What all planes of one volume share (PS3.3 C.7.3.1, C.7.4.1): of whom and where it is, and what made it.

    Attributes:
        patient_hash: of PatientID and IssuerOfPatientID; empty without them.
        study_uid: StudyInstanceUID.
        frame_of_reference_uid: FrameOfReferenceUID.
        modality: Modality.
        sop_class_uid: SOPClassUID.
    """

    patient_hash: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One DICOM file by its header; `frames` is empty for objects without an image (SEG, RTSTRUCT, SR, PR, ...).

    `patient_hash` and `study_hash` stand for the patient without naming them; see `patient_key`.
    """

    path: Path
    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    modality: str
    description: str
    series_number: str
    frame_of_reference_uid: str
    patient_hash: str
    study_hash: str
    frames: tuple[FrameRecord, ...]

    @property
    def origin(self) -> Origin:
        """What it shares with all other instances of its volume."""
        return Origin(self.patient_hash, self.study_uid, self.frame_of_reference_uid, self.modality, self.sop_class_uid)


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file left out of the index, and why: the kind for programs, the reason for people.

    `series_uid` is known when a damaged file still names its series.
    """

    path: Path
    kind: FindingKind
    reason: str
    series_uid: str = ""

    @property
    def damaged(self) -> bool:
        """Whether it may once have been an image."""
        return self.kind in DAMAGE


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes of one series that may form one volume: one origin, matrix, orientation, echo, time point, ...

    `label` says what sets the stack apart within its series, `findings` what a user should know about its planes;
    `frames` are in no particular order.
    """

    frames: tuple[FrameRecord, ...]
    kind: ImageKind
    label: str
    origin: Origin
    findings: tuple[Finding, ...] = ()

    @property
    def is_derived(self) -> bool:
        """Whether all planes were computed from others: reformats, projections, parameter maps, but also exports."""
        return all(frame.is_derived for frame in self.frames)


@dataclass(frozen=True, slots=True)
class Series:
    """One SeriesInstanceUID with its stacks; no stacks when it holds objects without images.

    `study_uid`, `modality` and `description` are those of its first stack; damaged series may hold others too.
    """

    series_uid: str
    study_uid: str
    modality: str
    description: str
    series_number: str
    instances: tuple[InstanceRecord, ...]
    stacks: tuple[Stack, ...]

    @property
    def patients(self) -> frozenset[str]:
        """The hashes of all its patients: one, or none where no instance has a PatientID, unless it is damaged."""
        return frozenset(instance.patient_hash for instance in self.instances) - {""}

    @property
    def kind(self) -> str:
        """`image`, `localizer`, `secondary capture`, or `object` for what holds no image."""
        kinds = [stack.kind for stack in self.stacks]
        if ImageKind.IMAGE in kinds:
            return ImageKind.IMAGE.value
        return kinds[0].value if kinds else "object"


def tell_nothing(uids: Sequence[str]) -> bool:
    """Whether UIDs that instances should share are all different: a program made up a new one for every file.

    Two instances may well be of two studies.
    """
    return len(uids) > 2 and len(set(uids)) == len(uids)
