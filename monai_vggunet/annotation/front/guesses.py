"""Wrong tokens are answered the later, the more of them a client has sent; the right one is answered at once.

Who has the right token is never made to wait, so that nobody can lock them out, not from their own address either. A
client's address is noted, no more: of a bounded number of clients, and for a bounded number of answers at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_network

from monai_vggunet.ip_addresses import plain_address

__all__ = ["Guesses", "network_of", "wait_sec"]

FREE = 3  # wrong tokens of a client without a wait: someone mistypes
FIRST_WAIT_SEC, LONGEST_WAIT_SEC = 0.25, 4.0
FORGOTTEN_AFTER_SEC = 600.0  # without another wrong one
MOST_CLIENTS = 4096  # that are remembered; the one that was silent longest is forgotten first
MOST_WAITING = 32  # answers that are held back at a time; others come at once, and close the connection
IPV6_PREFIX = 64  # bits; whoever has one address of such a network has them all (RFC 6177)


class Guesses:
    """How many wrong tokens each client has sent.

    Args:
        clock: seconds that go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number and time of the last, oldest first
        self._waiting = 0

    def note(self, client: str) -> int:
        """Note one more wrong token; return how many it makes.

        Args:
            client: what `network_of` gives for its address.
        """
        now = self._clock()
        count, last = self._wrong.pop(client, (0, now))
        count = 1 if now - last > FORGOTTEN_AFTER_SEC else count + 1
        self._wrong[client] = count, now
        if len(self._wrong) > MOST_CLIENTS:
            self._wrong.popitem(last=False)
        return count

    async def hold_back(self, count: int) -> bool:
        """Wait as long as the answer to a client's wrong token is held back; return whether there was room to wait."""
        if count <= FREE:
            return True
        if self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await asyncio.sleep(wait_sec(count))
        finally:
            self._waiting -= 1
        return True

    def __len__(self) -> int:
        return len(self._wrong)


def wait_sec(count: int) -> float:
    """Return for how long the answer to a client's wrong token is held back; `count` is the number of its wrong ones.

    Example:
        >>> [wait_sec(count) for count in (1, 3, 4, 5, 100)]
        [0.0, 0.0, 0.25, 0.5, 4.0]
    """
    if count <= FREE:
        return 0.0
    doublings = min(count - FREE - 1, LONGEST_WAIT_SEC / FIRST_WAIT_SEC)  # the power of a large number overflows
    return float(min(LONGEST_WAIT_SEC, FIRST_WAIT_SEC * 2**doublings))


def network_of(address_text: str) -> str:
    """Return what stands for a client: its address, of IPv6 its network; empty for what is no address."""
    address = plain_address(address_text.partition("%")[0])
    if address is None:
        return ""
    if address.version == 4:
        return str(address)
    return str(ip_network((address, IPV6_PREFIX), strict=False))
