"""The JSON sidecar of a NIfTI mask, which says what its numbers mean, in the manner of BIDS."""

from __future__ import annotations

import os
from typing import Any

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import write_json
from monai_vggunet.layout import MAKER
from monai_vggunet.outputs.case_mask import Classes
from monai_vggunet.outputs.class_colors import class_color

__all__ = ["label_names", "write_label_names"]


def label_names(classes: Classes | None, model_sha256: str = "") -> dict[str, Any]:
    """Return the sidecar's content: `Labels` has the columns of a BIDS `dseg.tsv` (index, name, color), and the code.

    Args:
        classes: of the mask; None when unknown.
        model_sha256: hash of the model's weights; empty when unknown.
    """
    maker = {"Name": MAKER, "Version": __version__}
    content = {
        "Description": "Automatic segmentation on the source's own grid; not for clinical use",
        "Manual": False,
        "GeneratedBy": [maker | ({"ModelSHA256": model_sha256} if model_sha256 else {})],
    }
    if classes is None:
        return content
    labels: list[dict[str, Any]] = [{"index": 0, "name": classes.names[0]}]
    for number, name in enumerate(classes.names[1:], start=1):
        red, green, blue = class_color(number)
        label = {"index": number, "name": name, "color": f"#{red:02x}{green:02x}{blue:02x}"}
        labels.append(label | ({"code": dict(classes.codes[name])} if name in classes.codes else {}))
    return content | {"Labels": labels}


def write_label_names(path: str | os.PathLike[str], classes: Classes | None, model_sha256: str = "") -> None:
    """Write the sidecar, whole or not at all.

    Raises:
        OutputWriteError: the file cannot be written.
    """
    write_json(path, label_names(classes, model_sha256))
