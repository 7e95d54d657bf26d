"""Masks on real series, written and read back by programs of others: the same voxels in the same places.

Readers: plain geometry on pydicom's pixels, dcmqi, Cornerstone3D's adapter in Node (`npm install` in
`tests/outputs/cornerstone3d`, or its packages in a folder named by CORNERSTONE3D_PACKAGES), plastimatch, dcmtk,
dciodvfy. Each is left out, with a word, where it is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mask_phantoms import NAMES, labels_by_hand, mask_on

from monai_vggunet.errors import DicomReadError, VGGUNetError
from monai_vggunet.outputs import CaseMask, write_dicom_seg, write_mask, write_rtstruct
from monai_vggunet.outputs.dicom.source_series import find_source_series

CORPUS = Path(__file__).parents[3].parent / "shared" / "data" / "dicom"
CHECK_SEG = CORPUS.parents[1] / "tools" / "check_seg.py"
CASES = sorted(folder.parent for folder in CORPUS.glob("*/dicom"))
NODE_FOLDER = Path(__file__).parent / "cornerstone3d"
TYPES = ("binary", "labelmap", "fractional")
TILTED = {"d02_ct_tilt_neg", "d04_ct_tilt14"}
MULTI_FRAME = {"d13_mr_enh_philips", "d14_mr_enh_hyperfine", "d16_ct_legacy_multiframe"}
ADDED_FILES = {"d28_dup_new_uid", "d29_localizer_in_series"}  # the series holds files that are no part of the volume
WITHOUT_UIDS = "d01_ct_j2k_no_sopclass"

pytestmark = [
    pytest.mark.skipif(not CASES, reason=f"the shared corpus is not at {CORPUS}"),
    pytest.mark.slow,  # as a whole: minutes, most of them Node's and plastimatch's
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> tuple[Path, CaseMask]:
    """A folder of the corpus with a mask on the volume in it; those that hold none are left out."""
    folder: Path = request.param
    try:
        mask = mask_on(folder / "dicom")
    except VGGUNetError:
        pytest.skip("no volume: the reader refuses it")
    scores = np.stack([mask.labels == number for number in range(len(NAMES))]).astype(np.float32)
    return folder, replace(mask, probabilities=0.1 + 0.7 * scores)


@pytest.fixture(scope="module")
def segs(case: tuple[Path, CaseMask], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The mask as DICOM SEG of every type, and as NIfTI."""
    folder, mask = case
    if folder.name == WITHOUT_UIDS:
        pytest.skip("the series has no UIDs to refer to")
    out = tmp_path_factory.mktemp(folder.name)
    write_mask(out / "mask.nii.gz", mask.labels, mask.affine)
    for kind in TYPES:
        write_dicom_seg(out / f"{kind}.dcm", mask, kind)
    return {kind: out / f"{kind}.dcm" for kind in TYPES}


def test_a_series_without_uids_is_refused(tmp_path: Path) -> None:
    mask = mask_on(CORPUS / WITHOUT_UIDS / "dicom")
    with pytest.raises(DicomReadError, match="lacks StudyInstanceUID and SeriesInstanceUID"):
        write_dicom_seg(tmp_path / "seg.dcm", mask)


@pytest.mark.parametrize("kind", TYPES)
def test_pydicom_and_plain_geometry(case: tuple[Path, CaseMask], segs: dict[str, Path], kind: str) -> None:
    _, mask = case
    np.testing.assert_array_equal(labels_by_hand(segs[kind], mask.affine, mask.labels.shape), mask.labels)


@pytest.mark.parametrize("kind", TYPES)
def test_the_independent_judge(case: tuple[Path, CaseMask], segs: dict[str, Path], kind: str) -> None:
    folder, _ = case
    if not CHECK_SEG.is_file() or shutil.which("dciodvfy") is None:
        pytest.skip("check_seg.py beside the corpus, or dciodvfy (Debian: dicom3tools), is not here")
    if folder.name in MULTI_FRAME | ADDED_FILES:
        pytest.skip("the judge takes every file of the series for a slice of its own")
    words = [sys.executable, CHECK_SEG, folder / "dicom", segs[kind].with_name("mask.nii.gz"), segs[kind]]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.startswith("PASS"), done.stdout


@pytest.mark.parametrize("kind", ["binary", "fractional"])
def test_dciodvfy_finds_no_error(case: tuple[Path, CaseMask], segs: dict[str, Path], kind: str) -> None:
    assert errors_of_dciodvfy(segs[kind]) == []


@pytest.mark.parametrize("kind", TYPES)
def test_dcmqi(case: tuple[Path, CaseMask], segs: dict[str, Path], kind: str, tmp_path: Path) -> None:
    folder, mask = case
    program = Path(sys.executable).with_name("segimage2itkimage")
    sitk = pytest.importorskip("SimpleITK")
    if not program.is_file():
        pytest.skip("dcmqi is not installed")
    if folder.name in TILTED:
        pytest.skip("an ITK image cannot be sheared")
    words = [program, "--inputDICOM", segs[kind], "--outputDirectory", tmp_path, "--outputType", "nrrd"]
    subprocess.run(words, check=True, capture_output=True)
    found = np.zeros_like(mask.labels)
    for file in tmp_path.glob("*.nrrd"):  # one per segment, named by its number; a label map is one file
        image = sitk.ReadImage(str(file))
        values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        inside = values > (127 if kind == "fractional" else 0)
        directions = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        place = voxels(np.argwhere(inside) @ directions.T + image.GetOrigin(), mask.affine)
        found[place] = values[inside] if kind == "labelmap" else int(file.stem)
    np.testing.assert_array_equal(found, mask.labels)


def test_cornerstone3d(case: tuple[Path, CaseMask], segs: dict[str, Path], tmp_path: Path) -> None:
    _, mask = case
    script = cornerstone_script(tmp_path)
    (tmp_path / "images.json").write_text(json.dumps(images_of(mask)))
    kinds = ("binary", "labelmap")  # it does not read probabilities
    pairs = [path for kind in kinds for path in (segs[kind], tmp_path / f"{kind}.raw")]
    done = subprocess.run(["node", script, tmp_path / "images.json", *pairs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind in kinds:
        found = np.fromfile(tmp_path / f"{kind}.raw", np.uint8).reshape(mask.labels.shape[::-1]).T
        np.testing.assert_array_equal(found, mask.labels)


def test_dcmtk_dumps_every_segment(case: tuple[Path, CaseMask], segs: dict[str, Path]) -> None:
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmtk is not installed")
    done = subprocess.run(["dcmdump", "+P", "0062,0005", segs["binary"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"[{name}]" in done.stdout for name in NAMES[1:])


def test_plastimatch_and_dciodvfy_read_the_rtstruct(case: tuple[Path, CaseMask], tmp_path: Path) -> None:
    folder, mask = case
    sitk = pytest.importorskip("SimpleITK")
    if folder.name == WITHOUT_UIDS or not mask.meta["frame_of_reference_uid"]:
        with pytest.raises(DicomReadError, match=r"no FrameOfReferenceUID|lacks StudyInstanceUID"):
            write_rtstruct(tmp_path / "rtstruct.dcm", mask)
        return
    write_rtstruct(tmp_path / "rtstruct.dcm", mask)
    assert errors_of_dciodvfy(tmp_path / "rtstruct.dcm") == []
    if shutil.which("plastimatch") is None:
        pytest.skip("plastimatch is not installed")
    if folder.name in MULTI_FRAME | {"d10_mr_frag_jpegll", "d29_localizer_in_series"}:
        pytest.skip("plastimatch does not read this series, and makes up a grid")
    words = ["plastimatch", "convert", "--input", tmp_path / "rtstruct.dcm", "--referenced-ct", folder / "dicom"]
    words += ["--output-prefix", tmp_path / "found", "--prefix-format", "nrrd"]
    subprocess.run(words, check=True, capture_output=True)
    for number, name in enumerate(NAMES):
        expected = mask.labels == number
        if not number or not expected.any():
            continue
        image = sitk.ReadImage(str(tmp_path / "found" / f"{name}.nrrd"))
        values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        directions = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        found = np.zeros(expected.shape, bool)
        found[voxels(np.argwhere(values) @ directions.T + image.GetOrigin(), mask.affine)] = True
        dice = 2 * np.count_nonzero(found & expected) / (np.count_nonzero(found) + np.count_nonzero(expected))
        assert dice >= 0.99, name


def voxels(points_lps: np.ndarray, affine_ras: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the voxels of a grid that hold points."""
    index = (points_lps * [-1, -1, 1] - affine_ras[:3, 3]) @ np.linalg.inv(affine_ras[:3, :3]).T
    return tuple(np.rint(index).astype(int).T)


def errors_of_dciodvfy(file: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, errors="replace")
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def cornerstone_script(folder: Path) -> Path:
    """Return the script, in a folder whose `node_modules` it finds."""
    given = os.environ.get("CORNERSTONE3D_PACKAGES")
    packages = Path(given) if given else NODE_FOLDER / "node_modules"
    if shutil.which("node") is None or not (packages / "@cornerstonejs").is_dir():
        pytest.skip("node, or the packages of tests/outputs/cornerstone3d (npm install), are not here")
    if not given:
        return NODE_FOLDER / "read_seg.mjs"
    (folder / "node_modules").symlink_to(packages)
    return Path(shutil.copy(NODE_FOLDER / "read_seg.mjs", folder))


def images_of(mask: CaseMask) -> list[dict]:
    """Return the source's images as the script wants them."""
    source = find_source_series(mask.meta, mask.labels.shape, mask.affine)
    images = []
    for plane in source.planes:
        frame, instance = plane.frame, plane.instance
        image = {
            "sopInstanceUID": instance.sop_instance_uid,
            "frame": frame.frame_index + 1 if plane.is_multi_frame else 0,
            "seriesInstanceUID": instance.series_uid,
            "rows": frame.rows,
            "columns": frame.columns,
            "position": frame.position_lps_mm,
            "rowCosines": frame.orientation_lps[:3],
            "columnCosines": frame.orientation_lps[3:],
            "rowSpacing": frame.pixel_spacing_mm[0],
            "columnSpacing": frame.pixel_spacing_mm[1],
        }
        images.append(image)
    return images
