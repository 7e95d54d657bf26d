"""Reports of very many studies that fail for one reason: ten are named, the rest counted; each has its own record."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from monai_vggunet.names import MOST_NAMED
from monai_vggunet.privacy import redact

__all__ = ["failure_lines", "told_in_tens"]

MOST_LINES = 100  # of failures of all kinds, at the end of a run; a screen shows fewer

# The parts that differ between failures of one kind: numbers, paths, pseudonyms.
_OWN_TO_EACH = re.compile(r"\S*[/\d]\S*")


def failure_lines(failures: Iterable[tuple[str, str]], where: str = "see record.json of each") -> list[str]:
    """Return a line for each of ten failures of a kind, a hundred in all, and a line with the number of the others.

    Args:
        failures: the name of each case, and why it failed.
        where: where the others are told.

    Example:
        >>> failure_lines((f"case {n}", f"/in/{n}.nii is empty") for n in range(1000))[-2:]
        ['case 9: /in/9.nii is empty', '990 more: see record.json of each']
    """
    lines: list[str] = []
    more = 0
    seen: Counter[str] = Counter()
    for name, reason in failures:
        kind = _kind_of(redact(reason))
        seen[kind] += 1
        if seen[kind] <= MOST_NAMED and len(lines) < MOST_LINES:
            lines.append(f"{name}: {reason}")
        else:
            more += 1
    return [*lines, f"{more} more: {where}"] if more else lines


@contextmanager
def told_in_tens(*logs: logging.Logger) -> Iterator[None]:
    """Let loggers name ten failures of a kind (warnings `"%s: %s", case, reason`), and count the others at the end.

    They count together. Within another `told_in_tens` of theirs nothing changes: that one goes on counting.
    """
    if any(isinstance(each, _Tens) for log in logs for each in log.filters):
        yield
        return
    tens = _Tens()
    for log in logs:
        log.addFilter(tens)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(tens)
        if tens.more:
            logs[0].warning("%d more failed like those above", tens.more)


class _Tens(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.more = 0
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind = _kind_of(str(record.args[-1]) if isinstance(record.args, tuple) and record.args else record.msg)
        self._seen[kind] += 1
        told = self._seen[kind] <= MOST_NAMED
        self.more += not told
        return told


def _kind_of(reason: str) -> str:
    return _OWN_TO_EACH.sub("", reason)
