"""Annotation with the model in the loop: what a MONAI Label server needs of this package.

`server` holds the app itself and is the only part that imports MONAI Label.
"""

from __future__ import annotations

from monai_vggunet.annotation.labeled_cases import case_dataset, labeled_cases
from monai_vggunet.annotation.retraining import Retraining

__all__ = ["Retraining", "case_dataset", "labeled_cases"]
