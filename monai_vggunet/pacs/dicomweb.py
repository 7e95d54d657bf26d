"""A DICOMweb server: one session, further attempts after passing failures, and errors in plain words."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

from monai_vggunet.errors import (
    ConfigurationError,
    PacsAccessError,
    PacsError,
    PacsUnavailableError,
    refusal_behind,
)
from monai_vggunet.pacs.bounds import MOST_LISTING_BYTES, MOST_OBJECT_BYTES, Patience
from monai_vggunet.pacs.credentials import Credentials, check_url
from monai_vggunet.pacs.http_status import named_status
from monai_vggunet.pacs.retries import Retries, Stopped

__all__ = ["EXTRA", "DicomWebServer"]

EXTRA = 'install the extra: pip install "monai-vggunet[dicomweb]"'
CONNECT_TIMEOUT_SEC = 15.0
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # may pass by themselves; any other refusal would come again
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

Result = TypeVar("Result")


class DicomWebServer:
    """One DICOMweb service (PS3.18).

    Args:
        url: of the service, such as `https://pacs.example.org/dicom-web`.
        credentials: a token, or user and password; see `credentials_from_environment`.
        timeout_sec: longest silence of the server.
        retries: how often to try again.
        allow_plain_http: see `check_url`.
        most_object_bytes: largest size of one instance.

    Attributes:
        client: the `dicomweb_client.DICOMwebClient`, for searching and storing.
        session: the session that it uses.
        host: for messages.
        timeouts_sec: for connecting, and for each silence.

    Raises:
        ConfigurationError: a URL that cannot be used, or the extra `dicomweb` is not installed.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        timeout_sec: float = 60.0,
        retries: Retries | None = None,
        allow_plain_http: bool = False,
        most_object_bytes: int = MOST_OBJECT_BYTES,
    ) -> None:
        credentials = credentials or Credentials()
        self.url = check_url(url, credentials.given, allow_plain_http)
        self.host = str(urlsplit(self.url).hostname)
        self.retries = retries or Retries()
        self.timeout_sec = timeout_sec
        self.timeouts_sec = (min(CONNECT_TIMEOUT_SEC, timeout_sec), timeout_sec)
        self.most_object_bytes = most_object_bytes
        try:
            from dicomweb_client import DICOMwebClient

            from monai_vggunet.pacs.archive_session import ArchiveSession
        except ImportError as error:
            raise ConfigurationError(f"a DICOMweb server needs packages that are not installed: {EXTRA}") from error
        self.session = ArchiveSession(self.url, credentials, timeout_sec, self.retries.check)
        self.client = DICOMwebClient(
            self.url,
            session=self.session,
            permissive_uid=True,  # hospitals' UIDs break rules that do not matter here
            timeout=self.timeouts_sec,
        )
        self.client.set_http_retry_params(retry=False)  # its retries leave out broken connections

    @contextmanager
    def patience(self, times: float) -> Iterator[None]:
        """Limit the waiting for all answers within together, too, to so many times the longest silence."""
        self.session.study = Patience(self.host, times * self.timeout_sec)
        try:
            yield
        finally:
            self.session.study = None

    def ask(
        self,
        action: Callable[[], Result],
        what: str,
        may_pass: Callable[[Exception], bool] | None = None,
        most_bytes: int = MOST_LISTING_BYTES,
    ) -> Result:
        """Return what a call of the client returns, tried again where that may help.

        Args:
            action: calls `client` or `session`.
            what: the request, for messages: "list the series of the study".
            may_pass: a stricter judgment than `is_transient`.
            most_bytes: largest size of each answer.

        Raises:
            PacsAccessError: the server requires other credentials.
            PacsUnavailableError: no attempt brought an answer.
            PacsLimitError: the answer is too large or too slow.
            PacsError: any other refusal or failure. No text quotes the server or a URL.
        """
        attempts = 0

        def attempt() -> Result:
            nonlocal attempts
            attempts += 1
            self.session.most_bytes = most_bytes
            return self._in_plain_words(action, what)

        try:
            return self.retries.run(attempt, may_pass or is_transient, self.host)
        except PacsUnavailableError as error:
            text = f"{error} (tried {attempts} times): check that it is running and reachable"
            raise PacsUnavailableError(text, error.status) from error.__cause__

    def _in_plain_words(self, action: Callable[[], Result], what: str) -> Result:
        import requests

        try:
            return action()
        except (PacsError, Stopped):
            raise
        except requests.RequestException as error:
            refusal = refusal_behind(error)  # raised below urllib3, which takes it for a broken connection
            if refusal is not None:
                raise refusal from None
            raise self._explain(error, what) from error
        except OSError:  # of the local disk
            raise
        except Exception as error:  # its JSON, multipart or DICOM cannot be read: pydicom has many names for that
            raise PacsError(
                f"{self.host}, asked to {what}, gave an answer that cannot be read ({type(error).__name__}): check "
                "that the URL is that of the DICOMweb service"
            ) from error

    def _explain(self, error: Exception, what: str) -> PacsError:
        import requests

        asked = f"asked to {what}"
        if isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
            if status in REFUSED:
                return PacsAccessError(
                    f"{self.host}, {asked}, refused access ({named_status(status)}): set MONAI_VGGUNET_DICOMWEB_TOKEN, "
                    "or _USER and _PASSWORD, to credentials that may do this (for another server of --store: "
                    "MONAI_VGGUNET_STORE_...)"
                )
            if status in TRANSIENT:
                return PacsUnavailableError(f"{self.host}, {asked}, answered {named_status(status)}", status)
            return PacsError(f"{self.host}, {asked}, answered {named_status(status)}", status)
        if isinstance(error, requests.exceptions.SSLError):
            return PacsError(
                f"no encrypted connection to {self.host}: its certificate or protocol is not accepted. Set "
                "REQUESTS_CA_BUNDLE to a file with the hospital's certificates"
            )
        if isinstance(error, requests.TooManyRedirects):
            return PacsError(f"{self.host}, {asked}, redirects in circles: check its URL")
        if _is_no_http(error):
            return PacsError(f"{self.host}, {asked}, does not answer as a web server does: check its URL and port")
        if isinstance(error, requests.Timeout):
            return PacsUnavailableError(f"{self.host}, {asked}, did not answer within {self.timeout_sec:g} s")
        if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            return PacsUnavailableError(f"the connection to {self.host}, {asked}, failed or broke")
        return PacsError(f"{self.host} cannot be asked to {what} ({type(error).__name__}): check its URL")


def is_transient(error: Exception) -> bool:
    """Whether a failure may pass by itself."""
    return isinstance(error, PacsUnavailableError)


def _is_no_http(error: BaseException | None) -> bool:
    """Whether a failure was caused by an answer that is not HTTP or exceeds its limits: it would come again."""
    while error is not None:
        if isinstance(error, http.client.HTTPException):
            return not isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead))
        error = error.__cause__ or error.__context__
    return False
