"""What becomes of DICOM inputs that people met, with dcm2niix as a peer on every input that it reads.

    python scripts/benchmarks/dicom_met_inputs.py [--cases FOLDER]

Each script of the folder makes one input. Our reader reads each of its cases, or each stack of a series that has
several; where it refuses, the kind of the refusal stands in the table. A volume counts as equal to the peer's if both
have the same voxels in the same places; dcm2niix may mirror or reorder axes, so both are brought to RAS first. The
table goes into a section of docs/results.md. Needs the extra `dev`.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from hippocampus import ROOT
from monai.transforms import LoadImaged
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from results_page import machine, markdown_table, write_section

from monai_vggunet.data import DicomSeriesReader, image_cases
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.dicom.findings import unpack_findings
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import SeriesSelectionError, VGGUNetError

CASES = ROOT.parent / "shared" / "cases" / "dicom"
HEADING = "## DICOM: inputs that people met"
MOST_STACKS = 8
POSITION_TOLERANCE_MM, VALUE_TOLERANCE = 0.05, 0.51
Volume = tuple[np.ndarray, np.ndarray]  # voxels and affine, RAS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=CASES)
    scripts = sorted(parser.parse_args().cases.glob("[0-9]*.py"))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    rows = [row_of(script) for script in scripts]
    compared_rows = [row[4].split(" of ") for row in rows if row[4]]
    equal = sum(mine == all_of_mine for mine, all_of_mine in compared_rows)
    text = markdown_table(["input", "ours", "`inspect`", "dcm2niix", "equal"], rows)
    told = (
        f"Of {len(rows)} inputs, both programs make volumes of {len(compared_rows)}; in {equal} all of ours are equal."
    )
    write_section("dicom_met_inputs", f"{HEADING}\n\n{text}\n\n{told}\n\nMeasured on {machine()}.")


def row_of(script: Path) -> list[str]:
    """Return the row of one input."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "in")
        made = subprocess.run([sys.executable, "-B", str(script), str(folder)], capture_output=True, text=True)
        if made.returncode:
            return [script.stem, "the script failed", "", "", ""]
        ours, said = read_by_us(folder)
        peers = read_by_dcm2niix(folder, Path(place, "out"))
        return [script.stem, said, marked(folder), shapes(peers), compared(ours, peers)]


def read_by_us(folder: Path) -> tuple[list[Volume], str]:
    """Return all volumes that can be had from an input, and in words what came of it."""
    try:
        places = [case["image"] for case in image_cases(folder)]
    except VGGUNetError as error:
        return [], f"refused: {type(error).__name__}"
    volumes: list[Volume] = []
    said = []
    for place in places:
        found, word = read_case(place)
        volumes += found
        said.append(word)
    return volumes, "; ".join(dict.fromkeys(said))


def read_case(place: str) -> tuple[list[Volume], str]:
    try:
        image = load(place)
        kinds = ", ".join(sorted({finding.kind.value for finding in unpack_findings(image.meta["findings"])}))
        return [volume_of(image)], f"read {'x'.join(map(str, image.shape))}" + f" ({kinds})" * bool(kinds)
    except Exception as refusal:
        kind = getattr(refusal, "kind", None)
        word = f"refused: {kind.value if kind is not None else type(refusal).__name__}"
        if not isinstance(refusal, SeriesSelectionError):
            return [], word
    stacks: list[Volume] = []
    for number in range(MOST_STACKS):
        try:
            stacks.append(volume_of(load(place, stack=number)))
        except Exception:
            break
    return stacks, f"{word}; {len(stacks)} stacks to choose from" if stacks else word


def load(place: str, **options: Any) -> Any:
    return load_case(LoadImaged("image", reader=DicomSeriesReader(**options)), {"image": place})["image"]


def volume_of(image: Any) -> Volume:
    return np.asarray(image), np.asarray(image.affine, dtype=float)


def read_by_dcm2niix(folder: Path, out: Path) -> list[Volume]:
    out.mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-p", "n", "-f", "%s_%p_%q", "-o", str(out), str(folder)]
    subprocess.run(command, capture_output=True, check=False, timeout=120)
    images = [nib.load(path) for path in sorted(out.glob("*.nii"))]
    return [(values_of(image), image.affine) for image in images]


def values_of(image: Any) -> np.ndarray:
    """Return voxels; colors unscaled, because nibabel cannot scale them."""
    has_colors = image.get_data_dtype().fields is not None
    return np.asarray(image.dataobj.get_unscaled() if has_colors else image.dataobj)


def marked(folder: Path) -> str:
    """Return how many series `inspect` would segment, of how many."""
    cases = survey(folder)
    series = [each for case in cases for each in case.series]
    chosen = sum(each.chosen is not None for each in series)
    return f"{chosen} of {len(series)}"


def shapes(volumes: list[Volume]) -> str:
    return ", ".join("x".join(map(str, array.shape)) for array, _ in volumes) or "nothing"


def compared(ours: list[Volume], peers: list[Volume]) -> str:
    """Return how many of our volumes dcm2niix has too, voxel for voxel."""
    if not ours or not peers:
        return ""
    there = [closest(*each) for each in peers if each[0].ndim == 3 and each[0].dtype.fields is None and is_grid(each)]
    equal = sum(any(same(closest(*mine), theirs) for theirs in there) for mine in ours)
    return f"{equal} of {len(ours)}"


def is_grid(volume: Volume) -> bool:
    """Whether the axes of a volume span space: dcm2niix writes others too."""
    return abs(np.linalg.det(volume[1][:3, :3])) > 0.0


def closest(array: np.ndarray, affine: np.ndarray) -> Volume:
    """Return a volume with its axes in the order and direction of RAS."""
    orientation = io_orientation(affine)
    moved = apply_orientation(np.asarray(array, np.float32), orientation)
    return moved, affine @ inv_ornt_aff(orientation, array.shape)


def same(one: Volume, other: Volume) -> bool:
    return (
        one[0].shape == other[0].shape
        and bool(np.allclose(one[1], other[1], atol=POSITION_TOLERANCE_MM))
        and bool(np.allclose(one[0], other[0], atol=VALUE_TOLERANCE, rtol=1e-3))
    )


if __name__ == "__main__":
    main()
