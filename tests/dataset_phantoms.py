"""Data sets of empty files: a list of cases looks at their names alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pairs(root: Path, *names: str) -> Path:
    """Make empty images and labels: a list of cases looks at names alone."""
    for name in names:
        touch(root / "images" / f"{name}.nii.gz", root / "labels" / f"{name}.nii.gz")
    return root


def described(root: Path, training: Any = None, **content: Any) -> Path:
    """Write `dataset.json`, by default over two cases that exist."""
    pairs(root, "a", "b")
    listed = [{"image": f"./images/{n}.nii.gz", "label": f"./labels/{n}.nii.gz"} for n in "ab"]
    content["training"] = listed if training is None else training
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def names_of(cases: list[dict[str, str]]) -> list[str]:
    return [case["case"] for case in cases]
