"""Where TensorBoard finds the curves of a run."""

from __future__ import annotations

import os
from pathlib import Path

from monai_vggunet.data import Datalist
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import TENSORBOARD, require_path_kept
from monai_vggunet.names import is_utf_8, readable

__all__ = ["tensorboard_folder"]

OF_TRAINING_CASES = "validated_on_training_cases"


def tensorboard_folder(output_dir: str | os.PathLike[str], judged: Datalist | None = None) -> str:
    """Return the folder of a run's curves; called before anything is read, so that no training begins in vain.

    Args:
        output_dir: of the run.
        judged: whose validation cases the curves judge. If the model is trained on some of them, the curves lie in a
            folder of their own, whose name TensorBoard shows beside them.

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
    return str(folder / OF_TRAINING_CASES if judged is not None and judged.trained else folder)
