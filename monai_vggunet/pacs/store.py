"""Stores a result in an archive, whole or with an error, by STOW-RS (PS3.18 10.5) or C-STORE (PS3.4 B)."""

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
DUPLICATE = 0x0111  # the instance is there already (PS3.7 C.4.2): our UIDs are new, so an earlier attempt stored it
STOW_IN_ONE_PIECE = 1 << 40  # bytes: some servers accept no chunked body, and a single piece can be sent again


class StoreTarget(Protocol):
    """A place where results are stored."""

    @property
    def name(self) -> str:
        """For messages and records: the service's URL, or `HOST:PORT:AET`."""

    @property
    def how(self) -> str:
        """`STOW-RS` or `C-STORE`."""

    def store(self, path: str | os.PathLike[str]) -> None:
        """Store one DICOM file.

        Raises:
            PacsStoreError: it was not stored, as far as is known.
            PacsAccessError: other credentials are required.
        """


class StowServer:
    """A DICOMweb server that stores results.

    Args:
        server: for this target alone, not the one that another thread reads from.
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
        """Send it; a refusal that lists failures counts as an answer, and an unreadable answer as an empty one."""
        import requests

        keep_values_out_of_warnings()
        try:
            return read_answer(self.server.client.store_instances([dataset]))
        except requests.HTTPError as error:
            answer = failures_in(error.response)
            if answer is None:
                raise
            return answer
        except requests.exceptions.JSONDecodeError:  # the server accepted it; `_judge` asks whether it holds it
            return StowAnswer()
        except (requests.RequestException, PacsError, Stopped):
            raise
        except Exception:  # as above: broken XML, or not DICOM's model
            return StowAnswer()

    def _judge(self, dataset: Dataset, answer: StowAnswer) -> None:
        uid = str(dataset.SOPInstanceUID)
        for failed, code in answer.failed:
            if failed in ("", uid) and code != DUPLICATE:
                raise PacsStoreError(f"{self.server.host} did not store it: {status_in_words(code)}")
        if uid not in answer.named and not self._holds(dataset):
            raise PacsStoreError(
                f"{self.server.host} accepted the result without a report, but does not hold it: ask the PACS "
                "administrator"
            )

    def _holds(self, dataset: Dataset) -> bool:
        """Ask the archive itself, because its answer does not mention the object."""
        uid = str(dataset.SOPInstanceUID)

        def is_listed() -> bool:
            found = self.server.client.search_for_instances(
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID, search_filters={"SOPInstanceUID": uid}
            )
            return any(entry[INSTANCE]["Value"] == [uid] for entry in found)

        return self.server.ask(is_listed, "find the result again")


@dataclass(frozen=True)
class StorageScp:
    """A DICOM node that stores results by C-STORE; unencrypted, as DICOM networks usually are.

    Args:
        host, port: where it listens.
        aet: its application entity title, at most 16 characters.
        calling_aet: ours, as the node knows it.
        timeout_sec: longest silence.
        retries: how often to try again.

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
            raise ConfigurationError(f"C-STORE needs packages that are not installed: {EXTRA}") from error

    @property
    def name(self) -> str:
        """Its name in messages and records."""
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
        except Exception as error:  # pynetdicom fails at answers that no node should give; its text may quote them
            if watch.flooded:
                raise PacsStoreError(
                    f"{self.name} sends an endless answer: stopped. Ask the PACS administrator"
                ) from error
            if isinstance(error, PacsStoreError):
                raise
            raise self._broken() from error
        if not watch.heard_only_of(str(dataset.SOPInstanceUID)):
            raise PacsStoreError(
                f"{self.name} answered something other than the request: whether it holds the result is unknown. Look "
                "in the PACS, or run again with --resume"
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
        entity.dimse_timeout = self.timeout_sec + n_bytes / SLOWEST_BYTES_PER_SEC  # it starts before the object is sent
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
            f"{self.name} broke the connection, or did not answer within {self.timeout_sec:g} s: check that it knows "
            f"{self.calling_aet} (--calling-aet) and lets it store"
        )

    def _no_association(self, association: Any) -> PacsStoreError:
        if association.is_rejected:
            answer = association.acceptor.primitive
            text = f"{self.name} rejects {self.calling_aet} as {self.aet} ({answer.reason_str})"
            if answer.result == 2:  # rejected-transient, PS3.8 table 9-21
                return _MayPass(text)
            return PacsStoreError(f"{text}: check both titles; the PACS must know ours (--calling-aet)")
        if association.rejected_contexts:
            return PacsStoreError(
                f"{self.name} does not accept DICOM SEG in the transfer syntax of this file: store elsewhere, or try "
                "another --seg-type"
            )
        return _MayPass(f"no connection to {self.name}: check that it is running and reachable")


class _MayPass(PacsStoreError):
    """A failure that may pass by itself."""


def _dicom_file(path: str | os.PathLike[str]) -> Dataset:
    try:
        return dcmread(path)
    except (OSError, InvalidDicomError) as error:
        raise PacsStoreError(
            f"{path} cannot be read, so it is not stored ({type(error).__name__}): segment the study again"
        ) from error


def _offered_syntaxes(own: UID) -> list[UID]:
    """Return the file's own transfer syntax, and those it can be converted to without touching a pixel."""
    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    return plain if own in plain else [own]
