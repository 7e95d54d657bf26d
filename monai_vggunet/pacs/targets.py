"""What `--store` names: a DICOMweb URL, or HOST:PORT:AET."""

from __future__ import annotations

import re
from collections.abc import Sequence

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.pacs.credentials import Credentials, credentials_from_environment, origin_of
from monai_vggunet.pacs.dicomweb import DicomWebServer
from monai_vggunet.pacs.retries import Retries
from monai_vggunet.pacs.store import CALLING_AET, StorageScp, StoreTarget, StowServer

__all__ = ["READING", "STORING", "store_targets"]

READING, STORING = "MONAI_VGGUNET_DICOMWEB", "MONAI_VGGUNET_STORE"  # prefixes of environment variables
NODE = re.compile(r"(?P<host>[^\s:/@]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5}):(?P<aet>[^\s\\:@](?:[^\\:@]*[^\s\\:@])?)")
LONGEST_AET = 16  # VR AE, PS3.5 table 6.2-1


def store_targets(
    words: Sequence[str],
    dicomweb: str = "",
    calling_aet: str = CALLING_AET,
    timeout_sec: float = 60.0,
    allow_plain_http: bool = False,
    retries: Retries | None = None,
) -> list[StoreTarget]:
    """Return where results go, one target per word.

    The credentials of the server that is read from are sent to that server alone; another one gets those in
    `MONAI_VGGUNET_STORE_*`.

    Args:
        words: DICOMweb URLs and `HOST:PORT:AET`.
        dicomweb: URL of the server that is read from; empty without one.
        calling_aet: our own title for C-STORE.
        timeout_sec: longest silence.
        allow_plain_http: see `check_url`.
        retries: how often to try again.

    Raises:
        ConfigurationError: a word is neither, or two foreign URLs would get the same credentials.
    """
    _require_title(calling_aet, "--calling-aet")
    targets: list[StoreTarget] = []
    foreign: set[tuple[str, str, int]] = set()
    for word in dict.fromkeys(words):
        node = NODE.fullmatch(word)
        if node and int(node["port"]) < 1 << 16 and "//" not in word:
            _require_title(node["aet"], "--store")
            host = node["host"].strip("[]")
            targets.append(
                StorageScp(host, int(node["port"]), node["aet"], calling_aet, timeout_sec, retries or Retries())
            )
        elif "://" in word:
            home = bool(dicomweb) and origin_of(word) == origin_of(dicomweb)
            if not home:
                foreign.add(origin_of(word))
            secrets: Credentials = credentials_from_environment(READING if home else STORING)
            targets.append(StowServer(DicomWebServer(word, secrets, timeout_sec, retries, allow_plain_http)))
        else:
            raise ConfigurationError(
                "--store expects HOST:PORT:AET or a DICOMweb URL, got something else: write it as in "
                "pacs.example.org:104:PACS or https://pacs.example.org/dicom-web"
            )
    if len(foreign) > 1:
        raise ConfigurationError(
            f"--store names {len(foreign)} DICOMweb servers that are not read from; expected one, because all would be "
            f"sent the same credentials ({STORING}_...): store to the others in another run"
        )
    return targets


def _require_title(title: str, option: str) -> None:
    if not (0 < len(title.strip()) <= LONGEST_AET and title.isascii() and title.isprintable()) or "\\" in title:
        raise ConfigurationError(
            f"{option}: {title!r} is no application entity title; expected 1 to {LONGEST_AET} plain characters"
        )
