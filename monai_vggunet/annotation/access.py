"""Who may reach the annotation server: the address it listens on, the names it answers to, the token it asks for."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from monai_vggunet.annotation.front.redaction import redacted
from monai_vggunet.errors import ConfigurationError

__all__ = [
    "HOSTS_VARIABLE",
    "LOOPBACK",
    "LOOPBACK_NAMES",
    "MOST_UPLOAD_MB",
    "TOKEN_VARIABLE",
    "UPLOAD_VARIABLE",
    "Access",
    "access_options",
    "chosen_access",
    "require_no_password",
]

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", LOOPBACK, "[::1]")
TOKEN_VARIABLE = "MONAI_VGGUNET_LABEL_TOKEN"
HOSTS_VARIABLE, UPLOAD_VARIABLE = "MONAI_VGGUNET_LABEL_HOSTS", "MONAI_VGGUNET_LABEL_MAX_UPLOAD_MB"
MOST_UPLOAD_MB = 2048  # a CT of 2000 slices, uncompressed, has half of it
SHORT_TOKEN = 16  # characters; as many letters and digits as a UUID's random part
ARCHIVE_USER, ARCHIVE_PASSWORD = "MONAI_LABEL_DICOMWEB_USERNAME", "MONAI_LABEL_DICOMWEB_PASSWORD"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Who may reach the server.

    Attributes:
        host: name or address it listens on.
        names: that a request may call it by, without port.
        token: empty where none is asked for.
        max_upload_mb: most megabytes of a request with a file.
    """

    host: str = LOOPBACK
    names: tuple[str, ...] = LOOPBACK_NAMES
    token: str = ""
    max_upload_mb: int = MOST_UPLOAD_MB

    @property
    def address(self) -> str:
        """The host as URLs have it."""
        return _in_brackets(self.host)

    def environment(self) -> dict[str, str]:
        """Return what the front reads; the token is taken out of the environment again before a process is started."""
        return {
            HOSTS_VARIABLE: ",".join(self.names),
            TOKEN_VARIABLE: self.token,
            UPLOAD_VARIABLE: str(self.max_upload_mb),
        }


def access_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chosen_access` reads."""
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        help="address to listen on; one that other machines reach needs a token (%(default)s)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="one more name the server answers to, such as a proxy's; needs a token; may be repeated",
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"file with the token clients must send; or set {TOKEN_VARIABLE}"
    )
    parser.add_argument(
        "--token", help="the token itself, which every user of this machine can read in the list of processes"
    )
    parser.add_argument(
        "--max-upload-mb", type=int, default=MOST_UPLOAD_MB, help="megabytes of the largest upload (%(default)s)"
    )


def chosen_access(given: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Access:
    """Return what the options and the environment say.

    Raises:
        ConfigurationError: others than this machine could reach a server that asks for no token, or a value is none.
    """
    token = _token(given.token, given.token_file, environment)
    if not token and not _is_loopback(given.host):
        raise ConfigurationError(
            f"--host {given.host} lets other machines in, and nothing would ask who they are: give --token-file, or "
            f"set {TOKEN_VARIABLE}; without it the server listens on {LOOPBACK} alone"
        )
    if not token and given.allow_host:
        raise ConfigurationError(
            f"--allow-host {given.allow_host[0]} lets others in by that name, and nothing would ask who they are: give "
            f"--token-file, or set {TOKEN_VARIABLE}"
        )
    if not given.host.strip():
        raise ConfigurationError(f"--host is {given.host!r}; expected a name or an address")
    for name in given.allow_host:
        if not name or set(name) & set("*/,@ "):
            raise ConfigurationError(f"--allow-host is {name!r}; expected one name or address, without port")
    if given.max_upload_mb < 1:
        raise ConfigurationError(f"--max-upload-mb is {given.max_upload_mb}; expected at least 1")
    names = dict.fromkeys(
        _in_brackets(name.lower()) for name in (*LOOPBACK_NAMES, *_names_of(given.host), *given.allow_host)
    )
    if token and len(token) < SHORT_TOKEN:
        _log.warning("the token has %d characters, which can be guessed: give it %d or more", len(token), SHORT_TOKEN)
    return Access(given.host.strip("[]"), tuple(names), token, given.max_upload_mb)


def require_no_password(url: str) -> None:
    """Refuse a DICOMweb URL that holds a secret: it would stand in the list of processes, in logs and on pages.

    Raises:
        ConfigurationError: it has a user or a password, or a query, or is no URL; the text repeats no secret.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"{redacted(url)} is no URL: {error}") from None
    if "@" in parts.netloc:
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        raise ConfigurationError(
            f"the URL holds a user or a password: set {ARCHIVE_USER} and {ARCHIVE_PASSWORD}, and name {bare}"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"the URL has a query, which DICOMweb's paths cannot follow: name {urlunsplit((*parts[:3], '', ''))}"
        )


def _token(option: str | None, file: str | None, environment: Mapping[str, str]) -> str:
    if option is not None and file is not None:
        raise ConfigurationError("--token and --token-file are given; expected one of them")
    if file is not None:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--token-file {file} cannot be read: {error}") from None
        source = f"--token-file {file}"
    elif option is not None:
        token, source = option, "--token"
    else:
        token, source = environment.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not token:
            return ""
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise ConfigurationError(f"{source} holds no token; expected letters, digits and marks, without spaces")
    return token


def _is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; of names, only that which stands for it everywhere."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _names_of(host: str) -> Sequence[str]:
    """Return the names a request may use for an address that is listened on; of all addresses, each of this machine."""
    try:
        everywhere = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return [host.strip("[]")]
    interfaces = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries
                  if entry.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
    return [socket.gethostname(), socket.getfqdn(), *(address.split("%")[0] for address in interfaces)]


def _in_brackets(name: str) -> str:
    """Return a name as the header `Host` has it: IPv6 addresses in brackets (RFC 9110 4.2)."""
    return f"[{name.strip('[]')}]" if ":" in name else name
