"""One recording of one device: what was said by whom, the headers of its audio, its states.

Never a key, a password or a token, see wire.masking; never what is spoken, unless that was asked
for. Each record is a line of JSON, and stands for a packet of the capture file: a datagram is its
header (cut off behind it) or, with audio, its Opus packet as RTP, all else is a message of syslog,
which is text (RFC 3164), from who said it to who heard it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from struct import Struct
from typing import Final

from xzgw.core.session_types import BackendText, DeviceText
from xzgw.core.trace_record import SYSLOG, Record, line_of
from xzgw.core.trace_types import TraceForm, TraceOptions, TraceSlice, TraceState, TraceView
from xzgw.wire import pcap
from xzgw.wire.addresses import MASK
from xzgw.wire.masking import masked_text
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect, Packet, Publish

FROM_DEVICE: Final = "from_device"
TO_DEVICE: Final = "to_device"
FROM_SERVER: Final = "from_server"
TO_SERVER: Final = "to_server"
INSIDE: Final = "inside"  # the gateway itself

SLICE: Final = 64 * 1024  # bytes handed out at once, and a record
FULL: Final = "its memory is full"

_unpack_server = Struct(">xxHIII").unpack_from
_CAPITAL = re.compile("(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram of audio, or as much as is recorded of it.

    Attributes:
        device: its address and port, plain.
        gateway: ours.
        members: of its line.
        payload: for the capture file; None for a message of syslog.
        size: of what the payload is the beginning of.
    """

    way: str
    device: pcap.Address
    gateway: pcap.Address
    members: Json
    payload: bytes | None = None
    size: int = 0


class Trace:
    """See the module's text.

    Attributes:
        device, gateway: their IP addresses, for the capture file; empty until known.
        now: unix time.
    """

    def __init__(
        self,
        client_id: str,
        number: int,
        options: TraceOptions,
        now: Callable[[], float],
        on_full: Callable[[], None],
    ) -> None:
        """
        Args:
            now: unix time.
            on_full: called once, when there is no room for a record; it has to end the trace.
        """
        self.client_id = client_id
        self.number = number
        self.options = options
        self.device = self.gateway = ""
        self.now = now
        self._on_full = on_full
        self._since = now()
        self._until = self._since + options.seconds
        self._state: object = None  # of the session machine
        self._reason = ""
        self._records: list[Record] = []
        self._used = 0

    def view(self) -> TraceView:
        """What there is so far."""
        return TraceView(
            client_id=self.client_id,
            number=self.number,
            state=TraceState.ENDED if self._reason else TraceState.RUNNING,
            reason=self._reason,
            since=self._since,
            until=self._until,
            options=self.options,
            records=len(self._records),
            used=self._used,
        )

    def end(self, reason: str) -> None:
        """Record nothing more but this."""
        self._keep(self._noted("end", INSIDE, {"reason": reason}))
        self._until, self._reason = self.now(), reason

    def note(self, kind: str, way: str, **members: object) -> None:
        """Record anything that JSON can tell."""
        self._add(self._noted(kind, way, members))

    def _noted(self, kind: str, way: str, members: Json) -> Record:
        device, gateway, nobody = (self.device, SYSLOG), (self.gateway, SYSLOG), ("", SYSLOG)
        source, target = {
            FROM_DEVICE: (device, gateway),
            TO_DEVICE: (gateway, device),
            FROM_SERVER: (nobody, gateway),
            TO_SERVER: (gateway, nobody),
        }.get(way, (gateway, gateway))
        at = self.now()
        return Record(at, line_of(at, kind, way, members), source, target, None, 0)

    def message(self, kind: str, way: str, text: bytes, **members: object) -> None:
        """Record a message that is JSON, or should be."""
        self.note(kind, way, **members, size=len(text), **masked_text(text))

    def packet(self, way: str, packet: Packet) -> None:
        """Record an MQTT control packet."""
        name = type(packet).__name__.lower()
        match packet:
            case Publish():
                details = {"topic": packet.topic, "qos": packet.qos}
                self.message("mqtt", way, packet.payload, packet=name, **details)
            case Connect():
                details = {
                    "client_id": packet.client_id,
                    "username": packet.username,
                    "password": None if packet.password is None else MASK,
                    "keep_alive": packet.keep_alive,
                    "clean_session": packet.clean_session,
                    "level": packet.level,
                    "will": None if packet.will is None else packet.will.topic,
                }
                self.note("mqtt", way, packet=name, **details)
            case _:
                self.note("mqtt", way, packet=name, **asdict(packet))

    def session(self, event: object, state: object) -> None:
        """Record the state of the session machine and what brought it there; texts that did not
        change it have a record of their own."""
        if isinstance(event, DeviceText | BackendText) and state == self._state:
            return
        self._state = state
        details = {
            name: value
            for name in ("reason", "link", "session_id")
            for value in (getattr(state, name, None) or getattr(event, name, None),)
            if value is not None
        }
        self.note("session", INSIDE, event=event and _words(event), state=_words(state), **details)

    def server_audio(self, message: bytes) -> None:
        """Record the header of a server's audio message."""
        header = {}
        if len(message) >= 16:
            length, sequence, timestamp, opus = _unpack_server(message)
            header = {"length": length, "sequence": sequence, "timestamp": timestamp}
            header["opus_length"] = opus
        self.note("server_audio", FROM_SERVER, size=len(message), **header)

    def datagram(self, datagram: Datagram, opus: bytes | None = None) -> None:
        """Record one, with its audio if that was asked for."""
        at, way = self.now(), datagram.way
        members = {"address": datagram.device[0], "port": datagram.device[1], **datagram.members}
        if opus is not None and self.options.audio:
            members["opus"] = b64encode(opus).decode("ascii")
        ends = datagram.device, datagram.gateway
        if datagram.payload is None:
            ends = (datagram.device[0], SYSLOG), (datagram.gateway[0], SYSLOG)
        source, target = ends if way == FROM_DEVICE else ends[::-1]
        line = line_of(at, "datagram", way, members)
        self._add(Record(at, line, source, target, datagram.payload, datagram.size))

    def stream(self, way: str, device: pcap.Address, gateway: pcap.Address, ssrc: int) -> None:
        """Record that what follows in this direction, between these addresses, is RTP."""
        source, target = (device, gateway) if way == FROM_DEVICE else (gateway, device)
        payload = pcap.announcement(source, target, ssrc)
        at, members = self.now(), {"address": device[0], "port": device[1], "ssrc": ssrc}
        line = line_of(at, "stream", way, members)
        ends = (source[0], pcap.SAP_PORT), (target[0], pcap.SAP_PORT)
        self._add(Record(at, line, *ends, payload, len(payload)))

    def slice(self, form: TraceForm, start: int) -> TraceSlice:
        """What is recorded so far, from a position on: 0, or what the slice before says."""
        captured = form is TraceForm.PCAP
        parts = [pcap.FILE_HEADER if captured else self._head()] if start == 0 else []
        size, at = 0, start
        while at < len(self._records) and size < SLICE:
            record = self._records[at]
            parts.append(record.captured() if captured else record.line + b"\n")
            size += len(parts[-1])
            at += 1
        return TraceSlice(b"".join(parts), at if at < len(self._records) else None)

    def _head(self) -> bytes:
        view = self.view()
        members = {
            "client_id": self.client_id,
            "state": view.state.value,
            "reason": view.reason or None,
            **asdict(self.options),
            "records": view.records,
        }
        return line_of(self._since, "trace", INSIDE, members) + b"\n"

    def _add(self, record: Record) -> None:
        if self._reason:
            return
        if self._used + record.cost() > self.options.max_bytes:
            self._on_full()
        else:
            self._keep(record)

    def _keep(self, record: Record) -> None:
        self._used += record.cost()
        self._records.append(record)


def _words(value: object) -> str:
    """Like device_hello."""
    return _CAPITAL.sub("_", type(value).__name__).lower()
