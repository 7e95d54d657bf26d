"""A loaded image as a volume `(C, X, Y, Z)` that is fit to be used."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from monai_vggunet.data.stack_axis import acquisition_plane, spacing_of, stack_axis
from monai_vggunet.dicom.affine import doubt_in_scale
from monai_vggunet.dicom.findings import FindingKind, pack_findings, unpack_findings, warning
from monai_vggunet.errors import GridMismatchError, ImageContentError, ModelMismatchError
from monai_vggunet.file_kinds import PICTURE_ENDINGS, ends_with
from monai_vggunet.privacy import clean_text

__all__ = [
    "AsVolume",
    "AsVolumed",
    "CheckModalityd",
    "CheckPlaned",
    "CheckVolume",
    "CheckVolumed",
]

_COLORS = 3
_log = logging.getLogger(__name__)

ISOTROPIC = 1.5  # a volume whose largest spacing is within this factor of the smallest can be cut along any axis


class AsVolume(Transform):
    """A two-dimensional image `(C, X, Y)` as a volume of one slice `(C, X, Y, 1)`; volumes pass unchanged."""

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """Return a volume with four dimensions, its metadata kept."""
        return image.unsqueeze(-1) if image.ndim == 3 else image


class AsVolumed(MapTransform):
    """Dictionary version of `AsVolume`."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = AsVolume()(d[key])
        return d


class CheckVolume(Transform):
    """Refuse what cannot be segmented: wrong dimensions or channels, NaN or infinite values, an impossible affine.

    An image with one value everywhere is named in the log, and gets a finding (`findings` in its metadata).

    Args:
        image_channels: channels expected; None accepts one (a volume) or three (a picture).
        is_label: whether it is a label, of which most are nearly blank.

    Raises:
        ImageContentError: says what was found, and where.
        ModelMismatchError: a picture where a volume was expected, or the other way round.
    """

    def __init__(self, image_channels: int | None = None, is_label: bool = False) -> None:
        self.image_channels, self.is_label = image_channels, is_label

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """Return the image itself."""
        name = source_name(image)
        if image.ndim != 4:
            raise ImageContentError(
                f"{name} has {image.ndim - 1} dimensions (shape {tuple(image.shape[1:])}); expected a 2D image or a 3D "
                "volume"
            )
        self._require_channels(image, name)
        if min(image.shape) == 0:
            raise ImageContentError(
                f"{name} is empty: shape {tuple(image.shape)}; expected voxels in every direction: restore the file"
            )
        if image.shape[0] == 3 and image.shape[3] > 1:
            raise ImageContentError(
                f"{name} has 3 channels or time points of {image.shape[3]} slices; expected one volume, or a color "
                "picture: a 4D file must be split into one file per volume"
            )
        if isinstance(image, MetaTensor):
            _require_usable_affine(np.asarray(image.affine, dtype=np.float64), image.meta, name)
        values = image.as_tensor() if isinstance(image, MetaTensor) else image
        # One pass without a copy: among NaNs the smallest and the largest value are NaN.
        low, high = map(float, values.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = torch.isfinite(values)
            where = tuple(int(i) for i in torch.nonzero(~finite)[0, 1:])
            raise ImageContentError(
                f"{name} holds {int((~finite).sum())} NaN or infinite values, the first at voxel {where}: replace them "
                "by what the scanner would have given (air is -1000 HU in a CT)"
            )
        if low == high and not self.is_label:
            finding = warning(FindingKind.BLANK_IMAGE, f"the image holds the value {low:g} everywhere: it is blank")
            _log.warning("%s: %s; look at the file", name, finding.text)
            if isinstance(image, MetaTensor):
                before = unpack_findings(image.meta.get("findings") or "")
                image.meta["findings"] = pack_findings([*before, finding])
        return image

    def _require_channels(self, image: MetaTensor, name: str) -> None:
        channels, shape = image.shape[0], f"shape {tuple(image.shape)}, channel first"
        accepted = (1, 3) if self.image_channels is None else (self.image_channels,)
        if channels in accepted:
            return
        if self.is_label:
            raise ImageContentError(
                f"{name} has {channels} channels ({shape}); expected a label of one channel with class numbers: merge "
                "the channels, each a class, into one"
            )
        if ends_with(name, PICTURE_ENDINGS):
            raise ModelMismatchError(
                f"{name} is a picture; the model was trained on volumes of {accepted[0]} channel: give it DICOM or "
                "NIfTI, or use a model that was trained on pictures"
            )
        if self.image_channels == _COLORS and channels == 1:
            raise ModelMismatchError(
                f"{name} is a volume of one channel; the model was trained on color pictures: give it PNG, JPEG, BMP "
                "or TIFF, or use a model that was trained on volumes"
            )
        raise ImageContentError(
            f"{name} has {channels} channels or time points ({shape}); expected {' or '.join(map(str, accepted))}: a "
            "4D file must be split into one file per volume"
        )


def _require_usable_affine(affine: np.ndarray, meta: Mapping[str, Any], name: str) -> None:
    if not 0 < abs(float(np.linalg.det(affine[:3, :3]))) < math.inf:
        raise ImageContentError(
            f"{name} has an affine that cannot be inverted ({affine[:3].tolist()}): correct its header"
        )
    if doubt := doubt_in_scale(affine, stack_axis(affine, meta)):
        raise ImageContentError(f"{name} has {doubt}: correct its header; NIfTI may state micrometers (xyzt_units 3)")


class CheckVolumed(MapTransform):
    """Dictionary version of `CheckVolume`."""

    def __init__(
        self,
        keys: KeysCollection,
        image_channels: int | None = None,
        allow_missing_keys: bool = False,
        is_label: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check = CheckVolume(image_channels, is_label)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.check(d[key])
        return d


_OWN_MODEL = "leave this one out: train one model for each plane, of which --overrides \"{'plane': ...}\" chooses one"


class CheckPlaned(MapTransform):
    """Refuse a series acquired in another plane than the model's, unless its voxels are nearly cubes.

    Args:
        keys: the image's key.
        plane: the model's plane.
        reslice: accept any volume and cut it along the model's plane all the same.
        can_reslice: whether the user may choose that; in training and evaluation there is no such option.

    Raises:
        GridMismatchError: names both planes and the spacing.
    """

    def __init__(self, keys: KeysCollection, plane: str, reslice: bool = False, can_reslice: bool = True) -> None:
        super().__init__(keys)
        self.plane, self.reslice = plane, reslice
        self.remedy = "pass reslice=True (--reslice) to cut this one across its slices" if can_reslice else _OWN_MODEL

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Check every key."""
        for key in self.key_iterator(dict(data)):
            image = data[key]
            affine = np.asarray(image.affine, dtype=np.float64)
            found, spacing = acquisition_plane(affine, image.meta), spacing_of(affine)
            cubic = spacing.max() <= ISOTROPIC * spacing.min() and min(image.shape[1:]) > 1
            if found != self.plane and not self.reslice and not cubic:
                raise GridMismatchError(
                    f"{source_name(image)} was acquired in {found} slices (spacing "
                    f"{' x '.join(f'{s:.2f}' for s in spacing)} mm), the model segments {self.plane} ones: use a "
                    f"series of that plane, or {self.remedy}"
                )
        return data


class CheckModalityd(MapTransform):
    """Refuse a series of another modality than the model's; a file that does not state one passes.

    Args:
        keys: the image's key.
        modality: the model's, as DICOM names it; `MR` or `CT`.

    Raises:
        ModelMismatchError: names both.
    """

    def __init__(self, keys: KeysCollection, modality: str) -> None:
        super().__init__(keys)
        self.modality = modality

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Check every key."""
        for key in self.key_iterator(dict(data)):
            found = str(data[key].meta.get("modality") or "")
            if found and found != self.modality:
                raise ModelMismatchError(
                    f"{source_name(data[key])} is of modality {clean_text(found)}, the model was trained on "
                    f"{self.modality}: choose another series or another model"
                )
        return data


def source_name(image: Any) -> str:
    """Return the file or folder an image came from, for messages."""
    return str((getattr(image, "meta", None) or {}).get("filename_or_obj", "the image"))


AsVolumeD = AsVolumeDict = AsVolumed
CheckVolumeD = CheckVolumeDict = CheckVolumed
CheckPlaneD = CheckPlaneDict = CheckPlaned
CheckModalityD = CheckModalityDict = CheckModalityd
