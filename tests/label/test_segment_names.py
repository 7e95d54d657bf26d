"""What a client's list of segments makes of a label's numbers, and of a mask's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_vggunet.errors import LabelContentError
from monai_vggunet.label.segment_names import by_class_number, descriptions_of

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
        ([1, 3], listed("liver", "spleen"), r"numbers \[1, 3\], and is described as 'liver', 'spleen'"),
        ([2], listed(("liver", 2), ("spleen", 3)), "two ways \\(2 for 'spleen' or 2 for 'liver'\\)"),
        ([1], "liver", "label_info holds 'liver'"),
        ([1], [{"idx": 1}], "label_info holds"),
        ([1], [{"name": "liver", "idx": "1"}], "label_info holds"),
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
    ],
)
def test_a_class_keeps_its_description_when_another_is_absent(
    found: list[int], described: Any, expected: list[str]
) -> None:
    assert [entry["name"] for entry in descriptions_of(found, described, NAMES)] == expected
