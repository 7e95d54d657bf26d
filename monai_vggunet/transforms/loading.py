"""The first steps of every pipeline: an image and its label, checked, the label on the image's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import Compose, Transform

from monai_vggunet.data.nifti_reader import NiftiVolumeReader
from monai_vggunet.data.other_files import OtherFileReader
from monai_vggunet.data.picture_reader import PictureReader
from monai_vggunet.data.reader import DicomSeriesReader
from monai_vggunet.quiet_logs import quiet_logs
from monai_vggunet.transforms.grid import MatchGridd
from monai_vggunet.transforms.label_checks import CheckLabeld
from monai_vggunet.transforms.labels import LoadLabeld
from monai_vggunet.transforms.load_image import LoadImageFiled
from monai_vggunet.transforms.pictures import AsColord
from monai_vggunet.transforms.volume_checks import AsVolumed, CheckVolumed

__all__ = ["loading", "loading_steps"]


def loading(
    with_label: bool = True,
    n_classes: int | None = None,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
    label_values: Sequence[int] | None = None,
) -> Compose:
    """Load an image (DICOM series, NIfTI or picture) and its label, checked, the label on the image's own grid.

    Args:
        with_label: whether cases carry a label.
        n_classes: number of classes labels may hold; None accepts any whole numbers.
        reader_options: arguments of `DicomSeriesReader`, such as `series_uid` or `on_gap`.
        segments: name of a segment (DICOM SEG) or structure (RTSTRUCT) -> class number, as `load_datalist` gives it.
        label_values: the value of each class in masks that are not DICOM, see `CheckLabeld`.

    Returns:
        From a case `{"image": path, "label": path}` to `MetaTensor`s `(C, X, Y, Z)` and `(1, X, Y, Z)` with RAS
        affines in mm; the label is as `CheckLabeld` says.

    Raises:
        VGGUNetError: of the kind that fits; from `Compose` it arrives as the cause of a `RuntimeError`.
    """
    return Compose(loading_steps(with_label, None, n_classes, reader_options, segments, label_values))


def loading_steps(
    with_label: bool,
    image_channels: int | None,
    n_classes: int | None,
    options: Mapping[str, Any] | None,
    segments: Mapping[str, int] | None,
    label_values: Sequence[int] | None = None,
) -> list[Transform]:
    """Return the steps of `loading`, for a longer pipeline: nothing may be nested in it."""
    # The last is asked first. What none of them takes is refused; MONAI's own readers come after, and see NRRD only.
    readers = [OtherFileReader(), PictureReader(), NiftiVolumeReader(), DicomSeriesReader(**dict(options or {}))]
    # `LoadImaged` always makes MONAI's default readers, which warn of missing optional packages.
    with quiet_logs("monai.data"):
        load_image = LoadImageFiled("image", reader=readers, ensure_channel_first=True)
        load_label = LoadLabeld("label", "image", segments)
    steps: list[Transform] = [
        load_image,
        AsVolumed("image"),
        AsColord("image"),
        CheckVolumed("image", image_channels),
    ]
    if with_label:
        steps += [
            load_label,
            AsVolumed("label"),
            CheckVolumed("label", 1, is_label=True),
            MatchGridd("label", "image"),
            CheckLabeld("label", n_classes, values=label_values),
        ]
    return steps
