#!/usr/bin/env python
"""Write a data set of CT phantoms: DICOM series, label maps on their own grids, Decathlon-style lists.

A phantom is a body near 40 HU in air. Its organs differ by contrast and, on average, by size, never by position alone,
so that a 2D network can tell them apart in one slice. Everything else varies from patient to patient (body, fat, bones,
air, table, texture, blur, noise, grid), so that a trained model also works on phantoms made by others.

OUT/images/CASE/IM...     one CT series of single-frame files, whose names are not in slice order
OUT/labels/CASE.nii.gz    its label map, axes (column, row, slice), slices in order of the slice normal
OUT/dataset.json          the list of pairs (OUT/phantom.json: the arguments)
OUT/unseen/...            the same three for patients that the first part does not hold
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from tqdm import tqdm

from monai_vggunet.dicom import lps_to_ras

OPTIONS = {  # name: (default, least, meaning)
    "cases": (16, 1, "series to train on"),
    "unseen": (4, 0, "series of other patients"),
    "size": (96, 16, "shortest matrix side; the longest is 4/3 of it"),
    "slices": (20, 2, "fewest slices; the most are 7/5 of it"),
    "seed": (0, 0, "the same seed gives the same bytes"),
}
VERSION = 1  # raise it when the same options begin to give other bytes
AIR_HU = -1000.0
BODY_HU = (30.0, 46.0)
CLASSES = {1: "spleen", 2: "liver", 3: "kidney"}
# Together they cover 60 to 130 HU; the gaps exceed the texture on both sides, so that no two classes meet.
CLASS_HU = {1: (58.0, 76.0), 2: (88.0, 104.0), 3: (115.0, 135.0)}
TEXTURE_HU = 3.0  # amplitude of the slow variation within the body
CLASS_RADIUS = {1: (0.17, 0.28), 2: (0.28, 0.42), 3: (0.14, 0.24)}  # fractions of the body's mean half width
EXTRA_RADIUS = (0.10, 0.25)  # of further organs, of any class
NOISE_HU = (5.0, 25.0)
FOV_MM = (200.0, 380.0)  # 1.6 to 4 mm per pixel at 96 to 128 pixels
HEIGHT_MM = (84.0, 120.0)  # 3 to 6 mm per slice at 20 to 28 slices
ENDLESS_MM = 1e4  # half length of what runs through all slices
SECOND_SERIES = 3  # this case is another series of the patient of the case before it: splits go by patient


class RefusalError(Exception):
    """The output folder holds something that this script did not make with these options."""


class Case(NamedTuple):
    """One series to make; some of its peculiarities follow from its number, so that each of them occurs."""

    part: str  # "" or "unseen"
    number: int
    name: str
    patient: int
    patient_id: str


class Shape(NamedTuple):
    """A superellipsoid in patient coordinates (LPS, mm)."""

    center: np.ndarray
    half_axes: np.ndarray
    hu: float
    label: int = 0
    exponent: float = 2.0
    turn: np.ndarray = np.eye(3)
    dent: np.ndarray = np.zeros(3)  # where its surface bulges and, opposite, sinks, as a fraction of the radius

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Say which of the points ``(N, 3)`` lie inside."""
        inside = np.zeros(len(points), bool)
        near = np.flatnonzero((np.abs(points - self.center) < 1.8 * self.half_axes.max()).all(axis=1))  # a cube: 1.73
        q = (points[near] - self.center) @ self.turn / self.half_axes
        limit = (1 + np.sin(3 * q @ self.dent)) ** self.exponent
        inside[near] = (np.abs(q) ** self.exponent).sum(axis=1) < limit
        return inside


class Anatomy(NamedTuple):
    """One patient: the space to image, what lies around the soft tissue, and what lies within it."""

    center: np.ndarray
    fov_mm: float
    height_mm: float
    around: list[Shape]
    tissue: Shape
    within: list[Shape]


class Grid(NamedTuple):
    """The voxel grid of a series in LPS (mm), in the numbers that its DICOM headers hold."""

    shape: tuple[int, int, int]  # slices, rows, columns
    spacing: tuple[float, float, float]  # the same order
    row: np.ndarray  # the direction in which the column index grows
    column: np.ndarray  # the direction in which the row index grows
    positions: np.ndarray  # (slices, 3), ImagePositionPatient in order of the slice normal

    def affine_ras(self) -> np.ndarray:
        """Map (column, row, slice) to RAS."""
        affine = np.eye(4)
        steps = np.stack([np.cross(self.row, self.column), self.column, self.row]) * np.array(self.spacing)[:, None]
        affine[:3] = np.column_stack([*steps[::-1], self.positions[0]])
        return lps_to_ras(affine)

    def points(self) -> np.ndarray:
        """Voxel centers in LPS, ``(slices * rows * columns, 3)``."""
        down = np.arange(self.shape[1])[:, None, None] * self.spacing[1] * self.column
        right = np.arange(self.shape[2])[:, None] * self.spacing[2] * self.row
        return (self.positions[:, None, None] + down + right).reshape(-1, 3).astype(np.float32)


def make_dataset(out: Path, options: dict[str, int]) -> bool:
    """Write the data set, whole or not at all; return False if it was there already.

    Raises:
        RefusalError: ``out`` holds something else.
    """
    if _is_complete(out, options):
        return False
    parts = {part: [_case(part, n) for n in range(options[key])] for part, key in (("", "cases"), ("unseen", "unseen"))}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        root, files = Path(scratch) / out.name, 0
        for case in tqdm([*parts[""], *parts["unseen"]], desc="phantoms", unit="series", disable=None):
            files += _write_case(root / case.part, case, options)
        for part, cases in parts.items():
            if cases:
                _write_json(root / part / "dataset.json", _datalist(cases))
        _write_json(root / "phantom.json", {"version": VERSION, "options": options, "files": files})
        os.replace(root, out)
    return True


def _is_complete(out: Path, options: dict[str, int]) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    advice = "choose another folder, or remove this one"
    if not (out / "phantom.json").is_file():
        raise RefusalError(f"{out} is not empty and holds no phantom.json, so this script did not make it: {advice}")
    record = json.loads((out / "phantom.json").read_text())
    if (made := (record.get("version"), record.get("options"))) != (VERSION, options):
        raise RefusalError(f"{out} was made with version and options {made}, expected {VERSION, options}: {advice}")
    files = sum(len([*out.glob(f"{part}{kind}")]) for part in ("", "unseen/") for kind in ("images/*/*", "labels/*"))
    if files < record["files"]:
        raise RefusalError(f"{out} holds {files} images and labels, expected {record['files']}: {advice}")
    return True


def _case(part: str, number: int) -> Case:
    patient = number - 1 if not part and number == SECOND_SERIES else number
    return Case(part, number, f"{part or 'case'}_{number:03d}", patient, f"PHANTOM-{part[:1].upper()}{patient:03d}")


def _datalist(cases: list[Case]) -> dict[str, object]:
    return {
        "name": f"CT phantoms {cases[0].part}".strip(),
        "description": "Made by scripts/make_phantom_dataset.py: organs in name only, not for clinical use",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background"} | {str(label): name for label, name in CLASSES.items()},
        "numTraining": len(cases),
        "numTest": 0,
        "training": [{"image": f"./images/{c.name}", "label": f"./labels/{c.name}.nii.gz"} for c in cases],
        "test": [],
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_case(root: Path, case: Case, options: dict[str, int]) -> int:
    """Write one series and its label map; return the number of files."""
    stream = [options["seed"], len(case.part)]
    anatomy = draw_anatomy(np.random.default_rng([*stream, case.patient]))
    rng = np.random.default_rng([*stream, case.number, 1])
    grid = draw_grid(rng, case.number, anatomy, options["size"], options["slices"])
    hu, labels = render(rng, anatomy, grid)
    _write_series(root / "images" / case.name, rng, case, grid, hu, repr(options))
    image = nib.Nifti1Image(labels.transpose(2, 1, 0), grid.affine_ras())
    image.set_sform(grid.affine_ras(), code="scanner")
    image.set_qform(grid.affine_ras(), code="scanner")
    image.header.set_xyzt_units("mm")
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / f"{case.name}.nii.gz").write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    return len(hu) + 1


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient."""
    fov, height, center = rng.uniform(*FOV_MM), rng.uniform(*HEIGHT_MM), rng.uniform(-40, 40, 3)
    half = fov * rng.uniform(0.35, 0.46) * np.array([1, rng.uniform(0.65, 1), 1])
    half[2] = height * rng.uniform(0.42, 0.7) if rng.random() < 0.4 else ENDLESS_MM  # else air in the outer slices
    exponent, rim = rng.uniform(2, 3), rng.uniform(0.04, 0.14) if rng.random() < 0.5 else 0.0
    around = [Shape(center, half, rng.uniform(-115, -85), exponent=exponent)]  # fat
    tissue = Shape(center, half * np.array([1 - rim, 1 - rim, 1]), rng.uniform(*BODY_HU), exponent=exponent)
    if rng.random() < 0.4:  # a table; posterior is +y
        top = center + np.array([0, half[1] + rng.uniform(5, 12), 0])
        around.append(Shape(top, np.array([0.4 * fov, 4, ENDLESS_MM]), rng.uniform(-400, 0), exponent=8))
    within = _bones(rng, tissue)
    for most, radius, hu in ((3, (0.03, 0.09), (-900, -700)), (4, (0.02, 0.045), (140, 220))):  # gas, vessels
        for _ in range(rng.integers(0, most + 1)):
            within.append(_place(rng, tissue, height, radius, rng.uniform(*hu), 0, []))
    for _ in range(2 if rng.random() < 0.25 else 0):  # lungs
        within.append(_place(rng, tissue, height, (0.2, 0.32), rng.uniform(-870, -750), 0, []))
    return Anatomy(center, fov, height, around, tissue, within + _organs(rng, tissue, height, within))


def _bones(rng: np.random.Generator, body: Shape) -> list[Shape]:
    (a, b, _), bones = body.half_axes, []
    if rng.random() < 0.6:  # spine
        where, radius = np.array([0, b * rng.uniform(0.6, 0.75), 0]), b * rng.uniform(0.11, 0.17)
        bones.append(Shape(body.center + where, np.array([1.2 * radius, radius, ENDLESS_MM]), rng.uniform(300, 800)))
    if rng.random() < 0.4:  # ribs
        for angle in np.arange(0, 2 * np.pi, np.pi / rng.integers(5, 9)) + rng.uniform(0, 1):
            where = np.array([0.9 * a * np.cos(angle), 0.9 * b * np.sin(angle), rng.uniform(-40, 40)])
            axes, turn = np.array([0.025 * a, 0.09 * a, 15]), _rotation([0, 0, 1], angle)
            bones.append(Shape(body.center + where, axes, rng.uniform(300, 1000), turn=turn))
    return bones


def _organs(rng: np.random.Generator, body: Shape, height: float, others: list[Shape]) -> list[Shape]:
    level = {label: rng.uniform(*span) for label, span in CLASS_HU.items()}  # both kidneys alike
    plan = [(label, CLASS_RADIUS[label], level[label]) for label in (2, 1, 3, 3)]
    for label in rng.integers(1, len(CLASSES) + 1, rng.choice([0, 0, 1, 2])):
        plan.append((int(label), EXTRA_RADIUS, rng.uniform(*CLASS_HU[label])))
    organs: list[Shape] = []
    for label, radius, hu in plan:
        organs.append(_place(rng, body, height, radius, hu, label, others + organs))
    return sorted(organs, key=lambda organ: -np.prod(organ.half_axes))  # painted last, the small ones stay visible


def _place(
    rng: np.random.Generator,
    body: Shape,
    height: float,
    radius: tuple[float, float],
    hu: float,
    label: int,
    others: list[Shape],
) -> Shape:
    """Draw a rounded shape within the body, and the first of sixty places, or the best, where it meets no other."""
    axes = body.half_axes[:2].mean() * rng.uniform(*radius) * rng.uniform(0.75, 1.3, 3)
    axes[2] = min(axes[2], 0.36 * height)
    room = np.maximum(0.95 * body.half_axes - axes[:2].max(), 0)
    room[2] = max(0.45 * min(height, 2 * body.half_axes[2]) - axes[2], 0)
    best, widest = body.center, -1.0
    for _ in range(60):
        angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        unit = np.array([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-1, 1)])
        where = body.center + room * unit
        gap = min((np.linalg.norm((where - o.center) / (axes + o.half_axes)) for o in others), default=np.inf)
        if gap > widest:
            best, widest = where, gap
        if gap > 1.05:  # exact for unturned ellipsoids of one form; a small overlap does no harm
            break
    turn = _rotation([0, 0, 1], rng.uniform(0, 2 * np.pi)) @ _rotation([1, 0, 0], rng.uniform(-0.3, 0.3))
    dent = rng.uniform(-0.12, 0.12, 3) * (rng.random() < 0.5)
    return Shape(best, axes, hu, label, rng.uniform(2, 3.5) if rng.random() < 0.5 else 2.0, turn, dent)


def draw_grid(rng: np.random.Generator, number: int, anatomy: Anatomy, size: int, slices: int) -> Grid:
    """Draw a grid over the patient: every third oblique, every second with non-square pixels, some feet first."""
    non_square = number % 2 == 0
    rows, columns = (int(n) for n in rng.choice([size, size + size // 6, size + size // 3], 2, replace=not non_square))
    count = int(rng.integers(slices, slices + slices * 2 // 5 + 1))
    across = np.array([rows, columns]) if non_square else min(rows, columns)
    spacing = np.round(np.append(anatomy.height_mm / count, anatomy.fov_mm / across * np.ones(2)), 4)
    turn = _rotation(rng.normal(size=3), np.deg2rad(rng.uniform(5, 15))) if number % 3 == 1 else np.eye(3)
    # Ten decimals fit into the 16 characters of a decimal string (DS); six of a millimeter are a nanometer.
    row = np.round(turn[:, 0] * (-1 if _feet_first(number) else 1), 10)
    column, shift = np.round(turn[:, 1], 10), np.append(rng.uniform(-6, 6, 2), 0)
    corner = -row * spacing[2] * (columns - 1) / 2 - column * spacing[1] * (rows - 1) / 2
    steps = (np.arange(count)[:, None] - (count - 1) / 2) * spacing[0] * np.cross(row, column)
    positions = np.round(anatomy.center + shift + corner + steps, 6)
    return Grid((count, rows, columns), tuple(spacing.tolist()), row, column, positions)


def _feet_first(number: int) -> bool:
    return number % 8 == 5


def render(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return CT numbers (float) and labels (uint8), both ``(slices, rows, columns)``."""
    points = grid.points()
    hu, labels = np.full(len(points), AIR_HU, np.float32), np.zeros(len(points), np.uint8)
    for shape in anatomy.around:
        hu[shape.contains(points)] = shape.hu
    body = np.flatnonzero(anatomy.tissue.contains(points))
    hu[body], inner = anatomy.tissue.hu, points[body]
    for shape in anatomy.within:
        hit = body[shape.contains(inner)]
        hu[hit], labels[hit] = shape.hu, shape.label
    for _ in range(3):
        wave = rng.normal(size=3) * 2 * np.pi / rng.uniform(80, 250)
        hu[body] += TEXTURE_HU / 3 * np.sin(inner @ wave + rng.uniform(0, 6))
    in_plane = rng.uniform(0.3, 0.8)
    volume = _blur(hu.reshape(grid.shape), (rng.uniform(0, 0.4), in_plane, in_plane))
    noise = rng.standard_normal(grid.shape, np.float32)
    noise = _blur(noise, (0, 0.7, 0.7)) if rng.random() < 0.4 else noise
    return volume + noise * (np.exp(rng.uniform(*np.log(NOISE_HU))) / noise.std()), labels.reshape(grid.shape)


def _blur(volume: np.ndarray, sigmas: tuple[float, ...]) -> np.ndarray:
    """Blur by Gaussians of less than one voxel, given in voxels."""
    for axis, sigma in enumerate(sigmas):
        weights = np.exp(-0.5 * (np.arange(-2, 3) / max(sigma, 0.1)) ** 2).astype(np.float32)
        padded = np.pad(volume, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = (np.take(padded, range(s, s + volume.shape[axis]), axis) for s in range(5))
        volume = sum(w * part for w, part in zip(weights / weights.sum(), parts))
    return volume


def _rotation(axis: list[float] | np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix after Rodrigues; the angle in radians."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _header(case: Case, grid: Grid, entropy: str) -> Dataset:
    """Attributes that all instances of the series share (PS3.3 A.3, CT Image IOD)."""
    data = Dataset()
    data.SOPClassUID, data.Modality, data.ImageType = CTImageStorage, "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PatientID, data.PatientName, data.PatientSex = case.patient_id, f"Phantom^{case.patient_id}", "O"
    data.PatientBirthDate = data.ReferringPhysicianName = data.AccessionNumber = data.PositionReferenceIndicator = ""
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20240101"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "120000"
    data.StudyInstanceUID = _uid(entropy, case.patient_id, "study")
    data.FrameOfReferenceUID = _uid(entropy, case.patient_id, "frame of reference")
    data.SeriesInstanceUID = _uid(entropy, case.name)
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber = "1", case.number - case.patient + 1, 1
    data.StudyDescription, data.SeriesDescription = "Phantom", f"Phantom {case.name}"
    data.Manufacturer, data.ManufacturerModelName, data.SoftwareVersions = "monai-vggunet", "phantom", str(VERSION)
    data.BodyPartExamined, data.KVP, data.PatientPosition = "ABDOMEN", 120, "FFS" if _feet_first(case.number) else "HFS"
    data.ImageOrientationPatient = _decimals([*grid.row, *grid.column])
    data.SliceThickness, *data.PixelSpacing = grid.spacing
    data.Rows, data.Columns = grid.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.BitsAllocated = 1, "MONOCHROME2", 16
    signed = case.number % 4 == 3
    data.BitsStored, data.HighBit, data.PixelRepresentation = (16, 15, 1) if signed else (12, 11, 0)
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0 if signed else -1024, 1, "HU"
    data.WindowCenter, data.WindowWidth, data.BurnedInAnnotation = 60, 350, "NO"
    return data


def _write_series(folder: Path, rng: np.random.Generator, case: Case, grid: Grid, hu: np.ndarray, entropy: str) -> None:
    folder.mkdir(parents=True)
    header, normal = _header(case, grid, entropy), np.cross(grid.row, grid.column)
    backwards = case.number % 8 == 2  # InstanceNumber falls along the slice normal
    for k, name in enumerate(rng.permutation(len(hu)) + 1):
        data = Dataset()
        data.update(header)
        data.SOPInstanceUID = _uid(header.SeriesInstanceUID, k)
        data.InstanceNumber = len(hu) - k if backwards else k + 1
        data.ImagePositionPatient = _decimals(grid.positions[k])
        data.SliceLocation = round(float(grid.positions[k] @ normal), 4)
        stored = np.clip(np.rint(hu[k]), -1024, 3071) - int(data.RescaleIntercept)
        data.PixelData = stored.astype("<u2" if data.PixelRepresentation == 0 else "<i2").tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"IM{name:05d}", enforce_file_format=True)


def _decimals(values: np.ndarray | list[float]) -> list[str]:
    return [f"{float(v) + 0.0:.10f}".rstrip("0").rstrip(".")[:16] for v in values]  # + 0.0: no "-0"


def _uid(*entropy: object) -> str:
    return generate_uid(entropy_srcs=["monai-vggunet phantom", *map(str, entropy)])


def main(argv: list[str] | None = None) -> int:
    """Read the command line; return the exit status: 0 done, 2 refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to make; it must be absent, empty, or complete already")
    for name, (default, _, meaning) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default {default})")
    args = parser.parse_args(argv)
    options = {name: getattr(args, name) for name in OPTIONS}
    for name, (_, least, _) in OPTIONS.items():
        if options[name] < least:
            parser.error(f"--{name} {options[name]}, expected at least {least}")
    try:
        made = make_dataset(args.out.resolve(), options)
    except RefusalError as refusal:
        print(f"make_phantom_dataset: {refusal}", file=sys.stderr)
        return 2
    what = f"{options['cases']} training and {options['unseen']} unseen CT series of {', '.join(CLASSES.values())}"
    print(f"{args.out}: {what}: {'written' if made else 'already complete, nothing to do'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
