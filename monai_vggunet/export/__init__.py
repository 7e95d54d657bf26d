"""Exports of a trained model for other programs, and int8 for speed."""

from __future__ import annotations

from monai_vggunet.export.checked_cases import cases_to_check, cases_to_judge
from monai_vggunet.export.export_model import EXPORTS, export_model
from monai_vggunet.export.quantize import describe_quantization, quantize_model

__all__ = [
    "EXPORTS",
    "cases_to_check",
    "cases_to_judge",
    "describe_quantization",
    "export_model",
    "quantize_model",
]
