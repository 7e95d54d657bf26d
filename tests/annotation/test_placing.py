"""The bundle as it is placed for MONAI Label: complete, and never at the expense of a model that is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from label_server import tiny_model
from monai.bundle import ConfigParser

from monai_vggunet.annotation.placing import place_app, place_bundle
from monai_vggunet.annotation.serve import main, server_command, server_environment
from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import ConfigurationError, ModelMismatchError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def test_the_placed_bundle_declares_volumes_and_this_models_classes(model: Path, tmp_path: Path) -> None:
    bundle = place_bundle(tmp_path, model, "organs")
    formats = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    assert len(formats["inputs"]["image"]["spatial_shape"]) == 3
    assert list(formats["outputs"]) == ["pred"]
    assert formats["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "liver", "2": "spleen"}


def test_exports_beside_the_model_go_with_it_under_its_new_name(model: Path, tmp_path: Path) -> None:
    source = tmp_path / "best.pt"
    for suffix in (".pt", ".json"):
        source.with_suffix(suffix).write_bytes(model.with_suffix(suffix).read_bytes())
    for name in ("best_int8.xml", "best_int8.bin", "best.onnx", "other.onnx"):
        (tmp_path / name).write_text(name)
    models = place_bundle(tmp_path / "app", source, "organs") / "models"
    names = {path.name for path in models.iterdir()}
    assert names == {"model.pt", "model.json", "model_int8.xml", "model_int8.bin", "model.onnx"}
    assert (models / "model_int8.bin").read_text() == "best_int8.bin"


def test_the_released_bundle_stays_two_dimensional(repository: Path) -> None:
    """The zoo's check of the network needs two sizes; only the placed copy says three."""
    formats = json.loads((repository / "bundle" / "configs" / "metadata.json").read_text())["network_data_format"]
    assert len(formats["inputs"]["image"]["spatial_shape"]) == 2


def test_every_reference_of_the_placed_configs_resolves(model: Path, tmp_path: Path) -> None:
    bundle = place_bundle(tmp_path, model)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.config["bundle_root"] = str(bundle)
    assert parser.get_parsed_content("postprocessing").transforms
    assert parser.get_parsed_content("network_def").out_channels == 3


def test_a_model_that_was_trained_further_is_kept(model: Path, tmp_path: Path) -> None:
    bundle = place_bundle(tmp_path / "app", model)
    other = tiny_model(tmp_path / "other", spacing_mm=(2.0, 2.0))
    place_bundle(tmp_path / "app", other)
    kept = load_model_spec(bundle / "models" / "model.json")
    assert kept.preprocessing.spacing_mm == (1.0, 1.0)
    kept.require_weights(bundle / "models" / "model.pt")


def test_files_that_do_not_belong_together_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"other weights")
    (tmp_path / "model.json").write_text(model.with_suffix(".json").read_text())
    with pytest.raises(ModelMismatchError, match="is not the model that its"):
        place_bundle(tmp_path / "app", tmp_path / "model.pt")
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "#1"])
def test_a_name_that_makes_no_folder_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="choose a plain word"):
        place_bundle(tmp_path, model, name)


def test_dcmqis_programs_are_there_so_that_nothing_is_downloaded(model: Path, tmp_path: Path) -> None:
    place_app(tmp_path, model)
    environment = server_environment(tmp_path)
    for program in ("itkimage2segimage", "segimage2itkimage"):
        found = subprocess.run(["which", program], env=environment, capture_output=True, text=True, check=True)
        assert Path(found.stdout.strip()) == (tmp_path / "bin" / program).resolve()
        assert os.access(tmp_path / "bin" / program, os.X_OK)


def test_the_server_listens_on_loopback_and_asks_no_one(model: Path, tmp_path: Path) -> None:
    command = server_command(tmp_path, "studies")
    assert command[command.index("--host") + 1] == "127.0.0.1"
    options = [tuple(command[i + 1 : i + 3]) for i, word in enumerate(command) if word == "--conf"]
    assert {("zoo_source", "local"), ("sam2", "false")} <= set(options)


def test_a_setting_made_outside_is_kept(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_app(tmp_path, model)
    assert json.loads(server_environment(tmp_path)["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"]) == {"Modality": "CT"}
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_SEARCH_FILTER", '{"Modality": "PT"}')
    assert server_environment(tmp_path)["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"] == '{"Modality": "PT"}'


def test_wrong_words_end_with_status_2_and_a_reason(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere"), "--model", str(model)]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main([str(tmp_path), "--model", str(tmp_path / "none.pt"), "--app", str(tmp_path / "app")]) == 2
    assert "is missing" in capsys.readouterr().err
