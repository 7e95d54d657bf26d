"""What is said of a training, scoring or batch, without where the server keeps things: no client needs to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import Message, Send

__all__ = ["without_paths"]


def without_paths(send: Send, folders: Mapping[Path, str]) -> Send:
    """Return `send` for an answer in JSON, in whose texts words stand for folders of this machine.

    MONAI Label tells a task's request, with a folder in it, and the last lines of its log.

    Args:
        send: of the connection.
        folders: words by folder; of folders within one another the inner one counts.
    """
    words = {str(folder): word for folder, word in sorted(folders.items(), key=lambda item: -len(str(item[0])))}
    start: Message = {}
    body = bytearray()

    async def hidden(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        content = _hidden(bytes(body), words)
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers.append((b"content-length", str(len(content)).encode()))
        await send({**start, "headers": headers})
        await send({**message, "body": content})

    return hidden


def _hidden(content: bytes, words: Mapping[str, str]) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:  # an answer of plain text, such as "Internal Server Error"
        return content
    return json.dumps(_replaced(value, words)).encode()


def _replaced(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(entry, words) for key, entry in value.items()}
    if isinstance(value, list):
        return [_replaced(entry, words) for entry in value]
    if isinstance(value, str):
        for folder, word in words.items():
            value = value.replace(folder, word)
    return value
