"""Codes of classes: from dataset.json through the plan into model.json and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from phantoms import write_case

from monai_vggunet.data import ModelSpec, Preprocessing, load_datalist, load_model_spec
from monai_vggunet.data.class_codes import resolve_class_codes
from monai_vggunet.errors import ConfigurationError, ModelMismatchError

NAMES = ["background", "liver", "tumor"]
LIVER = {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}


def test_names_of_snomed_are_looked_up_and_written_out() -> None:
    stated = {"liver": "Liver", "tumor": {"type": "Neoplasm", "category": "MorphologicallyAbnormalStructure"}}
    found = resolve_class_codes(stated, NAMES)
    assert found["liver"] == LIVER
    assert found["tumor"]["value"] == "108369006"
    assert found["tumor"]["category"]["value"] == "49755003"
    assert resolve_class_codes(found, NAMES) == found, "what is written out stays as it is"


def test_codes_of_other_schemes_are_taken_as_they_are() -> None:
    code = {
        "scheme": "99MINE",
        "value": "T1",
        "meaning": "my tumor",
        "modifier": {"value": "7771000", "meaning": "Left"},
    }
    found = resolve_class_codes({"tumor": code}, NAMES)["tumor"]
    assert found == {**code, "modifier": {"scheme": "SCT", "value": "7771000", "meaning": "Left"}}


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"liver": "Lver"}, "'Lver' of class 'liver' is not a name in pydicom's dictionary"),
        ({"spleen": "Spleen"}, r"class codes name \['spleen'\], but the classes are \['liver', 'tumor'\]"),
        ({"liver": {"value": "1"}}, "has no meaning of fitting length"),
        ({"liver": {"value": "1" * 17, "meaning": "long"}}, "has no value of fitting length"),
        ({"liver": 3}, "the code of class 'liver' is 3"),
        ({"liver": {"colour": "red"}}, "the code of class 'liver' is"),
        (["Liver"], "expected an object with a code per class name"),
    ],
)
def test_what_is_no_code_is_refused(stated: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        resolve_class_codes(stated, NAMES)


def test_a_data_sets_codes_reach_the_datalist(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    content: dict[str, Any] = {"labels": {str(n): name for n, name in enumerate(NAMES)}, "codes": {"liver": "Liver"}}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "training": [case]}))
    assert load_datalist(tmp_path).class_codes == {"liver": LIVER}
    content["codes"] = {"spleen": "Spleen"}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "training": [case]}))
    with pytest.raises(ConfigurationError, match=r"class codes name \['spleen'\]"):
        load_datalist(tmp_path)


def test_model_json_keeps_codes_and_may_lack_them(tmp_path: Path) -> None:
    network = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3}
    prep = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(32, 32), windows=((-100.0, 100.0),)
    )
    ModelSpec(network, prep, NAMES, {"liver": LIVER}).write(tmp_path / "model.json")
    assert load_model_spec(tmp_path / "model.json").class_codes == {"liver": LIVER}
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**content, "class_codes": {"liver": "Liver"}}))
    assert load_model_spec(tmp_path / "model.json").class_codes == {"liver": LIVER}
    del content["class_codes"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert load_model_spec(tmp_path / "model.json").class_codes == {}
    (tmp_path / "model.json").write_text(json.dumps({**content, "class_codes": {"liver": "Lver"}}))
    with pytest.raises(ModelMismatchError, match="'Lver' of class 'liver'"):
        load_model_spec(tmp_path / "model.json")
