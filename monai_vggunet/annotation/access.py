"""Who may reach the annotation server: the address it listens on, the names it answers to, the token it asks for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from monai_vggunet.annotation.addresses import (
    LOOPBACK,
    LOOPBACK_NAMES,
    in_brackets,
    is_ipv6,
    is_loopback,
    listened_host,
    names_of,
)
from monai_vggunet.annotation.chosen_token import TOKEN_VARIABLE, chosen_token
from monai_vggunet.annotation.front.redaction import redacted
from monai_vggunet.errors import ConfigurationError

__all__ = [
    "HOSTS_VARIABLE",
    "MOST_UPLOAD_MB",
    "UPLOAD_VARIABLE",
    "Access",
    "access_options",
    "chosen_access",
    "require_no_password",
]

HOSTS_VARIABLE, UPLOAD_VARIABLE = "MONAI_VGGUNET_LABEL_HOSTS", "MONAI_VGGUNET_LABEL_MAX_UPLOAD_MB"
MOST_UPLOAD_MB = 2048  # a CT of 2000 slices, uncompressed, has half of it
# Read by uvicorn: which sender may say for whom it asks, and how many processes serve. Nobody may, or a client could
# change its address with each guess; and one process serves, which has the app's folder for itself.
OF_UVICORN = {"FORWARDED_ALLOW_IPS": "", "WEB_CONCURRENCY": "1"}
ARCHIVE_USER, ARCHIVE_PASSWORD = "MONAI_LABEL_DICOMWEB_USERNAME", "MONAI_LABEL_DICOMWEB_PASSWORD"


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
        return in_brackets(self.host)

    def environment(self) -> dict[str, str]:
        """Return what the front reads; the token is taken out of the environment again before a process is started."""
        return {
            HOSTS_VARIABLE: ",".join(self.names),
            TOKEN_VARIABLE: self.token,
            UPLOAD_VARIABLE: str(self.max_upload_mb),
            **OF_UVICORN,
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
    host = listened_host(given.host)
    token = chosen_token(given.token, given.token_file, environment)
    if not token and not is_loopback(host):
        raise ConfigurationError(
            f"--host {given.host} lets other machines in, and nothing would ask who they are: give --token-file, or "
            f"set {TOKEN_VARIABLE}; without it the server listens on {LOOPBACK} alone"
        )
    if not token and given.allow_host:
        raise ConfigurationError(
            f"--allow-host {given.allow_host[0]} lets others in by that name, and nothing would ask who they are: give "
            f"--token-file, or set {TOKEN_VARIABLE}"
        )
    for name in given.allow_host:
        if not name or set(name) & set("*/,@ ") or (":" in name and not is_ipv6(name)):
            raise ConfigurationError(f"--allow-host is {name!r}; expected one name or address, without port")
    if given.max_upload_mb < 1:
        raise ConfigurationError(f"--max-upload-mb is {given.max_upload_mb}; expected at least 1")
    names = (*LOOPBACK_NAMES, *names_of(host), *given.allow_host)
    known = dict.fromkeys(in_brackets(name.lower()) for name in names)
    return Access(host, tuple(known), token, given.max_upload_mb)


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
