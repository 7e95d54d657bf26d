"""A multipart body (RFC 2046 5.1), streamed part by part: no part has to fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

from monai_vggunet.errors import PacsLimitError

__all__ = ["MultipartBody"]

LONGEST_HEAD_BYTES = 1 << 14  # of a part's header, and of the text before the first part: usually a line or two


class MultipartBody:
    """The parts of a body. Each must be read before the next one; its unread rest is skipped.

    Only the closing delimiter ends the body. Orthanc states no length, so a server that dies would otherwise seem to
    have sent everything. Bytes after the delimiter are not read.

    Args:
        chunks: of the body.
        boundary: the parameter of that name in its Content-Type.
        host: for messages.

    Raises:
        requests.ConnectionError: the body ends before its closing delimiter.
        PacsLimitError: the header of a part does not end.
    """

    def __init__(self, chunks: Iterator[bytes], boundary: str, host: str) -> None:
        self._chunks, self._host = chunks, host
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._buffer = bytearray(b"\r\n")  # the line break before the first delimiter may be missing

    def __iter__(self) -> Iterator[Iterator[bytes]]:
        self._skip_past(self._delimiter)
        while not self._closed():
            self._skip_past(b"\r\n\r\n")
            part = self._content()
            yield part
            for _ in part:
                pass

    def _closed(self) -> bool:
        while len(self._buffer) < 2:
            self._read_on()
        return self._buffer.startswith(b"--")

    def _skip_past(self, mark: bytes) -> None:
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > LONGEST_HEAD_BYTES:
                raise PacsLimitError(
                    f"{self._host} sent {len(self._buffer)} bytes of a multipart answer without an instance: stopped. "
                    "Ask the PACS administrator"
                )
            self._read_on()
        del self._buffer[: at + len(mark)]

    def _content(self) -> Iterator[bytes]:
        while (at := self._buffer.find(self._delimiter)) < 0:
            sure = len(self._buffer) - len(self._delimiter)  # the last bytes may be the beginning of a delimiter
            if sure > 0:
                content = bytes(self._buffer[:sure])
                del self._buffer[:sure]
                yield content
            self._read_on()
        content = bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]
        if content:
            yield content

    def _read_on(self) -> None:
        from requests import ConnectionError as Broken

        chunk = next(self._chunks, None)
        if chunk is None:
            raise Broken("the answer ended before its closing delimiter")
        self._buffer += chunk
