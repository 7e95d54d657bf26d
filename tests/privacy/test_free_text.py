"""Free text of headers: what radiology says stays, what may name somebody goes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from monai_vggunet.privacy import clean_text, clean_uid, quoted, show_phi
from monai_vggunet.privacy.free_text import is_harmless, is_uid, split_ending
from monai_vggunet.privacy.vocabulary import WORDS


@pytest.mark.parametrize(
    "text",
    [
        "Thorax Nativ 5.0 B30f",
        "t2_tse_tra_p2",
        "T1 MPRAGE 3D sag iso 1.0mm",
        "Abdomen nativ axial 3,0 I31f 3",
        "ep2d_diff_b50_b800_ADC",
        "SKULL 0.75mm Hr60s",
        "Schädel 4.0 H41s",
        "WB CT AC 3.0",
        "LUNG 1.25 mm STND",
        "AXIAL 5 x 5",
        "foie sans contraste",
        "cráneo axial",
        "T1 ax",
        "T1 + C FS",
        "C 3D",
        "b 1000 s/mm2",
        "C/T/L spine, w/o contrast",
        "A-P",
        "90° 5 × 5 mm, 512×512 ±2 — axial",
        "R",
    ],
)
def test_what_radiology_says_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DOE^JOHN", "…"),
        ("Thorax Prof. Miller", "Thorax …"),
        ("Knie re, Müller geb. 12.03.1956", "Knie re, …"),
        ("MRN 12345678", "…"),
        ("Kopf 12 03 1956", "Kopf …"),
        ("Kopf 12/03/56 nativ", "Kopf … nativ"),
        ("born 1956", "…"),
        ("Li", "…"),
        ("Hu Long White", "…"),
        ("CT\nDoe", "CT …"),
        ("JohnDoe thorax", "… thorax"),
        ("J O H N S O N thorax", "… thorax"),
        ("J_O_H_N", "…"),
        ("Kopf J.D. nativ", "Kopf …. nativ"),
        ("J1O2H3N4", "…"),
        ("J.Doe", "…"),
        ("thorax Doe, J", "thorax …"),
        ("Ｊ Ｄ", "…"),
    ],
)
def test_what_may_name_somebody_goes(text: str, shown: str) -> None:
    assert clean_text(text) == shown


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *(
            ("山田", "shift-jis"),
            ("ソ", "shift-jis"),
            ("ﾔﾏﾀﾞ", "shift-jis"),
            ("山田太郎", "euc-jp"),
            ("山田", "iso2022_jp"),
        ),
        *(("Петров", "cp1251"), ("Чёх", "cp1251"), ("Ї", "cp1251"), ("Чехов", "cp866"), ("Чехов", "koi8-r")),
        *(("김희중", "euc-kr"), ("白求恩", "gb2312"), ("王", "big5")),
    ],
)
def test_names_in_an_undeclared_character_set_go(name: str, encoding: str) -> None:
    """Read as Latin-1, as a header without SpecificCharacterSet is, their bytes are letters and signs at random."""
    written = name.encode(encoding).decode("latin-1")
    assert clean_text(f"Thorax {written} 5.0 B30f") == "Thorax … 5.0 B30f"
    assert not is_harmless(written)


def test_a_decomposed_accent_is_a_letter_of_its_word() -> None:
    assert clean_text("cra\u0301neo axial") == "cráneo axial"


def test_very_long_texts_are_cleaned_within_a_minute() -> None:
    """What grows with the square of the length would take hours."""
    program = """
from monai_vggunet.privacy import clean_text

for text in ("…" * 200_000, "a " * 100_000, "J.Doe " * 30_000, "a" + "-" * 200_000, "__" * 100_000, "1." * 100_000):
    assert len(clean_text(text)) <= len(text)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_free_text_is_whole_when_it_is_asked_for() -> None:
    show_phi()
    assert clean_text("DOE^JOHN") == "DOE^JOHN"
    assert quoted("DOE^JOHN") == "'DOE^JOHN'"
    assert clean_uid("Doe") == "Doe"


def test_messages_quote_numbers_uids_and_known_words_alone() -> None:
    assert quoted("MONOCHROME2") == "'MONOCHROME2'"
    assert quoted(2.5) == "2.5"
    assert quoted("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert quoted("Doe^Jane") == "a text of 8 characters"
    assert quoted("12.03.1956") == "a text of 10 characters"
    assert quoted(" ") == "empty"
    assert clean_uid("1.2.3") == "1.2.3"
    assert clean_uid("Doe^Jane") == "(no UID: 8 characters)"
    assert clean_uid("") == ""


@pytest.mark.parametrize(
    "name", ["images", "IM_000041.dcm", "1.2.840.10008.7", "case_12", "liver_003.nii.gz", "CT", "1", "names.json"]
)
def test_names_that_name_nobody_are_harmless(name: str) -> None:
    assert is_harmless(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "J_O_H_N.nii.gz",
            "J1O2H3N4",
            "J.D.",
            "Doe_Jane",
            "Li",
            "19560312",
            "12.03.1956",
            "1956-03-12",
            "0000123456",
            "山田",
            "Doe.dcm",
        ),
        os.fsdecode("Петров".encode("cp1251")),
        os.fsdecode("山田".encode("shift-jis")) + ".dcm",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_harmless(name)


def test_uids_and_endings_are_told_from_names() -> None:
    assert is_uid("1.2.840.10008.1.2")
    assert not is_uid("12.03.1956")
    assert not is_uid("1." * 40 + "1")
    assert split_ending("Doe.Jane.nii.gz") == ("Doe.Jane", ".nii.gz")
    assert split_ending("Doe.Jane") == ("Doe.Jane", "")
    assert split_ending(".dcm") == (".dcm", "")


def test_the_vocabulary_holds_plain_words_and_no_frequent_names() -> None:
    assert all(word.isascii() and word == word.lower() for word in WORDS)
    assert not WORDS & {"smith", "miller", "white", "long", "li", "hu", "ma", "ann", "max", "klein", "rene", "young"}
