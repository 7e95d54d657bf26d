"""Training from anywhere: the bundle's workflow with its own configuration as the default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import CONFIGS, TRAIN_CONFIG, require_path_kept

__all__ = ["TrainingWorkflow", "bundle_folder"]


class TrainingWorkflow(ConfigWorkflow):
    """A MONAI `ConfigWorkflow` that knows where the packaged bundle lies.

    Made for `python -m monai.bundle run --workflow_name monai_vggunet.TrainingWorkflow --dataset_dir DIR`, from any
    directory; the results go to `./models` and `./eval` of that directory unless `ckpt_dir` and `output_dir` say
    otherwise.

    Args:
        config_file: instead of the packaged `train.json`.
        workflow_type: `train`.
        bundle_root: where results go; the current directory by default.
        override: values by id, as on MONAI's command line (`max_epochs=20`, `train#trainer#amp=False`).

    Raises:
        ConfigurationError: the working directory's path cannot be used by MONAI's config language.
    """

    def __init__(
        self,
        config_file: str | Sequence[str] | None = None,
        workflow_type: str = "train",
        bundle_root: str | os.PathLike[str] = ".",
        **override: Any,
    ) -> None:
        root = Path(bundle_root).resolve()
        require_path_kept(root)
        default = str(bundle_folder() / CONFIGS / TRAIN_CONFIG)
        super().__init__(
            config_file=config_file or default, workflow_type=workflow_type, bundle_root=str(root), **override
        )


def bundle_folder() -> Path:
    """Return the folder of the packaged bundle: within the installed package, or beside it in a source tree.

    Raises:
        ConfigurationError: neither is there.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "bundle", here.parent / "bundle"):
        if (folder / CONFIGS / TRAIN_CONFIG).is_file():
            return folder
    raise ConfigurationError(f"the bundle's configs are neither in {here} nor beside it: install the package again")
