"""Libraries are quiet where they are told to be, and only there."""

from __future__ import annotations

import logging
import warnings

import pytest

from monai_vggunet.quiet_logs import quiet_logs


def test_warnings_are_left_out_within_and_errors_are_not(caplog: pytest.LogCaptureFixture) -> None:
    one, other = logging.getLogger("quiet.one"), logging.getLogger("quiet.other")
    one.setLevel(logging.INFO)

    @quiet_logs("quiet.one")
    def speak_and_fail() -> None:
        one.warning("left out")
        one.error("told")
        other.warning("told too")
        warnings.warn("left out", stacklevel=1)
        raise ValueError("stop")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="stop"):
            speak_and_fail()
        warnings.warn("told", stacklevel=1)
    one.info("told afterwards")
    assert caplog.messages == ["told", "told too", "told afterwards"]
    assert [str(each.message) for each in warned] == ["told"]
