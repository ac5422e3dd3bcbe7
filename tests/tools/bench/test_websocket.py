"""The bench's part of RFC 6455, against the gateway's."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.support import client_frame
from xzgw.tools.bench.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    WebSocketError,
    frame,
    next_frame,
    upgrade,
)
from xzgw.wire.frames import split_binary

SIZES = (0, 1, 3, 4, 125, 126, 196, 1600)


class FrameTests(SynchronousTestCase):
    """Both directions."""

    def test_from_gateway(self) -> None:
        """Whatever the gateway frames is read, one after the other, and only when it is whole."""
        for size in SIZES:
            message = bytes(n & 255 for n in range(size))
            wire = client_frame(message, 0x01020304)
            self.assertEqual(next_frame(wire + b"\x81", 0), (BINARY, message, len(wire)))
            self.assertEqual(next_frame(b"xx" + wire, 2), (BINARY, message, 2 + len(wire)))
            for cut in range(len(wire)):
                self.assertIsNone(next_frame(wire[:cut], 0), (size, cut))

    def test_to_gateway(self) -> None:
        """The gateway reads what is framed here."""
        for size in SIZES[2:]:  # those below four bytes are left to autobahn
            message = bytes(n & 255 for n in range(size))
            wire = frame(BINARY, message)
            self.assertEqual(split_binary(wire), ([message], len(wire)))

    def test_kinds(self) -> None:
        """Text and control frames are told apart."""
        for opcode in (TEXT, PING, CLOSE):
            wire = bytes((0x80 | opcode, 0x82, 1, 2, 3, 4)) + bytes((ord("h") ^ 1, ord("i") ^ 2))
            self.assertEqual(next_frame(wire, 0), (opcode, b"hi", 8))

    def test_refused(self) -> None:
        """Fragments, frames without a mask and those of 64 KiB are not taken."""
        for wire in (b"\x02\x80", b"\x82\x00", b"\x82\xff"):
            with self.assertRaises(WebSocketError):
                next_frame(wire, 0)


class UpgradeTests(SynchronousTestCase):
    """The handshake."""

    def test_accept(self) -> None:
        """The key is answered as in RFC 6455 section 1.3, whatever the header's spelling."""
        for name in (b"Sec-WebSocket-Key", b"sec-websocket-key"):
            request = b"GET /?from=mqtt_gateway HTTP/1.1\r\n" + name + b": dGhlIHNhbXBsZSBub25jZQ=="
            response = upgrade(request)
            assert response is not None
            self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", response)
            self.assertTrue(response.endswith(b"\r\n\r\n"))

    def test_no_websocket(self) -> None:
        """Any other request is not answered."""
        self.assertIsNone(upgrade(b"GET / HTTP/1.1\r\nHost: x"))
        self.assertIsNone(upgrade(struct.pack(">II", 1, 2)))
