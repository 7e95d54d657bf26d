"""How many elements and items pydicom may build from one file.

Each becomes a Python object of more than a kilobyte, within ten microseconds or more. An empty one takes eight bytes in
a file, and a hundredth of a byte in a deflated file: 24 kB might cost a minute. The number is therefore tied to what
honest headers have: elements with values, in files that do not deflate to nearly nothing.
"""

from __future__ import annotations

from monai_vggunet.memory import available_memory

__all__ = ["ElementBudget", "TooLargeError"]

# No header is refused for this many; beyond them, each must be earned.
ELEMENTS_UNQUESTIONED = 1 << 13
# Bytes that earn one more. Empty ones take 8; those of enhanced multi-frame objects, the leanest of all, 11 on average.
_BYTES_PER_ELEMENT = 9
# Elements that a byte of a deflated file earns. Segmentations of thousands of frames have half an element for each.
ELEMENTS_PER_DEFLATED_BYTE = 4
# What a long value earns at most: one megabyte must not pay for thousands of empty elements.
_MOST_BYTES_EARNED = 256
# Twenty thousand frames of an enhanced object; more are refused whatever the file's size.
MOST_ELEMENTS = 1 << 21
# The memory that pydicom's objects take for one.
_MEMORY_PER_ELEMENT = 1536
# How many are allowed before the free memory is asked for again, which takes as long as a hundred of them.
_STEP = 1 << 12


class TooLargeError(ValueError):
    """A file that holds, or inflates to, more than any honest one; the text quotes nothing from the file."""


class ElementBudget:
    """Counts the elements, items and delimiters of one file, before pydicom makes objects of them.

    Args:
        deflated_bytes: size of a deflated file; None for any other.

    Attributes:
        count: how many there were so far.
    """

    def __init__(self, deflated_bytes: int | None = None) -> None:
        self.count = 0
        self._deflated_bytes = deflated_bytes
        self._earned_bytes = 0
        self._allowed = ELEMENTS_UNQUESTIONED

    def spend(self, n_bytes: int) -> None:
        """Count one more.

        Args:
            n_bytes: how many bytes the one before it took.

        Raises:
            TooLargeError: they are more than an honest file has, or than fit into memory.
        """
        self.count += 1
        self._earned_bytes += min(n_bytes, _MOST_BYTES_EARNED)
        if self.count > self._allowed:
            self._allowed = self._earned()
            if self.count > self._allowed:
                raise TooLargeError("it holds more elements than an honest file, or than fit into memory")

    def _earned(self) -> int:
        """Return up to which count no further question is needed."""
        earned = self._earned_bytes // _BYTES_PER_ELEMENT
        if self._deflated_bytes is not None:
            earned = min(earned, ELEMENTS_PER_DEFLATED_BYTE * self._deflated_bytes)
        most = min(MOST_ELEMENTS, available_memory() // _MEMORY_PER_ELEMENT)
        return min(ELEMENTS_UNQUESTIONED + earned, self.count + _STEP, most)
