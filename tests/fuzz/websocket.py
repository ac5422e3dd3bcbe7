"""What a chat server sends over its socket: the quick path for audio must not make a difference."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.fakes import URL
from tests.fuzz.harness import (
    Data,
    Harness,
    Transport,
    no_failure_logged,
    pack,
    spoiled,
    steps,
    streams,
)
from tests.support import client_frame
from tests.wire.test_frames import server_frame
from xzgw.net.backend import MAX_MESSAGE
from xzgw.net.rationed import REST
from xzgw.net.websocket import MAX_HANDSHAKE, BackendProtocol
from xzgw.wire.audio import AudioError, parse_server_audio, server_audio

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = b"*what the client wants told*"  # stands for it, and is as long
PORTION = 3  # steps of autobahn's parser before a rest
SMALL = 3  # bytes; a frame taken by the quick path has at least one more
UPGRADE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


class Owner:
    """Notes what it is told, and closes from inside after some messages."""

    def __init__(self, protocol: BackendProtocol, patience: int) -> None:
        self.told: list[tuple[object, ...]] = []
        self._protocol = protocol
        self._patience = patience  # messages, 0 for without end
        self.enough = 0  # what was told before it closed, 0 if it did not
        self.accept = ACCEPT  # what the client wants to be told

    def opened(self) -> None:
        self.told.append(("opened",))

    def audio(self, message: bytes) -> None:
        try:
            self.opus(*parse_server_audio(message))
        except AudioError:
            self._note(message, True)

    def opus(self, timestamp: int, opus: bytes) -> None:
        self._note(server_audio(0, timestamp, opus), True)

    def text(self, message: bytes) -> None:
        self._note(message, False)

    def _note(self, payload: bytes, is_binary: bool) -> None:
        if self.enough:
            return  # as a link does that is given up
        self.told.append((bytes(payload), is_binary))
        self._patience -= 1
        if self._patience == 0:
            self.enough = len(self.told)
            self._protocol.start_close(1000, "enough")

    def closing(self) -> None:
        self.told.append(("closing",))

    def lost(self, reason: str) -> None:
        # autobahn's own words hold addresses of objects, and what is random in each connection.
        reason = reason.replace(self.accept.decode(), ACCEPT.decode())
        self.told.append(("lost", re.sub(r"0x[0-9a-f]+", "0x", reason)))

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"a fault of ours: {reason}")


Outcome = tuple[list[tuple[object, ...]], object, bool, bool]


def compare(data: bytes) -> None:
    """The same messages, closes and failures, with the quick path and without, in any pieces, and
    in portions with a rest after each.

    The quick path takes whole frames; what comes in very small pieces goes to autobahn.

    Of the first step's number the low bit says that the handshake is over already, the rest after
    how many messages the gateway closes.
    """
    script = list(steps(data))
    first = script[0][0] if script else 1
    chunks = [chunk for _, chunk in script]
    whole = b"".join(chunks)
    small = [whole[at : at + SMALL] for at in range(0, len(whole), SMALL)]
    some = _run(chunks, first)
    for other in (
        _run(small, first),
        _run([whole], first),
        _run(chunks, first, careful=True),
        _run(chunks, first, portion=PORTION),
    ):
        assert some == other, (some, other)


def _run(
    chunks: list[bytes], first: int, careful: bool = False, portion: int = BackendProtocol.portion
) -> Outcome:
    clock = Clock()
    factory = WebSocketClientFactory(URL, reactor=clock)
    factory.setProtocolOptions(
        maxMessagePayloadSize=MAX_MESSAGE,
        maxFramePayloadSize=MAX_MESSAGE,
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        serverConnectionDropTimeout=0,
    )
    protocol = BackendProtocol(factory, {}, count(0x01020304))
    owner = Owner(protocol, first >> 1)
    protocol.owner = owner
    protocol.portion = portion
    protocol.opus_to = None if careful else owner.opus
    transport = Transport()
    with no_failure_logged():
        protocol.makeConnection(transport)
        owner.accept = accept = _accept(transport.value())
        if first & 1:
            chunks = [UPGRADE, *chunks]
        for chunk in _replaced(chunks, accept):
            if not transport.disconnecting and not transport.aborted:
                protocol.dataReceived(chunk)
                while transport.producerState == "paused" and not transport.disconnecting:
                    clock.advance(REST)  # many frames
                held = len(protocol.data or b"")
                assert protocol.state != protocol.STATE_CONNECTING or held <= MAX_HANDSHAKE
        _say_back(protocol)
        ends: Any = protocol.state, transport.disconnecting, transport.aborted
        protocol.connectionLost()
    assert [told[0] for told in owner.told].count("lost") == 1
    if owner.enough:
        # Closed from inside: of what came in the same piece the quick path drops the rest.
        return owner.told[: owner.enough], True, True, True
    return owner.told, *ends


def _replaced(chunks: list[bytes], accept: bytes) -> Iterator[bytes]:
    whole = b"".join(chunks).replace(ACCEPT, accept, 1)  # random bytes in the head only
    at = 0
    for chunk in chunks:
        yield whole[at : at + len(chunk)]
        at += len(chunk)


def _say_back(protocol: BackendProtocol) -> None:
    if protocol.state == protocol.STATE_OPEN:
        protocol.send_text(b"{}")
        protocol.send_audio(1, 0, b"audio")


def _accept(request: bytes) -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def _frame(first: int, payload: bytes, form: int) -> bytes:
    """A server's frame, in the shortest form (0) or in another."""
    size = len(payload)
    if form == 0:
        return bytes((first,)) + server_frame(payload)[1:]
    if form == 1:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    if form == 2:
        return bytes((first, 127)) + size.to_bytes(8, "big") + payload
    return bytes((first,)) + client_frame(payload, 0x01020304)[1:]  # masked, as clients do


_payloads = st.one_of(
    st.binary(max_size=140),
    st.integers(0, 300).map(bytes),
    st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xe8\xff", b"\x00\x00", b"\x03"]),
    st.sampled_from(["认证失败".encode(), b'{"type":"hello","session_id":"s"}', b"\xff\xfe"]),
)
_audio = st.builds(
    server_audio,
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
    st.integers(0, 1600).map(bytes) | st.binary(max_size=140),
)
_frames = st.one_of(
    st.builds(_frame, st.just(0x82), _payloads | _audio, st.just(0)),
    st.builds(
        _frame,
        st.sampled_from([0x81, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8A, 0xC2, 0x83, 0x09]),
        _payloads,
        st.just(0),
    ),
    st.builds(_frame, st.sampled_from([0x82, 0x81, 0x89]), _payloads, st.integers(0, 3)),
)
_conversations = st.lists(_frames, max_size=8).map(b"".join)
_answers: Data = st.one_of(
    st.builds(lambda frames: UPGRADE + frames, _conversations),
    st.sampled_from(
        [
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 502 \xff\r\n\r\n",
            UPGRADE.replace(ACCEPT, b"x"),
            UPGRADE.replace(b"Upgrade: websocket\r\n", b""),
            UPGRADE.replace(
                b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            ),
            UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: other\r\n\r\n"),
        ]
    ),
)


@st.composite
def _inputs(draw: st.DrawFn) -> bytes:
    after = draw(st.booleans())
    wire = draw(streams(spoiled(_conversations if after else _answers)))
    first = int(after) | draw(st.sampled_from([0, 0, 0, 1, 2, 3])) << 1
    return pack((first, chunk) for _, chunk in steps(wire))


HARNESSES = (Harness("websocket", compare, _inputs()),)
