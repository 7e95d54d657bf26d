"""Which cases a model is judged on: those it was not trained on, or all."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from dataset_phantoms import described, names_of, pairs, touch
from dicom_phantoms import write_series

from monai_vggunet.data import Datalist, annotated_cases, evaluation_datalist, load_datalist
from monai_vggunet.errors import ConfigurationError, DatasetError


def test_cases_of_the_training_run_are_left_out_unless_held_out(tmp_path: Path) -> None:
    pairs(tmp_path, *"abcde")
    datalist = load_datalist(tmp_path)
    datalist.write(tmp_path / "datalist.json")
    unseen = evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    assert unseen.validation == unseen.training == datalist.validation
    assert names_of(evaluation_datalist(tmp_path, tmp_path / "datalist.json", "all").validation) == list("abcde")


@pytest.mark.parametrize("output", [".", "images", "labels"])
def test_masks_are_not_written_among_what_is_judged(tmp_path: Path, output: str) -> None:
    """`OUT/<case>` would be the folder of a series, or of its label."""
    write_series(tmp_path / "images" / "a")
    touch(tmp_path / "labels" / "a" / "seg.dcm")
    with pytest.raises(ConfigurationError, match=r"is the input|where an input lies"):
        evaluation_datalist(tmp_path, tmp_path / "absent.json", output_dir=tmp_path / output)
    evaluation_datalist(tmp_path, tmp_path / "absent.json", output_dir=tmp_path / "eval")


def test_model_from_elsewhere_is_judged_on_every_case(tmp_path: Path) -> None:
    described(tmp_path, labels={"0": "background", "1": "liver"})
    datalist = evaluation_datalist(tmp_path, tmp_path / "absent.json")
    assert names_of(datalist.validation) == ["a", "b"]
    assert datalist.class_names == ["background", "liver"]


def test_model_validated_on_its_own_cases_is_judged_on_them_only_if_asked_for(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    load_datalist(tmp_path).write(tmp_path / "datalist.json")
    with pytest.raises(DatasetError, match=r"trained on all 1 cases of .* or --split all"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    judged = evaluation_datalist(tmp_path, tmp_path / "datalist.json", "all")
    assert names_of(judged.validation) == judged.trained == ["a"]


def test_data_set_whose_cases_were_all_trained_on_is_an_error(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    Datalist(annotated_cases(tmp_path)[0], []).write(tmp_path / "datalist.json")
    with pytest.raises(DatasetError, match=r"trained on all 2 cases of .* or --split all"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")


def test_unknown_choice_of_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="split is 'test'; expected 'unseen' or 'all'"):
        evaluation_datalist(pairs(tmp_path, "a"), tmp_path / "absent.json", "test")


@pytest.mark.parametrize("text", ["{", "[]", '{"training": []}', '{"training": [1], "validation": []}'])
def test_garbled_split_is_an_error(tmp_path: Path, text: str) -> None:
    pairs(tmp_path, "a")
    (tmp_path / "datalist.json").write_text(text)
    with pytest.raises(DatasetError, match=r"datalist\.json is not a list of cases as training writes it"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")


def test_number_of_judged_cases_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_datalist(pairs(tmp_path, "a", "b")).write(tmp_path / "datalist.json")
    evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    assert "evaluating 1 case, without the 1 that the model was trained on, or on whose patients" in caplog.text


def test_without_the_list_of_the_training_run_nothing_is_claimed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    judged = evaluation_datalist(pairs(tmp_path, "a", "b"), tmp_path / "absent.json")
    assert not judged.all_trained_known
    assert "it is not known which cases the model was trained on: there is no" in caplog.text
    assert caplog.messages[-1] == "evaluating 2 cases"
