"""A DICOM association that neither blocks forever nor accepts more bytes than answers have.

pynetdicom's timeouts apply to whole messages. The thread that reads and writes has none: a node that stops within a
message, or does not read what it is sent, would block that thread and its callers forever.
"""

from __future__ import annotations

import socket
from typing import Any

from pydicom import Dataset

from monai_vggunet.pacs.bounds import ANSWER_PATIENCE, Patience, waiting

__all__ = ["BoundedAssociation", "BoundedSocket"]

C_STORE_RESPONSE = 0x8001  # PS3.7 E.1-1
FIRST_MESSAGE = 1  # pynetdicom's MessageID of a first request
MOST_ANSWER_BYTES = 1 << 20  # of a whole association: a thousand times what acceptance and one C-STORE status need


class BoundedSocket:
    """A connected socket for pynetdicom's `AssociationSocket`; its limits break the connection.

    Args:
        connected: the socket.
        silence_sec: longest silence.
        patience: for the whole association.

    Attributes:
        flooded: whether the node sent more bytes than answers have.
    """

    def __init__(self, connected: socket.socket, silence_sec: float, patience: Patience) -> None:
        self._socket, self._silence_sec, self._patience = connected, silence_sec, patience
        self._n_received = 0
        self.flooded = False

    def recv(self, n_bytes: int) -> bytes:
        """Receive.

        Raises:
            OSError: too late, too much, or the connection is broken.
        """
        self._limit_wait()
        with waiting([self._patience]):
            data = self._socket.recv(n_bytes)
        self._n_received += len(data)
        self.flooded = self._n_received > MOST_ANSWER_BYTES
        if self.flooded:
            raise OSError("the node sent more bytes than an answer has")
        return data

    def send(self, data: bytes) -> int:
        """Send.

        Raises:
            OSError: too late, or the connection is broken.
        """
        self._limit_wait()
        with waiting([self._patience]):
            n_sent = self._socket.send(data)
        self._patience.content_bytes += n_sent
        return n_sent

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def _limit_wait(self) -> None:
        self._socket.settimeout(min(self._silence_sec, self._patience.left_sec()))


class BoundedAssociation:
    """Watches over one association of pynetdicom: bounds its socket, and hears what the node answers.

    Args:
        name: of the node, for messages.
        silence_sec: longest silence.

    Attributes:
        socket: None before there is a connection.
    """

    def __init__(self, name: str, silence_sec: float) -> None:
        self._silence_sec, self._patience = silence_sec, Patience(name, ANSWER_PATIENCE * silence_sec)
        self._heard: list[Dataset] = []
        self.socket: BoundedSocket | None = None

    @property
    def handlers(self) -> list[Any]:
        """For `pynetdicom.AE.associate`."""
        from pynetdicom import evt

        return [(evt.EVT_CONN_OPEN, self._bound), (evt.EVT_DIMSE_RECV, self._hear)]

    @property
    def flooded(self) -> bool:
        """Whether the node sent more bytes than answers have."""
        return self.socket is not None and self.socket.flooded

    def heard_only_of(self, sop_instance_uid: str) -> bool:
        """Whether the node sent nothing but answers to our C-STORE of that object (PS3.7 9.3.1.2)."""
        return bool(self._heard) and all(
            command.get("CommandField") == C_STORE_RESPONSE
            and command.get("MessageIDBeingRespondedTo") == FIRST_MESSAGE
            and str(command.get("AffectedSOPInstanceUID") or sop_instance_uid) == sop_instance_uid
            for command in self._heard
        )

    def _bound(self, event: Any) -> None:
        from pynetdicom import evt

        for handler, _ in event.assoc.get_handlers(evt.EVT_DIMSE_RECV):
            if handler != self._hear:  # pynetdicom's own logs the answer; if that fails, ours is never called
                event.assoc.unbind(evt.EVT_DIMSE_RECV, handler)
        provider = event.assoc.dul
        self.socket = provider.socket.socket = BoundedSocket(provider.socket.socket, self._silence_sec, self._patience)
        act = provider.state_machine.do_action

        def act_or_end(name: str) -> None:
            try:
                act(name)
            except Exception:  # it would end the thread anyway, and print what the node sent
                provider.kill_dul()

        provider.state_machine.do_action = act_or_end

    def _hear(self, event: Any) -> None:
        self._heard.append(event.message.command_set)
