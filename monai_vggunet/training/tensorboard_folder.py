"""Where TensorBoard finds the curves of a run."""

from __future__ import annotations

import os
from pathlib import Path

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import TENSORBOARD, require_path_kept
from monai_vggunet.names import is_utf_8, readable

__all__ = ["tensorboard_folder"]


def tensorboard_folder(output_dir: str | os.PathLike[str]) -> str:
    """Return the folder of a run's curves; called before anything is read, so that no training begins in vain.

    Args:
        output_dir: of the run.

    Raises:
        ConfigurationError: TensorBoard cannot write there, because the path is not UTF-8; or it holds a `#`, see
            `require_path_kept`.
    """
    require_path_kept(output_dir)
    folder = Path(output_dir) / TENSORBOARD
    if not is_utf_8(folder):
        raise ConfigurationError(
            f"the path {readable(folder)} is not UTF-8, and TensorBoard writes to no other: rename the folder, or pass "
            "another --output_dir"
        )
    return str(folder)
