"""What is found about a series, an image or a label: its kind, its severity, where it is, and a text for people.

Code decides by the kind, never by the text. `docs/dicom.md` says what each kind means.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = [
    "DAMAGE",
    "Finding",
    "FindingKind",
    "Severity",
    "note",
    "pack_findings",
    "refused",
    "unpack_findings",
    "warning",
]


class Severity(StrEnum):
    """How severe a finding is; `REFUSED` where the series, or what was asked for, is not read because of it."""

    NOTE = "note"
    WARNING = "warning"
    REFUSED = "refused"


class FindingKind(StrEnum):
    """What is found. The values are stable: other programs may rely on them."""

    # the choice of the series
    DERIVED_LEFT_OUT = "derived-left-out"
    STACKS_LEFT_OUT = "stacks-left-out"
    OBJECTS_LEFT_OUT = "objects-left-out"
    SERIES_LEFT_OUT = "series-left-out"
    FILES_LEFT_OUT = "files-left-out"
    FILES_BESIDE_STUDIES = "files-beside-studies"
    DAMAGED_FILES = "damaged-files"
    SEVERAL_PATIENTS = "several-patients"
    SEVERAL_STUDIES = "several-studies"
    SEVERAL_VOLUMES = "several-volumes"
    NOTHING_FITS = "nothing-fits"
    NO_IMAGE = "no-image"
    LOCALIZER_OR_CAPTURE = "localizer-or-capture"
    NOT_THE_OBVIOUS_ONE = "not-the-obvious-one"

    # the volume
    MISSING_SLICES = "missing-slices"
    UNEVEN_SLICES = "uneven-slices"
    SHIFTED_SLICES = "shifted-slices"
    GANTRY_TILT = "gantry-tilt"
    RESAMPLED = "resampled"
    MOSTLY_INTERPOLATED = "mostly-interpolated"
    COPIES_LEFT_OUT = "copies-left-out"
    REPEATED_POSITIONS = "repeated-positions"
    DIFFERING_PLANES = "differing-planes"
    SEVERAL_VOLUMES_IN_ONE = "several-volumes-in-one"
    ONE_PLACE = "one-place"
    SIDE_BY_SIDE = "side-by-side"
    MOSAIC = "mosaic"
    UNUSABLE_GEOMETRY = "unusable-geometry"
    SINGLE_SLICE = "single-slice"
    DEPTH_ASSUMED = "depth-assumed"
    DERIVED_IMAGES = "derived-images"
    MIXED_IMAGE_TYPES = "mixed-image-types"
    MIXED_SETTINGS = "mixed-settings"
    RESCALE_MISSING = "rescale-missing"
    LOW_VALUES_BRIGHT = "low-values-bright"
    PADDING = "padding"
    NOT_RESCALED = "not-rescaled"
    OTHER_UNIT = "other-unit"
    LOSSY = "lossy"
    BITS_BEYOND = "bits-beyond"

    # its pixels
    COLOR = "color"
    PIXELS_NOT_DESCRIBED = "pixels-not-described"
    UNSUPPORTED_SYNTAX = "unsupported-syntax"
    UNSUPPORTED_BITS = "unsupported-bits"
    FLOATING_POINT = "floating-point"
    TRUNCATED_PIXELS = "truncated-pixels"
    UNREADABLE_PIXELS = "unreadable-pixels"
    IMPLAUSIBLE_SIZE = "implausible-size"
    TOO_LARGE = "too-large"
    BLANK_IMAGE = "blank-image"

    # a label
    PLACED_BY_GEOMETRY = "placed-by-geometry"
    DRAWN_ON_ANOTHER_SERIES = "drawn-on-another-series"
    SEGMENTS_LEFT_OUT = "segments-left-out"
    CLASSES_ABSENT = "classes-absent"
    CLASSES_OVERLAP = "classes-overlap"
    EMPTY_LABEL = "empty-label"
    OPEN_CONTOURS = "open-contours"
    SLICES_WITHOUT_CONTOUR = "slices-without-contour"
    CONTOURS_CROSS = "contours-cross"

    # a NIfTI file
    TRANSFORMS_DISAGREE = "transforms-disagree"
    QFORM_DAMAGED = "qform-damaged"
    ORIENTATION_UNKNOWN = "orientation-unknown"
    UNIT_CHANGED = "unit-changed"
    DATA_LEFT_OUT = "data-left-out"

    # a file that is left out
    NOT_DICOM = "not-dicom"
    ARCHIVE = "archive"
    APPLE_DOUBLE = "apple-double"
    IRREGULAR_FILE = "irregular-file"
    EMPTY_FILE = "empty-file"
    DICOMDIR = "dicomdir"
    LISTED_NOT_THERE = "listed-not-there"
    NO_ROWS_AND_COLUMNS = "no-rows-and-columns"
    UNREADABLE_FILE = "unreadable-file"
    DAMAGED_HEADER = "damaged-header"
    FOLDER_NOT_LISTED = "folder-not-listed"


# Files that may once have been images: a series that has such a file is refused.
DAMAGE = frozenset(
    {
        FindingKind.EMPTY_FILE,
        FindingKind.LISTED_NOT_THERE,
        FindingKind.NO_ROWS_AND_COLUMNS,
        FindingKind.UNREADABLE_FILE,
        FindingKind.DAMAGED_HEADER,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a user should know.

    Attributes:
        kind: what it is.
        severity: how severe it is.
        text: one line, for people only.
        instances: SOPInstanceUIDs of the images concerned, where it concerns some of them.
        count: how many files, planes, stacks, series or voxels it concerns; None where there is nothing to count.
        displaced_mm: how far, at most, the affine puts a voxel from where its own header puts it; 0 where it does not.
    """

    kind: FindingKind
    severity: Severity
    text: str
    instances: tuple[str, ...] = ()
    count: int | None = None
    displaced_mm: float = 0.0

    def __str__(self) -> str:
        return self.text

    @property
    def log_level(self) -> int:
        """The level at which it is logged."""
        return logging.INFO if self.severity is Severity.NOTE else logging.WARNING


def note(kind: FindingKind, text: str, instances: Iterable[str] = (), count: int | None = None) -> Finding:
    """Return a finding that is good to know."""
    return Finding(kind, Severity.NOTE, text, tuple(dict.fromkeys(instances)), count)


def warning(
    kind: FindingKind, text: str, instances: Iterable[str] = (), count: int | None = None, displaced_mm: float = 0.0
) -> Finding:
    """Return a finding that may make a result wrong."""
    return Finding(kind, Severity.WARNING, text, tuple(dict.fromkeys(instances)), count, displaced_mm)


def refused(kind: str, text: str, instances: Iterable[str] = ()) -> Finding:
    """Return the finding because of which a series is not read.

    Args:
        kind: a value of `FindingKind`, such as the `kind` of the error that was raised.
        text: why, for people.
        instances: SOPInstanceUIDs of the slices concerned.

    Raises:
        ValueError: an unknown kind.
    """
    return Finding(FindingKind(kind), Severity.REFUSED, text, tuple(dict.fromkeys(instances)))


def pack_findings(findings: Iterable[Finding]) -> str:
    """Return findings as one text, one line of JSON each, as the metadata of an image hold them.

    Lists of different lengths cannot be collated into a batch; texts can.
    """
    return "\n".join(json.dumps(asdict(finding), ensure_ascii=False) for finding in findings)


def unpack_findings(text: str) -> tuple[Finding, ...]:
    """Return the findings of a text that `pack_findings` made.

    Raises:
        ValueError: `pack_findings` did not make it.

    Example:
        >>> found = (note(FindingKind.SINGLE_SLICE, "one slice"),)
        >>> unpack_findings(pack_findings(found)) == found
        True
    """
    return tuple(_unpacked(line) for line in text.split("\n") if line)


def _unpacked(line: str) -> Finding:
    fields = json.loads(line)
    fields |= {"kind": FindingKind(fields["kind"]), "severity": Severity(fields["severity"])}
    return Finding(**{**fields, "instances": tuple(fields["instances"])})
