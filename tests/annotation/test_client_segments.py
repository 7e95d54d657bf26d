"""What a client's list of segments makes of a label's numbers, and of a mask's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_vggunet.annotation.client_segments import by_class_number, descriptions_of
from monai_vggunet.errors import LabelContentError

NAMES = ["background", "liver", "spleen"]


def listed(*segments: Any) -> list[dict[str, Any]]:
    """Return `label_info` of names, or of pairs of name and idx."""
    return [{"name": s} if isinstance(s, str) else {"name": s[0], "idx": s[1]} for s in segments]


@pytest.mark.parametrize(
    ("numbers", "described", "expected"),
    [
        ([0, 1, 2], None, [0, 1, 2]),
        ([0, 1, 2], [], [0, 1, 2]),
        ([0, 1, 2], listed(("liver", 1), ("spleen", 2)), [0, 1, 2]),
        ([0, 1], listed(("spleen", 1)), [0, 2]),  # the liver's segment was removed in 3D Slicer
        ([0, 1, 2], listed(("spleen", 1), ("liver", 2)), [0, 2, 1]),  # and here the two changed places
        ([0, 1, 2], listed(("liver", 2), ("spleen", 3)), [0, 1, 2]),  # "background" stood first, and was not written
        ([0, 2], listed(("spleen", 2)), [0, 2]),  # another client: idx is the number
        ([0, 1, 2], listed("spleen", "liver"), [0, 2, 1]),
        ([0, 1, 3], listed("liver", "tumor", "spleen"), [0, 1, 2]),  # a segment of his own that is empty
        ([0, 1], listed(" Spleen"), [0, 2]),
        ([0, 1, 2], listed("liver", "background"), [0, 1, 0]),
        ([0, 0], listed("liver"), [0, 0]),
        ([0, 1, 2], listed(("background", 0), ("liver", 1), ("spleen", 2)), [0, 1, 2]),  # idx from 0 is no place
        ([0, 1], listed(("spleen", 2), ("liver", 1)), [0, 1]),  # nor is one that goes down
        ([0, 1], listed(("liver", 2), ("Liver", 1)), [0, 1]),
        ([0, 3], listed("background", "liver", "spleen"), [0, 2]),
    ],
)
def test_numbers_become_class_numbers(numbers: list[int], described: Any, expected: list[int]) -> None:
    label = np.array(numbers, dtype=np.uint8).reshape(1, -1, 1)
    found = by_class_number(label, described, NAMES)
    assert found.shape == label.shape
    assert found.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("numbers", "described", "word"),
    [
        ([1], listed("tumor"), "segment 'tumor'; expected liver, spleen"),
        ([1, 3], listed("liver", "spleen"), r"numbers \[1, 3\], which its description \('liver', 'spleen'\)"),
        ([1, 2], listed("background", "liver", "spleen"), "two ways"),  # counted from 0 or from 1
        ([3], listed(("liver", 3), ("spleen", 3)), r"the idx 3 to several segments; expected a number for each"),
        ([2], listed(("liver", 2), ("spleen", 3)), "two ways \\(2 for 'spleen' or 2 for 'liver'\\)"),
        ([1], "liver", "label_info is of type str; expected a list"),
        ([1], ["liver"], "label_info holds 'liver'"),
        ([1], [{"idx": 1}], "label_info holds"),
        ([1], [{"name": "liver", "idx": "1"}], "the idx of segment 'liver' is '1', a str"),
        ([1], [{"name": "liver", "idx": True}], "is True, a bool"),
    ],
)
def test_a_doubt_is_refused(numbers: list[int], described: Any, word: str) -> None:
    with pytest.raises(LabelContentError, match=word):
        by_class_number(np.array(numbers, dtype=np.uint8), described, NAMES)


def test_two_spellings_of_a_class_leave_a_doubt() -> None:
    assert by_class_number(np.array([1]), listed("liver"), ["background", "Liver", "liver"]).tolist() == [2]
    with pytest.raises(LabelContentError, match="'LIVER'"):
        by_class_number(np.array([1]), listed("LIVER"), ["background", "Liver", "liver"])


@pytest.mark.parametrize(
    ("found", "described", "expected"),
    [
        ([1, 2], listed("liver", "spleen"), ["liver", "spleen"]),
        ([2], listed("liver", "spleen"), ["spleen"]),
        ([2], listed("Leber", "Milz"), ["Milz"]),  # not the model's words: in the order of the classes
        ([1, 2], listed("spleen", "liver"), ["liver", "spleen"]),
        ([2], listed("liver"), ["spleen"]),
        ([1], listed("spleen"), ["liver"]),
        ([], listed("liver"), []),
        ([1], listed("Hintergrund", "Leber", "Milz"), ["Leber"]),
        ([1, 2], listed("background", "liver", "spleen"), ["liver", "spleen"]),
    ],
)
def test_a_class_keeps_its_description_when_another_is_absent(
    found: list[int], described: Any, expected: list[str]
) -> None:
    assert [entry["name"] for entry in descriptions_of(found, described, NAMES)] == expected


def test_two_spellings_of_a_class_keep_their_own_descriptions() -> None:
    names = ["background", "Liver", "liver"]
    described = [{"name": "Liver", "color": 1}, {"name": "liver", "color": 2}]
    assert descriptions_of([1, 2], described, names) == described


@pytest.mark.parametrize("described", [["liver"], [5], [{"color": 1}]])
def test_what_is_no_description_is_refused(described: Any) -> None:
    with pytest.raises(LabelContentError, match="label_info holds"):
        descriptions_of([1], described, NAMES)
