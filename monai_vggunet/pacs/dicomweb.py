"""A DICOMweb server: one session, patience with what may pass, and errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

from monai_vggunet.errors import ConfigurationError, PacsAccessError, PacsError, PacsUnavailableError
from monai_vggunet.pacs.access import Credentials, check_url
from monai_vggunet.pacs.retries import Retries, Stopped

__all__ = ["EXTRA", "DicomWebServer"]

EXTRA = 'install the extra: pip install "monai-vggunet[dicomweb]"'
CONNECT_TIMEOUT_SEC = 15.0
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # what may pass; any other refusal would come again
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
CHUNK_BYTES = 1 << 20
LONGEST_EPILOGUE = 256  # bytes after the closing delimiter; usually two

Result = TypeVar("Result")


class DicomWebServer:
    """One DICOMweb service (PS3.18).

    Args:
        url: of the service, as `https://pacs.example.org/dicom-web`.
        credentials: a token, or user and password; see `credentials_from_environment`.
        timeout_sec: longest silence of the server.
        retries: patience.
        allow_plain_http: see `check_url`.

    Attributes:
        client: the `dicomweb_client.DICOMwebClient`.
        host: for messages.

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
    ) -> None:
        credentials = credentials or Credentials()
        self.url = check_url(url, credentials.given, allow_plain_http)
        self.host = str(urlsplit(self.url).hostname)
        self.retries = retries or Retries()
        self.timeout_sec = timeout_sec
        try:
            import requests
            from dicomweb_client import DICOMwebClient
        except ImportError as error:
            raise ConfigurationError(f"reading from or storing to a DICOMweb server needs more: {EXTRA}") from error
        session = requests.Session()
        session.auth = credentials
        session.hooks["response"].append(_demand_the_end)
        self.client = DICOMwebClient(
            self.url,
            session=session,
            chunk_size=CHUNK_BYTES,
            permissive_uid=True,  # hospitals' UIDs break rules that do not matter here
            timeout=(min(CONNECT_TIMEOUT_SEC, timeout_sec), timeout_sec),
        )
        self.client.set_http_retry_params(retry=False)  # they leave out broken connections

    def ask(
        self, action: Callable[[], Result], what: str, may_pass: Callable[[Exception], bool] | None = None
    ) -> Result:
        """Return what a call of the client returns, tried again where that may help.

        Args:
            action: calls `client`.
            what: the intention, for messages: "list the series of the study".
            may_pass: a stricter judgement than `is_transient`.

        Raises:
            PacsAccessError: the server wants other credentials.
            PacsUnavailableError: no attempt brought an answer.
            PacsError: any other refusal or failure. No text quotes the server or a URL.
        """
        attempts = 0

        def attempt() -> Result:
            nonlocal attempts
            attempts += 1
            return self._in_plain_words(action, what)

        try:
            return self.retries.run(attempt, may_pass or is_transient, self.host)
        except PacsUnavailableError as error:
            text = f"{error} (tried {attempts} times): is it running and reachable?"
            raise PacsUnavailableError(text, error.status) from error.__cause__

    def _in_plain_words(self, action: Callable[[], Result], what: str) -> Result:
        import requests

        try:
            return action()
        except (PacsError, Stopped):
            raise
        except requests.RequestException as error:
            raise self._explain(error, what) from error
        except OSError:  # the disk here
            raise
        except Exception as error:  # its JSON, multipart or DICOM cannot be read: pydicom has many names for that
            raise PacsError(
                f"{self.host} gave an answer that cannot be read ({type(error).__name__}), asked to {what}: is the URL "
                "that of the DICOMweb service?"
            ) from error

    def _explain(self, error: Exception, what: str) -> PacsError:
        import requests

        asked = f"asked to {what}"
        if isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
            if status in REFUSED:
                return PacsAccessError(
                    f"{self.host} refused access ({_named(status)}), {asked}: set MONAI_VGGUNET_DICOMWEB_TOKEN, or "
                    "_USER and _PASSWORD, to credentials that may do this (for another server of --store: "
                    "MONAI_VGGUNET_STORE_...)"
                )
            if status in TRANSIENT:
                return PacsUnavailableError(f"{self.host} answered {_named(status)}, {asked}", status)
            return PacsError(f"{self.host} answered {_named(status)}, {asked}", status)
        if isinstance(error, requests.exceptions.SSLError):
            return PacsError(
                f"no encrypted connection to {self.host}: its certificate or protocol is not accepted here. Name the "
                "hospital's certificates in REQUESTS_CA_BUNDLE"
            )
        if isinstance(error, requests.Timeout):
            return PacsUnavailableError(f"{self.host} did not answer within {self.timeout_sec:g} s, {asked}")
        if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            return PacsUnavailableError(f"the connection to {self.host} failed or broke, {asked}")
        return PacsError(f"{self.host} cannot be asked to {what} ({type(error).__name__}): check its URL")


def is_transient(error: Exception) -> bool:
    """Whether a failure may pass by itself."""
    return isinstance(error, PacsUnavailableError)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _demand_the_end(response: Any, *_: Any, **__: Any) -> None:
    """Make a multipart answer that ends before its closing delimiter (RFC 2046) a broken connection.

    Without a stated length, as Orthanc answers, a server that dies would otherwise seem to have said all it had to
    say: the last instance would lack its end, and those after it would be missing.
    """
    kind, _, parameters = response.headers.get("Content-Type", "").partition(";")
    boundary = next((p.partition("=")[2].strip(' "') for p in parameters.split(";") if "boundary=" in p), "")
    if kind.strip().lower() != "multipart/related" or not boundary:
        return
    end, whole = f"--{boundary}--".encode(), response.iter_content

    def until_the_end(*args: Any, **options: Any) -> Iterator[bytes]:
        from requests import ConnectionError as Broken

        tail = b""
        for chunk in whole(*args, **options):
            tail = (tail + chunk)[-len(end) - LONGEST_EPILOGUE :]
            yield chunk
        if end not in tail:
            raise Broken("the answer ended before its closing delimiter")

    response.iter_content = until_the_end
