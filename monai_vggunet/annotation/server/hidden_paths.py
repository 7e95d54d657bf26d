"""Answers without where the server keeps things: no client needs to know how its folders are called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.types import Message, Send

__all__ = ["without_paths"]

JSON = b"application/json"
FIRST_ERROR = 400  # RFC 9110 15


def without_paths(send: Send, folders: Mapping[Path, str], of_task: bool) -> Send:
    """Return `send`, in whose refusals words stand for folders of this machine.

    Args:
        send: of the connection.
        folders: words by folder; of folders within one another the inner one counts.
        of_task: whether the answer tells of a training, scoring or batch: its request, in which MONAI Label puts a
            folder, and the last lines of its log. Then words stand for folders in any answer.
    """
    inner_first = sorted(folders.items(), key=lambda item: -len(str(item[0])))
    words = [(re.compile(rf"{re.escape(str(folder))}(?![\w.-])"), word) for folder, word in inner_first]
    start: Message = {}
    body = bytearray()

    async def hidden(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            types = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            if any(value.startswith(JSON) for value in types) and (of_task or message["status"] >= FIRST_ERROR):
                start = message
                return
        if not start:
            await send(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        content = json.dumps(_replaced(json.loads(body), words)).encode() if body else b""
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(content)).encode())]})
        await send({**message, "body": content})

    return hidden


def _replaced(value: Any, words: Sequence[tuple[re.Pattern[str], str]]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(entry, words) for key, entry in value.items()}
    if isinstance(value, list):
        return [_replaced(entry, words) for entry in value]
    if isinstance(value, str):
        for folder, word in words:
            value = folder.sub(word, value)
    return value
