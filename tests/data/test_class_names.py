"""Names of classes in `dataset.json`, with the value that each has in a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dataset_phantoms import described

from monai_vggunet.data import Datalist, load_datalist
from monai_vggunet.errors import DatasetError


@pytest.mark.parametrize(
    ("labels", "names", "values"),
    [
        ({"0": "background", "255": "tumor"}, ["background", "tumor"], "0 255"),
        (
            {"1": "necrosis", "4": "enhancing", "2": "edema"},
            ["background", "necrosis", "edema", "enhancing"],
            "0 1 2 4",
        ),
        ({"background": 0, "tumor": 255}, ["background", "tumor"], "0 255"),
        ({"1": "Background", "2": "lesion", "3": "rim"}, ["Background", "lesion", "rim"], "1 2 3"),
        ({"-1": "lesion"}, ["background", "lesion"], "0 -1"),
        ({"0": "air", "1": "liver"}, ["air", "liver"], "0 1"),
    ],
)
def test_numbers_of_classes_may_have_gaps(tmp_path: Path, labels: Any, names: list[str], values: str) -> None:
    datalist = load_datalist(described(tmp_path, labels=labels))
    assert datalist.class_names == names
    assert {case["label_values"] for case in datalist.training} == {values}
    datalist.write(tmp_path / "datalist.json")
    assert Datalist.read(tmp_path / "datalist.json") == datalist


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"liver": [1, 2], "background": 0}, "with a whole number for each class"),
        ({"0": "background", "1": None}, "with a whole number for each class"),
        ({"0": "background", "1.0": "liver"}, "with a whole number for each class"),
        ({"0": "background", "²": "liver"}, "with a whole number for each class"),
        ({"background": 0, "liver": True}, "with a whole number for each class"),
        (["background", "liver"], "'labels' .* expected an object"),
        ({"background": 0, "liver": 1, "spleen": 1}, "gives several names to 1; expected one name for each number"),
        ({"0": "background", "1": "liver", "01": "spleen"}, "gives several names to 1; expected one name"),
        ({"0": "background", "1": "liver", "2": "liver"}, r"names several classes alike, \['liver', 'liver'\]"),
        ({"0": "background", "1": "Liver", "2": " liver"}, r"names several classes alike, \['Liver', ' liver'\]"),
        ({"0": "background", "1": "left  lung", "2": "Left Lung "}, "names several classes alike"),
        ({"0": "background", "1": "Background"}, "names several classes alike"),
        ({"0": "background", "1": ""}, "names a class ''; expected 1 to 256 characters"),
        ({"0": "background", "1": " \t"}, "names a class .*; expected 1 to 256 characters, not blanks alone"),
        ({"0": "", "1": "liver"}, "names a class ''; expected 1 to 256 characters"),
        ({"0": "background", "1": "x" * 257}, "expected 1 to 256 characters"),
        ({"0": "background", "9999999999": "liver"}, "with numbers of up to 2147483647"),
        ({str(number): f"class {number}" for number in range(300)}, "names 300 classes .* at most 256"),
    ],
)
def test_labels_of_another_form_are_an_error(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_datalist(described(tmp_path, labels=labels))
