"""What messages show of a UID."""

from __future__ import annotations

import pytest

from monai_vggunet.short_uid import short_uid


@pytest.mark.parametrize(
    ("uid", "shown"),
    [
        ("1.2.840.113619.2.55.3.41297", "….3.41297"),
        ("1.2.345678", "…2.345678"),
        ("1.2.34567", "1.2.34567"),  # no longer than its end would be
        ("", ""),
    ],
)
def test_the_last_eight_characters_are_shown(uid: str, shown: str) -> None:
    assert short_uid(uid) == shown


def test_text_that_is_not_a_uid_is_not_shown() -> None:
    assert short_uid("Doe^Jane 12.03.1956") == "(no UID: 19 characters)"
