"""What may stand in `model.json`, which may come from anyone: every name, its type and its range."""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from monai_vggunet.dicom.affine import LEAST_EDGE_MM, MOST_PIXEL_MM, MOST_STEP_MM

__all__ = ["AXCODES", "CHANNEL_MODES", "PICTURE_PLANE", "require_honest"]

# Orientation of a slice stack per plane: rows, columns, stack. Slices stand as a radiologist sees them (patient's
# left on the right-hand side, head or front up), which is also how ImageNet's photographs stand.
AXCODES = {"axial": "PLS", "coronal": "ILA", "sagittal": "IPL"}
PICTURE_PLANE = "picture"  # photographs and microscopy: no patient axes, taken as they are
CHANNEL_MODES = ("window", "windows", "neighbors", "color")

MOST_CLASSES = 256  # a mask is uint8
MOST_CHANNELS = 512  # of the network's input: clicks for every class, and as many of the image
MOST_WIDTH = 1024  # twice VGG16's widest stage
MOST_WINDOWS, MOST_NEIGHBORS, MOST_IMAGE_CHANNELS = 16, 31, 16
LARGEST_CROP, STRIDE = 4096, 16  # pixels
LARGEST_INTENSITY = 1e12  # beyond, float32 tells neighboring values of no scanner apart
NARROWEST_WINDOW = 1e-6  # below, a window's width may be 0 as float32
LONGEST_NAME, LONGEST_TEXT = 256, 1024  # characters
MOST_VERSIONS, MOST_HASHES = 64, 8
HASH_LENGTH = 64  # SHA-256, hexadecimal digits
MOST_COUNTED = 1 << 53  # of cases, voxels, ...: whole numbers that JSON's readers agree on

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60
_shown = _repr.repr


class Rule(NamedTuple):
    """What a value has to be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def require_honest(content: Any) -> None:
    """Refuse the content of a `model.json`, as JSON gives it, that no training writes or that could do harm.

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
    _check(content, _FIELDS, "", required=("network", "preprocessing", "class_names"))


def _check(content: Any, rules: Mapping[str, Any], where: str, required: tuple[str, ...]) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where or 'it'} is {_shown(content)}; expected an object")
    prefix = f"{where}." if where else ""
    for name in content:
        if name not in rules:
            raise ValueError(f"{prefix}{_shown(name)[1:-1]} is unknown; expected {', '.join(rules)} alone")
    for name, rule in rules.items():
        if name not in content:
            if name in required:
                raise ValueError(f"{prefix}{name} is missing; expected {_expected(rule)}")
        elif isinstance(rule, Rule):
            if not rule.holds(content[name]):
                raise ValueError(f"{prefix}{name} is {_shown(content[name])}; expected {rule.expected}")
        else:
            _check(content[name], rule[0], f"{prefix}{name}", rule[1])


def _expected(rule: Any) -> str:
    return rule.expected if isinstance(rule, Rule) else "an object"


def _whole(least: int, most: int) -> Rule:
    return Rule(
        f"a whole number from {least} to {most}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def _number(least: float, most: float) -> Rule:
    return Rule(
        f"a number from {least:g} to {most:g}",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most,
    )


def _one_of(*values: Any) -> Rule:
    return Rule(" or ".join(map(repr, values)), lambda value: type(value) in (str, int) and value in values)


def _several(rule: Rule, least: int, most: int) -> Rule:
    count = f"{least}" if least == most else f"{least} to {most}"
    return Rule(
        f"a list of {count}, each {rule.expected}",
        lambda value: isinstance(value, (list, tuple)) and least <= len(value) <= most and all(map(rule.holds, value)),
    )


def _text(longest: int, least: int = 0) -> Rule:
    return Rule(
        f"text of {least} to {longest} characters, none of which controls a screen",
        lambda value: isinstance(value, str) and least <= len(value) <= longest and not any(map(_is_control, value)),
    )


def _is_control(character: str) -> bool:
    """Whether a character is a control character, or half of one that Unicode does not have alone."""
    return unicodedata.category(character) in ("Cc", "Cs")


def _also(rule: Rule, expected: str, holds: Callable[[Any], bool]) -> Rule:
    return Rule(f"{rule.expected}, {expected}", lambda value: rule.holds(value) and holds(value))


_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_INTENSITY = _number(-LARGEST_INTENSITY, LARGEST_INTENSITY)
_COUNT = _whole(0, MOST_COUNTED)
_PIXEL_MM = _number(LEAST_EDGE_MM, MOST_PIXEL_MM)
_WINDOW = _also(
    _several(_INTENSITY, 2, 2), "the first below the second", lambda pair: pair[1] - pair[0] > NARROWEST_WINDOW
)
_CROP = _also(_whole(STRIDE, LARGEST_CROP), f"a multiple of {STRIDE}", lambda size: size % STRIDE == 0)
_HASH = Rule(
    f"{HASH_LENGTH} hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == HASH_LENGTH and set(value) <= set("0123456789abcdef"),
)
_NO_OR_HASH = Rule(f"{_HASH.expected}, or nothing", lambda value: value == "" or _HASH.holds(value))
_CLASSES = _also(
    _several(_text(LONGEST_NAME, 1), 1, MOST_CLASSES), "no two alike", lambda names: len(set(names)) == len(names)
)
_OBJECT = Rule("an object", lambda value: isinstance(value, dict) and len(value) <= MOST_CLASSES)  # see class_codes
_VERSIONS = Rule(
    f"an object of up to {MOST_VERSIONS} texts",
    lambda value: (
        isinstance(value, dict)
        and len(value) <= MOST_VERSIONS
        and all(_text(LONGEST_NAME).holds(text) for pair in value.items() for text in pair)
    ),
)

_NETWORK = {
    "spatial_dims": _one_of(2),
    "in_channels": _whole(1, MOST_CHANNELS),
    "out_channels": _whole(1, MOST_CLASSES),
    "batch_norm": _FLAG,
    "decoder_channels": _several(_whole(1, MOST_WIDTH), 4, 4),
    "upsample": _one_of("deconv", "bilinear"),
    "dropout": _also(_number(0, 1), "not 1", lambda value: value < 1),
}
_PREPROCESSING = {
    "modality": _text(LONGEST_NAME, 1),
    "plane": _one_of(*AXCODES, PICTURE_PLANE),
    "spacing_mm": _several(_PIXEL_MM, 2, 2),
    "roi_size": _several(_CROP, 2, 2),
    "windows": _several(_WINDOW, 1, MOST_WINDOWS),
    "channels": _one_of(*CHANNEL_MODES),
    "n_neighbors": _also(_whole(1, MOST_NEIGHBORS), "odd", lambda value: value % 2 == 1),
    "image_channels": _whole(1, MOST_IMAGE_CHANNELS),
    "n_guidance": _whole(0, MOST_CLASSES),
}
_FINGERPRINT = {
    "n_cases": _COUNT,
    "modality": _text(LONGEST_NAME),
    "plane": _one_of(*AXCODES, PICTURE_PLANE),
    "in_plane_spacing_mm": _several(_PIXEL_MM, 2, 2),
    "slice_spacing_mm": _number(LEAST_EDGE_MM, MOST_STEP_MM),
    "in_plane_size": _several(_COUNT, 2, 2),
    "n_slices": _COUNT,
    "image_channels": _whole(1, MOST_IMAGE_CHANNELS),
    "foreground_percentiles": _several(_INTENSITY, 3, 3),
    "class_names": _CLASSES,
    "class_voxels": _several(_COUNT, 1, MOST_CLASSES),
    "class_volumes_ml": _several(_several(_number(0, LARGEST_INTENSITY), 3, 3), 1, MOST_CLASSES),
}
_FIELDS: dict[str, Any] = {
    "network": (_NETWORK, ("in_channels", "out_channels")),
    "preprocessing": (_PREPROCESSING, ("modality", "plane", "spacing_mm", "roi_size", "windows")),
    "class_names": _CLASSES,
    "class_codes": _OBJECT,
    "fingerprint": (_FINGERPRINT, ()),
    "pretrained": _text(LONGEST_TEXT),
    "weights_sha256": _NO_OR_HASH,
    "accepted_sha256": _several(_NO_OR_HASH, 0, MOST_HASHES),
    "versions": _VERSIONS,
}
