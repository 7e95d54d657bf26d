"""The record of one case, `record.json`: made, written, read and checked here alone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from monai_vggunet.atomic_files import write_json
from monai_vggunet.errors import DatasetError
from monai_vggunet.json_files import read_json
from monai_vggunet.json_rules import (
    FLAG,
    Rule,
    mapping,
    number,
    optional,
    require_object,
    several,
    versioned,
    whole,
    without_version,
)

__all__ = ["DONE", "FAILED", "CaseRecord", "CaseSource", "RecordedFinding", "is_record"]

DONE, FAILED = "done", "failed"

# Fields that a file states even where they are empty, so that readers can rely on them.
_STATED = {
    DONE: {"source", "volumes_ml", "confidence", "flags", "model", "identity", "outputs", "files"},
    FAILED: {"kind", "error", "files"},
}

LONGEST_TEXT = 100_000  # characters; an error may list what lies in a folder
MOST_ENTRIES = 10_000  # findings, flags, files
MOST_INSTANCES = 100_000  # of one volume
LARGEST = 1e12
_TEXT = Rule(f"text of up to {LONGEST_TEXT:,} characters", lambda v: isinstance(v, str) and len(v) <= LONGEST_TEXT)
_TEXTS = several(_TEXT, 0, MOST_ENTRIES)
_NUMBER = number(-LARGEST, LARGEST)
_OBJECT: tuple[dict[str, Any], tuple[str, ...]] = ({}, ())


def _of_texts(*names: str) -> Rule:
    """An object with these texts; it may hold more."""
    return Rule(
        f"an object with {', '.join(names)}",
        lambda value: isinstance(value, Mapping) and all(_TEXT.holds(value.get(name)) for name in names),
    )


def _optional_entries_hold(finding: Mapping[str, Any]) -> bool:
    count, instances = finding.get("count"), finding.get("instances", [])
    return optional(whole(0)).holds(count) and several(_TEXT, 0, MOST_INSTANCES).holds(instances)


_FINDING = _of_texts("kind", "severity", "text")
_FINDINGS = Rule(
    f"text, or {_FINDING.expected}",  # text alone in the first form
    lambda value: _TEXT.holds(value) or (_FINDING.holds(value) and _optional_entries_hold(value)),
)
_FIELDS: dict[str, Any] = {
    "case": _TEXT,
    "status": _TEXT,
    "names_hidden": FLAG,
    "kind": _TEXT,
    "error": _TEXT,
    "refusal": _TEXT,
    "source": (
        {
            "modality": _TEXT,
            "study_uid": _TEXT,
            "series_uid": _TEXT,
            "shape": several(whole(0), 0, 8),
            "spacing_mm": several(_NUMBER, 0, 3),
            "findings": several(_FINDINGS, 0, MOST_ENTRIES),
        },
        (),
    ),
    "volumes_ml": mapping(_NUMBER, MOST_ENTRIES),
    "areas_px": mapping(whole(0), MOST_ENTRIES),
    "confidence": mapping(optional(_NUMBER), MOST_ENTRIES),
    "flags": _TEXTS,
    "model": ({"weights_sha256": _TEXT, "engine": _TEXT, "versions": mapping(_TEXT, MOST_ENTRIES)}, ()),
    "seconds": _NUMBER,
    "finished": _TEXT,
    "identity": ({"input_sha256": _TEXT, "settings": ({"reader": _OBJECT}, ())}, ()),
    "outputs": _TEXTS,
    "files": mapping(_TEXT, MOST_ENTRIES),
    "stored": several(_of_texts("to", "sop_instance_uid", "status"), 0, MOST_ENTRIES),
}


@dataclass(frozen=True)
class RecordedFinding:
    """A finding as a record states it: kind and severity are plain text, because a later version may know others.

    Attributes:
        text: for people.
        kind: as `dicom.findings.FindingKind` has it; empty in a record of the first form.
        severity: as `dicom.findings.Severity` has it; empty in a record of the first form.
        count: how many things it concerns; None where there is nothing to count.
        instances: SOPInstanceUIDs of the images concerned, where it concerns some of them.
    """

    text: str
    kind: str = ""
    severity: str = ""
    count: int | None = None
    instances: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseSource:
    """What was segmented.

    Attributes:
        modality: DICOM's Modality; empty for other files, as the UIDs are.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        shape: voxels along the source's axes.
        spacing_mm: of the source, along its axes.
        findings: what a user should know about it.
        further: entries that this version does not know.
    """

    modality: str = ""
    study_uid: str = ""
    series_uid: str = ""
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    findings: tuple[RecordedFinding, ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseRecord:
    """What was read, how it was segmented and what came out, or why nothing did.

    Attributes:
        case: its pseudonym, or its name if names are shown.
        status: `DONE` or `FAILED`.
        names_hidden: whether pseudonyms stand for names.
        kind: for a failed case, the class of the error.
        error: for a failed case, the text of the error.
        refusal: for a refused series, the reason, as `dicom.findings.FindingKind` has it.
        source: what was segmented.
        volumes_ml: per class; empty for a picture, whose pixels have no size.
        areas_px: per class, in pixels, of a picture.
        confidence: mean entropy over the foreground and, with several views, their mean disagreement.
        flags: reasons to look before the mask is trusted.
        model: hash of the weights, versions, engine.
        seconds: from reading to writing.
        finished: the time, in ISO 8601.
        identity: what the result depends on: the hash of the input, and the settings.
        outputs: what was asked for.
        files: name -> SHA-256.
        stored: where the result was stored in a PACS, and whether that worked.
        further: entries that this version does not know: they stay when a record is altered.
        FORMAT: version of what the file's entries are and mean.
    """

    case: str = ""
    status: str = ""
    names_hidden: bool = False
    kind: str = ""
    error: str = ""
    refusal: str = ""
    source: CaseSource = field(default_factory=CaseSource)
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    areas_px: Mapping[str, int] = field(default_factory=dict)
    confidence: Mapping[str, float | None] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    finished: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    stored: tuple[Mapping[str, Any], ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)

    FORMAT: ClassVar[int] = 2  # 1, without a version in the file, had findings without kinds

    @property
    def amounts(self) -> list[tuple[str, float, str]]:
        """How much was found of each class: name, number and unit, `mL` or `px`."""
        unit = "px" if self.areas_px else "mL"
        return [(name, amount, unit) for name, amount in (self.areas_px or self.volumes_ml).items()]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> CaseRecord:
        """Read a record, whose content is not trusted.

        Raises:
            DatasetError: the file is missing, or is not a record.
        """
        file = Path(path)
        try:
            return cls.from_json(read_json(file))
        except FileNotFoundError:
            raise DatasetError(
                f"{file.parent} has no {file.name}: expected a folder that `monai-vggunet segment` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{file} is not a record as `monai-vggunet segment` writes it ({error}): segment the study again"
            ) from error

    @classmethod
    def from_json(cls, content: Any) -> CaseRecord:
        """Return the record that JSON holds, of this version or an earlier one.

        Args:
            content: as JSON gives it. Fields may be missing, and further ones may be there.

        Raises:
            ValueError: names the field, what kind of value it has and what was expected; it quotes nothing.
        """
        content = without_version(content, cls.FORMAT)
        require_object(content, _FIELDS, open_end=True, quoting=False)
        known = {name: content[name] for name in _names(cls) if name in content}
        if "source" in known:
            known["source"] = _source_of(known["source"])
        for name in ("flags", "outputs", "stored"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known, further={name: content[name] for name in content if name not in _FIELDS})

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file; fields that do not apply to the case are left out."""
        own = {name: getattr(self, name) for name in _names(type(self))}
        stated = _STATED.get(self.status, set())
        empty = CaseRecord()
        content = {
            name: _plain(value)
            for name, value in own.items()
            if name in ("case", "status", "names_hidden") or name in stated or value != getattr(empty, name)
        }
        if "source" in content:
            content["source"] = _source_as_json(self.source)
        return versioned({**content, **self.further}, self.FORMAT)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the record, whole or not at all.

        Raises:
            OutputWriteError: the file cannot be written.
        """
        write_json(path, self.to_json())


def is_record(content: Any) -> bool:
    """Whether JSON is meant as a record, even a damaged or later one: its folder then holds results."""
    if not isinstance(content, Mapping) or not isinstance(content.get("case"), str):
        return False
    return content.get("status") in (DONE, FAILED)


def _names(kind: type[CaseRecord] | type[CaseSource]) -> list[str]:
    return [each.name for each in dataclasses.fields(kind) if each.name != "further"]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _source_of(content: Mapping[str, Any]) -> CaseSource:
    known = {name: content[name] for name in _names(CaseSource) if name in content}
    known |= {name: tuple(known.get(name, ())) for name in ("shape", "spacing_mm")}
    known["findings"] = tuple(map(_finding_of, content.get("findings", ())))
    return CaseSource(**known, further={name: value for name, value in content.items() if name not in known})


def _finding_of(content: str | Mapping[str, Any]) -> RecordedFinding:
    if isinstance(content, str):
        return RecordedFinding(content)
    known = {name: content[name] for name in ("text", "kind", "severity", "count") if name in content}
    return RecordedFinding(**known, instances=tuple(content.get("instances", ())))


def _source_as_json(source: CaseSource) -> dict[str, Any]:
    content = {name: _plain(getattr(source, name)) for name in _names(CaseSource)}
    return {**content, "findings": [_finding_as_json(finding) for finding in source.findings], **source.further}


def _finding_as_json(finding: RecordedFinding) -> dict[str, Any]:
    content = dataclasses.asdict(finding)
    return {name: _plain(value) for name, value in content.items() if value not in (None, ())}
