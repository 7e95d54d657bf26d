"""Known names are found in any text, however they are written there, and nothing else is touched."""

from __future__ import annotations

import html
import json
import os
import re
import time
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest

from monai_vggunet.names import readable
from monai_vggunet.privacy import (
    book,
    know_cases,
    know_input,
    know_names,
    know_tree,
    redact,
    reveal,
    show_phi,
    shown_case,
)

NAMES = ("Doe^Jane", "Müller Anna", "O'Brien", "Li", "Smith.2019.A", "山田太郎", 'Ärmel & "Söhne"')


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "Clinic Doctor Jones"
    for name in NAMES:
        (root / "images" / name).mkdir(parents=True)
        (root / "images" / name / f"{name}-001.dcm").touch()
    know_tree(root)
    know_cases(NAMES)
    return root


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["{}", "study {} failed", "'{}': x", "({})", "{}.nii.gz is gone", "a/{}/b", "{}_liver", "{0}, {0}"]
)
def test_a_name_is_replaced_wherever_it_stands(name: str, text: str, archive: Path) -> None:
    assert redact(text.format(name)) == text.format(shown_case(name))


@pytest.mark.parametrize("name", NAMES)
def test_escaped_names_are_found(name: str, archive: Path) -> None:
    python = (repr(name), name.encode("unicode_escape").decode(), ascii(name), repr(os.fsencode(name)))
    for written in (*python, quote(name), json.dumps(name), html.escape(name), unicodedata.normalize("NFD", name)):
        assert shown_case(name) in redact(f"x {written} y")


def test_names_that_are_not_utf_8_are_found_with_and_without_their_paths(tmp_path: Path) -> None:
    name = os.fsdecode("Петров".encode("cp1251"))  # no byte of it is a letter of ASCII
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.dcm").touch()
    know_tree(tmp_path)
    for written in (name, readable(name)):
        shown = redact(f"{tmp_path}/{written}/{written}.dcm: cut short; {written}.dcm")
        assert name not in shown
        assert readable(name) not in shown
        assert shown.endswith(": cut short; " + redact(f"{name}.dcm"))


@pytest.mark.parametrize("cases_first", [True, False])
def test_a_name_that_is_not_utf_8_has_one_pseudonym(tmp_path: Path, cases_first: bool) -> None:
    """A case is called after its file, made readable; messages hold either form, with its path and without."""
    name = os.fsdecode(b"M\xfcller")
    (tmp_path / f"{name}.nii.gz").touch()
    for know in sorted((know_cases, know_tree), key=lambda each: (each is know_cases) is not cases_first):
        know([readable(name)] if know is know_cases else tmp_path)
    case = shown_case(readable(name))
    for written in (name, readable(name), repr(name)[1:-1]):
        assert redact(f"{written} failed") == f"{case} failed"
        assert redact(f"{tmp_path}/{written}.nii.gz is cut short").endswith(f"/{case}.nii.gz is cut short")
    gone = os.fsdecode(b"gone-\xe9")
    assert redact(f"{tmp_path}/{gone}: x") == redact(f"{tmp_path}/{readable(gone)}: x")


def test_paths_below_an_input_keep_their_structure_alone(archive: Path) -> None:
    shown = redact(f"{archive}/images/Doe^Jane/Doe^Jane-001.dcm: cut short")
    case, digits = shown_case("Doe^Jane"), "[0-9a-f]{8}"
    assert re.fullmatch(rf"…/folder-{digits}/images/{case}/file-{digits}\.dcm: cut short", shown)
    assert str(archive.parent) not in redact(f"{archive} is empty")


def test_what_was_not_there_is_replaced_within_a_path(archive: Path) -> None:
    assert "Newman" not in redact(f"'{archive}/images/Newman Paul/x_Newman.nii'")
    assert "Newman" not in redact(f"{archive}/images/Newman.nii is gone")


def test_a_path_is_replaced_as_it_was_typed_and_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real Smith").mkdir()
    (tmp_path / "link Jones").symlink_to("real Smith")
    monkeypatch.chdir(tmp_path)
    know_input("./link Jones/")
    know_input("there/Doe Jane")
    written = ["./link Jones/", "link Jones/x.nii", "there/Doe Jane"]
    for text in [*written, str(tmp_path / "real Smith"), str(tmp_path / "link Jones")]:
        assert not re.search("Smith|Jones|Doe", redact(f"{text}: x")), text


def test_words_of_messages_stay_what_they_are(tmp_path: Path) -> None:
    for name in ("1", "CT", "images", "dicom", "liver.nii.gz", "mask", "IM_0001", "a"):
        (tmp_path / name).touch()
    know_tree(tmp_path)
    text = "CT of 1 case: a mask of the liver (images in dicom format), IM_0001, val_mean_dice 0.9, a/b"
    assert redact(text) == text


def test_parts_of_words_are_left_alone(archive: Path) -> None:
    assert redact("Liver and BrianO'Brienx") == "Liver and BrianO'Brienx"


def test_model_and_output_folders_stay_readable(archive: Path, tmp_path: Path) -> None:
    text = f"there is no model at {tmp_path.parent / 'models Jones' / 'model.pt'}"
    assert redact(text) == text


def test_files_that_a_list_names_are_known_wherever_they_lie(tmp_path: Path) -> None:
    know_names([tmp_path / "elsewhere" / "Doe Jane.nii.gz"])
    assert "Doe" not in redact(f"{tmp_path}/elsewhere/Doe Jane.nii.gz does not exist; Doe Jane.nii.gz")


def test_replacing_again_changes_nothing(archive: Path) -> None:
    once = redact(f"{archive}/images/Li and Doe^Jane-001.dcm")
    assert redact(once) == once


def test_names_come_back_where_the_list_is(archive: Path) -> None:
    shown = redact("case Doe^Jane and Li")
    assert "case case-" not in shown
    assert reveal(shown) == "Doe^Jane and Li"
    assert reveal("case-00000000") == "case-00000000"


def test_everything_is_shown_when_it_is_asked_for(archive: Path) -> None:
    show_phi()
    assert redact(f"{archive} Li") == f"{archive} Li"
    assert shown_case("Li") == "Li"


def test_a_pseudonym_and_a_uid_stand_for_themselves() -> None:
    text = shown_case("Doe")
    assert shown_case(text) == text
    assert shown_case("1.2.840.10008.1.2") == "1.2.840.10008.1.2"


def test_a_name_in_the_form_of_a_pseudonym_is_none() -> None:
    """`case-19560312` may be a birthday."""
    know_cases(["case-19560312"])
    assert shown_case("case-19560312") != "case-19560312"
    assert "19560312" not in redact("case case-19560312 failed")


def test_many_names_cost_no_time() -> None:
    """The time depends on the text: many names, all with one first word, take no longer than few."""
    know_names([f"/data/x/Doe John {number:06d} Q.dcm" for number in range(0, 200_000, 10)])
    started = time.process_time()
    for number in range(0, 1000, 10):
        assert "Doe" not in redact(f"slice gap after Doe John {number:06d} Q.dcm (SOP instance 1.2.3), expected 2.5 mm")
    assert time.process_time() - started < 10  # a search name by name takes minutes
    assert book().file is None
