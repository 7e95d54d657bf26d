"""What `--host` says: an address in its one plain form, whether it is this machine's own, and the names it goes by."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

import psutil

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.ip_addresses import is_loopback_address, plain_address

__all__ = [
    "LOOPBACK",
    "LOOPBACK_NAMES",
    "WEB",
    "in_brackets",
    "is_ipv6",
    "is_loopback",
    "is_web_url",
    "listened_host",
    "names_of",
]

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", LOOPBACK, "[::1]")
LOCAL_NAME = "localhost"
WEB = ("http://", "https://")
# Of addresses and names (RFC 952, RFC 1123, RFC 4007 11 for the zone); Unicode names come in their ASCII form.
WRITTEN = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
OLD_FORM = re.compile(r"[0-9A-Fa-fxX.]+")  # as inet_aton(3) reads it


def listened_host(given: str) -> str:
    """Return the address or name to listen on as `--host` means it, so that one thing is written in one way.

    Brackets of an IPv6 address go, and so does the dot at the end of a name. What the system reads as an IPv4 address
    becomes one: `0` is `0.0.0.0`, `127.1` is `127.0.0.1` (inet_aton(3)), `::ffff:127.0.0.1` is `127.0.0.1` (RFC 4291
    2.5.5.2).

    Args:
        given: the option's value.

    Raises:
        ConfigurationError: it is empty or neither a name nor an address.
    """
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") and ":" in given else given
    if not WRITTEN.fullmatch(bare):
        raise ConfigurationError(f"--host is {given!r}; expected a name or an address")
    bare = bare.rstrip(".")
    address = plain_address(bare)
    if address is not None:
        return str(address)
    if ":" in bare:  # a name has none
        raise ConfigurationError(f"--host is {given!r}; expected a name or an address, and the port in --port")
    if OLD_FORM.fullmatch(bare):
        try:
            return socket.inet_ntoa(socket.inet_aton(bare))
        except OSError:  # a name such as "face"
            pass
    return bare.lower()


def is_loopback(host: str) -> bool:
    """Whether what `listened_host` returned is this machine's own; of names, `localhost` where it leads there."""
    if host != LOCAL_NAME:
        return is_loopback_address(host)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_loopback_address(str(entry[4][0])) for entry in found)


def names_of(host: str) -> Sequence[str]:
    """Return the names a request may use for an address that is listened on; of all addresses, each of this machine."""
    address = plain_address(host)
    if address is None or not address.is_unspecified:
        return [host]
    interfaces = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries
                  if entry.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
    return [socket.gethostname(), socket.getfqdn(), *(address.split("%")[0] for address in interfaces)]


def is_web_url(studies: str) -> bool:
    """Whether what is served is called by a URL, as a DICOMweb server is, and not by a folder."""
    return studies.startswith(WEB)


def in_brackets(name: str) -> str:
    """Return a name as the header `Host` has it: IPv6 addresses in brackets (RFC 9110 4.2)."""
    return f"[{name.strip('[]')}]" if ":" in name else name


def is_ipv6(name: str) -> bool:
    """Whether a name is an IPv6 address, with or without brackets."""
    try:
        return ipaddress.ip_address(name.strip("[]")).version == 6
    except ValueError:
        return False
