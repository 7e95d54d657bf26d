"""A result into the archive: by STOW-RS (PS3.18 10.5) or C-STORE (PS3.4 B), taken as a whole or an error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_vggunet.dicom.headers.header import keep_values_out_of_warnings
from monai_vggunet.errors import ConfigurationError, PacsAccessError, PacsError, PacsStoreError
from monai_vggunet.pacs.bounded_association import BoundedAssociation
from monai_vggunet.pacs.bounds import MOST_STORE_ANSWER_BYTES, SLOWEST_BYTES_PER_SEC
from monai_vggunet.pacs.dicomweb import EXTRA, DicomWebServer
from monai_vggunet.pacs.listing import INSTANCE
from monai_vggunet.pacs.retries import Retries, Stopped
from monai_vggunet.pacs.stow_answer import StowAnswer, failures_in, read_answer, status_in_words

__all__ = ["CALLING_AET", "StorageScp", "StoreTarget", "StowServer"]

CALLING_AET = "MONAI_VGGUNET"
DUPLICATE = 0x0111  # this very instance is there already (PS3.7 C.4.2): our UIDs are new, so an earlier attempt did it
STOW_IN_ONE_PIECE = 1 << 40  # bytes; some servers take no chunked body, and one piece can be sent again


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
            answer = self.server.ask(lambda: self._post(dataset), "store a result", most_bytes=MOST_STORE_ANSWER_BYTES)
            self._judge(dataset, answer)
        except (PacsAccessError, PacsStoreError):
            raise
        except PacsError as error:
            raise PacsStoreError(str(error), error.status) from error

    def _post(self, dataset: Dataset) -> StowAnswer:
        """Send it; a refusal's list of failures is an answer as well, and one that cannot be read an empty answer."""
        import requests

        keep_values_out_of_warnings()
        try:
            return read_answer(self.server.client.store_instances([dataset]))
        except requests.HTTPError as error:
            answer = failures_in(error.response)
            if answer is None:
                raise
            return answer
        except requests.exceptions.JSONDecodeError:  # the server took it: whether it holds it is asked
            return StowAnswer()
        except (requests.RequestException, PacsError, Stopped):
            raise
        except Exception:  # as above: XML that is none, or not DICOM's model
            return StowAnswer()

    def _judge(self, dataset: Dataset, answer: StowAnswer) -> None:
        uid = str(dataset.SOPInstanceUID)
        for failed, code in answer.failed:
            if failed in ("", uid) and code != DUPLICATE:
                raise PacsStoreError(f"{self.server.host} did not store it: {status_in_words(code)}")
        if uid not in answer.named and not self._holds(dataset):
            raise PacsStoreError(f"{self.server.host} accepted it without a word, and does not hold it")

    def _holds(self, dataset: Dataset) -> bool:
        """Ask the archive itself, where its answer says nothing of the object."""
        uid = str(dataset.SOPInstanceUID)

        def is_listed() -> bool:
            found = self.server.client.search_for_instances(
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID, search_filters={"SOPInstanceUID": uid}
            )
            return any(entry[INSTANCE]["Value"] == [uid] for entry in found)

        return self.server.ask(is_listed, "find the result again")


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
        dataset, n_bytes = _dicom_file(path), os.path.getsize(path)
        self.retries.run(lambda: self._send(dataset, n_bytes), lambda error: isinstance(error, _MayPass), self.name)

    def _send(self, dataset: Dataset, n_bytes: int) -> None:
        keep_values_out_of_warnings()
        watch = BoundedAssociation(self.name, self.timeout_sec)
        try:
            status = self._converse(dataset, n_bytes, watch)
        except Exception as error:  # pynetdicom meets what no node should say; its text may quote it
            if watch.flooded:
                raise PacsStoreError(f"{self.name} answers without end: stopped. Ask who runs it") from error
            if isinstance(error, PacsStoreError):
                raise
            raise self._broken() from error
        if not watch.heard_only_of(str(dataset.SOPInstanceUID)):
            raise PacsStoreError(
                f"{self.name} answered something else than it was asked: whether it holds it is unknown"
            )
        if status in (0x0000, DUPLICATE) or status >> 12 == 0xB:  # Bxxx: stored, with a warning
            return
        kind = _MayPass if status >> 8 == 0xA7 else PacsStoreError
        raise kind(f"{self.name} did not store it: {status_in_words(status)}")

    def _converse(self, dataset: Dataset, n_bytes: int, watch: BoundedAssociation) -> int:
        """Send it; return the status."""
        from pynetdicom import AE

        entity = AE(self.calling_aet)
        entity.acse_timeout = entity.network_timeout = entity.connection_timeout = self.timeout_sec
        entity.dimse_timeout = self.timeout_sec + n_bytes / SLOWEST_BYTES_PER_SEC  # it begins before the object is sent
        entity.add_requested_context(dataset.SOPClassUID, _offered_syntaxes(dataset.file_meta.TransferSyntaxUID))
        association = entity.associate(self.host, self.port, ae_title=self.aet, evt_handlers=watch.handlers)
        if not association.is_established:
            raise self._no_association(association)
        try:
            answer = association.send_c_store(dataset)
        finally:
            if association.is_established:
                association.release()
        if "Status" not in answer:
            raise self._broken()
        return int(answer.Status)

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
