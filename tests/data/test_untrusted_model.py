"""A `model.json` that anyone may have written: refused by name, at once, and nothing is read, built or downloaded."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import write_tiny_model

from monai_vggunet.data import load_model_spec
from monai_vggunet.data.model_limits import require_honest
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.networks import VGG16UNet, pretrained
from monai_vggunet.segment.segmenter import Segmenter


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of an honest model whose network must not be built, nor weights be looked for."""
    for name in ("model.pt", "model.json"):
        (tmp_path / name).write_bytes((honest.parent / name).read_bytes())
    monkeypatch.setattr(VGG16UNet, "__init__", lambda *_, **__: pytest.fail("a network was built"))
    monkeypatch.setattr(pretrained, "_imagenet_file", lambda *_: pytest.fail("weights were looked for"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("weights were read"))
    return tmp_path / "model.pt"


def changed(model: Path, place: str, value: Any) -> None:
    """Set what stands at `network.in_channels` or so; None removes it."""
    file = model.with_suffix(".json")
    content = json.loads(file.read_text())
    *way, last = place.split(".")
    part = content
    for name in way:
        part = part[name]
    if value is None:
        del part[last]
    else:
        part[last] = value
    file.write_text(json.dumps(content))


LONG = "x" * 5000
CASES = [
    ("network.pretrained", True, "network.pretrained is unknown; expected only spatial_dims, in_channels,"),
    ("network.pretrained", "/etc/passwd", "network.pretrained is unknown"),
    ("network.pretrained_stages", 1, "network.pretrained_stages is unknown"),
    ("network._target_", "os.system", "network._target_ is unknown"),
    ("network", [1], r"network is \[1\]; expected an object"),
    ("network.spatial_dims", 3, "network.spatial_dims is 3; expected 2"),
    ("network.spatial_dims", 2.0, "network.spatial_dims is 2.0; expected 2"),
    ("network.in_channels", True, "network.in_channels is True; expected a whole number from 1 to 512"),
    ("network.in_channels", "3", "network.in_channels is '3'; expected a whole number"),
    ("network.in_channels", 0, "network.in_channels is 0; expected"),
    ("network.in_channels", 10**9, "network.in_channels is 1000000000; expected"),
    ("network.in_channels", None, "network.in_channels is missing; expected a whole number"),
    ("network.out_channels", 10**30, "network.out_channels is 10+; expected a whole number from 1 to 256"),
    ("network.batch_norm", 1, "network.batch_norm is 1; expected true or false"),
    ("network.batch_norm", "false", "network.batch_norm is 'false'; expected"),
    ("network.decoder_channels", [16, 16, 8], r"decoder_channels is \[16, 16, 8\]; expected a list of 4"),
    ("network.decoder_channels", [16, 16, 8, 8, 8], "decoder_channels is .*; expected a list of 4"),
    ("network.decoder_channels", [10**6, 16, 8, 8], "decoder_channels .* each a whole number from 1 to 1024"),
    ("network.decoder_channels", [16, 16, 8, True], "decoder_channels .* each a whole number"),
    ("network.decoder_channels", 5, "network.decoder_channels is 5; expected"),
    ("network.upsample", "eval", "network.upsample is 'eval'; expected 'deconv' or 'bilinear'"),
    ("network.upsample", ["deconv"], "network.upsample is .*; expected"),
    ("network.dropout", 1, "network.dropout is 1; expected a number from 0 to 1, not 1"),
    ("network.dropout", -0.1, "network.dropout is -0.1; expected"),
    ("preprocessing.sharpness", 1, "preprocessing.sharpness is unknown"),
    ("preprocessing.modality", "", "preprocessing.modality is ''; expected text of 1 to 256"),
    ("preprocessing.modality", 5, "preprocessing.modality is 5; expected text"),
    ("preprocessing.modality", "C\u0007T", "preprocessing.modality is .*; expected text"),
    ("preprocessing.plane", "oblique", "preprocessing.plane is 'oblique'; expected 'axial' or"),
    ("preprocessing.plane", {}, "preprocessing.plane is {}; expected"),
    ("preprocessing.spacing_mm", [1], r"preprocessing.spacing_mm is \[1\]; expected a list of 2"),
    ("preprocessing.spacing_mm", [1e-9, 1], "preprocessing.spacing_mm is .* each a number from 1e-06 to 50"),
    ("preprocessing.spacing_mm", [0, 1], "preprocessing.spacing_mm is .* each a number from 1e-06 to 50"),
    ("preprocessing.spacing_mm", [-1, 1], "preprocessing.spacing_mm is .* each a number"),
    ("preprocessing.spacing_mm", [1e308, 1], "preprocessing.spacing_mm is .* each a number"),
    ("preprocessing.spacing_mm", "11", "preprocessing.spacing_mm is '11'; expected a list"),
    ("preprocessing.roi_size", [1 << 20, 16], "preprocessing.roi_size is .* from 16 to 4096, a multiple of 16"),
    ("preprocessing.roi_size", [33, 16], "preprocessing.roi_size is .* a multiple of 16"),
    ("preprocessing.roi_size", [32.0, 32], "preprocessing.roi_size is"),
    ("preprocessing.windows", [], r"preprocessing.windows is \[\]; expected a list of 1 to 16"),
    ("preprocessing.windows", [[0, 1]] * 1000, "preprocessing.windows is .*; expected a list of 1 to 16"),
    ("preprocessing.windows", [[5, 5]], "preprocessing.windows is .* the first below the second"),
    ("preprocessing.windows", [[0, 1e-320]], "preprocessing.windows is .* the first below the second"),
    ("preprocessing.windows", [[0, 1e300]], "preprocessing.windows is"),
    ("preprocessing.windows", [[0, 1, 2]], "preprocessing.windows is"),
    ("preprocessing.channels", "rgb", "preprocessing.channels is 'rgb'; expected 'window' or"),
    ("preprocessing.n_neighbors", 2, "preprocessing.n_neighbors is 2; expected a whole number from 1 to 31, odd"),
    ("preprocessing.n_neighbors", 10**9 + 1, "preprocessing.n_neighbors is 1000000001; expected"),
    ("preprocessing.n_neighbors", 3.5, "preprocessing.n_neighbors is 3.5; expected"),
    ("preprocessing.image_channels", 10**6, "preprocessing.image_channels is 1000000; expected"),
    ("preprocessing.n_guidance", -1, "preprocessing.n_guidance is -1; expected"),
    ("class_names", ["a"] * 3, r"class_names is \['a', 'a', 'a'\]; expected .* no two alike"),
    ("class_names", [str(k) for k in range(300)], "class_names is .* expected a list of 1 to 256"),
    ("class_names", ["background", "", "x"], "class_names is .* each text of 1 to 256 characters"),
    ("class_names", ["background", LONG, "x"], "class_names is .* each text of 1 to 256 characters"),
    ("class_names", ["background", "li\x1b[2Jver", "x"], "class_names is .* without control characters"),
    ("class_names", ["background", "\ud800", "x"], "class_names is .* without control characters"),
    ("class_names", ["background", 5, "x"], "class_names is"),
    ("class_names", "abc", "class_names is 'abc'; expected a list"),
    ("class_codes", {"lung": "Lung"}, r"class codes name \['lung'\]"),
    ("class_codes", {"liver": "os"}, "is not a name in pydicom's dictionary"),
    ("class_codes", {"liver": {"value": "1", "meaning": "x\x1b[2J"}}, "no meaning of fitting length and characters"),
    ("class_codes", {"liver": ["x" * 100_000]}, "the code of class 'liver' is"),
    ("class_codes", {"liver": LONG}, r"the code 'x{20,30}\.\.\.x{20,30}' of class 'liver' is not a name"),
    ("class_codes", {"liver": {"value": LONG, "meaning": LONG}}, r"the code .{1,200} of class 'liver' has no value"),
    ("class_codes", {LONG: "Liver"}, r"class codes name \['x{20,30}\.\.\.x{20,30}'\]"),
    ("class_codes", {"liver": "dir"}, "is not a name in pydicom's dictionary"),
    ("class_codes", {"liver": "__class__"}, "is not a name in pydicom's dictionary"),
    ("class_codes", {"liver": {"type": ["x"]}}, "is not a name in pydicom's dictionary"),
    ("class_codes", [1], r"class_codes is \[1\]; expected an object"),
    ("fingerprint", 5, "fingerprint is 5; expected an object"),
    ("fingerprint.n_cases", "many", "fingerprint.n_cases is 'many'; expected a whole number"),
    ("fingerprint.secret", 1, "fingerprint.secret is unknown"),
    ("fingerprint.foreground_percentiles", [1, 2], "fingerprint.foreground_percentiles is"),
    ("fingerprint.class_volumes_ml", [["a"]], "fingerprint.class_volumes_ml is"),
    ("fingerprint.slice_spacing_mm", [1], "fingerprint.slice_spacing_mm is"),
    ("pretrained", 5, "pretrained is 5; expected text"),
    ("weights_sha256", "zz", "weights_sha256 is 'zz'; expected 64 hexadecimal digits, or nothing"),
    ("weights_sha256", "A" * 64, "weights_sha256 is .* hexadecimal"),
    ("weights_sha256", 5, "weights_sha256 is 5; expected"),
    ("accepted_sha256", ["0" * 64] * 1000, "accepted_sha256 is .* expected a list of 0 to 8"),
    ("accepted_sha256", "0" * 64, "accepted_sha256 is .* expected a list"),
    ("versions", {"torch": 2}, "versions is .* expected an object of up to 64, each text"),
    ("versions", [], r"versions is \[\]; expected"),
    ("surprise", 1, "surprise is unknown; expected only network, preprocessing,"),
    ("preprocessing", None, "preprocessing is missing; expected an object"),
]


@pytest.mark.parametrize(
    ("place", "value", "message"), CASES, ids=[f"{place} {k}" for k, (place, *_) in enumerate(CASES)]
)
def test_what_no_training_writes_is_refused_by_name(model: Path, place: str, value: Any, message: str) -> None:
    changed(model, place, value)
    for load in (lambda: load_model_spec(model.with_suffix(".json")), lambda: Segmenter(model)):
        with pytest.raises(ModelMismatchError, match=message) as caught:
            load()
        assert "Train again, or use the version of monai-vggunet that wrote it" in str(caught.value)
        assert len(str(caught.value)) < 1500


ODD = [None, True, -1, 0.5, 1e308, 10**30, "", "\ud800", "dir", "__class__", LONG, [], {}, [[]], {"a": 1}, [1] * 999]


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every object and list within, with each of its names or numbers."""
    for name in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, name
        yield from places(content[name])


def test_whatever_is_changed_is_a_model_or_refused(model: Path) -> None:
    file, draw = model.with_suffix(".json"), random.Random(0)
    honest = file.read_text()
    texts = []
    for _ in range(500):
        content = json.loads(honest)
        content["class_codes"] = {"liver": {"value": "1", "meaning": "x", "category": {"value": "1", "meaning": "y"}}}
        part, name = draw.choice(list(places(content)))
        part[name] = draw.choice(ODD)
        if isinstance(part, dict) and draw.random() < 0.2:
            part[draw.choice(["pretrained", "_target_", LONG, "\n"])] = part.pop(name)
        file.write_text(json.dumps(content))
        try:
            load_model_spec(file)
        except ModelMismatchError as error:
            texts.append(str(error))
    assert 300 < len(texts) < 500
    assert max(map(len, texts)) < 1500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "it holds NaN"),
        ("1e400", "too large"),
        ("[" * 100_000, "nested too deeply"),
        ('{"network": {}, "network": {}}', "states a name twice"),
        ("1" * 5000, "digits"),
        (" " * (1 << 21), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_honest_json_is_refused(model: Path, text: str, message: str) -> None:
    model.with_suffix(".json").write_text(text)
    with pytest.raises(ModelMismatchError, match=message):
        Segmenter(model)


def test_window_of_several_windows_contradicts_itself(model: Path) -> None:
    changed(model, "preprocessing.channels", "window")
    changed(model, "preprocessing.windows", [[0, 1], [1, 2]])
    with pytest.raises(ModelMismatchError, match="contradicts itself: channels 'window' and 2 windows"):
        load_model_spec(model.with_suffix(".json"))


def test_weights_larger_than_any_network_are_not_hashed(model: Path) -> None:
    with model.open("r+b") as file:
        file.truncate(1 << 40)  # a sparse file: to hash it would take an hour
    with pytest.raises(ModelMismatchError, match="has 1,099,511,627,776 bytes; expected up to 1,073,741,824"):
        Segmenter(model)


@pytest.mark.parametrize(
    "metadata", [{}, {"network_data_format": 5}, {"network_data_format": {"inputs": {}, "outputs": {"pred": {}}}}]
)
def test_metadata_of_another_kind_stand_in_for_no_model(tmp_path: Path, metadata: dict[str, Any]) -> None:
    with pytest.raises(ModelMismatchError, match=r"metadata\.json describes no network of this package"):
        load_model_spec(tmp_path / "model.json", template=metadata)


def test_metadata_of_a_huge_network_stand_in_for_no_model(tmp_path: Path) -> None:
    pred = {"num_channels": 2, "channel_def": {"0": "background", "1": "liver"}}
    formats = {"inputs": {"image": {"num_channels": 10**9}}, "outputs": {"pred": pred}}
    with pytest.raises(ModelMismatchError, match=r"network\.in_channels is 1000000000; expected"):
        load_model_spec(tmp_path / "model.json", template={"network_data_format": formats})


def test_an_honest_model_is_read(honest: Path) -> None:
    assert load_model_spec(honest.with_suffix(".json")).class_names == ["background", "liver", "spleen"]


@pytest.mark.parametrize("content", [None, 5, [], "text"])
def test_what_is_no_object_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"it is .*; expected an object"):
        require_honest(content)
