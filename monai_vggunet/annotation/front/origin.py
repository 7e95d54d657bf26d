"""Pages of other origins, which a browser lets send what they like to this machine."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.names import shortened

__all__ = ["require_own_origin"]

FORBIDDEN = 403  # RFC 9110
# https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header: "none" is what the user typed or has as a bookmark
OWN_SITES = ("same-origin", "none")


def require_own_origin(headers: Iterable[tuple[str, str]], host: str) -> None:
    """Refuse a request that a page of another origin made.

    Browsers say where a request comes from, whatever the page wants: `Sec-Fetch-Site`, and `Origin` (RFC 6454) or at
    least `Referer`. A program that is no browser, such as 3D Slicer or curl, says nothing and is served.

    Args:
        headers: names, in lower case, and values; a name may come several times.
        host: the server's name and port as the request gives it, which is one the server answers to.

    Raises:
        RequestRefusedError: the page is another server's.
    """
    for name, value in headers:
        if name == "sec-fetch-site" and value not in OWN_SITES:
            raise RequestRefusedError(f"a page of another origin asks (Sec-Fetch-Site: {shortened(value)})", FORBIDDEN)
        if name in ("origin", "referer") and _place(value) != host.lower():
            raise RequestRefusedError(
                f"a page of another origin asks: {shortened(value)}; expected {shortened(host)}", FORBIDDEN
            )


def _place(url: str) -> str:
    """Return host and port of a URL, as the header `Host` would have them."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # brackets of an address that is none
        return ""
