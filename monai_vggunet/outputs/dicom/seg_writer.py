"""DICOM SEG for MONAI: an image writer for `SaveImaged`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import ImageWriter, MetaTensor

from monai_vggunet.errors import GridMismatchError
from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.dicom.seg import require_seg_type, write_dicom_seg

__all__ = ["DicomSegWriter"]

_log = logging.getLogger(__name__)


class DicomSegWriter(ImageWriter):
    """MONAI image writer for DICOM SEG: `SaveImaged(output_ext=".dcm", writer=...)` after `Invertd`.

    The images must have been read by `DicomSeriesReader`. In a bundle's config the writer is given as
    `{"_target_": "monai_vggunet.outputs.DicomSegWriter", "_mode_": "callable", "class_names": ...}`. `import
    monai_vggunet.outputs` registers it for `.dcm`, so that MONAI finds it without being told; classes are then named by
    their numbers.

    Args:
        class_names: background first; None names classes by their numbers.
        class_codes: see `resolve_class_codes`.
        seg_type: see `dicom_seg`; `fractional` takes `(K, X, Y, Z)` probabilities, background first, float 0..1 or
            uint8 0..255.
        model_sha256: hash of the model's weights.
        kwargs: what `SaveImaged` passes to other writers (`output_dtype`, `scale`); without effect.

    Raises:
        ConfigurationError: an unknown type.
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        class_codes: Mapping[str, Any] | None = None,
        seg_type: str = "binary",
        model_sha256: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        require_seg_type(seg_type)
        self.class_names, self.class_codes = class_names, dict(class_codes or {})
        self.seg_type, self.model_sha256 = seg_type, model_sha256
        self.meta: Mapping[str, Any] = {}

    def set_data_array(self, data_array: Any, channel_dim: int | None = 0, *args: Any, **kwargs: Any) -> None:
        """Take a label map with one channel, or probabilities with a channel per class.

        Raises:
            GridMismatchError: another number of channels.
        """
        array = np.asarray(data_array.as_tensor() if isinstance(data_array, MetaTensor) else data_array)
        channels = 1 if channel_dim is None else array.shape[channel_dim]
        if (self.seg_type == "fractional") != (channels > 1):
            fractional = self.seg_type == "fractional"
            made_of = "probabilities, one channel per class" if fractional else "labels, one channel"
            advice = "save the probabilities (softmax)" if fractional else "reduce class scores to labels (argmax)"
            raise GridMismatchError(
                f"a DICOM SEG of type {self.seg_type} is made of {made_of}, got shape {array.shape}: {advice}"
            )
        self.data_obj = array if channels > 1 or channel_dim is None else np.squeeze(array, axis=channel_dim)

    def set_metadata(self, meta_dict: Mapping | None, *args: Any, **kwargs: Any) -> None:
        """Take the source's metadata as `DicomSeriesReader` gave it; nothing is ever resampled here."""
        self.meta = meta_dict or {}

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write the file under its final name once it is whole."""
        array, affine = np.asarray(self.data_obj), np.asarray(self.meta.get("affine", np.eye(4)), dtype=np.float64)
        fractional = self.seg_type == "fractional"
        labels = array.argmax(0) if fractional else array
        classes = Classes.of_labels(labels) if self.class_names is None else Classes(self.class_names, self.class_codes)
        mask = CaseMask(labels, affine, self.meta, classes, self.model_sha256, array if fractional else None)
        write_dicom_seg(filename, mask, self.seg_type)
        if verbose:
            _log.info("written: %s", filename)
