"""What a reader tells a writer of the DICOM series that a volume was read from, in a form that travels with the volume.

MONAI collates the metadata of several cases into a batch and takes them apart again. Only text and tensors survive
this; an object, or lists of different lengths, would not. So this object is turned into text and back, only here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ReferencedSeries", "ReferencedSlice"]

_INSTANCES = "source_instances"  # key of the slices and files, as JSON
_TEXTS = ("modality", "series_description", "study_uid", "series_uid", "frame_of_reference_uid", "patient_hash")


@dataclass(frozen=True)
class ReferencedSlice:
    """The image that a slice was read from (PS3.3 10.3, Image SOP Instance Reference Macro).

    Attributes:
        sop_instance_uid: of its instance; empty where the header lacks it.
        frame_number: within the instance, from 1.
    """

    sop_instance_uid: str
    frame_number: int


@dataclass(frozen=True)
class ReferencedSeries:
    """A volume's source; texts are as the headers have them, and empty where they lack them.

    Attributes:
        slices: one for each slice of the volume, in its order; None for a slice that was interpolated.
        files: those that were read, each once.
        modality, series_description, study_uid, series_uid, frame_of_reference_uid: of the series.
        patient_hash: of PatientID and IssuerOfPatientID, to be compared only; it is never written to a file.
    """

    slices: tuple[ReferencedSlice | None, ...]
    files: tuple[Path, ...] = ()
    modality: str = ""
    series_description: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    patient_hash: str = ""

    @property
    def images(self) -> list[ReferencedSlice]:
        """The slices that are images of the series, in their order: all of them, or none if they were interpolated."""
        return [one for one in self.slices if one is not None]

    @property
    def instance_uids(self) -> list[str]:
        """The SOPInstanceUID of every slice, repeated for frames of one file; empty for an interpolated slice."""
        return ["" if one is None else one.sop_instance_uid for one in self.slices]

    def to_meta(self) -> dict[str, str]:
        """Return the entries of a volume's metadata: each text under its own name, slices and files as one JSON text.

        Example:
            >>> series = ReferencedSeries((ReferencedSlice("1.2.3", 1), None), series_uid="1.2")
            >>> series.to_meta()["source_instances"]
            '{"slices": [["1.2.3", 1], null], "files": []}'
            >>> ReferencedSeries.from_meta(series.to_meta()) == series
            True
        """
        slices = [None if one is None else [one.sop_instance_uid, one.frame_number] for one in self.slices]
        # JSON's escapes also carry bytes of a path that are not UTF-8
        instances = json.dumps({"slices": slices, "files": [str(file) for file in self.files]})
        return {name: str(getattr(self, name)) for name in _TEXTS} | {_INSTANCES: instances}

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> ReferencedSeries | None:
        """Return what `to_meta` put into a volume's metadata; None if the volume was read from something else."""
        if not meta.get(_INSTANCES):
            return None
        instances = json.loads(meta[_INSTANCES])
        slices = tuple(None if one is None else ReferencedSlice(*one) for one in instances["slices"])
        texts = {name: str(meta.get(name) or "") for name in _TEXTS}
        return cls(slices, tuple(map(Path, instances["files"])), **texts)
