"""dcmqi's programs as MONAI Label calls them, on our own writer and reader of DICOM SEG.

    python -m monai_vggunet.annotation.segimage itkimage2segimage --inputImageList LABEL --inputDICOMDirectory SERIES
        --outputDICOM FILE --inputMetadata JSON
    python -m monai_vggunet.annotation.segimage segimage2itkimage --inputDICOM SEG --inputDICOMDirectory SERIES
        --outputDirectory FOLDER

A label is brought onto its series' own slices by geometry, and a DICOM SEG onto them again when it is read: whichever
frames it holds, label and image have one grid.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_vggunet.data.case_loading import load_case
from monai_vggunet.dicom.headers.bounded_reading import read_dicom
from monai_vggunet.errors import DatasetError, VGGUNetError
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import MASK
from monai_vggunet.outputs import CaseMask, Classes, write_dicom_seg, write_mask
from monai_vggunet.privacy import know_names, private_text, protect_output, tell
from monai_vggunet.transforms import loading

__all__ = ["label_to_seg", "main", "seg_to_label"]

# MONAI Label gives every structure this one code, whatever it is called: as good as none, and wrong.
CODE_OF_ANYTHING = "78961009"


def label_to_seg(
    label: str | os.PathLike[str],
    series: str | os.PathLike[str],
    target: str | os.PathLike[str],
    classes: Classes,
    model_sha256: str = "",
) -> None:
    """Write a label as DICOM SEG that refers to its series.

    Args:
        label: NIfTI or NRRD on the series' grid, axes in any order.
        series: folder with the DICOM series.
        target: of the DICOM SEG.
        classes: names of the label's numbers, background first.
        model_sha256: hash of the model that proposed it.

    Raises:
        GridMismatchError: the label was drawn on another grid.
        LabelContentError: a number without a name.
        VGGUNetError: of another kind, see `write_dicom_seg`.
    """
    loaded = _loaded(label, series, len(classes.names), None)
    image = loaded["image"]
    array, affine = loaded["label"].as_tensor()[0].numpy(), np.asarray(image.affine, dtype=np.float64)
    write_dicom_seg(target, CaseMask(array, affine, dict(image.meta), classes, model_sha256))


def seg_to_label(
    seg: str | os.PathLike[str],
    series: str | os.PathLike[str],
    target: str | os.PathLike[str],
    segments: dict[str, int],
) -> None:
    """Write a DICOM SEG as NIfTI on its series' own grid, slices without a frame empty.

    Args:
        seg: the file.
        series: folder with the DICOM series it refers to.
        target: of the NIfTI file.
        segments: name or number of a segment -> class number.

    Raises:
        VGGUNetError: see `read_annotation`.
    """
    loaded = _loaded(seg, series, 1 + max(segments.values(), default=0), segments)
    write_mask(target, loaded["label"].as_tensor()[0].numpy(), np.asarray(loaded["image"].affine, dtype=np.float64))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two programs; a refusal is one message and exit status 2."""
    given = _parser().parse_args(arguments)
    protect_output()
    know_names(value for name, value in vars(given).items() if name != "program")
    try:
        if given.program == "itkimage2segimage":
            classes = _classes(read_json(given.inputMetadata))
            label_to_seg(given.inputImageList, given.inputDICOMDirectory, given.outputDICOM, classes)
        else:
            described = read_dicom(Path(given.inputDICOM), before_pixels=True).get("SegmentSequence") or []
            numbers = {str(item.SegmentNumber): int(item.SegmentNumber) for item in described}
            target = Path(given.outputDirectory) / MASK
            seg_to_label(given.inputDICOM, given.inputDICOMDirectory, target, numbers)
    except (VGGUNetError, OSError, ValueError) as error:
        tell(f"monai-vggunet: {private_text(error)}", error=True)
        return 2
    return 0


def _loaded(label: Any, series: Any, n_classes: int, segments: dict[str, int] | None) -> Mapping[str, Any]:
    return load_case(loading(n_classes=n_classes, segments=segments), {"image": str(series), "label": str(label)})


def _classes(metadata: dict[str, Any]) -> Classes:
    """Read the classes of dcmqi's JSON: `segmentAttributes`, one list per file, `labelID` the number in the label."""
    described = [segment for group in metadata.get("segmentAttributes") or [] for segment in group]
    names = {int(segment["labelID"]): str(segment.get("SegmentLabel") or "") for segment in described}
    if not names or min(names) < 1:
        raise DatasetError(f"the metadata describe the labels {sorted(names)}; expected segmentAttributes from 1")
    listed = [names.get(number) or f"class {number}" for number in range(1, max(names) + 1)]
    codes = {}
    for segment in described:
        code = segment.get("SegmentedPropertyTypeCodeSequence") or {}
        if code.get("CodeValue") not in (None, "", CODE_OF_ANYTHING):
            words = {"scheme": "CodingSchemeDesignator", "value": "CodeValue", "meaning": "CodeMeaning"}
            codes[listed[int(segment["labelID"]) - 1]] = {short: str(code[long]) for short, long in words.items()}
    return Classes(["background", *listed], codes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monai_vggunet.annotation.segimage", description=__doc__.splitlines()[0])
    programs = parser.add_subparsers(dest="program", required=True)
    words = {
        "itkimage2segimage": ("inputImageList", "inputDICOMDirectory", "outputDICOM", "inputMetadata"),
        "segimage2itkimage": ("inputDICOM", "inputDICOMDirectory", "outputDirectory"),
    }
    for program, options in words.items():
        one = programs.add_parser(program)
        for option in options:
            one.add_argument(f"--{option}", required=True)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
