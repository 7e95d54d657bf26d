"""How much is accepted from an archive, and how long it may keep us waiting: no answer is endless."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from monai_vggunet.errors import ConfigurationError, PacsLimitError

__all__ = [
    "ANSWER_PATIENCE",
    "MOST_FRAMING_BYTES",
    "MOST_LISTED",
    "MOST_LISTING_BYTES",
    "MOST_OBJECT_BYTES",
    "MOST_OBJECT_VARIABLE",
    "MOST_PAGES",
    "MOST_STORE_ANSWER_BYTES",
    "READ_AT_ONCE",
    "SLOWEST_BYTES_PER_SEC",
    "STUDY_PATIENCE",
    "Answer",
    "Patience",
    "most_object_bytes",
    "waiting",
]

SLOWEST_BYTES_PER_SEC = 1 << 15  # a quarter of a megabit: no line to a PACS is slower, nor an archive of tiny slices
ANSWER_PATIENCE = 3  # times the longest silence, for one answer; content at the speed above extends it
STUDY_PATIENCE = 20  # the same for all answers of a study together
MOST_LISTING_BYTES = 1 << 24  # of one page of a search: 5000 entries of 3 kB where a server knows no pages
MOST_STORE_ANSWER_BYTES = 1 << 20  # it reports on one object
MOST_OBJECT_BYTES = 1 << 30  # of one instance: an enhanced CT of 2000 slices
MOST_OBJECT_VARIABLE = "MONAI_VGGUNET_DICOMWEB_MAX_OBJECT_MB"  # set where instances are larger
MOST_LISTED = 100_000  # series of a study, or instances of a series: ten times the largest perfusion CT
MOST_PAGES = 1000  # of a search: at a hundred entries each they reach the limit above
READ_AT_ONCE = 1 << 16  # bytes of a body: as many may have arrived without being delivered yet
MOST_FRAMING_BYTES = 1 << 22  # of HTTP itself without a byte of content: headers, chunk sizes, trailers

MEGABYTES, BYTES_PER_MEGABYTE = re.compile(r"[1-9][0-9]{0,8}"), 10**6


def most_object_bytes() -> int:
    """Return how large an instance may be, in bytes: as `MONAI_VGGUNET_DICOMWEB_MAX_OBJECT_MB` says, or the default.

    Raises:
        ConfigurationError: the variable holds no whole number of megabytes.
    """
    word = os.environ.get(MOST_OBJECT_VARIABLE, "").strip()
    if not word:
        return MOST_OBJECT_BYTES
    if not MEGABYTES.fullmatch(word):
        raise ConfigurationError(f"{MOST_OBJECT_VARIABLE} is {word!r}; expected whole megabytes, such as 4000")
    return int(word) * BYTES_PER_MEGABYTE


@dataclass
class Patience:
    """How long a server may keep us waiting: an allowance, which grows as long as content comes fast enough.

    Only the time spent waiting for the server counts, not the time spent on what it sent.

    Attributes:
        host: for messages.
        allowance_sec: at the start.
        waited_sec: so far.
        content_bytes: received from the server, or accepted by it.
    """

    host: str
    allowance_sec: float
    waited_sec: float = 0.0
    content_bytes: int = 0

    def left_sec(self) -> float:
        """Return how long it may still take.

        Raises:
            PacsLimitError: no longer.
        """
        left = self.allowance_sec + self.content_bytes / SLOWEST_BYTES_PER_SEC - self.waited_sec
        if left <= 0:
            raise PacsLimitError(
                f"{self.host} is too slow: {self.content_bytes} bytes in {self.waited_sec:.3g} s, expected at least "
                f"{SLOWEST_BYTES_PER_SEC >> 10} KiB a second after {self.allowance_sec:g} s. If the line is that slow, "
                "raise --pacs-timeout"
            )
        return left


@contextmanager
def waiting(patiences: Iterable[Patience]) -> Iterator[None]:
    """Count the time within as waiting."""
    started = time.monotonic()
    try:
        yield
    finally:
        spent = time.monotonic() - started
        for patience in patiences:
            patience.waited_sec += spent


class Answer:
    """One answer of a server on its way, from its status line to its last byte.

    Args:
        host: for messages.
        most_bytes: largest size of its body, decompressed.
        patiences: its own, and that of the study it belongs to.
        check: raises once the run is being ended.
    """

    def __init__(self, host: str, most_bytes: int, patiences: Sequence[Patience], check: Callable[[], object]) -> None:
        self.host, self.most_bytes, self.patiences, self.check = host, most_bytes, patiences, check
        self._raw = self._body = self._framing = self._credited = 0

    def left_sec(self) -> float:
        """Return how long the next bytes may take.

        Raises:
            PacsLimitError: the server's time is up.
            Stopped: the run is being ended.
        """
        self.check()
        return min(patience.left_sec() for patience in self.patiences)

    def came(self, n_bytes: int) -> None:
        """Count bytes from the network.

        Raises:
            PacsLimitError: bytes that are no content do not end.
        """
        self._raw += n_bytes
        self._framing += n_bytes
        if self._framing > MOST_FRAMING_BYTES:
            raise PacsLimitError(
                f"{self.host} sent {self._framing} bytes of HTTP headers or chunk sizes without content: stopped. "
                "Ask the PACS administrator"
            )
        self._credit()

    def delivered(self, n_bytes: int) -> None:
        """Count bytes of the body, decompressed.

        Raises:
            PacsLimitError: there are more than are accepted.
        """
        self._framing = 0
        self._body += n_bytes
        if self._body > self.most_bytes:
            raise PacsLimitError(
                f"{self.host} sent more than {self.most_bytes} bytes in one answer: stopped, the rest is not read. "
                "Check that the URL is that of the DICOMweb service"
            )
        self._credit()

    def _credit(self) -> None:
        """Count content as progress, but neither framing nor bytes that only decompression produced."""
        progress = min(self._raw, self._body + READ_AT_ONCE) - self._credited
        self._credited += progress
        for patience in self.patiences:
            patience.content_bytes += progress
