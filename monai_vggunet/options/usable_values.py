"""Values of options: each is compared with what its option may be, before any data are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_vggunet.data import DicomSeriesReader, ModelSpec
from monai_vggunet.data.plan import CROP_LIMIT, STEP_PIXELS
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.json_rules import Rule
from monai_vggunet.layout import spec_beside
from monai_vggunet.names import shortened
from monai_vggunet.networks.devices import usable_device
from monai_vggunet.options.known_options import nearest
from monai_vggunet.options.rules import INFERENCE_RULES, NETWORK_OPTIONS, OVERRIDES, RULES, SAME_AS
from monai_vggunet.training import default_workers
from monai_vggunet.training.run_settings import EVALUATED
from monai_vggunet.training.shared_memory import require_shared_memory

__all__ = ["require_usable_values"]


def require_usable_values(config: Mapping[str, Any]) -> None:
    """Refuse values that make no sense; what is an expression is left to whatever it gives its value to.

    Args:
        config: as MONAI's parser holds it, after files and command line were merged.

    Raises:
        ConfigurationError: names the option, what was got and what was expected.
        ModelMismatchError: the model to start from is missing or damaged.
    """
    rules = RULES | (INFERENCE_RULES if "engine" in config else {})
    for name, rule in rules.items():
        if name in config:
            _require(name, config[name], rule)
    for name, option in SAME_AS.items():
        value = _nested(config, name)
        if value is not None:
            _require(name, value, rules[option])
    _require_object("network_options", config.get("network_options"), NETWORK_OPTIONS)
    _require_object("overrides", config.get("overrides"), OVERRIDES)
    _require_one_window(config.get("overrides"))
    _require_reader_options(config.get("reader_options"))
    _require_whole_steps(config)
    _require_warmup_within_run(config)
    _require_hardware(config)
    if isinstance(model := config.get("start_from"), (str, os.PathLike)) and not _is_evaluated(model):
        ModelSpec.read(spec_beside(model)).require_weights(Path(model))


def _require(name: str, value: Any, rule: Rule) -> None:
    if not _is_evaluated(value) and not rule.holds(value):
        raise ConfigurationError(f"--{name} is {shortened(value)}; expected {rule.expected}")


def _is_evaluated(value: Any) -> bool:
    """Whether a value is an expression, or a list that holds one."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_evaluated, value))
    return isinstance(value, str) and value.startswith(EVALUATED)


def _nested(config: Mapping[str, Any], name: str) -> Any:
    """Return the value of an id such as `train#trainer#max_epochs`; None where there is none."""
    found: Any = config
    for key in name.split("#"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _require_object(name: str, value: Any, rules: Mapping[str, Rule]) -> None:
    """Refuse anything but an object with some of these entries, or none."""
    if value is None or _is_evaluated(value):
        return
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"--{name} is {shortened(value)}; expected an object with some of {', '.join(rules)}")
    for key, each in value.items():
        if key not in rules:
            hint = nearest(str(key), rules)
            raise ConfigurationError(f"--{name} has no {key!r}{hint}; expected some of {', '.join(rules)}")
        if not _is_evaluated(each) and not rules[key].holds(each):
            raise ConfigurationError(f"{key!r} in --{name} is {shortened(each)}; expected {rules[key].expected}")


def _require_one_window(overrides: Any) -> None:
    windows = overrides.get("windows") if isinstance(overrides, Mapping) else None
    if isinstance(windows, (list, tuple)) and len(windows) > 1 and overrides.get("channels") == "window":
        raise ConfigurationError(
            f"'windows' in --overrides is {shortened(windows)}, and 'channels' is 'window'; expected one window, or "
            "'channels': 'windows'"
        )


def _require_reader_options(options: Any) -> None:
    if options is None or _is_evaluated(options):
        return
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"--reader_options is {shortened(options)}; expected an object such as {{'on_gap': 'resample'}}"
        )
    try:
        DicomSeriesReader(**{str(key): value for key, value in options.items() if not _is_evaluated(value)})
    except ConfigurationError as error:
        raise ConfigurationError(f"--reader_options cannot be used: {error}") from error


def _require_whole_steps(config: Mapping[str, Any]) -> None:
    """Refuse a batch that is not made of whole cases: a case gives as many slices as `samples_per_case` says."""
    batch, samples = config.get("batch_size"), config.get("samples_per_case")
    if isinstance(batch, int) and isinstance(samples, int) and batch % samples:
        below, above = batch // samples * samples, (batch // samples + 1) * samples
        raise ConfigurationError(
            f"--batch_size is {batch}, and --samples_per_case {samples}: a step takes as many slices from each of its "
            f"cases; expected a multiple of it, such as {below or above}"
        )


def _require_warmup_within_run(config: Mapping[str, Any]) -> None:
    warmup, epochs = config.get("warmup_epochs"), config.get("max_epochs")
    if not isinstance(warmup, int) or not isinstance(epochs, int):
        return
    if warmup and config.get("lr_schedule") == "plateau":
        raise ConfigurationError(
            f"--warmup_epochs is {warmup}, but --lr_schedule plateau has no warm-up; take cosine or onecycle"
        )
    if warmup >= epochs:
        raise ConfigurationError(f"--warmup_epochs is {warmup}; expected fewer than --max_epochs, {epochs}")


def _require_hardware(config: Mapping[str, Any]) -> None:
    device = config.get("device")
    kind = usable_device(None if device is None or _is_evaluated(device) else device).type
    if "num_workers" in config:
        workers = config["num_workers"]
        require_shared_memory(default_workers(kind) if _is_evaluated(workers) else workers, _step_pixels(config, kind))


def _step_pixels(config: Mapping[str, Any], kind: str) -> int:
    """Return how many pixels a training step may have: as stated, else the most that is planned for a device."""
    overrides = config.get("overrides")
    crop = overrides.get("roi_size") if isinstance(overrides, Mapping) else None
    rows, columns = (
        crop if isinstance(crop, (list, tuple)) and not _is_evaluated(crop) else (CROP_LIMIT[kind], CROP_LIMIT[kind])
    )
    batch = config.get("batch_size")
    return batch * rows * columns if isinstance(batch, int) else STEP_PIXELS[kind]
