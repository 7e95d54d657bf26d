from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.errors import ConfigurationError, ModelMismatchError

PREPROCESSING = Preprocessing(
    modality="CT", plane="coronal", spacing_mm=(0.7, 0.9), roi_size=(96, 128), windows=((-160.0, 240.0),)
)


def spec_of(**changes: Any) -> ModelSpec:
    network = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "decoder_channels": [256, 128, 64, 32]}
    return replace(
        ModelSpec(network, PREPROCESSING, ["background", "liver", "Milz"], fingerprint={"n_cases": 4}), **changes
    )


def saved_content(path: Path) -> dict[str, Any]:
    spec_of().write(path)
    return json.loads(path.read_text())


def test_saved_specification_reads_back_equal(tmp_path: Path) -> None:
    spec = spec_of(
        class_codes={"liver": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}}, pretrained="imagenet"
    )
    spec.write(tmp_path / "model.json")
    read = load_model_spec(tmp_path / "model.json")
    assert read == spec
    assert isinstance(read.preprocessing.windows[0], tuple)
    assert read.digest == spec.digest


def test_versions_of_the_software_are_recorded() -> None:
    versions = spec_of().versions
    assert {"monai_vggunet", "monai", "torch", "numpy"} <= set(versions)
    assert all(versions.values())


def test_weights_that_belong_to_it_are_accepted(tmp_path: Path) -> None:
    weights, former = tmp_path / "model.pt", tmp_path / "former.pt"
    weights.write_bytes(b"now")
    former.write_bytes(b"before")
    spec = spec_of(weights_sha256=sha256_of_file(weights), accepted_sha256=[sha256_of_file(former)])
    spec.require_weights(weights)
    spec.require_weights(former)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"others")
    with pytest.raises(ModelMismatchError, match=r"is not the model that its model\.json describes \(0000"):
        spec_of(weights_sha256="0" * 64).require_weights(tmp_path / "model.pt")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatchError, match=r"there is no model at .*model\.pt"):
        spec_of().require_weights(tmp_path / "model.pt")


def test_missing_specification_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatchError, match=r"model\.json is missing: a model\.pt is used together with"):
        load_model_spec(tmp_path / "model.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"preprocessing": 3}', '{"preprocessing": {}, "network": {}, "class_names": []}'],
)
def test_garbled_specification_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelMismatchError, match=r"is not a model\.json of this version"):
        load_model_spec(tmp_path / "model.json")


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ModelMismatchError, match=r"is not a model\.json of this version"):
        load_model_spec(tmp_path / "model.json")


def test_specification_of_another_version_is_an_error(tmp_path: Path) -> None:
    content = saved_content(tmp_path / "model.json")
    content["preprocessing"]["sharpness"] = 1
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelMismatchError, match=r"sharpness.*Train again, or use the version"):
        load_model_spec(tmp_path / "model.json")


def test_specification_from_before_versions_is_read(tmp_path: Path) -> None:
    content = saved_content(tmp_path / "model.json")
    assert content.pop("format_version") == ModelSpec.FORMAT
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert ModelSpec.read(tmp_path / "model.json") == spec_of()


@pytest.mark.parametrize("version", [2, 0, True, "1", None, 10**100])
def test_specification_of_a_later_form_is_refused_before_its_fields_are(tmp_path: Path, version: Any) -> None:
    content = saved_content(tmp_path / "model.json") | {"format_version": version, "later": 1}
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelMismatchError, match=r"format_version is .*(a later one wrote|expected a whole)"):
        ModelSpec.read(tmp_path / "model.json")


def test_the_same_specification_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        spec_of().write(tmp_path / f"{name}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("preprocessing", "n_neighbors", 5, "3 input and 3 output channels.* need 5 and 3"),
        ("network", "out_channels", 7, "3 input and 7 output channels.* need 3 and 3"),
    ],
)
def test_specification_that_contradicts_itself_is_an_error(
    tmp_path: Path, part: str, name: str, value: int, message: str
) -> None:
    content = saved_content(tmp_path / "model.json")
    content[part][name] = value
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelMismatchError, match=message):
        load_model_spec(tmp_path / "model.json")


def test_bundles_metadata_stand_in_for_a_model_that_is_not_trained_yet(tmp_path: Path, repository: Path) -> None:
    metadata = json.loads((repository / "bundle" / "configs" / "metadata.json").read_text())
    spec = load_model_spec(tmp_path / "model.json", template=metadata)
    formats = metadata["network_data_format"]
    assert spec.network["in_channels"] == formats["inputs"]["image"]["num_channels"] == spec.preprocessing.in_channels
    assert spec.network["out_channels"] == formats["outputs"]["pred"]["num_channels"] == len(spec.class_names)
    (tmp_path / "model.pt").write_bytes(b"any")
    with pytest.raises(ModelMismatchError, match="a template without weights"):
        spec.require_weights(tmp_path / "model.pt")


def test_class_names_of_a_template_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = {str(number): f"organ {number}" for number in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
    formats = {
        "inputs": {"image": {"num_channels": 3}},
        "outputs": {"pred": {"num_channels": 11, "channel_def": names}},
    }
    spec = load_model_spec(tmp_path / "model.json", template={"network_data_format": formats})
    assert spec.class_names == [f"organ {number}" for number in range(11)]


def test_a_file_that_is_there_wins_over_the_template(tmp_path: Path) -> None:
    spec_of().write(tmp_path / "model.json")
    assert load_model_spec(tmp_path / "model.json", template={}) == spec_of()


@pytest.mark.parametrize(
    "other",
    [
        {"network": {"in_channels": 3, "out_channels": 3}},
        {"preprocessing": replace(PREPROCESSING, windows=((-100.0, 240.0),))},
        {"class_names": ["background", "spleen", "Milz"]},
    ],
    ids=["network", "preprocessing", "classes"],
)
def test_digest_changes_with_what_defines_the_model(other: dict[str, Any]) -> None:
    assert spec_of(**other).digest != spec_of().digest


def test_digest_does_not_change_with_weights_or_versions() -> None:
    assert spec_of(weights_sha256="1" * 64, versions={}, fingerprint={}).digest == spec_of().digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": "gray"}, "channels is 'gray'; expected one of window, windows, neighbors, color"),
        ({"plane": "oblique"}, "plane is 'oblique'; expected one of axial, coronal, sagittal, picture"),
        ({"n_neighbors": 2}, "n_neighbors is 2; expected an odd number"),
        ({"n_neighbors": -1}, "n_neighbors is -1; expected an odd number"),
        ({"windows": ()}, "windows are .*; expected pairs"),
        ({"windows": ((240.0, -160.0),)}, "windows are .* with low < high"),
        ({"roi_size": (96, 100)}, "roi_size is .*; expected two multiples of 16"),
        ({"roi_size": (0, 96)}, "roi_size is .*; expected two multiples of 16"),
        ({"spacing_mm": (0.0, 1.0)}, "spacing_mm is .*; expected two positive lengths"),
        ({"spacing_mm": (float("nan"), 1.0)}, "spacing_mm is .*; expected two positive lengths"),
        ({"sharpness": 1}, r"cannot override \['sharpness'\]; preprocessing has"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PREPROCESSING.overridden(change)


def test_override_replaces_values_and_makes_tuples_of_lists() -> None:
    changed = PREPROCESSING.overridden({"windows": [[0, 1], [2, 3]], "channels": "windows"})
    assert changed.windows == ((0, 1), (2, 3))
    assert changed.spacing_mm == PREPROCESSING.spacing_mm
    assert PREPROCESSING.overridden(None) == PREPROCESSING


@pytest.mark.parametrize(
    ("change", "channels"),
    [
        ({"channels": "window"}, 3),
        ({"channels": "windows", "windows": ((0, 1), (0, 2))}, 2),
        ({"channels": "neighbors", "n_neighbors": 5}, 5),
        ({"channels": "neighbors", "windows": ((0, 1), (0, 2))}, 6),
        ({"channels": "color", "image_channels": 3}, 3),
    ],
)
def test_input_channels_follow_from_the_mode(change: dict[str, Any], channels: int) -> None:
    assert PREPROCESSING.overridden(change).in_channels == channels
