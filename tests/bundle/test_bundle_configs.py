"""The bundle's files: MONAI's own checks pass, and facts of MONAI the configs rely on still hold."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.networks.nets import FlexibleUNet

from monai_vggunet.data import is_on
from monai_vggunet.errors import refusal_behind
from monai_vggunet.training.run_settings import changed_settings, options_of

from .conftest import REPOSITORY, TINY, Run

CONFIGS = REPOSITORY / "bundle" / "configs"


def test_metadata_fit_the_model_zoos_schema(shared_data: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"  # a file that is there is not downloaded
    schema.write_bytes((shared_data / "meta_schema_20240725.json").read_bytes())
    verify_metadata(meta_file=str(CONFIGS / "metadata.json"), filepath=str(schema))


def test_the_schema_would_refuse_metadata_without_a_task(shared_data: Path, tmp_path: Path) -> None:
    schema, broken = tmp_path / "schema.json", tmp_path / "metadata.json"
    schema.write_bytes((shared_data / "meta_schema_20240725.json").read_bytes())
    content = json.loads((CONFIGS / "metadata.json").read_text())
    del content["task"]
    broken.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'task' is a required property"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


def parsed_training_config(**options: Any) -> ConfigParser:
    """The training config with a small network that is not planned from data."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.json"))
    network = {"_target_": "monai_vggunet.VGG16UNet", "decoder_channels": [8, 8, 8, 8]}
    rates = {"from_scratch": False, "encoder_lr": 1e-5, "decoder_lr": 1e-4}
    parser.update({"network_def": network, "train#dataset": None, "device": "cpu", **rates, **options})
    return parser


@pytest.mark.parametrize(
    ("options", "free"),
    [
        ({}, {5: (), 6: (4,), 26: (0, 1, 2, 3, 4)}),
        ({"unfreeze_start": 1, "unfreeze_every": 2}, {1: (4,), 3: (3, 4)}),
        ({"unfreeze_direction": "shallow_first"}, {6: (0,), 11: (0, 1)}),
        ({"unfreeze_schedule": {"2": 1, "3": 5}}, {1: (), 2: (4,), 3: (0, 1, 2, 3, 4)}),
        ({"unfreeze_schedule": {2: 1, 3: 5}}, {1: (), 2: (4,), 3: (0, 1, 2, 3, 4)}),
    ],
)
def test_options_of_unfreezing_reach_the_encoder(options: dict[str, Any], free: dict[int, tuple[int, ...]]) -> None:
    parser = parsed_training_config(**options)
    handler = parser.get_parsed_content("train#handlers#1")
    assert {epoch: handler.free_stages(epoch) for epoch in free} == free


def test_what_is_freed_later_moves_more_slowly_where_that_is_asked_for() -> None:
    parser = parsed_training_config(unfreeze_lr_decay=0.5)
    handler, optimizer = (parser.get_parsed_content(name) for name in ("train#handlers#1", "optimizer"))
    handler.apply(epoch=1)
    deepest, shallowest = (
        {p.data_ptr() for p in stage.parameters()}
        for stage in (handler.unet.encoder_stages()[-1], handler.unet.encoder_stages()[0])
    )
    rates = {p.data_ptr(): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[p] for p in deepest} == {1e-5}
    assert {rates[p] for p in shallowest} == {1e-5 * 0.5**4}


@pytest.mark.parametrize(
    "option",
    [{"unfreeze_start": 2}, {"unfreeze_schedule": {"6": 1}}, {"unfreeze_direction": "shallow_first"},
     {"unfreeze_lr_decay": 0.5}],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_options_of_unfreezing_make_another_run(option: dict[str, Any]) -> None:
    usual, changed = (options_of(parsed_training_config(**given).get()) for given in ({}, option))
    (line,) = changed_settings(usual, changed)
    assert line.startswith(f"--{next(iter(option))}: ")


def test_an_impossible_direction_of_unfreezing_is_refused() -> None:
    parser = parsed_training_config(unfreeze_direction="up")
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("train#handlers#1")
    assert "got direction='up', expected one of deep_first, shallow_first" in str(refusal_behind(caught.value))


def test_network_input_and_output_are_as_the_metadata_say_even_without_weights(tmp_path: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(CONFIGS / "metadata.json"),
        config_file=str(CONFIGS / "inference.json"),
        ckpt_dir=str(tmp_path),
        device="cpu",
        n=2,
        p=2,
    )


@pytest.mark.parametrize("configs", [["train.json"], ["train.json", "evaluate.json"], ["inference.json"]])
@pytest.mark.slow
def test_check_properties_finds_nothing_missing(trained: Run, configs: list[str], tmp_path: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / name) for name in configs],
        workflow_type="inference" if configs == ["inference.json"] else "train",
        logging_file=False,
        dataset_dir=str(trained.data),
        ckpt_dir=str(trained.folder / "models"),
        output_dir=str(tmp_path),
        **(TINY if configs == ["train.json"] else {}),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_initialize_builds_no_data_set(tmp_path: Path) -> None:
    """`monai.bundle.load` runs `initialize` on a machine without any data."""
    for name in ("train.json", "inference.json"):
        missing = str(tmp_path / "nowhere")
        ConfigWorkflow(config_file=str(CONFIGS / name), logging_file=False, dataset_dir=missing).initialize()


def test_training_and_run_are_the_same_expressions() -> None:
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.json"))
    parser.resolve_macro_and_relative_ids()
    assert parser.get("run") == parser.get("training")


def test_several_processes_begin_with_the_network_that_one_begins_with() -> None:
    """With the model of `--start_from`, where one is named."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", "multi_gpu_train.json")])
    alone = ConfigParser()
    alone.read_config(str(CONFIGS / "train.json"))
    assert parser["network#module"] == alone["network"]
    assert parser["network_def#model"] == "@start_from"


def test_configs_stay_declarations_of_a_readable_size() -> None:
    limits = {"train.json": 199, "multi_gpu_train.json": 30, "inference.json": 90, "evaluate.json": 50}
    for name, limit in limits.items():
        assert len((CONFIGS / name).read_text().splitlines()) <= limit, name


def expressions(config: Any) -> Iterator[str]:
    """Every `$` expression of a config."""
    if isinstance(config, (dict, list)):
        for item in config.values() if isinstance(config, dict) else config:
            yield from expressions(item)
    elif isinstance(config, str) and config.startswith("$") and not config.startswith("$import"):
        yield config[1:].replace("@", "").replace("#", "_")


def test_training_config_holds_no_algorithm_in_a_string() -> None:
    """What chooses, repeats or defines is a named function, with a docstring and a test."""
    config = json.loads((CONFIGS / "train.json").read_text())
    del config["device"]  # the line that every bundle has
    for text in expressions(config):
        found = {type(node) for node in ast.walk(ast.parse(text, mode="eval"))}
        assert not found & {ast.IfExp, ast.Lambda, ast.ListComp, ast.DictComp, ast.GeneratorExp}, text


@pytest.mark.parametrize(
    ("config", "option", "where"),
    [
        ("train.json", "show_bar", "train#dataset#progress"),
        ("evaluate.json", "save_masks", "save#_disabled_"),
        ("inference.json", "dicom_seg", "postprocessing#transforms#3#_disabled_"),
    ],
)
def test_switches_of_the_configs_understand_words(config: str, option: str, where: str) -> None:
    parser = ConfigParser({"imports": ["$import monai_vggunet"]})
    parser.read_config([str(CONFIGS / "train.json"), str(CONFIGS / config)])
    if config == "inference.json":
        parser.read_config(str(CONFIGS / config))
    words = [False, "false", "no", "0", True, "true"]
    found = []
    for word in words:
        parser[option] = word
        parser["found"] = f"$bool({parser[where][1:]})"
        found.append(parser.get_parsed_content("found", lazy=False))
    assert found == [where.endswith("_disabled_") != is_on(word, option) for word in words]


def test_train_handlers_are_a_literal_list() -> None:
    """MONAI Label inserts its own handler at index 0."""
    assert isinstance(json.loads((CONFIGS / "train.json").read_text())["train"]["handlers"], list)


def test_monai_finds_the_network_by_its_short_name() -> None:
    parser = ConfigParser({"imports": ["$import monai_vggunet.networks"], "net": {"_target_": "VGG16UNet"}})
    parser.parse()
    parser.get_parsed_content("imports")
    assert type(parser.get_parsed_content("net")).__module__.startswith("monai_vggunet")


def test_flexible_unet_takes_the_registered_backbone() -> None:
    import monai_vggunet.networks  # noqa: F401 registers it

    network = FlexibleUNet(in_channels=3, out_channels=2, backbone="vgg16_bn", pretrained=False).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)


@pytest.mark.parametrize(("modality", "n_guidance", "share"), [("MR", 3, 0.3), ("CT", 3, 0.0), ("MR", 0, None)])
def test_clicks_are_simulated_where_the_model_takes_them_and_shaded_on_mr(
    modality: str, n_guidance: int, share: float | None
) -> None:
    """Brightness means nothing in MR; in CT it is the tissue."""
    config = ConfigParser({"update": json.loads((CONFIGS / "train.json").read_text())["train"]["trainer"]})
    preprocessing = SimpleNamespace(modality=modality, n_guidance=n_guidance)
    config["model_spec"] = SimpleNamespace(class_names=["background", "a", "b"], preprocessing=preprocessing)
    config["imports"] = ["$import monai_vggunet"]
    simulation = config.get_parsed_content("update#iteration_update", eval_expr=True)
    assert (simulation.shaded_share if simulation else None) == share
