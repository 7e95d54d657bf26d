"""A data set as a list of cases: what its labels mean, its split by patient, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_phantoms import described, names_of, pairs, touch
from dicom_phantoms import PATIENT_ID, PATIENT_NAME, stored_values, write_series

from monai_vggunet.data import Datalist, evaluation_datalist, load_datalist
from monai_vggunet.errors import DatasetError


def test_decathlon_description_is_read(tmp_path: Path) -> None:
    described(tmp_path, labels={"0": "background", "2": "Posterior", "1": "Anterior"}, modality={"0": "MRI"})
    datalist = load_datalist(tmp_path)
    assert datalist.class_names == ["background", "Anterior", "Posterior"]
    assert datalist.modality == "MR"
    assert sorted(names_of(datalist.training + datalist.validation)) == ["a", "b"]
    assert Path(datalist.training[0]["image"]).is_file()


def test_nnunets_description_is_read(tmp_path: Path) -> None:
    described(tmp_path, labels={"background": 0, "liver": 1}, channel_names={"0": "CT"})
    datalist = load_datalist(tmp_path)
    assert datalist.class_names == ["background", "liver"]
    assert datalist.modality == "CT"


@pytest.mark.parametrize(
    ("stated", "modality"),
    [({"0": "T2w"}, "MR"), ({"0": "FLAIR"}, "MR"), ("ct", "CT"), ({"0": "PET"}, "PT"), (None, "")],
)
def test_modality_is_called_as_dicom_calls_it(tmp_path: Path, stated: Any, modality: str) -> None:
    assert load_datalist(described(tmp_path, modality=stated)).modality == modality


@pytest.mark.parametrize(
    ("content", "names", "segments"),
    [
        ({}, [], {}),
        ({"labels": {"0": "background", "1": "liver", "2": "spleen"}}, ["background", "liver", "spleen"],
         {"liver": 1, "spleen": 2}),
        ({"labels": {"background": 0, "liver": 1}}, ["background", "liver"], {"liver": 1}),
        ({"labels": {"0": "background", "1": "lung"}, "segments": {"Lung L": 1, "Lung R": 1, "Body": 0}},
         ["background", "lung"], {"Lung L": 1, "Lung R": 1, "Body": 0}),
        ({"segments": {"Tumor": 2, "Liver": 1, "Liver 2": 1}}, ["background", "Liver", "Tumor"],
         {"Tumor": 2, "Liver": 1, "Liver 2": 1}),
    ],
    ids=["nothing", "Decathlon", "nnU-Net", "both", "segments alone"],
)  # fmt: skip
def test_segments_are_stated_or_are_called_as_the_classes(
    tmp_path: Path, content: dict[str, Any], names: list[str], segments: dict[str, int]
) -> None:
    for datalist in (
        load_datalist(described(tmp_path, **content)),
        evaluation_datalist(tmp_path, tmp_path / "absent.json"),
    ):
        assert datalist.class_names == names
        assert datalist.segments == segments


def test_segments_are_given_by_the_numbers_that_labels_state(tmp_path: Path) -> None:
    labels = {"1": "necrosis", "4": "enhancing"}
    datalist = load_datalist(described(tmp_path, labels=labels, segments={"GTV": 4, "Necrosis": 1, "Body": 0}))
    assert datalist.segments == {"GTV": 2, "Necrosis": 1, "Body": 0}


@pytest.mark.parametrize(
    ("segments", "labels", "text"),
    [
        ({"Liver": "1"}, None, "expected an object with the name of a segment or structure and its class number"),
        (["Liver"], None, "expected an object with the name"),
        ({"Liver": True}, None, "expected an object with the name"),
        ({"Liver": -1}, None, "expected an object with the name"),
        ({"Liver": 1, " liver": 2}, None, r"names liver more than once .*: keep one entry of each"),
        ({"Liver": 1, "Spleen": 3}, None, r"gives the classes \[1, 3\]; expected 1, 2, \.\.\. without gaps"),
        ({"Liver": 1, "Spleen": 2}, {"0": "background", "1": "liver"}, r"'labels' names the classes 0 to 1: correct"),
        ({"Liver": 300}, None, "a label holds numbers up to 255"),
        (
            {"Liver": 2},
            {"1": "liver", "4": "spleen"},
            r"gives the classes \[2\], but 'labels' names the classes 0, 1, 4",
        ),
        ({"  ": 1}, None, "names a class '  '; expected 1 to 256 characters"),
        ({"Body": 0}, None, r"gives the classes \[\]"),
    ],
)
def test_segments_that_contradict_are_an_error(tmp_path: Path, segments: Any, labels: Any, text: str) -> None:
    content = {"segments": segments} | ({"labels": labels} if labels else {})
    with pytest.raises(DatasetError, match=text):
        load_datalist(described(tmp_path, **content))


def test_listed_validation_is_taken_as_it_is(tmp_path: Path) -> None:
    pairs(tmp_path, "c")
    described(tmp_path, validation=[{"image": "images/c.nii.gz", "label": "labels/c.nii.gz"}])
    datalist = load_datalist(tmp_path, val_fraction=0.5)
    assert names_of(datalist.training) == ["a", "b"]
    assert names_of(datalist.validation) == ["c"]
    assert all(set(case) == {"image", "label", "case", "patient"} for case in datalist.training + datalist.validation)


def test_listed_patients_are_kept_together_and_reported_when_on_both_sides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [
        {"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz", "patient": patient}
        for n, patient in (("a", "p1"), ("b", "p2"))
    ]
    described(tmp_path, training=entries[:1], validation=[{**entries[1], "patient": "p1"}])
    load_datalist(tmp_path)
    assert "list of dataset.json hold 1 patient" in caplog.text


def test_description_of_validation_cases_alone_is_an_error(tmp_path: Path) -> None:
    described(tmp_path, training=[], validation=[{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}])
    with pytest.raises(DatasetError, match="lists no training case"):
        load_datalist(tmp_path)


def test_split_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    pairs(tmp_path, *(f"case_{n}" for n in range(20)))
    first, again, other = (load_datalist(tmp_path, 0.25, seed) for seed in (3, 3, 4))
    assert first == again
    assert names_of(first.validation) != names_of(other.validation)
    assert len(first.validation) == 5
    assert sorted(names_of(first.training + first.validation)) == sorted(f"case_{n}" for n in range(20))


def test_series_of_one_patient_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(6):
        name = f"series_{number}"
        write_series(tmp_path / "images" / name, stored_values(2), PatientID=f"MRN-{number // 2}")
        touch(tmp_path / "labels" / f"{name}.nii.gz")
    for seed in range(4):
        datalist = load_datalist(tmp_path, 0.3, seed)
        sides = [{int(c["case"][-1]) // 2 for c in side} for side in (datalist.training, datalist.validation)]
        assert len(datalist.validation) == 2
        assert sides[0].isdisjoint(sides[1])


def test_single_patient_is_validated_on_itself_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datalist = load_datalist(pairs(tmp_path, "a"))
    assert names_of(datalist.training) == names_of(datalist.validation) == ["a"]
    assert "validating on the training cases themselves (1 patient," in caplog.text


@pytest.mark.parametrize("val_fraction", [0.01, 0.9, 0.999])
def test_both_sides_hold_a_patient_whatever_the_share(tmp_path: Path, val_fraction: float) -> None:
    datalist = load_datalist(pairs(tmp_path, "a", "b"), val_fraction)
    assert len(datalist.training) == len(datalist.validation) == 1


@pytest.mark.parametrize("val_fraction", [-0.1, 1.0, float("nan")])
def test_share_that_makes_no_sense_is_an_error(tmp_path: Path, val_fraction: float) -> None:
    with pytest.raises(DatasetError, match="expected a share from 0 up to"):
        load_datalist(pairs(tmp_path, "a", "b"), val_fraction)


def test_training_cases_can_be_limited_without_touching_validation(tmp_path: Path) -> None:
    pairs(tmp_path, *"abcdefghij")
    whole, few = load_datalist(tmp_path), load_datalist(tmp_path, max_training_cases=3)
    assert few.training == whole.training[:3]
    assert few.validation == whole.validation


def test_limit_of_no_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="max_training_cases is 0; expected at least 1"):
        load_datalist(pairs(tmp_path, "a", "b"), max_training_cases=0)


def test_saved_split_names_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "images" / "a", stored_values(2))
    touch(tmp_path / "labels" / "a.nii.gz")
    load_datalist(tmp_path).write(tmp_path / "out" / "datalist.json")
    text = (tmp_path / "out" / "datalist.json").read_text()
    assert PATIENT_ID not in text
    assert PATIENT_NAME not in text
    assert json.loads(text)["training"][0]["case"] == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "it is a list; expected an object"),
        ({"training": []}, "validation is missing"),
        (
            {"training": [{"image": 5, "label": "x"}], "validation": []},
            "training is a list; expected .* each text, with 'image'",
        ),
        (
            {"training": [{"image": "x"}], "validation": []},
            "training is a list; expected .* with 'image', 'label' and 'case'",
        ),
        (
            {"training": [], "validation": [], "segments": {"liver": 300}},
            "segments is an object; .* from 0 to 255",
        ),
        ({"training": [], "validation": [], "segments": {"liver": True}}, "segments is"),
        ({"training": [], "validation": [], "class_names": "ab"}, "class_names is text; expected a list"),
        ({"training": [], "validation": [], "surprise": 1}, "a name in it is unknown"),
        ({"format_version": 3, "training": [], "later": 1}, "format_version is 3; .* a later one wrote this"),
    ],
)
def test_a_list_of_another_kind_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=rf"is not a list of cases as training writes it \({message}"):
        Datalist.read(tmp_path / "datalist.json")


def test_a_list_from_before_versions_is_read(tmp_path: Path) -> None:
    datalist = load_datalist(pairs(tmp_path, "a", "b"))
    datalist.write(tmp_path / "datalist.json")
    content = json.loads((tmp_path / "datalist.json").read_text())
    assert content.pop("format_version") == 2
    for later in ("also_trained", "all_trained_known", "trained"):
        del content[later]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    assert Datalist.read(tmp_path / "datalist.json") == datalist
