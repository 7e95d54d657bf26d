"""What a text is as an IP address: an IPv4 address that is written within IPv6 counts as what it is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["is_loopback_address", "plain_address"]


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, `::ffff:127.0.0.1` (RFC 4291 2.5.5.2) as IPv4; None for what is none.

    Example:
        >>> plain_address("::ffff:127.0.0.1"), plain_address("localhost")
        (IPv4Address('127.0.0.1'), None)
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_loopback_address(text: str) -> bool:
    """Whether a text is an address of this machine's own; a name is none."""
    address = plain_address(text)
    return address is not None and address.is_loopback
