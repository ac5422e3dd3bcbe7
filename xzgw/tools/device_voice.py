"""A device's audio channel: its own UDP socket, its own half of the encryption.

Written from the firmware, not with the gateway's own codec, so that the two check each other.

Source: xiaozhi-esp32 main/protocols/mqtt_protocol.cc
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, TypeGuard

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from xzgw.tools.steps import StepError
from xzgw.wire.messages import Json

# type, flags, payload length, connection id, timestamp in ms, sequence
_HEADER = Struct(">BBHIII")


@dataclass(frozen=True, slots=True)
class Session:
    """What the hello reply told; `key` and `nonce` are 16 bytes."""

    session_id: str
    server: str
    port: int
    key: bytes = field(repr=False)
    nonce: bytes
    reply: Json = field(repr=False)  # as it came


@dataclass(frozen=True, slots=True)
class Heard:
    """One packet that came back; `at` is the clock's seconds."""

    sequence: int
    timestamp: int
    opus: bytes
    at: float


def parse_hello_reply(reply: Json) -> Session:
    """Check a hello reply as strictly as firmware needs it. Raises StepError."""
    udp = reply.get("udp")
    if reply.get("transport") != "udp" or not isinstance(udp, dict):
        raise StepError("hello: the reply offers no UDP transport")
    session_id, server, port = reply.get("session_id"), udp.get("server"), udp.get("port")
    if not isinstance(session_id, str) or not session_id:
        raise StepError("hello: the reply has no session_id")
    if not _is_host(server):
        raise StepError(f"hello: the reply's UDP server is {server!r}")
    if type(port) is not int or not 1 <= port <= 65535:
        raise StepError(f"hello: the reply's UDP port is {port!r}")
    key, nonce = _sixteen_bytes(udp, "key"), _sixteen_bytes(udp, "nonce")
    if nonce[0] != 1:
        raise StepError("hello: the reply's nonce does not begin with 01")
    return Session(session_id, server, port, key, nonce, reply)


def _is_host(server: object) -> TypeGuard[str]:
    try:
        return isinstance(server, str) and bool(server.encode("idna"))
    except UnicodeError:
        return False


def _sixteen_bytes(udp: Json, name: str) -> bytes:
    try:
        value = bytes.fromhex(udp[name])
    except (KeyError, TypeError, ValueError):
        value = b""
    if len(value) != 16:
        raise StepError(f"hello: the reply's {name} is not 32 hex digits")
    return value


class Voice(DatagramProtocol):
    """One session's audio, on a UDP socket connected to where the hello reply points."""

    transport: IUDPTransport

    def __init__(
        self, clock: IReactorTime, session: Session, address: str, on_change: Callable[[], None]
    ) -> None:
        """Take the server's IP address, and what to call when a packet was heard."""
        self.sent_at: list[float] = []  # the clock's seconds, one for each packet spoken
        self.heard: list[Heard] = []
        self.lost = 0  # gaps in the sequence
        self.dropped: Counter[str] = Counter()  # by reason, as firmware drops
        self.refused = 0  # times the network said that nobody listens there
        self._clock = clock
        self._session = session
        self._address = address
        self._on_change = on_change
        self._last_heard = 0
        self._port: Any = None
        self._gone = False  # the socket was lost to an error of the network

    def open(self, reactor: Any) -> None:
        """Open the socket. Raises CannotListenError."""
        self._port = reactor.listenUDP(0, self, interface="::" if ":" in self._address else "")

    def close(self) -> None:
        """Close the socket; nothing is heard from now on."""
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def startProtocol(self) -> None:
        self.transport.connect(self._address, self._session.port)

    def stopProtocol(self) -> None:
        # With epoll, Twisted gives a socket up whose peer refuses datagrams (ICMP).
        if self._port is not None:
            self._port = None
            self._gone = True
            self._on_change()

    def send(self, opus: bytes, timestamp: int = 0) -> None:
        """Speak one Opus packet; timestamp in ms. Raises StepError after the session's end."""
        if self._gone:
            where = f"{self._address}:{self._session.port}"
            raise StepError(f"speaking: nobody listens at udp {where}, as the reply has it")
        if self._port is None:
            raise StepError("speaking: the session is over")
        datagram = self.seal(len(self.sent_at) + 1, timestamp, opus)
        self.sent_at.append(self._clock.seconds())
        self._port.write(datagram)

    def seal(self, sequence: int, timestamp: int, opus: bytes) -> bytes:
        """One datagram: the nonce with three fields filled in, then the encrypted packet."""
        kind, flags, _, ssrc, _, _ = _HEADER.unpack(self._session.nonce)
        header = _HEADER.pack(kind, flags, len(opus), ssrc, timestamp, sequence)
        return header + self._crypt(header, opus)

    def datagramReceived(self, datagram: bytes, _address: object) -> None:
        at = self._clock.seconds()
        if not datagram:
            self.dropped["empty datagram, which ends the socket"] += 1
            self.close()
        elif len(datagram) < 16:
            self.dropped["length"] += 1
        else:
            self._hear(datagram, at)
        self._on_change()

    def _hear(self, datagram: bytes, at: float) -> None:
        kind, _, length, _, timestamp, sequence = _HEADER.unpack_from(datagram)
        if length != len(datagram) - 16:
            self.dropped["length"] += 1
        elif kind != 1:
            self.dropped["type"] += 1
        elif sequence <= self._last_heard:
            self.dropped["sequence"] += 1
        else:
            self.lost += sequence - self._last_heard - 1
            self._last_heard = sequence
            opus = self._crypt(datagram[:16], datagram[16:])
            self.heard.append(Heard(sequence, timestamp, opus, at))

    def connectionRefused(self) -> None:
        self.refused += 1

    def _crypt(self, header: bytes, data: bytes) -> bytes:
        return Cipher(AES(self._session.key), CTR(header)).encryptor().update(data)
