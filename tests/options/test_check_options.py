"""Misspelled options and values that make no sense are refused before any data are read, as a user states them."""

from __future__ import annotations

import collections
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_vggunet.errors import ConfigurationError, ModelMismatchError, VGGUNetError, refusal_behind
from monai_vggunet.options.known_options import nearest

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"
TRAIN = ("train",)
EVALUATE = ("train", "evaluate")
ALL = [TRAIN, EVALUATE, ("train", "multi_gpu_train"), ("inference",), ("quantize",), ("export",)]


def begin(configs: tuple[str, ...] = TRAIN, **options: Any) -> None:
    """Begin a run up to the end of the check; the data set's folder does not exist, so nothing could be read."""
    workflow = ConfigWorkflow(
        [str(CONFIGS / f"{name}.json") for name in configs],
        logging_file=False,
        run_id=options.pop("run_id", "run"),
        **{"dataset_dir": "/nowhere", **options},
    )
    check, *rest = workflow.parser["initialize"]
    workflow.parser["initialize"], workflow.parser["finalize"] = [check], rest
    try:
        workflow.initialize()
    except Exception as error:
        raise refusal_behind(error) or error from error


def refusal(configs: tuple[str, ...] = TRAIN, **options: Any) -> str:
    with pytest.raises(VGGUNetError) as raised:
        begin(configs, **options)
    return str(raised.value)


@pytest.mark.parametrize("configs", ALL, ids="+".join)
def test_the_configs_as_they_are_pass(configs: tuple[str, ...]) -> None:
    begin(configs)


@pytest.mark.parametrize("configs", ALL, ids="+".join)
def test_the_check_comes_first_in_every_config(configs: tuple[str, ...]) -> None:
    workflow = ConfigWorkflow([str(CONFIGS / f"{name}.json") for name in configs], logging_file=False)
    assert workflow.parser["initialize"][0] == "$monai_vggunet.options.check_options()"


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 3, "seed": 7, "clicks": "no", "resume": "false", "show_bar": 0},
        {"overrides": {"windows": [[-160, 240], [-1000, 400]], "channels": "windows", "roi_size": [48, 64]}},
        {"network_options": {"dropout": 0.1, "upsample": "bilinear", "decoder_channels": [64, 32, 16, 8]}},
        {"unfreeze_schedule": {"6": 1, "11": 5}, "lr_schedule": "cosine", "warmup_epochs": 3},
        {"batch_size": "$2 * @samples_per_case", "train#preprocessing#flip_prob": 0, "loss#alpha": 2},
        {"train#dataloader#prefetch_factor": 4, "reader_options": {"on_gap": "resample"}, "_note": "a second try"},
        {"loss": {"_target_": "DiceCELoss", "softmax": True}, "pretrained": "scratch", "device": "cpu"},
        {"my_rate": 0.1, "decoder_lr": "@my_rate", "my_steps": ["$@train#trainer.run()"], "run_id": "my_steps"},
        {
            "spacing": 2.0,
            "overrides": {"spacing_mm": ["@spacing", "@spacing"], "channels": "window", "windows": "$[[0, 1]]"},
        },
        {"train#trainer": {"_target_": "SupervisedTrainer", "max_epochs": 1, "network": "@network"}},
        {"batch_size": 1, "samples_per_case": 1, "early_stop_patience": 1, "modality": "mri"},
        {"tracking_uri": "somewhere", "experiment_name": "a", "run_name": "b"},
    ],
    ids=lambda options: ",".join(options),
)
def test_what_makes_sense_passes(options: dict[str, Any]) -> None:
    begin(**options)


@pytest.mark.parametrize(
    ("configs", "options", "message"),
    [
        (TRAIN, {"max_epoch": 3}, "there is no option --max_epoch; did you mean --max_epochs?"),
        (TRAIN, {"Max_Epochs": 3}, "there is no option --Max_Epochs; did you mean --max_epochs?"),
        (TRAIN, {"batchsize": 4}, "there is no option --batchsize; did you mean --batch_size?"),
        (TRAIN, {"networkoptions": {"dropout": 0.1}}, "did you mean --network_options?"),
        (TRAIN, {"zzz": 1}, "there is no option --zzz; expected a name that the configuration uses"),
        (TRAIN, {"save_masks": True}, "there is no option --save_masks"),
        (EVALUATE, {"splits": "all"}, "there is no option --splits; did you mean --split?"),
        (("inference",), {"max_epochs": 3}, "there is no option --max_epochs"),
        (("inference",), {"engin": "onnx"}, "there is no option --engin; did you mean --engine?"),
        (("quantize",), {"max_dice_dropp": 0.1}, "did you mean --max_dice_drop?"),
        (("export",), {"kind": ["onnx"]}, "did you mean --kinds?"),
        (TRAIN, {"train#trainer#max_epoch": 3}, "SupervisedTrainer has no max_epoch; did you mean max_epochs?"),
        (TRAIN, {"train#preprocessing#flip_probability": 0}, "training_preprocessing has no flip_probability"),
        (TRAIN, {"loss#alfa": 2}, "--loss#alfa: DiceCrossEntropyLoss has no alfa; did you mean alpha?"),
        (TRAIN, {"train#datset": []}, "there is no option --train#datset; did you mean --train#dataset?"),
        (TRAIN, {"train#dataloader#num_wrokers": 1}, "did you mean num_workers?"),
        (TRAIN, {"loss#_target_": "monai_vggunet.losses.DicLoss"}, "--loss#_target_ is 'monai_vggunet.losses.DicLoss'"),
        (TRAIN, {"early_stop#patients": 1}, "EarlyStopping has no patients; did you mean patience?"),
    ],
)  # fmt: skip
def test_misspelled_options_are_refused_with_the_nearest_name(
    configs: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    assert message in refusal(configs, **options)


def test_every_misspelled_option_is_named() -> None:
    assert refusal(max_epoch=3, seeds=1).count("there is no option --") == 2


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("network_options", {"dropuot": 0.1}, "--network_options has no 'dropuot'; did you mean dropout?"),
        ("network_options", {"in_channels": 5}, "--network_options has no 'in_channels'"),
        ("network_options", {"decoder_channels": 64}, "'decoder_channels' in --network_options is 64; expected a list"),
        ("network_options", {"batch_norm": "false"}, "'batch_norm' in --network_options is 'false'; expected"),
        ("network_options", [1], "expected an object with some of batch_norm"),
        ("overrides", {"windows": [-160, 240]}, "'windows' in --overrides is [-160, 240]; expected a list of 1 to 16"),
        ("overrides", {"windows": [[240, -160]]}, "the first below the second"),
        ("overrides", {"roi_size": 48}, "'roi_size' in --overrides is 48; expected a list of 2"),
        ("overrides", {"roi_size": [50, 50]}, "a multiple of 16"),
        ("overrides", {"spacing_mm": [1, math.nan]}, "'spacing_mm' in --overrides is [1, nan]"),
        ("overrides", {"spacing": [1, 1]}, "--overrides has no 'spacing'; did you mean spacing_mm?"),
        ("overrides", {"image_channels": 3}, "--overrides has no 'image_channels'"),
        ("overrides", {"channels": "window", "windows": [[0, 1], [1, 2]]}, "expected one window, or"),
        ("overrides", "roi_size", "--overrides is 'roi_size'; expected an object"),
        ("reader_options", {"on_gaps": "keep"}, "--reader_options cannot be used: DicomSeriesReader has no argument"),
        ("reader_options", {"on_gap": "fill"}, "on_gap is 'fill', expected one of error, keep, resample"),
        ("iterations_per_epoch", 0, "--iterations_per_epoch is 0; expected a whole number from 1"),
        ("max_epochs", 2.5, "--max_epochs is 2.5; expected a whole number from 1"),
        ("max_epochs", "3", "--max_epochs is '3'; expected a whole number from 1"),
        ("max_epochs", True, "--max_epochs is True; expected a whole number from 1"),
        ("train#trainer#max_epochs", 0, "--train#trainer#max_epochs is 0; expected a whole number from 1"),
        ("samples_per_case", 0, "--samples_per_case is 0; expected a whole number from 1"),
        ("samples_per_case", -2, "--samples_per_case is -2; expected a whole number from 1"),
        ("val_interval", 0, "--val_interval is 0; expected a whole number from 1"),
        ("val_interval", -1, "--val_interval is -1; expected a whole number from 1"),
        ("early_stop_patience", 0, "--early_stop_patience is 0; expected a whole number from 1"),
        ("early_stop_patience", None, "--early_stop_patience is None; expected a whole number from 1"),
        ("batch_size", 1, "--batch_size is 1, and --samples_per_case 2: a step takes as many slices from each of its"),
        ("batch_size", 1, "expected a multiple of it, such as 2"),
        ("batch_size", 5, "expected a multiple of it, such as 4"),
        ("batch_size", 0, "--batch_size is 0; expected a whole number from 1"),
        ("num_workers", -1, "--num_workers is -1; expected a whole number from 0"),
        ("seed", -1, "--seed is -1; expected a whole number from 0 to 4294967295"),
        ("seed", 1 << 32, "expected a whole number from 0 to 4294967295"),
        ("val_fraction", 1, "--val_fraction is 1; expected a number from 0 up to, but not including, 1"),
        ("val_fraction", math.nan, "--val_fraction is nan; expected a number from 0"),
        ("max_training_cases", 0, "--max_training_cases is 0; expected a whole number from 1, or None"),
        ("encoder_lr", "fast", "--encoder_lr is 'fast'; expected a number from 0"),
        ("decoder_lr", math.inf, "--decoder_lr is inf; expected a number from 0"),
        ("layer_decay", 0, "--layer_decay is 0; expected a number above 0, up to 1"),
        ("ema_momentum", 1, "--ema_momentum is 1; expected a number between 0 and 1"),
        ("ema_warmup_iterations", 0, "--ema_warmup_iterations is 0; expected a whole number from 1"),
        ("lr_schedule", "cosin", "--lr_schedule is 'cosin'; expected 'plateau' or 'cosine'"),
        ("warmup_epochs", 5, "--warmup_epochs is 5, but --lr_schedule plateau has no warm-up"),
        ("unfreeze_schedule", {"6": 3, "11": 1}, "expected epochs (from 1) and how many of 5 stages are free"),
        ("unfreeze_direction", "up", "--unfreeze_direction is 'up'; expected 'deep_first' or 'shallow_first'"),
        ("clicks", "maybe", "--clicks is 'maybe'; expected True or False"),
        ("resume", 2, "--resume is 2; expected True or False"),
        ("precision", "fp8", "--precision is 'fp8'; expected 'auto' or 'bf16'"),
        ("precision", "int8", "--precision is 'int8'; expected 'auto' or 'bf16'"),
        ("tta", "all", "--tta is 'all'; expected 'none' or 'flip'"),
        ("modality", 5, "--modality is 5; expected text, such as CT or MR"),
        ("pretrained", "imagnet", "--pretrained is 'imagnet'; expected auto, imagenet, scratch, or the path"),
        ("dataset_dir", 2024, "--dataset_dir is 2024; expected a path"),
        ("device", "gpu", "--device is 'gpu'; expected cpu"),
        ("device", "cuda:99", "--device is 'cuda:99', but torch sees"),
        ("surface_tolerance_mm", -1, "--surface_tolerance_mm is -1; expected a number from 0"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(option: str, value: Any, expected: str) -> None:
    assert expected in refusal(**{option: value})


@pytest.mark.parametrize(
    ("configs", "option", "value", "expected"),
    [
        (EVALUATE, "split", "test", "--split is 'test'; expected 'unseen' or 'all'"),
        (EVALUATE, "save_masks", "perhaps", "--save_masks is 'perhaps'; expected True or False"),
        (("inference",), "engine", "tensorrt", "--engine is 'tensorrt'; expected 'auto' or 'torch'"),
        (("inference",), "precision", "int4", "--precision is 'int4'; expected 'auto' or 'fp32'"),
        (("inference",), "reslice", "x", "--reslice is 'x'; expected True or False"),
        (("inference",), "device", "gpu", "--device is 'gpu'; expected cpu"),
        (("quantize",), "max_dice_drop", -1, "--max_dice_drop is -1; expected a number from 0"),
        (("export",), "kinds", ["onxx"], "--kinds is ['onxx']; expected a list of some of"),
        (("export",), "kinds", "onnx", "--kinds is 'onnx'; expected a list of some of"),
    ],
)
def test_other_configs_refuse_what_makes_no_sense(
    configs: tuple[str, ...], option: str, value: Any, expected: str
) -> None:
    assert expected in refusal(configs, **{option: value})


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refusal(device="cuda") == "--device is 'cuda', but torch sees no GPU here; expected cpu"


def test_a_small_shared_memory_is_refused_where_processes_would_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 20, 0, 1 << 20))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    begin(num_workers=0)
    begin(num_workers=2, batch_size=2, overrides={"roi_size": [32, 32]})
    told = refusal(num_workers=2)
    assert told.startswith(
        "the shared memory /dev/shm has 1 MB free; expected 4 MB for --num_workers 2: make it larger"
    )


def test_a_model_to_start_from_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatchError, match=r"model\.json is missing"):
        begin(start_from=str(tmp_path / "model.pt"))


def test_the_check_outside_of_a_configuration_says_so() -> None:
    from monai_vggunet.options import check_options

    with pytest.raises(ConfigurationError, match="outside of one"):
        check_options()


def test_nothing_is_nearest_to_what_is_like_nothing() -> None:
    assert nearest("zzz", ["max_epochs"]) == ""
