"""The split of an annotation server's labeled cases: drawn once, then the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from label_server import tiny_model

from monai_vggunet.annotation import labeled_cases
from monai_vggunet.annotation.labeled_cases import study_name
from monai_vggunet.data import ModelSpec, load_model_spec
from monai_vggunet.errors import DatasetError


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return load_model_spec(tiny_model(tmp_path_factory.mktemp("model")).with_suffix(".json"))


def listed(*names: str) -> list[dict[str, str]]:
    return [{"image": f"/s/{name}.nii.gz", "label": f"/s/labels/final/{name}.nii.gz"} for name in names]


def test_validation_stays_the_same_when_cases_are_added(spec: ModelSpec, tmp_path: Path) -> None:
    split = tmp_path / "validation.json"
    before = labeled_cases([listed("a", "b", "c")], split, spec)
    after = labeled_cases([listed("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")], split, spec)
    assert [case["case"] for case in before.validation] == [case["case"] for case in after.validation]
    assert len(after.training) == 9
    assert not {c["case"] for c in after.training} & {c["case"] for c in after.validation}


def test_whatever_split_the_request_asks_for_ours_holds(spec: ModelSpec, tmp_path: Path) -> None:
    split = tmp_path / "validation.json"
    whole = labeled_cases([listed("a", "b", "c", "d"), []], split, spec)
    parted = labeled_cases([listed("c", "a"), listed("d", "b")], split, spec)
    assert {c["case"] for c in whole.validation} == {c["case"] for c in parted.validation}


def test_one_patients_studies_stay_together(spec: ModelSpec, tmp_path: Path) -> None:
    cases = [{**case, "patient": "p1"} for case in listed("a", "b")] + listed("c")
    split = labeled_cases([cases], tmp_path / "validation.json", spec)
    assert {c["patient"] for c in split.training}.isdisjoint({c["patient"] for c in split.validation})


def test_a_single_patient_draws_no_split_yet(spec: ModelSpec, tmp_path: Path) -> None:
    alone = labeled_cases([listed("a")], tmp_path / "validation.json", spec)
    assert alone.training == alone.validation
    assert not (tmp_path / "validation.json").exists()


def test_a_split_whose_studies_are_gone_is_drawn_again(spec: ModelSpec, tmp_path: Path) -> None:
    split = tmp_path / "validation.json"
    split.write_text(json.dumps({"patients": ["gone"]}))
    assert len(labeled_cases([listed("a", "b")], split, spec).validation) == 1


def test_no_label_at_all_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no study has a submitted label yet"):
        labeled_cases([[], []], tmp_path / "validation.json", spec)


def test_a_damaged_split_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "validation.json").write_text("[")
    with pytest.raises(DatasetError, match="no list of validation patients"):
        labeled_cases([listed("a", "b")], tmp_path / "validation.json", spec)


@pytest.mark.parametrize(
    ("image", "expected"),
    [("/s/ct.nii.gz", "ct"), ("/s/a.nii.b.nii", "a.nii.b"), ("/s/ct.NRRD", "ct"), ("/s/1.2.840.5", "1.2.840.5")],
)
def test_a_study_is_called_as_its_file_without_the_ending(image: str, expected: str) -> None:
    assert study_name(image) == expected
