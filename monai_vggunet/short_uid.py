"""How a message shows a UID: its end, which tells it from its siblings, without the digits that they share."""

from __future__ import annotations

from monai_vggunet.privacy import clean_uid

__all__ = ["short_uid"]

_SHOWN = 8  # characters: more than siblings share at their end


def short_uid(uid: str) -> str:
    """Return the end of a UID, for people; records and other machine forms hold the whole (`clean_uid`).

    Args:
        uid: what an element for UIDs holds. Text that is not a UID is not shown, only its length.

    Example:
        >>> short_uid("1.2.840.113619.2.55.3.41297"), short_uid("1.2.3"), short_uid("")
        ('….3.41297', '1.2.3', '')
    """
    text = clean_uid(uid)
    return f"…{text[-_SHOWN:]}" if text == uid and len(text) > _SHOWN + 1 else text
