"""A session of `requests` with one archive: nothing goes to any other address, and every answer is bounded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from monai_vggunet.errors import ConfigurationError, PacsError, PacsLimitError
from monai_vggunet.pacs.bounds import ANSWER_PATIENCE, MOST_LISTING_BYTES, Answer, Patience
from monai_vggunet.pacs.credentials import DEFAULT_PORTS, Credentials, origin_of
from monai_vggunet.pacs.http_status import named_status
from monai_vggunet.pacs.server_text import server_text
from monai_vggunet.pacs.watched_connection import WatchedAdapter

__all__ = ["ArchiveSession"]

Origin = tuple[str, str, int]  # scheme, host, port

MOST_REDIRECTIONS = 5
ANSWERS = {*range(200, 300), *range(400, 600)}  # or a redirection, RFC 9110 15
LONGEST_WARN_CODE = 3  # digits, RFC 7234 5.5
ENCODINGS = "gzip, deflate"  # zlib decompresses these piece by piece; others may expand a thousand times as much
UNDERSTOOD = {"", "identity", "gzip", "x-gzip", "deflate"}

_log = logging.getLogger(__name__)


class ArchiveSession(requests.Session):
    """The only connection to an archive.

    It is bound to the origin (RFC 6454: scheme, host, port) of its URL. A redirection within the origin is followed;
    one that leads elsewhere is an error before anything is sent. Only the given credentials are used: `.netrc` is not
    read, and cookies are not kept, since DICOMweb knows no sessions. Proxies and certificates come from the
    environment, as usual with `requests`.

    Args:
        url: of the service, checked.
        credentials: for this origin alone.
        timeout_sec: longest silence.
        check: raises once the run is being ended.

    Attributes:
        most_bytes: largest body of the next answers; see `bounds`.
        study: the patience for several answers together; None outside of a study.

    Raises:
        ConfigurationError: no host can have this name.
    """

    def __init__(
        self, url: str, credentials: Credentials, timeout_sec: float, check: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__()
        self.timeout_sec, self.check = timeout_sec, check
        self.host = str(urlsplit(url).hostname)
        self.most_bytes = MOST_LISTING_BYTES
        self.study: Patience | None = None
        self._origin = _origin_of_service(url)
        self.auth = credentials
        self.max_redirects = MOST_REDIRECTIONS
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["Accept-Encoding"] = ENCODINGS
        self.hooks["response"].append(self._bound)
        adapter = WatchedAdapter(self._next_answer, self._patience)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request if it goes to this archive; requests that follow a redirection pass here too.

        Raises:
            PacsError: it goes elsewhere.
        """
        if _origin(str(request.url)) != self._origin:
            raise PacsError(
                f"{self.host} redirects to another address ({_shown_origin(str(request.url))}): stopped, neither "
                "images nor credentials go there. If that is the archive, give its URL"
            )
        request.headers.pop("Cookie", None)  # of the previous answer, after a redirection
        return super().send(request, **options)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Keep the credentials within the origin; look for none in `.netrc`, as `requests` would on a redirection."""
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)

    def rebuild_method(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Follow a redirection with the same method.

        Raises:
            PacsError: the server wants a POST to become a GET, which would store nothing.
        """
        super().rebuild_method(prepared_request, response)
        if prepared_request.method != response.request.method:
            raise PacsError(
                f"{self.host}, asked to store a result, answered {named_status(response.status_code)}: the result is "
                "not stored; check the URL of the DICOMweb service"
            )

    def _patience(self) -> Patience:
        return Patience(self.host, ANSWER_PATIENCE * self.timeout_sec)

    def _next_answer(self) -> Answer:
        patiences = [self._patience(), *([self.study] if self.study else [])]
        return Answer(self.host, self.most_bytes, patiences, self.check)

    def _bound(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Have every answer's body counted while it is read, and refuse answers that do not fit the request."""
        problem = self._problem_with(response)
        if problem:
            response.close()
            raise problem
        warning = response.headers.pop("Warning", "")  # dicomweb-client would log it as it came
        if warning:
            _log.info("%s warns (%s)", self.host, server_text(warning.split(" ")[0], LONGEST_WARN_CODE))
        answer, whole = response.raw._original_response.answer, response.iter_content

        def counted(*args: Any, **options: Any) -> Iterator[Any]:
            for chunk in whole(*args, **options):
                answer.delivered(len(chunk))
                yield chunk

        response.iter_content = counted  # type: ignore[method-assign]

    def _problem_with(self, response: requests.Response) -> PacsError | None:
        status = response.status_code
        if not (status in ANSWERS or response.is_redirect):
            return PacsError(
                f"{self.host} answered {named_status(status)}, which is no answer to the request: check that the URL "
                "is that of the DICOMweb service",
                status,
            )
        if response.headers.get("Content-Encoding", "").strip().lower() not in UNDERSTOOD:
            return PacsLimitError(
                f"{self.host} compressed its answer in a way that was not asked for; expected one of: {ENCODINGS}. Ask "
                "the PACS administrator"
            )
        return None


def _origin_of_service(url: str) -> Origin:
    try:
        origin = _origin(str(requests.Request("GET", url).prepare().url))
    except requests.RequestException:
        origin = None
    if origin is None:
        raise ConfigurationError(f"{url!r} names no host; expected a URL such as https://pacs.example.org/dicom-web")
    return origin


def _origin(url: str) -> Origin | None:
    """Return scheme, host and port if the two parsers involved agree on them, else None."""
    try:
        parts, again = urlsplit(url), parse_url(url)
        origin = origin_of(url)
    except (ValueError, LocationParseError):
        return None
    port = again.port or DEFAULT_PORTS.get(again.scheme or "", 0)
    if origin != (again.scheme, (again.host or "").strip("[]"), port) or "@" in parts.netloc or "\\" in url:
        return None
    return origin


def _shown_origin(url: str) -> str:
    """Return what messages show of a foreign address: no credentials, no path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return server_text(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
