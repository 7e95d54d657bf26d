"""A result into the archive: by STOW-RS (PS3.18 10.5) or C-STORE (PS3.4 B), taken as a whole or an error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_vggunet.errors import ConfigurationError, PacsAccessError, PacsError, PacsStoreError
from monai_vggunet.pacs.dicomweb import EXTRA, DicomWebServer
from monai_vggunet.pacs.retries import Retries

__all__ = ["CALLING_AET", "StorageScp", "StoreTarget", "StowServer"]

CALLING_AET = "MONAI_VGGUNET"
DUPLICATE = 0x0111  # this very instance is there already (PS3.7 C.4.2): our UIDs are new, so an earlier attempt did it
STOW_IN_ONE_PIECE = 1 << 40  # bytes; some servers take no chunked body, and one piece can be sent again
REASONS = {  # PS3.18 table 10.5.3-1 and PS3.4 table B.2-1
    0x0110: "processing failure",
    0x0117: "invalid object instance",
    0x0122: "kind of object not supported",
    0x0124: "not authorized",
    0xA700: "out of resources",
    0xA900: "object does not match its class",
    0xC000: "cannot be understood",
    0xC122: "transfer syntax not supported",
}


class StoreTarget(Protocol):
    """Where results go."""

    @property
    def name(self) -> str:
        """For messages and records: the service's URL, or `HOST:PORT:AET`."""

    @property
    def how(self) -> str:
        """`STOW-RS` or `C-STORE`."""

    def store(self, path: str | os.PathLike[str]) -> None:
        """Store one DICOM file.

        Raises:
            PacsStoreError: it was not stored, as far as we know.
            PacsAccessError: other credentials are wanted.
        """


class StowServer:
    """A DICOMweb server that takes results.

    Args:
        server: of its own: not the one that another thread reads from.
    """

    how = "STOW-RS"

    def __init__(self, server: DicomWebServer) -> None:
        self.server = server
        self.name = server.url
        server.client.set_chunk_size(STOW_IN_ONE_PIECE)

    def store(self, path: str | os.PathLike[str]) -> None:
        """Store one DICOM file; see `StoreTarget`."""
        dataset = _dicom_file(path)
        try:
            answer = self.server.ask(lambda: self._post(dataset), "store a result")
        except PacsError as error:
            if isinstance(error, PacsAccessError):
                raise
            raise PacsStoreError(str(error), error.status) from error
        self._judge(dataset, answer)

    def _post(self, dataset: Dataset) -> Dataset:
        """Send it; a refusal's list of failures is an answer as well, and one that cannot be read an empty answer."""
        import requests

        try:
            return self.server.client.store_instances([dataset])
        except requests.HTTPError as error:
            answer = _failures_in(error.response)
            if answer is None:
                raise
            return answer
        except requests.exceptions.JSONDecodeError:  # the server took it: whether it holds it is asked
            return Dataset()
        except requests.RequestException:
            raise
        except Exception:  # as above: XML that is none, or not DICOM's model
            return Dataset()

    def _judge(self, dataset: Dataset, answer: Dataset) -> None:
        uid = dataset.SOPInstanceUID
        for item in answer.get("FailedSOPSequence") or []:
            reason = int(item.get("FailureReason") or 0)
            if item.get("ReferencedSOPInstanceUID", uid) == uid and reason != DUPLICATE:
                raise PacsStoreError(f"{self.server.host} did not store it: {_reason(reason)}")
        named = list(answer.get("ReferencedSOPSequence") or []) + list(answer.get("FailedSOPSequence") or [])
        if any(item.get("ReferencedSOPInstanceUID") == uid for item in named):
            return
        # A server that says nothing of it: the archive itself is asked.
        found = self.server.ask(
            lambda: self.server.client.search_for_instances(
                dataset.StudyInstanceUID, search_filters={"SOPInstanceUID": str(uid)}
            ),
            "find the result again",
        )
        if not found:
            raise PacsStoreError(f"{self.server.host} accepted it without a word, and does not hold it")


@dataclass(frozen=True)
class StorageScp:
    """A DICOM node that takes results by C-STORE; unencrypted, as DICOM networks are.

    Args:
        host, port: where it listens.
        aet: its application entity title, at most 16 characters.
        calling_aet: ours, as the node knows it.
        timeout_sec: longest silence.
        retries: patience.

    Raises:
        ConfigurationError: pynetdicom is not installed.
    """

    host: str
    port: int
    aet: str
    calling_aet: str = CALLING_AET
    timeout_sec: float = 60.0
    retries: Retries = field(default_factory=Retries)
    how = "C-STORE"

    def __post_init__(self) -> None:
        try:
            import pynetdicom  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(f"sending by C-STORE needs more: {EXTRA}") from error

    @property
    def name(self) -> str:
        """How messages and records call it."""
        return f"{self.host}:{self.port}:{self.aet}"

    def store(self, path: str | os.PathLike[str]) -> None:
        """Store one DICOM file; see `StoreTarget`."""
        dataset = _dicom_file(path)
        self.retries.run(lambda: self._send(dataset), lambda error: isinstance(error, _MayPass), self.name)

    def _send(self, dataset: Dataset) -> None:
        from pynetdicom import AE

        entity = AE(self.calling_aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout_sec
        entity.connection_timeout = self.timeout_sec
        entity.add_requested_context(dataset.SOPClassUID, _offered_syntaxes(dataset.file_meta.TransferSyntaxUID))
        association = entity.associate(self.host, self.port, ae_title=self.aet)
        if not association.is_established:
            raise self._no_association(association)
        try:
            answer = association.send_c_store(dataset)
        except (ValueError, RuntimeError) as error:
            raise self._broken() from error
        finally:
            if association.is_established:
                association.release()
        if "Status" not in answer:
            raise self._broken()
        status = int(answer.Status)
        if status in (0x0000, DUPLICATE) or status >> 12 == 0xB:  # Bxxx: stored, with a warning
            return
        kind = _MayPass if status >> 8 == 0xA7 else PacsStoreError
        raise kind(f"{self.name} did not store it: {_reason(status)}")

    def _broken(self) -> PacsStoreError:
        return _MayPass(
            f"{self.name} broke the connection, or did not answer within {self.timeout_sec:g} s: does it know "
            f"{self.calling_aet} (--calling-aet), and may that store?"
        )

    def _no_association(self, association: Any) -> PacsStoreError:
        if association.is_rejected:
            answer = association.acceptor.primitive
            text = f"{self.name} rejects {self.calling_aet} as {self.aet} ({answer.reason_str})"
            if answer.result == 2:  # rejected-transient, PS3.8 table 9-21
                return _MayPass(text)
            return PacsStoreError(f"{text}: check both titles; the PACS must know ours (--calling-aet)")
        if association.rejected_contexts:
            return PacsStoreError(f"{self.name} takes no such object: it does not support DICOM SEG as we write it")
        return _MayPass(f"no connection to {self.name}: is it running and reachable?")


class _MayPass(PacsStoreError):
    """A failure that may pass by itself."""


def _dicom_file(path: str | os.PathLike[str]) -> Dataset:
    try:
        return dcmread(path)
    except (OSError, InvalidDicomError) as error:
        raise PacsStoreError(f"{path} cannot be read to be stored ({type(error).__name__}); was it removed?") from error


def _offered_syntaxes(own: UID) -> list[UID]:
    """Return the file's own transfer syntax, and what it can be turned into without touching a pixel."""
    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    return plain if own in plain else [own]


def _failures_in(response: Any) -> Dataset | None:
    """Return what a refusing STOW answer lists as failed; None where it lists nothing."""
    try:
        answer = Dataset.from_json(response.json())
    except Exception:  # no JSON, or not DICOM's: the status alone speaks
        return None
    return answer if answer.get("FailedSOPSequence") else None


def _reason(code: int) -> str:
    general = REASONS.get(code) or REASONS.get(code & 0xFF00) or REASONS.get(code & 0xF000) or "failure"
    return f"{general} (0x{code:04X})"
