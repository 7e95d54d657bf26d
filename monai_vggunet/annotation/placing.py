"""A trained model placed where a MONAI Label server finds it: the app's folder with the bundle, ready to be started."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from monai_vggunet.annotation.app_code import CODE, READ_ONLY, place_code
from monai_vggunet.annotation.front.values import is_name
from monai_vggunet.atomic_files import atomic_path, write_json
from monai_vggunet.data import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference.engines.export_files import engine_files
from monai_vggunet.layout import (
    CONFIGS,
    INFERENCE_CONFIG,
    METADATA,
    MODEL,
    MODEL_SPEC,
    MODELS,
    TRAIN_CONFIG,
    TRAINING,
    spec_beside,
)
from monai_vggunet.workflow import bundle_folder

__all__ = ["place_app", "place_bundle"]

DEFAULT_NAME = "vggunet"
STOCK_APP = "monaibundle"
LOGGING = "logging.conf"
PLACED_CONFIGS = (INFERENCE_CONFIG, LOGGING, METADATA, TRAIN_CONFIG)
PROGRAMS = ("itkimage2segimage", "segimage2itkimage")  # of dcmqi, which MONAI Label would download otherwise
# MONAI Label calls a model with two sizes two-dimensional and then wants a picture, not a volume.
VOLUME_SHAPE = ["16*n", "16*n", "n"]
FINE_TUNING_RATE = 1e-4  # the network knows its task: the rate of a decoder under pretrained weights, for all of it
MAIN = '''"""MONAI Label app: segmentation, retraining and active learning with monai-vggunet."""

from monai_vggunet.annotation.server import VGGUNetLabelApp

__all__ = ["VGGUNetLabelApp"]  # MONAI Label takes the class derived from MONAILabelApp that it finds here
'''

# Below MONAI Label's own app: its stores take the place of other studies, and follow a DICOMweb server anywhere.
GUARDED = """

from monai_vggunet.annotation.server.stock import guard

guard(MyApp)
"""

_log = logging.getLogger(__name__)


def place_app(
    app_dir: str | os.PathLike[str], model: str | os.PathLike[str], name: str = DEFAULT_NAME, stock: bool = False
) -> Path:
    """Make or refresh the folder of a MONAI Label app with one model in it.

    What is code (`code/main.py`, the programs in `bin/`, and the bundle's configs, whose language has expressions) is
    written anew and may only be read; `code/` is MONAI Label's own folder of the app, with links to `model/` and
    `logs/` beside it, so that nothing a request writes lies where code is looked for. A model that is already there
    under this name is kept, since annotators may have trained it further.

    Args:
        app_dir: the app's folder; made when missing.
        model: `model.pt` with its `model.json` beside it.
        name: of the model, as clients show it.
        stock: MONAI Label's own app `monaibundle` instead of ours; MONAI Label must be installed.

    Returns:
        The placed bundle's folder.

    Raises:
        ConfigurationError: MONAI Label's app is wanted and not installed, or the name makes no folder.
        ModelMismatchError: the model's files are missing or do not belong together.
    """
    app = Path(app_dir)
    if stock:
        source = Path(sys.prefix) / "monailabel" / "sample-apps" / STOCK_APP / "main.py"
        if not source.is_file():
            raise ConfigurationError(f"MONAI Label's app {STOCK_APP} is not in {source.parent}: install monailabel")
        text = source.read_text(encoding="utf-8") + GUARDED
    else:
        text = MAIN
    programs = {program: f'#!/bin/sh\nexec {_command(program)} "$@"\n' for program in PROGRAMS}
    bundle = place_bundle(app / "model", model, name)
    place_code(app / "bin", programs, executable=True)
    (app / "logs").mkdir(exist_ok=True)
    (app / "cache").mkdir(exist_ok=True)
    (app / "cache").chmod(0o700)  # copies of studies
    links = {"bin": "../bin", "model": "../model", "logs": "../logs"}
    place_code(app / CODE, {"main.py": text}, folders=("lib",), links=links)
    return bundle


def place_bundle(model_dir: str | os.PathLike[str], model: str | os.PathLike[str], name: str = DEFAULT_NAME) -> Path:
    """Put the bundle under `model_dir/name` with what MONAI Label needs it to say.

    Raises:
        ConfigurationError: the name makes no folder.
        ModelMismatchError: the model's files are missing or do not belong together.
    """
    if not is_name(name) or "#" in str(Path(model_dir).resolve() / name):
        raise ConfigurationError(f"a model called {name!r} makes no folder in {model_dir}: choose a plain word")
    bundle, source = Path(model_dir) / name, Path(model)
    spec = ModelSpec.read(spec_beside(source))
    spec.require_weights(source)
    placed = bundle / MODELS / MODEL
    if placed.is_file():
        spec = ModelSpec.read(spec_beside(placed))
        spec.require_weights(placed)
        _log.info("%s holds a model already, which is kept; remove the folder to place another", bundle)
    else:
        _copy(spec_beside(source), spec_beside(placed))
        _copy(source, placed)
        # The fastest serves. Once a training has replaced the model, exports no longer fit it, and are passed over.
        for export in engine_files(source):
            _copy(export, placed.with_name(placed.stem + export.name.removeprefix(source.stem)))
    ours = bundle_folder()
    for file in ("LICENSE", "docs/README.md", f"{CONFIGS}/{LOGGING}"):
        _copy(ours / file, bundle / file)
    write_json(bundle / CONFIGS / METADATA, _metadata(_read(ours / CONFIGS / METADATA), spec))
    # MONAI Label names the image itself; it drops what saves masks, but only after the list of cases was made
    write_json(bundle / CONFIGS / INFERENCE_CONFIG, _read(ours / CONFIGS / INFERENCE_CONFIG) | {"datalist": []})
    write_json(bundle / CONFIGS / TRAIN_CONFIG, _retraining(_read(ours / CONFIGS / TRAIN_CONFIG)))
    for config in PLACED_CONFIGS:  # in MONAI's language, in which a text may be code
        (bundle / CONFIGS / config).chmod(READ_ONLY)
    return bundle


def _command(program: str) -> str:
    return shlex.join([sys.executable, "-m", "monai_vggunet.annotation.segimage", program])


def _metadata(metadata: dict[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """Return the bundle's metadata with this model's channels and classes, and with volumes as input."""
    formats = metadata["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    channels, modality = spec.network["in_channels"], spec.preprocessing.modality
    image |= {"num_channels": channels, "spatial_shape": VOLUME_SHAPE, "modality": modality}
    image["channel_def"] = {str(number): f"channel {number}" for number in range(channels)}
    image["format"] = "hounsfield" if modality == "CT" else "magnitude"
    pred |= {"num_channels": len(spec.class_names), "spatial_shape": VOLUME_SHAPE}
    pred["channel_def"] = {str(number): name for number, name in enumerate(spec.class_names)}
    return metadata


def _retraining(train: dict[str, Any]) -> dict[str, Any]:
    """Return the training config as MONAI Label runs it: its lists of cases, the placed model's weights and settings.

    MONAI Label overrides `bundle_root`, `device`, `train#trainer#max_epochs`, `train#handlers` and both data sets'
    `data`. The model that is served stays in place until `Retraining.finish` replaces it.
    """
    train |= {
        "model_dir": f"$@bundle_root + '/{MODELS}'",
        "ckpt_dir": f"$@bundle_root + '/{TRAINING}'",
        "output_dir": f"$@bundle_root + '/{TRAINING}'",
        "resume": False,
        "show_bar": False,
        "pretrained": "scratch",
        "max_epochs": "@train#trainer#max_epochs",
        "iterations_per_epoch": 20,
        "encoder_lr": FINE_TUNING_RATE,
        "decoder_lr": FINE_TUNING_RATE,
        "datalist": {
            "_target_": "monai_vggunet.annotation.labeled_cases",
            "listed": ["@train#dataset#data", "@validate#dataset#data"],
            "split_file": "$@model_dir + '/validation.json'",
            "spec": "@model_spec",
            "val_fraction": "@val_fraction",
            "seed": "@seed",
        },
        "cases": {
            "_target_": "monai_vggunet.data.record_cases",
            "datalist": "@datalist",
            "start_from": f"$@model_dir + '/{MODEL}'",
        },
        "model_spec": {"_target_": "monai_vggunet.data.load_model_spec", "path": f"$@model_dir + '/{MODEL_SPEC}'"},
        "network": f"$monai_vggunet.training.load_weights(@network_def, @model_dir + '/{MODEL}', @device)",
        "retraining": {
            "_target_": "monai_vggunet.annotation.Retraining",
            "model_dir": "@model_dir",
            "ckpt_dir": "@ckpt_dir",
            "datalist": "@cases",
            "evaluator": "@validate#evaluator",
        },
        "imports": [*train["imports"], "$import monai_vggunet.annotation"],
    }
    for half, cases in (("train", "training"), ("validate", "validation")):
        train[half]["dataset"] |= {"_target_": "monai_vggunet.annotation.case_dataset", "data": [], "num_workers": 0}
        train[half]["dataset"]["cases"] = f"$@datalist.{cases}"
    train["train"]["trainer"]["max_epochs"] = 20
    # MONAI Label puts its own loader of weights first: it loads the very weights the network has.
    train["training"] = ["$@retraining.begin()", *train["training"], "$@retraining.finish(@checkpoint)"]
    return train


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
