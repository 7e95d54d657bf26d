"""A run is known by every option that shapes its result, and by its data; never by a path or the name of a case."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ignite.distributed as idist
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_vggunet.data import Datalist, ModelSpec, Preprocessing
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training import run_settings
from monai_vggunet.training.run_settings import (
    COUNTED_BY_EFFECT,
    NOT_SHAPING,
    _shared_content,
    changed_settings,
    options_of,
    settings_digest,
)

# Options of train.json that may differ between two parts of one run, or count by what follows from them. An option
# that is added there counts, unless someone writes it down here, too.
FREE = {"imports", "bundle_root", "dataset_dir", "ckpt_dir", "output_dir", "device", "num_workers", "max_epochs"}
FREE |= {"cases", "early_stop_patience", "resume", "show_bar", "show_phi", "initialize", "finalize"}
FREE_WITHIN = {
    "checkpoint#ckpt_dir",
    "checkpoint#resume",
    "datalist#dataset_dir",
    "early_stop#patience",
    "model_spec#device",
    "train#dataloader#num_workers",
    "train#dataloader#pin_memory",
    "train#dataset#num_workers",
    "train#dataset#progress",
    "train#trainer#device",
    "train#trainer#max_epochs",
    "validate#dataset#num_workers",
    "validate#dataset#progress",
    "validate#evaluator#device",
}
LOOKING_ON = ("train#handlers#4#", "train#handlers#5#", "validate#handlers#0#", "validate#handlers#1#")


def training_config() -> dict[str, Any]:
    """`train.json` as MONAI's parser holds it."""
    parser = ConfigParser()
    parser.read_config(str(Path(__file__).parents[2] / "bundle" / "configs" / "train.json"))
    parser.resolve_macro_and_relative_ids()
    return parser.get()


CONFIG = training_config()


def leaves(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, (dict, list)) and config:
        for key, value in config.items() if isinstance(config, dict) else enumerate(config):
            yield from leaves(value, f"{name}#{key}" if name else str(key))
    else:
        yield name, config


def another(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return {str: f"{value}x", dict: {"x": 1}, list: [1], type(None): 7}[type(value)]


def overridden(name: str, value: Any) -> dict[str, Any]:
    config = deepcopy(CONFIG)
    *parents, last = name.split("#")
    part: Any = config
    for key in parents:
        part = part[int(key) if isinstance(part, list) else key]
    part[int(last) if isinstance(part, list) else last] = value
    return config


def is_free(name: str) -> bool:
    return name.split("#")[0] in FREE | {"_meta_"} or name in FREE_WITHIN or name.startswith(LOOKING_ON)


def test_every_option_that_shapes_the_result_makes_another_run() -> None:
    before, seen = options_of(CONFIG), 0
    for name, value in leaves(CONFIG):
        if is_free(name) or name in COUNTED_BY_EFFECT:
            continue
        now = options_of(overridden(name, another(value)))
        assert settings_digest(before) != settings_digest(now), name
        lines = changed_settings(before, now)
        assert [line.split(": ")[0] for line in lines] == [f"--{name}"]
        seen += 1
    assert seen > 150


def test_what_does_not_shape_the_result_may_differ() -> None:
    before = options_of(CONFIG)
    for name, value in leaves(CONFIG):
        if is_free(name) and not name.endswith("_target_"):
            assert changed_settings(before, options_of(overridden(name, another(value)))) == [], name


def test_every_exception_has_its_reason_and_is_there() -> None:
    """What MONAI itself adds, `_meta_` and the ids of its `--tracking`, is in no file."""
    added = {"_meta_", "tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0"}
    names = {*CONFIG, *dict(leaves(CONFIG))}
    for pattern, reason in NOT_SHAPING.items():
        assert reason
        assert pattern in added or any(fnmatchcase(name, pattern) for name in names), pattern
    assert set(COUNTED_BY_EFFECT) <= set(CONFIG)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train#preprocessing#flip_prob", 0),
        ("train#trainer#loss_function", {"_target_": "DiceLoss", "softmax": True}),
        ("optimizer#_target_", "torch.optim.SGD"),
        ("train#handlers#3#interval", 2),
        ("an_option_of_the_users_own", 1),
    ],
)
def test_an_option_that_is_in_no_file_counts(name: str, value: Any) -> None:
    assert changed_settings(options_of(CONFIG), options_of(overridden(name, value)))


def test_changes_are_told_as_a_user_types_them() -> None:
    config = overridden("weight_decay", 0.5) | {"lr_schedule": "cosine", "reader_options": {"on_gap": "keep"}}
    config["train"]["preprocessing"]["flip_prob"] = 0
    del config["label_smoothing"]
    assert sorted(changed_settings(options_of(CONFIG), options_of(config))) == [
        "--label_smoothing: 0.0 before, not given now",
        "--lr_schedule: plateau before, cosine now",
        "--reader_options: {} before, {'on_gap': 'keep'} now",
        "--train#preprocessing#flip_prob: not given before, 0 now",
        "--weight_decay: 0.0001 before, 0.5 now",
    ]


def test_a_change_is_one_line_whatever_a_checkpoint_from_elsewhere_holds() -> None:
    (line,) = changed_settings({"note": "\x1b[2J\n  --seed: 0 before, 1 now"}, {"note": ""})
    assert line == r"--note: \x1b[2J\n  --seed: 0 before, 1 now before,  now"


def test_what_is_computed_counts_with_its_value() -> None:
    """A batch planned by the free memory is what may be stated to go on where less is free."""
    planned = options_of(CONFIG, {"batch_size": 16, "encoder_lr": 1e-5, "network": object()})
    stated = options_of(CONFIG | {"batch_size": 16, "encoder_lr": 1e-5}, {"batch_size": 16, "network": object()})
    assert changed_settings(planned, stated) == []
    less = options_of(CONFIG, {"batch_size": 8, "encoder_lr": 1e-5})
    assert changed_settings(planned, less) == ["--batch_size: 16 before, 8 now"]


@pytest.mark.parametrize(("first", "second"), [(1, 1.0), (True, "true"), (False, "no"), (0, False), ([1, 2], (1.0, 2))])
def test_what_a_command_line_does_not_tell_apart_is_the_same(first: Any, second: Any) -> None:
    before, now = options_of({"x": first}), options_of({"x": second})
    assert changed_settings(before, now) == []
    assert settings_digest(before) == settings_digest(now)


def test_handlers_that_look_on_may_be_added() -> None:
    """As MONAI's `--tracking mlflow` does."""
    config = deepcopy(CONFIG)
    config["train"]["handlers"].append({"_target_": "MLFlowHandler", "tracking_uri": "@tracking_uri"})
    config |= {"tracking_uri": "x", "save_execute_config": "config_20260101_000000.json"}
    assert changed_settings(options_of(CONFIG), options_of(config)) == []


@pytest.mark.parametrize(
    "value",
    [
        "/home/someone/weights",
        Path("/home/someone/weights"),
        "$torch.load('/home/someone/weights')",
        ["/home/someone/weights"],
        {"file": "someone/weights"},
        "C:\\someone\\weights",
    ],
)
def test_no_path_is_kept(value: Any) -> None:
    (kept,) = options_of({"loss": {"_target_": "Loss", "weights": value}} | {"x": 1}).items() - {
        ("loss#_target_", "Loss"),
        ("x", 1),
    }
    assert kept[0] == "loss#weights"
    assert "someone" not in kept[1]
    assert kept[1].startswith("sha256:")


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    assert options_of({"weights": str(first)}) == options_of({"weights": str(second)})
    before = options_of({"weights": str(first)})
    first.write_bytes(b"other weights")
    (line,) = changed_settings(before, options_of({"weights": str(first)}))
    assert line.startswith("--weights: sha256:")
    assert len(line) < 80


def test_lists_of_cases_are_kept_as_a_hash() -> None:
    """MONAI Label writes them into the configuration."""
    config = {"train": {"dataset": {"_target_": "CacheDataset", "data": [{"image": "Doe.nii.gz", "label": "Doe"}]}}}
    assert "Doe" not in json.dumps(options_of(config))
    assert options_of(config)["train#dataset#data"].startswith("sha256:")


def test_objects_that_python_code_passes_count_by_what_they_are_called() -> None:
    options = options_of({"loss": SimpleNamespace, "other": SimpleNamespace()})
    assert options == {"loss": "types.SimpleNamespace", "other": "types.SimpleNamespace"}


# The data, and the way to the configuration


def cases(folder: Path, *names: str, text: str = "label") -> list[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"{text} {name}")
        (folder / f"{name}.image").write_text(f"image {name}")
    return [
        {"case": name, "patient": name, "image": str(folder / f"{name}.image"), "label": str(folder / name)}
        for name in names
    ]


def model() -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-100.0, 200.0),))
    return ModelSpec({"in_channels": 3, "out_channels": 2}, prep, ["background", "liver"], fingerprint={"n_cases": 2})


def settings_of(datalist: Datalist, spec: ModelSpec | None = None, source: str = "scratch", **config: Any) -> Any:
    declared = {"_target_": "monai_vggunet.training.run_settings", "datalist": datalist, "spec": spec or model()}
    declared |= {"network": SimpleNamespace(pretrained_source=source), "pretrained": "@pretrained"}
    return ConfigParser({"pretrained": "auto", "settings": declared, **config}).get_parsed_content("settings")


def test_the_data_count_by_names_and_labels_and_not_by_their_folder(tmp_path: Path) -> None:
    listed = Datalist(cases(tmp_path / "a", "Doe", "Roe"), cases(tmp_path / "a", "Poe"))
    before = settings_of(listed)
    assert "Doe" not in json.dumps(before)
    assert str(tmp_path) not in json.dumps(before)

    shutil.copytree(tmp_path / "a", tmp_path / "b")
    moved = Datalist(cases(tmp_path / "b", "Doe", "Roe"), cases(tmp_path / "b", "Poe"))
    assert changed_settings(before, settings_of(moved)) == []

    fewer = Datalist(listed.training[:1], listed.validation)
    lines = changed_settings(before, settings_of(fewer))
    assert [line.split(": ")[0] for line in lines] == [
        "training cases",
        "images of the training cases",
        "labels of the training cases",
    ]
    assert lines[0].startswith("training cases: 2 (sha256:")

    (tmp_path / "a" / "Poe").write_text("corrected")
    (line,) = changed_settings(before, settings_of(listed))
    assert line.startswith("labels of the validation cases: sha256:")

    before = settings_of(listed)
    (tmp_path / "a" / "Poe.image").write_text("another")
    (line,) = changed_settings(before, settings_of(listed))
    assert line.startswith("images of the validation cases: sha256:")

    other = replace(model(), fingerprint={"n_cases": 3})
    before = settings_of(moved)
    assert any(
        "fingerprint of the training cases" in line for line in changed_settings(before, settings_of(moved, other))
    )


def test_a_label_may_be_a_folder(tmp_path: Path) -> None:
    case = cases(tmp_path / "a", "Doe")[0] | {"label": str(tmp_path / "seg")}
    (tmp_path / "seg").mkdir()
    (tmp_path / "seg" / "1.dcm").write_bytes(b"one")
    before = settings_of(Datalist([case], [case]))
    (tmp_path / "seg" / "2.dcm").write_bytes(b"two")
    os.truncate(tmp_path / "seg" / "2.dcm", 10 << 40)  # sparse, and never read to its end
    lines = changed_settings(before, settings_of(Datalist([case], [case])))
    assert [line.split(": ")[0] for line in lines] == ["labels of the training cases", "labels of the validation cases"]


def test_first_weights_count_as_what_they_are(tmp_path: Path) -> None:
    """`auto` may have found ImageNet's, or none."""
    listed = Datalist([], [])
    assert changed_settings(settings_of(listed, source="imagenet"), settings_of(listed)) == [
        "--pretrained: imagenet before, scratch now"
    ]
    files = [tmp_path / "vgg.pth", tmp_path / "other" / "vgg.pth"]
    files[1].parent.mkdir()
    for file in files:
        file.write_bytes(file.parent.name.encode())
    first, second = (settings_of(listed, source="file:vgg.pth", pretrained=str(file)) for file in files)
    assert len(changed_settings(first, second)) == 1


def test_the_configuration_is_found_however_it_is_run(tmp_path: Path) -> None:
    config = {
        "imports": ["$import monai_vggunet"],
        "weight_decay": 0.1,
        "batch_size": "$2 * 4",
        "settings": {
            "_target_": "monai_vggunet.training.run_settings",
            "_requires_": ["@batch_size"],
            "datalist": "$monai_vggunet.data.Datalist([], [])",
            "spec": "$__import__('types').SimpleNamespace(fingerprint={})",
            "network": None,
        },
        "run": ["$@settings"],
    }
    (tmp_path / "train.json").write_text(json.dumps(config))
    workflow = ConfigWorkflow(str(tmp_path / "train.json"), logging_file=False, weight_decay=0.2)
    workflow.initialize()
    (settings,) = workflow.run()
    assert (settings["weight_decay"], settings["batch_size"]) == (0.2, 8)


def test_without_a_configuration_there_are_no_options() -> None:
    with pytest.raises(ConfigurationError, match="asked for outside of one: call it from one"):
        run_settings(Datalist([], []), model(), SimpleNamespace())  # type: ignore[arg-type]


def test_the_first_of_several_processes_reads_the_images_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    monkeypatch.setattr(idist, "broadcast", lambda digest, src, safe_mode: f"from {src}" if not digest else "read")
    assert _shared_content("nowhere") == "from 0"
