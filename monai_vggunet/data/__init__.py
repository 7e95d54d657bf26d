"""What MONAI sees of the data: cases, readers, the fingerprint of a training set and the plan that follows from it."""

from __future__ import annotations

from monai_vggunet.data.cases import annotated_cases
from monai_vggunet.data.datalist import Datalist, annotated_datalist, load_datalist
from monai_vggunet.data.evaluation_cases import evaluation_datalist, mark_trained
from monai_vggunet.data.fingerprint import Fingerprint, class_weights, compute_fingerprint
from monai_vggunet.data.input_cases import image_cases, input_cases
from monai_vggunet.data.model_classes import numbered_as
from monai_vggunet.data.model_spec import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.data.nifti_reader import NiftiVolumeReader
from monai_vggunet.data.plan import cases_per_step, plan_batch_size, plan_model
from monai_vggunet.data.reader import DicomSeriesReader
from monai_vggunet.data.stack_axis import acquisition_plane, spacing_of, stack_axis
from monai_vggunet.data.switches import is_on
from monai_vggunet.data.trained_cases import record_cases, trained_note

__all__ = [
    "Datalist",
    "DicomSeriesReader",
    "Fingerprint",
    "ModelSpec",
    "NiftiVolumeReader",
    "Preprocessing",
    "acquisition_plane",
    "annotated_cases",
    "annotated_datalist",
    "cases_per_step",
    "class_weights",
    "compute_fingerprint",
    "evaluation_datalist",
    "image_cases",
    "input_cases",
    "is_on",
    "load_datalist",
    "load_model_spec",
    "mark_trained",
    "numbered_as",
    "plan_batch_size",
    "plan_model",
    "record_cases",
    "spacing_of",
    "stack_axis",
    "trained_note",
]
