"""Files of weights from elsewhere: none may inflate while it is read."""

from __future__ import annotations

import os
import zipfile

__all__ = ["require_uncompressed"]


def require_uncompressed(path: str | os.PathLike[str]) -> None:
    """Refuse a file of weights whose parts inflate: `torch.save` compresses none, `torch.load` inflates any.

    A file in torch's former format, which is no zip archive, has no such parts.

    Args:
        path: the file.

    Raises:
        ValueError: parts of it are compressed.
        OSError: it cannot be read.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise ValueError("parts of it are compressed; expected a state dict as torch.save writes it")
