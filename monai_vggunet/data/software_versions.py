"""Versions of the packages that a model's behavior depends on, for `model.json`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from monai_vggunet._version import __version__

__all__ = ["software_versions"]


def software_versions() -> dict[str, str]:
    """Return the versions that a model's behavior depends on."""
    found = {"monai_vggunet": __version__}
    for name in ("monai", "torch", "torchvision", "pytorch-ignite", "pydicom", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # running from a source tree without metadata
            found[name] = "unknown"
    return found
