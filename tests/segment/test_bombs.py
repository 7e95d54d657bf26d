"""Files made to fill memory, through the commands, with little memory to fill: each is refused, the others go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bombs import SPARSE_BYTES, deflate_series, nifti_bomb, nifti_header
from dicom_phantoms import stored_values, write_series
from phantoms import affine_of, ct_array, label_array, write_nifti
from tiny_model import write_tiny_model

GIB = 1 << 30
# Beside what torch itself maps, which is more than it uses.
SPARE_BYTES = 3 * GIB // 2
DEFLATED_BYTES = 3 * GIB
LIMITED = f"""
import resource, sys
import psutil, torch
from monai_vggunet import cli
from monai_vggunet.segment import archive
mapped = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (mapped + {SPARE_BYTES}, mapped + {SPARE_BYTES}))
cli.main()
"""
REFUSALS = {
    "blank": "blank, or made to fill memory|of memory, of which",
    "promise": "cannot hold",
    "wide": "voxels of 70 x 70 x 5 mm",
    "coarse": "at most a factor of 20 between them",
    "deflated": f"{DEFLATED_BYTES:,} bytes, .* but NumberOfFrames says 1",
    "frames": "a damaged header",
    "matrix": "a damaged header",
    "sparse": f"in a file of {SPARSE_BYTES:,} bytes",
    "sparse_slice": f"in a file of {SPARSE_BYTES:,}, expected",
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files and series that would take gigabytes, and one honest image."""
    root = tmp_path_factory.mktemp("bombs")
    nifti_bomb(root / "blank.nii.gz", (2000, 2000, 1000), 8 * GIB)
    (root / "promise.nii").write_bytes(nifti_header((30000, 30000, 30000)) + bytes(1000))
    values = np.zeros((51, 51, 4), np.int16)
    write_nifti(root / "wide.nii.gz", values, affine_of("axial", (70.0, 70.0, 5.0)))
    write_nifti(root / "coarse.nii.gz", values, affine_of("axial", (40.0, 40.0, 5.0)))
    write_series(root / "deflated", stored_values(slices=3))
    deflate_series(root / "deflated", pixel_bytes=DEFLATED_BYTES)
    write_series(root / "frames", stored_values(slices=1), NumberOfFrames="2000000000")
    write_series(root / "matrix", stored_values(slices=1), Rows=65535, Columns=65535)
    write_nifti(root / "honest.nii.gz", ct_array(label_array()), affine_of())
    assert sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) < 30_000_000
    return root


def limited(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def sparse_inputs(folder: Path) -> None:
    """Write an image and a series with files that claim terabytes, and an honest series beside such a file."""
    (folder / "sparse.nii").write_bytes(nifti_header((51, 51, 4)) + bytes(51 * 51 * 4 * 2))
    slices = write_series(folder / "sparse_slice", stored_values(slices=3))
    for path in (folder / "sparse.nii", slices[1]):
        os.truncate(path, SPARSE_BYTES)
    write_series(folder / "beside", stored_values(slices=3))
    (folder / "beside" / "notes.bin").touch()
    os.truncate(folder / "beside" / "notes.bin", SPARSE_BYTES)


def test_segment_refuses_each_and_does_the_honest_one(bombs: Path, tmp_path: Path) -> None:
    shutil.copytree(bombs, tmp_path / "in")
    sparse_inputs(tmp_path / "in")
    model = write_tiny_model(tmp_path / "model")
    words = ("segment", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--show-phi", "--device", "cpu")
    done = limited(*words)
    assert done.returncode == 1, done.stderr[-3000:]
    files = (tmp_path / "out").glob("*/record.json")
    records = {file.parent.name: json.loads(file.read_text()) for file in files}
    assert records.pop("honest")["status"] == "done"
    assert records.pop("beside")["status"] == "done", "what is no image is left out"
    assert records.keys() == REFUSALS.keys()
    for case, record in records.items():
        assert re.search(REFUSALS[case], record["error"]), (case, record["error"])
        assert "nobody foresaw" not in record["error"]


def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zipped", "w") as archive:
        archive.writestr("a", "b")
    model = write_tiny_model(tmp_path / "model")
    done = limited("segment", tmp_path / "zipped", "-o", tmp_path / "out", "--model", model, "--show-phi")
    assert (done.returncode, "is a zip archive" in done.stderr) == (2, True), done.stderr[-3000:]
    assert "unpack it" in done.stderr


def test_inspect_tells_what_is_wrong(bombs: Path) -> None:
    done = limited("inspect", bombs, "--json", "--show-phi")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    reasons = " ".join(entry["reason"] for entry in told["skipped"])
    assert "2000000000 frames" in reasons
    assert "65535 x 65535" in reasons
    assert "NumberOfFrames says 1" in reasons
    assert not any(series["stacks"] for series in told["series"])
