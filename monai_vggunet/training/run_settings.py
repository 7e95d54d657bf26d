"""What identifies a training run: every option of the parsed configuration, and the data it learns from.

Only options that do *not* count are listed by hand (`NOT_SHAPING`), each with its reason; any other option counts.
Values are kept as they were given, so that a change can be reported. Paths, and what names cases, are kept as hashes
only, because checkpoints are passed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from monai.bundle.utils import ID_SEP_KEY
from torch import nn

from monai_vggunet.atomic_files import sha256_of_file, sha256_of_input
from monai_vggunet.data import Datalist, ModelSpec
from monai_vggunet.data.switches import SWITCH_WORDS
from monai_vggunet.layout import files_of
from monai_vggunet.names import readable
from monai_vggunet.training.parser_at_work import parser_at_work

__all__ = ["changed_settings", "options_of", "run_settings", "settings_digest"]

# Ids, as patterns, that two parts of one run may differ in, and why.
NOT_SHAPING = {
    "_meta_": "what the bundle says of itself",
    "cases": "what is written down of the cases: they count themselves",
    "imports": "names for expressions, which count themselves",
    "bundle_root": "a folder: a run may be moved",
    "*dataset_dir": "a folder: the cases and labels in it count",
    "*ckpt_dir": "a folder: a run may be moved",
    "*output_dir": "a folder: a run may be moved",
    "*device": "where it is computed: what is planned for a device (crop, batch) counts",
    "*num_workers": "how fast cases come: which process draws for a case changes, not what may be drawn",
    "*pin_memory": "how fast cases come",
    "max_epochs": "how long: a longer run begins as the shorter one did",
    "train#trainer#max_epochs": "how long: MONAI Label sets this one",
    "early_stop_patience": "how long",
    "early_stop#patience": "how long",
    "*resume": "whether to go on at all",
    "show_bar": "what is shown",
    "show_phi": "what is shown",
    "*#progress": "what is shown",
    "*#bar": "what is shown",
    "initialize": "the process: weights and draws follow seed and epoch, or the checkpoint",
    "finalize": "after the training",
    "tracking_uri": "of MONAI's `--tracking`: where it is noted",
    "experiment_name": "of MONAI's `--tracking`",
    "run_name": "of MONAI's `--tracking`",
    "save_execute_config": "of MONAI's `--tracking`, which puts the time into it",
    "is_not_rank0": "of MONAI's `--tracking`",
}
# Options that count by their effect, so that stating what follows anyway changes nothing.
COUNTED_BY_EFFECT = {
    "overrides": "the model's preprocessing",
    "network_options": "the model's network",
    "clicks": "the model's preprocessing",
    "pretrained": "the encoder's first weights",
    "start_from": "the model that the run begins with",
}
# Names of handler classes that only observe.
WATCHERS = {
    "ClearMLStatsHandler",
    "MLFlowHandler",
    "MetricsLogHandler",
    "ProgressBar",
    "StatsHandler",
    "TensorBoardImageHandler",
    "TensorBoardStatsHandler",
    "TrainingProgressHandler",
}
CASE_LISTS = "*#data"  # ids of lists of cases, which hold names and paths
FREE_TEXT = "description"  # of the reader: what somebody typed, perhaps a name
SEPARATOR = "#"  # in an id of MONAI's, before what is nested
TARGET = "_target_"
EVALUATED = ("$", "@", "%")  # how MONAI's expressions, references and macros begin
ABSOLUTE_PATH = re.compile(r"""["'](?:/[^"']+/|~|[A-Za-z]:[\\/])""")  # quoted, within an expression
HASH = re.compile(r"(sha256:\w{12})\w+")  # cut to a length that people can compare


def run_settings(datalist: Datalist, spec: ModelSpec, network: nn.Module, pretrained: Any = None) -> dict[str, Any]:
    """Return what identifies this run; called from a configuration, whose options it collects.

    Everything that the run uses must exist by then (`_requires_`), so that an option which is computed (such as a batch
    size from the free memory) counts with its value.

    Args:
        datalist: of the run. Cases count by name and by the content of their images and labels.
        spec: of the model; its fingerprint counts too.
        network: `VGG16UNet` with its first weights.
        pretrained: as the option has it, for the content of a file.

    Returns:
        Plain JSON values by the name a user would type: `weight_decay`, `train#preprocessing#flip_prob`. What is not
        an option has a name with spaces.

    Raises:
        ConfigurationError: when no parser of MONAI is at work.
    """
    parser = parser_at_work()
    settings = options_of(parser.get(), parser.ref_resolver.resolved_content)
    source = str(getattr(network, "pretrained_source", "scratch"))
    settings["pretrained"] = _kept(str(pretrained)) if source.startswith("file:") else source
    for part, cases in (("training", datalist.training), ("validation", datalist.validation)):
        settings[f"{part} cases"] = f"{len(cases)} ({_hash([case['case'] for case in cases])})"
        for key in ("image", "label"):
            settings[f"{key}s of the {part} cases"] = _hash([_shared_content(case[key]) for case in cases])
    settings["fingerprint of the training cases"] = _hash(spec.fingerprint)
    return settings


def options_of(config: Mapping[str, Any], resolved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return every option of a configuration that shapes the result, by its id.

    Args:
        config: as MONAI's parser holds it, after files and command line were merged.
        resolved: values of the ids that were evaluated.
    """
    options: dict[str, Any] = {}
    for name, value in config.items():
        found = (resolved or {}).get(name)
        if isinstance(value, str) and value.startswith(EVALUATED) and isinstance(found, (bool, int, float)):
            value = found
        options |= dict(_leaves(name, value))
    return options


def changed_settings(former: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that differs: its name as a user would type it, the old and the new value."""
    return [
        f"{readable(name if ' ' in name else f'--{name}')}: {_shown(former, name)} before, {_shown(now, name)} now"
        for name in sorted(dict.fromkeys([*now, *former]), key=lambda name: " " in name)  # options first
        if (name in former) != (name in now) or _canonical(former[name]) != _canonical(now[name])
    ]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return the hash of settings, 64 hexadecimal digits: equal where `changed_settings` finds nothing."""
    return hashlib.sha256(_canonical(settings).encode()).hexdigest()


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield id and value of what counts; what holds neither components nor expressions is one value."""
    if name in COUNTED_BY_EFFECT or any(fnmatchcase(name, pattern) for pattern in NOT_SHAPING):
        return
    if not isinstance(value, (Mapping, list, tuple)) or _is_data(value):
        is_private = fnmatchcase(name, CASE_LISTS) and not isinstance(value, str)
        is_private |= name.endswith(f"{SEPARATOR}{FREE_TEXT}") or (isinstance(value, Mapping) and FREE_TEXT in value)
        yield name, _hash(_plain(value)) if is_private else _kept(value)
    elif not isinstance(value, Mapping) or str(value.get(TARGET)).rsplit(".", 1)[-1] not in WATCHERS:
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(f"{name}{SEPARATOR}{key}", item)


def _is_data(value: Any) -> bool:
    if isinstance(value, Mapping):
        return TARGET not in value and all(map(_is_data, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_data, value))
    return not (isinstance(value, str) and value.startswith(EVALUATED))


def _kept(value: Any) -> Any:
    """Return a value as JSON has it; a path, or what holds one, as a hash: of the file's content where it is one."""
    plain = _plain(value)
    if not any(map(_is_path, _strings(plain))):
        return plain
    if isinstance(plain, str) and os.path.isfile(plain):
        return f"sha256:{sha256_of_file(plain)}"
    return _hash(plain)


def _plain(value: Any) -> Any:
    """Return a value of JSON's kinds; anything else, which Python code may pass, counts by its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.replace(ID_SEP_KEY, SEPARATOR) if value.startswith(EVALUATED) else value  # as a user types ids
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _strings(plain: Any) -> Iterator[str]:
    if isinstance(plain, (dict, list)):
        for item in plain.values() if isinstance(plain, dict) else plain:
            yield from _strings(item)
    elif isinstance(plain, str):
        yield plain


def _is_path(text: str) -> bool:
    return bool(ABSOLUTE_PATH.search(text)) if text.startswith(EVALUATED) else "/" in text or "\\" in text


def _shared_content(path: str) -> str:
    """Return `_content`; under `torchrun` the first process reads it, for all, one by one lest the others time out."""
    return str(idist.broadcast(_content(path) if idist.get_rank() == 0 else "", src=0, safe_mode=True))


def _content(path: str) -> str:
    """Return the hash of an image or a label: a file, or all files of a folder or a case."""
    files = sorted(files_of(path)) or [Path(path)]
    return _hash([sha256_of_input(file) for file in files])


def _hash(content: Any) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"


def _canonical(value: Any) -> str:
    """Return a value as text, the same for values that a command line does not tell apart (1, 1.0, True, `true`)."""

    def simple(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: simple(item) for key, item in part.items()}
        if isinstance(part, (list, tuple)):
            return [simple(item) for item in part]
        if isinstance(part, str):
            part = SWITCH_WORDS.get(part.lower(), part)
        if isinstance(part, bool) or (isinstance(part, float) and part.is_integer()):
            return int(part)
        return part

    return json.dumps(simple(value), sort_keys=True)


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return readable(HASH.sub(r"\1...", str(settings[name]))) if name in settings else "not given"
