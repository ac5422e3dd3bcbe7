"""The simulated device's audio channel, held to the reference vectors and the contract."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from xzgw.tools.device_voice import Session, Voice, parse_hello_reply
from xzgw.tools.steps import StepError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())
KEY = bytes(range(16))
REPLY: dict[str, Any] = {
    "type": "hello",
    "session_id": "s-1",
    "transport": "udp",
    "udp": {
        "server": "192.0.2.1",
        "port": 8884,
        "key": KEY.hex(),
        "nonce": "01000000123456780000000000000000",
    },
}


def voice(nonce: bytes = bytes.fromhex(REPLY["udp"]["nonce"])) -> Voice:
    """A channel without a socket."""
    session = Session("s-1", "192.0.2.1", 8884, KEY, nonce, {})
    return Voice(Clock(), session, "192.0.2.1", lambda: None)


class HelloReplyTests(SynchronousTestCase):
    """What makes a hello reply acceptable."""

    def test_good(self) -> None:
        """A good reply becomes a session; its key stays out of the repr."""
        session = parse_hello_reply(REPLY)
        self.assertEqual((session.session_id, session.server), ("s-1", "192.0.2.1"))
        self.assertEqual((session.port, session.key), (8884, KEY))
        self.assertNotIn(KEY.hex(), repr(session))
        self.assertNotIn(repr(KEY), repr(session))

    def test_bad(self) -> None:
        """Each thing firmware needs is missed when it is wrong, by name."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"transport": "websocket"}, "UDP transport"),
            ({"udp": None}, "UDP transport"),
            ({"session_id": 5}, "session_id"),
            ({"udp": {**REPLY["udp"], "server": ""}}, "UDP server is ''"),
            ({"udp": {**REPLY["udp"], "server": 5}}, "UDP server is 5"),
            ({"udp": {**REPLY["udp"], "server": "x" * 64}}, "UDP server is 'xxx"),
            ({"udp": {**REPLY["udp"], "port": "8884"}}, "UDP port is '8884'"),
            ({"udp": {**REPLY["udp"], "port": 0}}, "UDP port is 0"),
            ({"udp": {**REPLY["udp"], "key": "zz"}}, "key is not 32 hex digits"),
            ({"udp": {**REPLY["udp"], "key": 5}}, "key is not 32 hex digits"),
            ({"udp": {**REPLY["udp"], "nonce": "01"}}, "nonce is not 32 hex digits"),
            ({"udp": {**REPLY["udp"], "nonce": "02" + "0" * 30}}, "begin with 01"),
        ]
        for change, message in cases:
            error = self.assertRaises(StepError, parse_hello_reply, {**REPLY, **change})
            self.assertTrue(str(error).startswith("hello: "), error)
            self.assertIn(message, str(error))


class VoiceTests(SynchronousTestCase):
    """Datagrams out and in."""

    def test_vectors(self) -> None:
        """Every reference datagram is sealed and heard alike."""
        for entry in VECTORS["audio"]:
            nonce = struct.pack(">BBHIII", 1, entry["flags"], 0, entry["connection_id"], 0, 0)
            one, opus = voice(nonce), bytes.fromhex(entry["opus"])
            datagram = one.seal(entry["sequence"], entry["timestamp"], opus)
            self.assertEqual(datagram.hex(), entry["datagram"])
            one.datagramReceived(datagram, None)
            heard = one.heard[0]
            self.assertEqual(
                (heard.sequence, heard.timestamp, heard.opus),
                (entry["sequence"], entry["timestamp"], opus),
            )

    def test_drops(self) -> None:
        """Wrong lengths, types and sequences that do not rise are dropped; a gap is counted."""
        one = voice()
        good = {n: one.seal(n, 0, b"opus") for n in (3, 4, 7)}
        for datagram in (
            good[4],
            good[4],  # again
            good[3],  # older
            good[7][:-1],
            good[7] + b"x",
            good[7][:15],
            b"\x02" + good[7][1:],
            good[7],
        ):
            one.datagramReceived(datagram, None)
        self.assertEqual([heard.sequence for heard in one.heard], [4, 7])
        self.assertEqual(one.lost, 3 + 2)
        self.assertEqual(one.dropped, {"sequence": 2, "length": 3, "type": 1})

    def test_flags_are_ignored(self) -> None:
        """Any flags byte is taken, as part of the counter block."""
        one = voice(bytes.fromhex("01810000123456780000000000000000"))
        other = voice()
        other.datagramReceived(one.seal(1, 5, b"opus"), None)
        self.assertEqual(other.heard[0].opus, b"opus")

    def test_speaking_without_socket(self) -> None:
        """After the session's end nothing is sent."""
        one = voice()
        error = self.assertRaises(StepError, one.send, b"opus")
        self.assertEqual(str(error), "speaking: the session is over")
        self.assertEqual(one.sent_at, [])


class RefusedTests(TestCase):
    """A port where nobody listens."""

    def test_nobody_listens(self) -> Deferred[None]:
        """The network's refusal ends the channel, and speaking says what is wrong."""
        refused: Deferred[None] = Deferred()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        session = Session("s-1", "127.0.0.1", port, KEY, bytes.fromhex("01" + "00" * 15), {})
        channel = Voice(Clock(), session, "127.0.0.1", lambda: refused.callback(None))
        channel.open(reactor)
        channel.send(b"x")

        def check(_: None) -> None:
            self.assertFalse(channel.is_open)
            error = self.assertRaises(StepError, channel.send, b"x")
            self.assertIn(f"nobody listens at udp 127.0.0.1:{port}", str(error))

        return refused.addCallback(check).addTimeout(5, reactor)
