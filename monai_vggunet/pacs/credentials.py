"""Access to a DICOMweb server: credentials come from the environment alone, and never travel where others can read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.ip_addresses import is_loopback_address

__all__ = ["Credentials", "check_url", "credentials_from_environment", "origin_of"]

DEFAULT_PORTS = {"http": 80, "https": 443}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """A bearer token, or a user with a password, or nothing. Not shown when printed."""

    token: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def given(self) -> bool:
        """Whether there are any. Not `__bool__`: `requests` takes false credentials for none and reads `.netrc`."""
        return bool(self.token or self.user)

    def __call__(self, request: Any) -> Any:
        """Sign a request (`requests.auth.AuthBase`).

        Credentials are the session's authentication, not a header of its own, because `requests` then drops them when
        redirected to another host, and does not look for others in the user's `.netrc`. The `Host` header of
        dicomweb-client, which lacks the port and is wrong for IPv6, is left to `requests` too.
        """
        request.headers.pop("Host", None)
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        elif self.user:
            from requests.auth import HTTPBasicAuth

            return HTTPBasicAuth(self.user.encode(), self.password.encode())(request)
        return request


def credentials_from_environment(prefix: str, environment: Mapping[str, str] = os.environ) -> Credentials:
    """Return what `<prefix>_TOKEN`, or `<prefix>_USER` and `<prefix>_PASSWORD` hold; empty ones if none is set.

    Args:
        prefix: `MONAI_VGGUNET_DICOMWEB`, or `MONAI_VGGUNET_STORE`.
        environment: of the process.

    Raises:
        ConfigurationError: both kinds are set, or one of user and password is missing, or no header can carry the
            token. No value is shown.
    """
    token, user, password = (environment.get(f"{prefix}_{name}", "").strip() for name in ("TOKEN", "USER", "PASSWORD"))
    if token and (user or password):
        raise ConfigurationError(f"{prefix}_TOKEN and {prefix}_USER or _PASSWORD are both set: unset one of the two")
    if bool(user) != bool(password):
        missing = "PASSWORD" if user else "USER"
        raise ConfigurationError(f"{prefix}_{missing} is not set: basic authentication needs both USER and PASSWORD")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigurationError(
            f"{prefix}_TOKEN holds characters that no token has; expected the bare token: set it without 'Bearer'"
        )
    if ":" in user:
        raise ConfigurationError(
            f"{prefix}_USER holds a colon, which basic authentication cannot carry (RFC 7617): use another user, or a "
            "token"
        )
    return Credentials(token, user, password)


def check_url(url: str, has_credentials: bool, allow_plain_http: bool = False) -> str:
    """Return a DICOMweb service's URL without a slash at its end.

    Anyone on the way can read plain http. Credentials are therefore sent over it to this machine alone, unless it is
    allowed; images without credentials are fetched, with a warning.

    Args:
        url: such as `https://pacs.example.org/dicom-web`.
        has_credentials: whether requests will carry any.
        allow_plain_http: send them unencrypted nevertheless.

    Raises:
        ConfigurationError: not an http(s) URL, or one that holds credentials or a query (it is not repeated), or
            plain http with credentials.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "the DICOMweb URL holds credentials or a query, and everybody on this machine can read a command line: "
            "give the service's bare URL, and credentials in the environment (MONAI_VGGUNET_DICOMWEB_TOKEN, or "
            "_USER and _PASSWORD)"
        )
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(f"{url!r} is no DICOMweb URL; expected one such as https://pacs.example.org/dicom-web")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        if has_credentials and not allow_plain_http:
            raise ConfigurationError(
                f"the URL of {parts.hostname} is plain http, which would show the credentials to anyone on the way: "
                "use https, or pass --allow-plain-http if the network itself is trusted"
            )
        _log.warning("%s is reached by plain http: images travel unencrypted", parts.hostname)
    return url.rstrip("/")


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a checked URL: credentials belong to one such origin alone."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or is_loopback_address(host)
