"""Uploads are weighed together against what is free on the disks."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from pathlib import Path

import pytest

from monai_vggunet.annotation.front.room import KEPT_COPIES, TEMPORARY_COPIES, UploadRoom, full_disk_as_refusal
from monai_vggunet.errors import RequestRefusedError

ALL_COPIES = TEMPORARY_COPIES + KEPT_COPIES
MB = 1 << 20


def room_of(folder: Path, free_mb: float) -> UploadRoom:
    """Both folders lie on one disk, as is usual."""
    kept = [folder / "not" / "here" / "yet", folder]
    return UploadRoom(folder, kept, free=lambda place: int(free_mb * MB), kept_free=10 * MB)


def test_one_upload_has_room_for_all_its_copies_or_is_refused(tmp_path: Path) -> None:
    for free_mb, fits in ((10 + ALL_COPIES * 5, True), (10 + ALL_COPIES * 5 - 1, False)):
        room = room_of(tmp_path, free_mb)
        with room.arrival() as arrival:
            arrival.expected_bytes = 5 * MB
            if fits:
                room.require(arrival)
            else:
                with pytest.raises(RequestRefusedError, match="the server's disk has no room") as refusal:
                    room.require(arrival)
                assert refusal.value.status == 507


def test_two_uploads_that_fit_by_themselves_alone_are_not_both_taken(tmp_path: Path) -> None:
    room = room_of(tmp_path, 10 + ALL_COPIES * 8)
    with ExitStack() as first:
        one = first.enter_context(room.arrival())
        one.expected_bytes = 5 * MB
        room.require(one)
        with room.arrival() as other:
            other.expected_bytes = 5 * MB
            with pytest.raises(RequestRefusedError, match="no room"):
                room.require(other)
            with room.arrival() as small:  # what was refused takes no room, though its answer is still on its way
                small.expected_bytes = 2 * MB
                room.require(small)
    with room.arrival() as other:  # the first is answered
        other.expected_bytes = 5 * MB
        room.require(other)


def test_an_upload_that_does_not_say_its_length_is_stopped_on_its_way(tmp_path: Path) -> None:
    room = room_of(tmp_path, 10 + ALL_COPIES * 5)
    with room.arrival() as arrival:
        for megabytes in range(6):  # what has arrived lies on the disk, and is free no more
            arrival.arrived_bytes = megabytes * MB
            room.require(arrival)
        arrival.arrived_bytes = 7 * MB
        with pytest.raises(RequestRefusedError, match="no room"):
            room.require(arrival)


def test_a_disk_that_is_full_after_all_is_said_to_be(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(RequestRefusedError, match="no room for this upload") as refusal, full_disk_as_refusal():
            raise OSError(number, "x")
        assert refusal.value.status == 507
    with pytest.raises(PermissionError), full_disk_as_refusal():
        raise PermissionError(errno.EACCES, "x")
