"""One annotation server for all tests of our app: starting it takes longer than most of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK
from label_server import STUDIES, Server, running_server, tiny_model
from phantoms import affine_of, ct_array, label_array, write_nifti
from strange_names import STRANGE_NAMES


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five studies, one of them oblique, the same once more as NRRD; truths beside them, and what is no study."""
    root = tmp_path_factory.mktemp("label")
    for seed, (name, plane) in enumerate(STUDIES.items()):
        label, affine = label_array(), affine_of(plane)
        write_nifti(root / "studies" / f"{name}.nii.gz", ct_array(label, seed), affine)
        write_nifti(root / "truth" / f"{name}.nii.gz", label, affine)
    volume = SimpleITK.ReadImage(str(root / "studies" / "oblique.nii.gz"))
    SimpleITK.WriteImage(volume, str(root / "studies" / "nrrd_study.nrrd"))
    os.mkfifo(root / "studies" / "pipe.nii.gz")
    for name in ("latin_1", "newline_and_escape"):
        shutil.copy(root / "studies" / "axial.nii.gz", root / "studies" / f"{STRANGE_NAMES[name]}.nii.gz")
    return root


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    """Our app with a model that takes clicks."""
    model = tiny_model(folder / "model", n_neighbors=1, n_guidance=3)
    with running_server(folder / "studies", model, folder) as running:
        yield running
