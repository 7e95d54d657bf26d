"""What a reader of pictures gives, or why it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from monai_vggunet.data.picture_reader import PictureReader


def values_read(reader: PictureReader, path: Path) -> np.ndarray:
    """The values, rows first."""
    return np.moveaxis(reader.get_data(path)[0], 0, 1)


def refusal_of(reader: PictureReader, kind: type[Exception], path: Path) -> str:
    """The text of the refusal, which begins with the path."""
    with pytest.raises(kind, match=f"^{re.escape(str(path))}") as caught:
        reader.get_data(path)
    return str(caught.value)
