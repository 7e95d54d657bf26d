"""What `model.json`, which is not trusted, may hold: every name, its type and its range."""

from __future__ import annotations

from typing import Any

from monai_vggunet.dicom.affine import LEAST_EDGE_MM, MOST_PIXEL_MM, MOST_STEP_MM
from monai_vggunet.json_rules import FLAG, Rule, also, mapping, number, one_of, require_object, several, text, whole

__all__ = ["AXCODES", "CHANNEL_MODES", "NETWORK", "PICTURE_PLANE", "PREPROCESSING", "STRIDE", "require_honest"]

# Orientation of a slice stack per plane: rows, columns, stack. Slices stand as a radiologist sees them (patient's
# left on the right-hand side, head or front up), which is also how ImageNet's photographs stand.
AXCODES = {"axial": "PLS", "coronal": "ILA", "sagittal": "IPL"}
PICTURE_PLANE = "picture"  # photographs and microscopy: no patient axes, taken as they are
CHANNEL_MODES = ("window", "windows", "neighbors", "color")

MOST_CLASSES = 256  # a mask is uint8
MOST_CHANNELS = 512  # of the network's input: clicks for every class, and as many of the image
MOST_WIDTH = 1024  # twice VGG16's widest stage
MOST_WINDOWS, MOST_NEIGHBORS, MOST_IMAGE_CHANNELS = 16, 31, 16
LARGEST_CROP = 4096  # pixels
STRIDE = 16  # pixels; of the network's deepest stage: sizes are padded to a multiple of it
LARGEST_INTENSITY = 1e12  # beyond, float32 no longer tells neighboring values of a scanner apart
NARROWEST_WINDOW = 1e-6  # below, a window's width may be 0 as float32
LARGEST_LABEL = (1 << 31) - 1  # of a value in a mask, int32
LONGEST_NAME, LONGEST_TEXT = 256, 1024  # characters
MOST_VERSIONS, MOST_HASHES = 64, 8
HASH_LENGTH = 64  # SHA-256, hexadecimal digits


def require_honest(content: Any) -> None:
    """Refuse the content of a `model.json`, as JSON gives it, if no training writes it or it could do harm.

    `network` may name the arguments of `VGG16UNet` that make its layers, and nothing else: `pretrained` would read or
    download files.

    Args:
        content: what the file holds.

    Raises:
        ValueError: names the field, what was got and what was expected.

    Example:
        >>> require_honest({"network": {"in_channels": True}})
        Traceback (most recent call last):
        ValueError: network.in_channels is True; expected a whole number from 1 to 512
    """
    require_object(content, _FIELDS, ("network", "preprocessing", "class_names"))


_INTENSITY = number(-LARGEST_INTENSITY, LARGEST_INTENSITY)
_COUNT = whole(0)
_PIXEL_MM = number(LEAST_EDGE_MM, MOST_PIXEL_MM)
_WINDOW = also(
    several(_INTENSITY, 2, 2), "the first below the second", lambda pair: pair[1] - pair[0] > NARROWEST_WINDOW
)
_CROP = also(whole(STRIDE, LARGEST_CROP), f"a multiple of {STRIDE}", lambda size: size % STRIDE == 0)
_HASH = Rule(
    f"{HASH_LENGTH} hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == HASH_LENGTH and set(value) <= set("0123456789abcdef"),
)
_NO_OR_HASH = Rule(f"{_HASH.expected}, or nothing", lambda value: value == "" or _HASH.holds(value))
_CLASSES = also(
    several(text(LONGEST_NAME, 1), 1, MOST_CLASSES), "no two alike", lambda names: len(set(names)) == len(names)
)
_OBJECT = Rule("an object", lambda value: isinstance(value, dict) and len(value) <= MOST_CLASSES)  # see class_codes
_VERSIONS = mapping(text(LONGEST_NAME), MOST_VERSIONS, text(LONGEST_NAME))

NETWORK = {
    "spatial_dims": one_of(2),
    "in_channels": whole(1, MOST_CHANNELS),
    "out_channels": whole(1, MOST_CLASSES),
    "batch_norm": FLAG,
    "decoder_channels": several(whole(1, MOST_WIDTH), 4, 4),
    "upsample": one_of("deconv", "bilinear"),
    "dropout": also(number(0, 1), "not 1", lambda value: value < 1),
}
PREPROCESSING = {
    "modality": text(LONGEST_NAME, 1),
    "plane": one_of(*AXCODES, PICTURE_PLANE),
    "spacing_mm": several(_PIXEL_MM, 2, 2),
    "roi_size": several(_CROP, 2, 2),
    "windows": several(_WINDOW, 1, MOST_WINDOWS),
    "channels": one_of(*CHANNEL_MODES),
    "n_neighbors": also(whole(1, MOST_NEIGHBORS), "odd", lambda value: value % 2 == 1),
    "image_channels": whole(1, MOST_IMAGE_CHANNELS),
    "n_guidance": whole(0, MOST_CLASSES),
}
_FINGERPRINT = {
    "n_cases": _COUNT,
    "modality": text(LONGEST_NAME),
    "plane": one_of(*AXCODES, PICTURE_PLANE),
    "in_plane_spacing_mm": several(_PIXEL_MM, 2, 2),
    "slice_spacing_mm": number(LEAST_EDGE_MM, MOST_STEP_MM),
    "in_plane_size": several(_COUNT, 2, 2),
    "n_slices": _COUNT,
    "image_channels": whole(1, MOST_IMAGE_CHANNELS),
    "foreground_percentiles": several(_INTENSITY, 3, 3),
    "class_names": _CLASSES,
    "class_voxels": several(_COUNT, 1, MOST_CLASSES),
    "label_values": several(whole(-LARGEST_LABEL, LARGEST_LABEL), 0, MOST_CLASSES),
    "class_volumes_ml": several(several(number(0, LARGEST_INTENSITY), 3, 3), 1, MOST_CLASSES),
}
_FIELDS: dict[str, Any] = {
    "network": (NETWORK, ("in_channels", "out_channels")),
    "preprocessing": (PREPROCESSING, ("modality", "plane", "spacing_mm", "roi_size", "windows")),
    "class_names": _CLASSES,
    "class_codes": _OBJECT,
    "fingerprint": (_FINGERPRINT, ()),
    "pretrained": text(LONGEST_TEXT),
    "weights_sha256": _NO_OR_HASH,
    "accepted_sha256": several(_NO_OR_HASH, 0, MOST_HASHES),
    "versions": _VERSIONS,
}
