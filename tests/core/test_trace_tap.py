"""Where a trace listens: audio passes as ever, and all of it is recorded."""

from __future__ import annotations

from struct import unpack
from typing import Any

from tests.core.phones import SPEECH, Phone, goodbye
from tests.core.tracing import ANN, BOB, TracingTestCase
from xzgw.core.channel import AudioChannel
from xzgw.core.trace import TO_DEVICE
from xzgw.core.trace_types import LEAST_BYTES, TraceForm, TraceState
from xzgw.wire.audio import HEADER, server_audio
from xzgw.wire.packets import Publish

OPUS = SPEECH[1]


def headers(lines: list[Any]) -> list[tuple[str, int]]:
    """Direction and sequence."""
    return [(line["way"], line["sequence"]) for line in lines]


class UplinkTests(TracingTestCase):
    """Datagrams of the device."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0, "s1")
        self.trace()

    def receive(self, datagram: bytes, port: int = 40000) -> None:
        channel = self.board.around.services.channels[self.ann.voice.ssrc]
        channel.receive(datagram, (self.ann.source[0], port))

    def test_accepted(self) -> None:
        """It reaches the server as ever; its header is recorded, its content is not."""
        before = len(self.ann.server.audio)
        self.ann.speaks(OPUS, timestamp=7)
        self.assertEqual(self.ann.server.audio[before:], [(2, 7, OPUS)])
        (line,) = self.lines("datagram")
        del line["time"]
        expected = {
            "kind": "datagram",
            "way": "from_device",
            "address": "192.0.2.50",
            "port": 40000,
            "size": HEADER + len(OPUS),
            "outcome": "accepted",
            "flags": 0,
            "length": len(OPUS),
            "sequence": 2,
            "timestamp": 7,
        }
        self.assertEqual(line, expected)
        ((ports, size, payload),) = self.datagrams()
        self.assertEqual((ports, size), ((40000, 8884), HEADER + len(OPUS)))
        self.assertEqual(payload, self.ann.voice.cipher.seal(2, 7, OPUS)[:HEADER])

    def test_refused(self) -> None:
        """Why, for each; also when nothing at all can be read."""
        self.ann.speaks(OPUS)
        self.receive(self.ann.voice.cipher.seal(1, 0, OPUS))
        self.receive(self.ann.voice.cipher.seal(3, 0, b"\xff"))
        self.receive(b"short")
        outcomes = [line["outcome"] for line in self.lines("datagram")]
        self.assertEqual(outcomes, ["accepted", "old_sequence", "implausible", "too_short"])
        self.assertEqual([size for _, size, _ in self.datagrams()][-1], 5)

    def test_held(self) -> None:
        """What is held until it is confirmed is told twice, but captured once."""
        for sequence in (5000, 5001, 5002):
            self.receive(self.ann.voice.cipher.seal(sequence, 0, OPUS), port=41000)
        lines = self.lines("datagram")
        self.assertEqual(
            [(line["sequence"], line["outcome"], line.get("was")) for line in lines],
            [
                (5000, "held", None),
                (5001, "held", None),
                (5000, "accepted", "held"),
                (5001, "accepted", "held"),
                (5002, "accepted", None),
            ],
        )
        sequences = [unpack(">I", payload[12:16])[0] for _, _, payload in self.datagrams()]
        self.assertEqual(sequences, [5000, 5001, 5002])

    def test_given_up(self) -> None:
        """That others are given up at last is no reason of this one."""
        self.receive(self.ann.voice.cipher.seal(5000, 0, OPUS), port=41000)
        self.receive(self.ann.voice.cipher.seal(6000, 0, OPUS), port=41000)
        self.assertEqual([line["outcome"] for line in self.lines("datagram")], ["held", "held"])


class DownlinkTests(TracingTestCase):
    """Audio of the server."""

    def test_both_headers(self) -> None:
        """The server's message, and the datagram that comes of it; the device hears it as ever."""
        ann = self.phone(0, "s1")
        self.trace()
        ann.server.plays(server_audio(9, 540, OPUS))
        self.assertEqual(ann.hears(), [(1, 540, OPUS)])
        (message,), (datagram,) = self.lines("server_audio"), self.lines("datagram")
        self.assertEqual((message["sequence"], message["timestamp"]), (9, 540))
        self.assertEqual((datagram["way"], datagram["address"]), ("to_device", "192.0.2.50"))
        self.assertEqual((datagram["sequence"], datagram["timestamp"]), (1, 540))
        self.assertEqual((datagram["flags"], datagram["length"]), (0x81, len(OPUS)))
        ((ports, size, payload),) = self.datagrams()
        self.assertEqual((ports, size, len(payload)), ((8884, 40000), HEADER + len(OPUS), HEADER))

    def test_nonsense(self) -> None:
        """A message without a header is recorded, and dropped as ever."""
        ann = self.phone(0, "s1")
        self.trace()
        ann.server.plays(b"short")
        self.assertEqual([line["size"] for line in self.lines("server_audio")], [5])
        self.assertEqual(ann.hears(), [])


class SecretTests(TracingTestCase):
    """Without audio, nothing of it is there, and never a key."""

    def test_no_audio_no_key(self) -> None:
        """Through a whole session, in either form."""
        self.trace()
        ann = self.phone(0)
        reply = Publish("devices/p2p/x", ann.hello("s1"))
        self.board.around.services.traces.packet(ANN, TO_DEVICE, reply)  # as net.device does
        ann.speaks(SPEECH[0])
        ann.server.plays(server_audio(1, 60, OPUS))
        datagrams = ann.datagrams()
        for form in TraceForm:
            data = self.read(form=form)
            for secret in (OPUS[4:20], datagrams[0][HEADER:][:16], ann.voice.key):
                self.assertNotIn(secret, data)
                self.assertNotIn(secret.hex().encode(), data)
            self.assertIn(b'"key":"***"', data)

    def test_key_with_audio(self) -> None:
        """With audio there is no key either."""
        self.trace(audio=True)
        ann = self.phone(0, "s1")
        for form in TraceForm:
            self.assertNotIn(ann.voice.key.hex().encode(), self.read(form=form))
            self.assertIn(SPEECH[0], self.read(form=TraceForm.PCAP))


class RtpTests(TracingTestCase):
    """With audio."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0, "s1")
        self.trace(audio=True)

    def rtp(self) -> list[tuple[tuple[int, int], bool, int, int, bytes]]:
        """Ports, marker, sequence, timestamp and payload of each packet."""
        found = []
        for ports, size, payload in self.datagrams():
            version, kind, sequence, timestamp, ssrc = unpack(">BBHII", payload[:12])
            self.assertEqual((version, kind & 0x7F), (0x80, 96))
            self.assertEqual((ssrc, size), (self.ann.voice.ssrc, len(payload)))
            found.append((ports, kind > 0x7F, sequence, timestamp, payload[12:]))
        return found

    def test_both_ways(self) -> None:
        """Each accepted packet, and each that is sent; a stream begins with a marker."""
        self.ann.speaks(SPEECH[1])
        self.board.pass_time(0.06)
        self.ann.speaks(SPEECH[2], skip=1)
        self.ann.server.plays(server_audio(0, 0, SPEECH[3]))
        up, down = (40000, 8884), (8884, 40000)
        expected = [
            (up, True, 2, 0, SPEECH[1]),
            (up, False, 4, 5760, SPEECH[2]),
            (down, True, 1, 0, SPEECH[3]),
        ]
        self.assertEqual(self.rtp(), expected)
        self.assertEqual(len([line for line in self.lines("datagram") if "opus" in line]), 3)

    def test_announced(self) -> None:
        """Before the first packet, and when the device's address changes: both directions."""
        channel = self.board.around.services.channels[self.ann.voice.ssrc]
        self.ann.speaks(SPEECH[1])
        self.ann.speaks(SPEECH[2])
        for sequence in (4, 5, 6):
            datagram = self.ann.voice.cipher.seal(sequence, 0, SPEECH[2])
            channel.receive(datagram, ("192.0.2.50", 41000))
        streams = [(line["way"], line["port"]) for line in self.lines("stream")]
        up, down = "from_device", "to_device"
        self.assertEqual(streams, [(up, 40000), (down, 40000), (up, 41000), (down, 41000)])
        targets = [payload.split()[-5] for ports, _, payload in self.captured() if ports[0] == 9875]
        self.assertEqual(targets, [b"8884", b"40000", b"8884", b"41000"])

    def test_not_accepted(self) -> None:
        """What is not accepted is no audio; of what was held, each packet comes once."""
        channel = self.board.around.services.channels[self.ann.voice.ssrc]
        self.ann.speaks(SPEECH[1])
        channel.receive(self.ann.voice.cipher.seal(1, 0, SPEECH[1]), self.ann.source)
        for sequence in (5000, 5001, 5002):
            datagram = self.ann.voice.cipher.seal(sequence, 0, SPEECH[2])
            channel.receive(datagram, ("192.0.2.50", 41000))
        self.assertEqual([each[2] for each in self.rtp()], [2, 5000, 5001, 5002])


class FollowingTests(TracingTestCase):
    """What a trace listens to, and when it stops."""

    def untouched(self, phone: Phone) -> None:
        """Nothing stands in the way of its audio."""
        channel = self.board.around.services.channels[phone.voice.ssrc]
        self.assertIsInstance(channel, AudioChannel)
        records = self.lines()
        phone.speaks(OPUS)
        phone.server.plays(server_audio(1, 60, OPUS))
        phone.server.says(b'{"type":"tts","state":"start"}')
        self.assertEqual(phone.hears()[-1][1:], (60, OPUS))
        self.assertEqual(self.lines(), records)

    def test_time_is_up(self) -> None:
        """Nothing stays in the way after its end."""
        ann = self.phone(0, "s1")
        self.trace(seconds=5)
        self.board.pass_time(5)
        self.untouched(ann)

    def test_forgotten(self) -> None:
        """Nor when it is forgotten, and another one starts and ends."""
        ann = self.phone(0, "s1")
        self.trace()
        self.successResultOf(self.board.door.forget_trace(ANN))
        self.trace(seconds=1)
        self.board.pass_time(1)
        self.untouched(ann)

    def test_full(self) -> None:
        """Nor when it ends in the middle of a packet, whichever way that goes."""
        ann = self.phone(0, "s1")
        for kind in ("up", "down"):
            self.trace(max_bytes=LEAST_BYTES)
            count = len(ann.server.audio)
            ann.hears()
            for n in range(200):
                if kind == "up":
                    ann.speaks(OPUS)
                else:
                    ann.server.plays(server_audio(n, 60, OPUS))
            got = len(ann.server.audio) - count if kind == "up" else len(ann.hears())
            self.assertEqual(got, 200)
            view = self.successResultOf(self.board.door.trace(ANN))
            self.assertEqual(view.state, TraceState.ENDED)
            self.untouched(ann)

    def test_next_session(self) -> None:
        """A new session on the same connection is recorded, the old one not any more."""
        ann = self.phone(0, "s1")
        self.trace()
        old = self.board.around.services.channels[ann.voice.ssrc]
        late = ann.voice.cipher.seal(9, 0, OPUS)
        ann.hello("s2")
        ann.speaks(OPUS)
        old.receive(late, ann.source)
        lines = [line for line in self.lines("datagram") if line["outcome"] == "accepted"]
        self.assertEqual(headers(lines), [("from_device", 1)])

    def test_reconnect(self) -> None:
        """A device that connects again goes on being recorded; the old connection's late news
        changes nothing."""
        ann = self.phone(0, "s1")
        self.trace()
        ann.speaks(SPEECH[1])
        again = self.phone(0, "s2")
        ann.server.lose("closed late")
        again.speaks(SPEECH[1])
        lines = self.lines("datagram")
        sequences = [line["sequence"] for line in lines if line["outcome"] == "accepted"]
        self.assertEqual(sequences, [2, 1, 2])
        self.assertEqual([line["data"]["client_id"] for line in self.lines("event")].count(BOB), 0)

    def test_call(self) -> None:
        """In a call, too, whichever device is traced."""
        ann, bob = self.phone(0, "s1"), self.phone(1, "s2")
        self.trace()
        self.board.door.request_call(ann.mac, bob.mac, "Ann")
        bob.wakes_up()
        self.board.door.accept_call(bob.mac)
        ann.hears()
        ann.speaks(SPEECH[1])
        bob.speaks(SPEECH[2])
        self.assertEqual(bob.hears()[-1][2], SPEECH[1])
        self.assertEqual([opus for _, _, opus in ann.hears()], [SPEECH[2]])
        ways = [line["way"] for line in self.lines("datagram")]
        self.assertEqual(ways[-2:], ["from_device", "to_device"])
        states = [line["data"].get("state") for line in self.lines("event")]
        self.assertEqual(states, ["requested", "bridged"])

    def test_session_over(self) -> None:
        """The end of a session leaves nothing behind."""
        ann = self.phone(0, "s1")
        self.trace()
        ann.says(goodbye("s1"))
        self.assertEqual(self.board.around.services.channels, {})
        self.assertEqual(self.lines("session")[-1]["state"], "idle")
