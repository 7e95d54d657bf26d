"""What a request calls a study is kept out of the log for as long as it is answered, in its threads too."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from privacy_phantoms import leaks, marked

from monai_vggunet.annotation.front.asked_names import AskedNames, without_asked_names
from monai_vggunet.privacy import shown_case

STUDY = f"{marked('Jane')} Döe"


def _logged_while_answering(query: str, text: str) -> str:
    said: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        said.append(await asyncio.to_thread(without_asked_names, text))

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": "http", "query_string": query.encode()}
    with ThreadPoolExecutor(1) as thread:  # in this one the loop of a browser's tests may run
        thread.submit(asyncio.run, AskedNames(application)(scope, nothing, nothing)).result()
    return said[0]


def test_a_study_that_is_not_here_is_left_out_of_the_log() -> None:
    asked = f"image={quote(STUDY)}&output=json"
    text = f"Infer Request: {{'image': {STUDY!r}}}, GET /infer/vggunet?{asked}"
    assert leaks(_logged_while_answering(asked, text)) == set()
    assert _logged_while_answering("output=json", text) == text
    assert without_asked_names(text) == text, "afterwards the name is nobody's"


def test_names_of_uploaded_files_are_left_out_of_the_log() -> None:
    for said in (
        f"File: UploadFile(filename='{STUDY}.nii.gz', size=3)",
        f"""Headers({{'content-disposition': 'form-data; name="file"; filename="{STUDY}.nii.gz"'}})""",
        f"filename*=UTF-8''{quote(STUDY)}.nii.gz; x",
    ):
        assert leaks(without_asked_names(said)) == set()
        assert "filename" in without_asked_names(said)


def test_pseudonyms_uids_and_plain_words_stay() -> None:
    for name in (shown_case("Doe"), "1.2.840.10008.1.2", "label"):
        text = f"filename='{name}.nii.gz' image={name}"
        assert _logged_while_answering(f"image={name}", text) == text
