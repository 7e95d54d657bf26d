"""What the options of the bundle's configs may be."""

from __future__ import annotations

import math
import os
from typing import Any

from monai_vggunet.data.evaluation_cases import SPLITS
from monai_vggunet.data.model_limits import NETWORK, PREPROCESSING
from monai_vggunet.data.switches import is_switch
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.export import EXPORTS
from monai_vggunet.inference.engines import ENGINES, PRECISIONS
from monai_vggunet.inference.test_time_views import TTA_MODES
from monai_vggunet.json_rules import Rule, also, one_of, whole
from monai_vggunet.networks.autocast import TRAINING_PRECISIONS
from monai_vggunet.training.lr_schedule import SCHEDULES
from monai_vggunet.training.progressive_unfreeze import DIRECTIONS, given_schedule
from monai_vggunet.transforms.augmentation import LEVELS

__all__ = ["INFERENCE_RULES", "NETWORK_OPTIONS", "OVERRIDES", "RULES", "SAME_AS"]

LARGEST_SEED = (1 << 32) - 1  # numpy takes no larger one
N_STAGES = 5  # of the VGG16 encoder
PRETRAINED = ("auto", "imagenet", "scratch")


def _at_least(least: int) -> Rule:
    return Rule(f"a whole number from {least}", whole(least).holds)


def _or_none(rule: Rule) -> Rule:
    return Rule(f"{rule.expected}, or None", lambda value: value is None or rule.holds(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_schedule(value: Any) -> bool:
    try:
        given_schedule(value, N_STAGES)
    except ConfigurationError:
        return False
    return True


def _is_source(value: Any) -> bool:
    """Whether a value says where the encoder's first weights come from."""
    if value is None or is_switch(value) or value in PRETRAINED:
        return True
    return isinstance(value, (str, os.PathLike)) and os.path.isfile(value)


_PLACE = Rule("a path", lambda value: isinstance(value, (str, os.PathLike)) and os.fspath(value) != "")
_SWITCH = Rule("True or False", is_switch)
_TEXT = Rule("text, such as CT or MR", lambda value: isinstance(value, str) and bool(value.strip()))
_FROM_0 = Rule("a number from 0", lambda value: _is_number(value) and value >= 0)
_FACTOR = Rule("a number above 0, up to 1", lambda value: _is_number(value) and 0 < value <= 1)
_SHARE = Rule("a number from 0 up to, but not including, 1", lambda value: _is_number(value) and 0 <= value < 1)
_MOMENTUM = Rule("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1)

RULES: dict[str, Rule] = {
    "bundle_root": _PLACE,
    "dataset_dir": _or_none(_PLACE),
    "ckpt_dir": _PLACE,
    "output_dir": _PLACE,
    "start_from": _or_none(_PLACE),
    "pretrained": Rule(f"{', '.join(PRETRAINED)}, or the path of a weight file", _is_source),
    "augmentation": one_of(*LEVELS),
    "precision": one_of(*TRAINING_PRECISIONS),
    "tta": one_of(*TTA_MODES),
    "seed": whole(0, LARGEST_SEED),
    "resume": _SWITCH,
    "clicks": _SWITCH,
    "from_scratch": _SWITCH,
    "show_bar": _SWITCH,
    "show_phi": _SWITCH,
    "save_masks": _SWITCH,
    "reslice": _SWITCH,
    "dicom_seg": _SWITCH,
    "split": one_of(*SPLITS),
    "val_fraction": _SHARE,
    "max_training_cases": _or_none(_at_least(1)),
    "modality": _or_none(_TEXT),
    "max_epochs": _at_least(1),
    "iterations_per_epoch": _at_least(1),
    "val_interval": _at_least(1),
    "samples_per_case": _at_least(1),
    "batch_size": _at_least(1),
    "num_workers": _at_least(0),
    "encoder_lr": _FROM_0,
    "decoder_lr": _FROM_0,
    "layer_decay": _FACTOR,
    "weight_decay": _FROM_0,
    "lr_schedule": one_of(*SCHEDULES),
    "warmup_epochs": _or_none(_at_least(0)),
    "unfreeze_every": _at_least(1),
    "stages_per_step": _at_least(1),
    "unfreeze_start": _or_none(_at_least(1)),
    "unfreeze_schedule": _or_none(
        Rule(f"epochs (from 1) and how many of {N_STAGES} stages are free, never fewer than before", _is_schedule)
    ),
    "unfreeze_direction": one_of(*DIRECTIONS),
    "unfreeze_lr_decay": _FACTOR,
    "label_smoothing": _SHARE,
    "early_stop_patience": _at_least(1),
    "ema_momentum": _MOMENTUM,
    "ema_warmup_iterations": _or_none(_at_least(1)),
    "surface_tolerance_mm": _FROM_0,
    "max_dice_drop": _FROM_0,
    "kinds": Rule(
        f"a list of some of {', '.join(EXPORTS)}",
        lambda value: isinstance(value, (list, tuple)) and bool(value) and all(each in EXPORTS for each in value),
    ),
}
# Of configs that segment.
INFERENCE_RULES: dict[str, Rule] = {"engine": one_of(*ENGINES), "precision": one_of(*PRECISIONS)}
# Nested entries that mean what an option means, for who states them instead.
SAME_AS = {
    "train#trainer#max_epochs": "max_epochs",
    "train#preprocessing#num_samples": "samples_per_case",
    "train#dataloader#num_workers": "num_workers",
    "validate#dataloader#num_workers": "num_workers",
    "early_stop#patience": "early_stop_patience",
    "loss#label_smoothing": "label_smoothing",
}
# Arguments of the network other than its channels, which follow from preprocessing and classes.
NETWORK_OPTIONS: dict[str, Rule] = {
    name: rule for name, rule in NETWORK.items() if name not in ("spatial_dims", "in_channels", "out_channels")
}
OVERRIDES: dict[str, Rule] = {
    name: rule for name, rule in PREPROCESSING.items() if name not in ("image_channels", "n_guidance")
} | {
    "windows": also(PREPROCESSING["windows"], "such as [[-160, 240]]", lambda value: True),
    "roi_size": also(PREPROCESSING["roi_size"], "such as [160, 160]", lambda value: True),
}
