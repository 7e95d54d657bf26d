"""What `pip install` brings: the package with its bundle, and every sub-package."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def test_every_package_is_listed_in_setup(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg")
    folders = {path.parent.relative_to(repository) for path in (repository / "monai_vggunet").rglob("*.py")}
    elsewhere = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert all((repository / folder).is_dir() for folder in elsewhere.values())
    expected = {".".join(folder.parts) for folder in folders} | set(elsewhere)
    assert sorted(setup["options"]["packages"].split()) == sorted(expected)


@pytest.mark.slow
def test_the_wheel_carries_every_module_and_the_bundle(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(repository)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    for path in (repository / "monai_vggunet").rglob("*.py"):
        assert path.relative_to(repository).as_posix() in names
    for path in (repository / "bundle" / "configs").iterdir():
        assert f"monai_vggunet/bundle/configs/{path.name}" in names
    # NiiVue too, where it was fetched
    for path in (repository / "monai_vggunet" / "report" / "pages" / "templates").iterdir():
        assert f"monai_vggunet/report/pages/templates/{path.name}" in names
    assert "monai_vggunet/py.typed" in names
    assert not [name for name in names if name.endswith((".pt", ".nii.gz", ".dcm"))]
