"""The audio channel: what is believed, where replies go, what waits."""

from __future__ import annotations

import json
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.channel import MAX_JUMP, Address, AudioChannel
from xzgw.wire.audio import HEADER, MAX_OPUS, AudioError, Cipher, downlink_flags, nonce

VECTORS = Path(__file__).parent.parent / "vectors"
KEY = bytes(range(16))
SSRC = 0x12345678
SPEECH = [
    bytes.fromhex(packet)
    for packet in json.loads((VECTORS / "speech_opus_16k_60ms.json").read_text())
]
OPUS = SPEECH[0]  # 60 ms
SHORT = bytes([9 << 3]) + bytes(40)  # 20 ms
TRIPLE = bytes([9 << 3 | 3, 3]) + bytes(60)  # 3 frames of 20 ms
STEREO = bytes([11 << 3 | 4]) + bytes(40)
UNREADABLE = bytes([11 << 3 | 3])

DEVICE: Address = ("1.2.3.4", 40000)
MOVED: Address = ("1.2.3.4", 40001)
STRANGER: Address = ("6.6.6.6", 40000)


class Rig:
    """A channel, the device's own ciphers, and lists of what came out."""

    def __init__(self, peer_ip: str = "1.2.3.4", frame_ms: float | None = 60) -> None:
        self.forwarded: list[tuple[int, int, bytes]] = []
        self.sent: list[tuple[bytes, Address]] = []
        self.device = Cipher(KEY, SSRC)
        self.now = 0.0
        self.channel = AudioChannel(
            key=KEY,
            ssrc=SSRC,
            peer_ip=peer_ip,
            frame_ms=frame_ms,
            now=lambda: self.now,
            uplink=lambda *packet: self.forwarded.append(packet),
            send=lambda datagram, address: self.sent.append((datagram, address)),
        )

    def hear(self, *sequences: int, source: Address = DEVICE, opus: bytes = OPUS) -> None:
        """Deliver good datagrams with these sequences."""
        for sequence in sequences:
            self.channel.receive(self.device.seal(sequence, sequence // 2, opus), source)

    @property
    def sequences(self) -> list[int]:
        """Sequences passed on."""
        return [packet[0] for packet in self.forwarded]

    @property
    def opened(self) -> list[tuple[int, int, bytes]]:
        """Downlink datagrams as the device reads them."""
        return [self.device.open(datagram) for datagram, _ in self.sent]

    @property
    def refused(self) -> dict[str, int]:
        """Refusals that are not zero, by reason."""
        counts = self.channel.stats.as_dict().items()
        return {
            name.removeprefix("refused_"): count
            for name, count in counts
            if count and name.startswith("refused_")
        }


def counter_blocks(datagrams: list[bytes]) -> list[int]:
    """Every AES-CTR counter block that these datagrams of one length take."""
    span = range(-(-(len(datagrams[0]) - HEADER) // 16))
    return [int.from_bytes(d[:HEADER], "big") + block for d in datagrams for block in span]


class UplinkTests(SynchronousTestCase):
    """The usual packet, and the ones refused outright."""

    def test_speech(self) -> None:
        """Real speech from the device passes whole: sequence, timestamp and packet."""
        rig = Rig()
        expected = [(n, n * 60, opus) for n, opus in enumerate(SPEECH, 1)]
        for packet in expected:
            rig.channel.receive(rig.device.seal(*packet), DEVICE)
        self.assertEqual(rig.forwarded, expected)
        self.assertEqual(rig.channel.address, DEVICE)
        stats = rig.channel.stats
        self.assertEqual((stats.received_packets, stats.forwarded, stats.lost), (64, 64, 0))
        size = sum(HEADER + len(opus) for opus in SPEECH)
        self.assertEqual((stats.received_bytes, stats.forwarded_bytes), (size, size))

    def test_malformed(self) -> None:
        """Datagrams that lie are counted by reason, and latch and move nothing."""
        rig = Rig()
        good = rig.device.seal(1, 0, OPUS)
        for reason, datagram in [
            ("too_short", good[:15]),
            ("wrong_type", b"\x02" + good[1:]),
            ("wrong_length", good + b"\0"),
            ("empty", nonce(SSRC)),
            ("oversized", rig.device.seal(1, 0, bytes(MAX_OPUS + 1))),
            ("wrong_connection", Cipher(KEY, SSRC + 1).seal(1, 0, OPUS)),
        ]:
            before = rig.refused.get(reason, 0)
            rig.channel.receive(datagram, DEVICE)
            self.assertEqual(rig.refused[reason], before + 1, reason)
        self.assertEqual(rig.channel.stats.received_packets, 6)
        self.assertIsNone(rig.channel.address)
        self.assertEqual(rig.forwarded, [])

    def test_old_sequence(self) -> None:
        """A sequence not above the last accepted is refused from anywhere; 0 is always old."""
        rig = Rig()
        rig.hear(0)
        self.assertIsNone(rig.channel.address)
        rig.hear(5, 5, 4)
        rig.hear(3, 4, 5, source=STRANGER)
        rig.hear(3, 4, 5, source=MOVED)
        self.assertEqual(rig.sequences, [5])
        self.assertEqual(rig.refused, {"old_sequence": 9})
        self.assertEqual(rig.channel.address, DEVICE)

    def test_implausible(self) -> None:
        """Junk, stereo, malformed and wrongly timed packets move neither address nor sequence."""
        for opus in (STEREO, UNREADABLE, b"\x5b\xff\xff"):
            rig = Rig()
            rig.hear(7, opus=opus)
            self.assertIsNone(rig.channel.address)
            rig.hear(1)
            rig.hear(900, opus=opus)
            rig.hear(901, opus=SHORT)
            rig.hear(2)
            self.assertEqual(rig.sequences, [1, 2])
            self.assertEqual(rig.refused, {"implausible": 3})

    def test_forged(self) -> None:
        """Of junk sent under the device's address, about one datagram in 75 passes."""
        rig = Rig()
        rig.hear(1)
        source = random.Random(4)
        forger = Cipher(bytes(16), SSRC)
        tries = 12_000
        for _ in range(tries):
            sequence = (rig.sequences or [0])[-1] + 1
            rig.channel.receive(
                forger.seal(sequence, 0, source.randbytes(source.randrange(60, 300))), DEVICE
            )
        passed = len(rig.forwarded) - 1
        self.assertTrue(tries / 95 < passed < tries / 60, passed)
        self.assertEqual(rig.refused, {"implausible": tries - passed})

    def test_oversized_frame(self) -> None:
        """A frame beyond what Opus allows is refused in mid-session too."""
        rig = Rig()
        rig.hear(1)
        rig.hear(2, opus=OPUS[:1] + bytes(1276))
        self.assertEqual(rig.refused, {"implausible": 1})
        rig.hear(2, opus=OPUS[:1] + bytes(1275))
        self.assertEqual(rig.sequences, [1, 2])

    def test_many_frames(self) -> None:
        """60 ms may be one frame or three of 20 ms, at first and later."""
        rig = Rig()
        rig.hear(1, 2, opus=TRIPLE)
        rig.hear(3)
        rig.hear(4, opus=TRIPLE)
        self.assertEqual(rig.sequences, [1, 2, 3, 4])

    def test_reflected(self) -> None:
        """What the gateway sent is refused when it comes back; other flags are taken as 0 is."""
        rig = Rig()
        rig.hear(1)
        for n in range(9):
            rig.channel.downlink(n * 60, OPUS)
        for datagram, _ in rig.sent:
            rig.channel.receive(datagram, DEVICE)
        self.assertEqual(rig.sequences, [1])
        self.assertEqual(rig.refused, {"reflected": 9})
        rig.channel.receive(rig.device.seal(2, 0, OPUS, flags=1), DEVICE)
        rig.channel.receive(rig.device.seal(3, 0, OPUS, flags=0x80), DEVICE)
        self.assertEqual(rig.sequences, [1, 2, 3])

    def test_lost(self) -> None:
        """Gaps pass at once and are counted, the first packets' included."""
        rig = Rig()
        rig.hear(3, 4, 9)
        self.assertEqual(rig.sequences, [3, 4, 9])
        self.assertEqual(rig.channel.stats.lost, 2 + 4)

    def test_late(self) -> None:
        """What comes behind its successor is refused as ever, but was not lost; nor is a copy."""
        rig = Rig()
        rig.hear(1, 4, 3, 3, 1, 5)
        self.assertEqual(rig.sequences, [1, 4, 5])
        self.assertEqual(rig.refused, {"old_sequence": 3})
        stats = rig.channel.stats
        self.assertEqual((stats.lost, stats.late, stats.duplicate), (1, 1, 2))
        self.assertEqual(stats.forwarded_bytes, 3 * (HEADER + len(OPUS)))

    def test_replay_is_not_late(self) -> None:
        """What somebody else sends tells nothing of the device's packets."""
        rig = Rig()
        rig.hear(1, 4)
        rig.hear(2, 3, 4, source=STRANGER)
        stats = rig.channel.stats
        self.assertEqual((stats.lost, stats.late, stats.duplicate), (2, 0, 0))
        self.assertEqual(rig.refused, {"old_sequence": 3})

    def test_heard_at(self) -> None:
        """When the first packet was accepted; no refused one counts."""
        rig = Rig()
        rig.hear(1, opus=STEREO)
        rig.hear(1, 2, source=STRANGER)
        self.assertIsNone(rig.channel.heard_at)
        rig.now = 5.0
        rig.hear(1)
        rig.now = 6.0
        rig.hear(2)
        rig.hear(3, 4, 5, source=MOVED)
        self.assertEqual(rig.channel.heard_at, 5.0)

    def test_uplink_replaced(self) -> None:
        """Audio goes to whatever `uplink` is at the time."""
        rig = Rig()
        rig.hear(1)
        elsewhere: list[int] = []
        rig.channel.uplink = lambda sequence, timestamp, opus: elsewhere.append(sequence)
        rig.hear(2)
        self.assertEqual((rig.sequences, elsewhere), ([1], [2]))


class AddressTests(SynchronousTestCase):
    """Which source gets the downlink."""

    def test_other_source_first(self) -> None:
        """A source that is not the MQTT peer's is adopted with its third packet, held ones too."""
        rig = Rig()
        rig.hear(1, 2, source=STRANGER)
        self.assertEqual((rig.sequences, rig.channel.address), ([], None))
        rig.hear(3, source=STRANGER)
        self.assertEqual((rig.sequences, rig.channel.address), ([1, 2, 3], STRANGER))
        self.assertEqual(rig.refused, {})

    def test_peer_beats_probation(self) -> None:
        """The MQTT peer's first packet latches and empties probation."""
        rig = Rig()
        rig.hear(1, 2, source=STRANGER)
        rig.hear(1)
        rig.hear(3, source=STRANGER)
        self.assertEqual((rig.sequences, rig.channel.address), ([1], DEVICE))
        self.assertEqual(rig.refused, {"unconfirmed_source": 2})

    def test_moves(self) -> None:
        """A new port or address is adopted with its third packet; till then the old one serves."""
        for new in (MOVED, STRANGER):
            rig = Rig()
            rig.hear(1)
            rig.hear(2, 3, source=new)
            rig.channel.downlink(0, OPUS)
            self.assertEqual((rig.sequences, rig.channel.address), ([1], DEVICE))
            rig.hear(4, source=new)
            rig.channel.downlink(0, OPUS)
            self.assertEqual((rig.sequences, rig.channel.address), ([1, 2, 3, 4], new))
            self.assertEqual([address for _, address in rig.sent], [DEVICE, new])
            rig.hear(5, source=new)
            self.assertEqual(rig.sequences[-1], 5)
            self.assertEqual((rig.refused, rig.channel.stats.lost), ({}, 0))

    def test_moves_with_gap(self) -> None:
        """Packets lost while the address changed are counted as lost."""
        rig = Rig()
        rig.hear(1)
        rig.hear(8, 9, 10, source=MOVED)
        self.assertEqual((rig.sequences, rig.channel.stats.lost), ([1, 8, 9, 10], 6))

    def test_held_packets_do_not_move_sequence(self) -> None:
        """What a stranger has on probation makes nothing of the device's old."""
        rig = Rig()
        rig.hear(1)
        rig.hear(500, 501, source=STRANGER)
        rig.hear(2)
        self.assertEqual(rig.sequences, [1, 2])
        self.assertEqual(rig.refused, {"unconfirmed_source": 2})

    def test_copies_raced_in(self) -> None:
        """Live copies delivered before each original never win while the device is heard."""
        for attacker in (STRANGER, MOVED):
            rig = Rig()
            rig.hear(1)
            for sequence in range(2, 300):
                rig.hear(sequence, source=attacker)
                rig.hear(sequence)
            self.assertEqual(rig.channel.address, DEVICE)
            self.assertEqual(rig.sequences, list(range(1, 300)))
            self.assertEqual(rig.refused, {"unconfirmed_source": 298})

    def test_copies_raced_in_at_start(self) -> None:
        """Nor do they before the device latches, be its first packets even late by two."""
        rig = Rig()
        rig.hear(1, 2, source=STRANGER)
        rig.hear(1, 2)
        rig.hear(3, source=STRANGER)
        rig.hear(3)
        self.assertEqual((rig.sequences, rig.channel.address), ([1, 2, 3], DEVICE))

    def test_replayed(self) -> None:
        """A recording played from elsewhere never adopts, even when the device falls silent."""
        rig = Rig()
        rig.hear(*range(1, 50))
        rig.hear(*range(1, 50), source=STRANGER)
        self.assertEqual(rig.channel.address, DEVICE)
        self.assertEqual(rig.refused, {"old_sequence": 49})

    def test_flooded(self) -> None:
        """One flooding address does not keep the device's new address out."""
        rig = Rig()
        rig.hear(1)
        for sequence in (2, 3, 4):
            rig.hear(*range(2000, 2100, 2), source=STRANGER)
            rig.hear(sequence, source=MOVED)
        self.assertEqual((rig.sequences, rig.channel.address), ([1, 2, 3, 4], MOVED))
        self.assertEqual(rig.refused, {"unconfirmed_source": 150})

    def test_mapped_peer(self) -> None:
        """IPv4 mapped into IPv6 is the same address, whichever side spells it so."""
        for peer, source in [
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("1.2.3.4", "::ffff:1.2.3.4"),
            ("::FFFF:102:304", "1.2.3.4"),
            ("2001:db8::1", "2001:DB8:0::1"),
            ("unix", "unix"),
        ]:
            rig = Rig(peer_ip=peer)
            rig.hear(1, source=(source, 9))
            self.assertEqual(rig.channel.address, (source, 9))

    def test_mapped_source(self) -> None:
        """The latched address in the other spelling needs no probation and changes nothing."""
        rig = Rig()
        rig.hear(1)
        rig.hear(2, source=("::ffff:1.2.3.4", DEVICE[1]))
        self.assertEqual((rig.sequences, rig.channel.address), ([1, 2], DEVICE))


class JumpTests(SynchronousTestCase):
    """Sequences far ahead."""

    def test_limit(self) -> None:
        """A jump of 1000 passes at once, one more is held; the same from the start."""
        rig = Rig()
        rig.hear(MAX_JUMP + 1)
        self.assertIsNone(rig.channel.address)
        rig = Rig()
        rig.hear(MAX_JUMP, 2 * MAX_JUMP, 3 * MAX_JUMP + 1)
        self.assertEqual(rig.sequences, [1000, 2000])

    def test_confirmed(self) -> None:
        """Three consecutive packets confirm a jump, which is not loss."""
        for first in (7, 0):
            rig = Rig()
            if first:
                rig.hear(first)
            lost = rig.channel.stats.lost
            rig.hear(90001, 90002)
            self.assertEqual(rig.sequences, [first] * bool(first))
            rig.hear(90003, 90004)
            self.assertEqual(rig.sequences[-4:], [90001, 90002, 90003, 90004])
            self.assertEqual(rig.channel.address, DEVICE)
            self.assertEqual((rig.refused, rig.channel.stats.lost), ({}, lost))

    def test_forged(self) -> None:
        """A forged huge sequence does not mute the device."""
        rig = Rig()
        rig.hear(1, 2**32 - 1, 2, 2**32 - 2, 3)
        self.assertEqual(rig.sequences, [1, 2, 3])
        self.assertEqual(rig.refused, {"unconfirmed_jump": 2})


class DurationTests(SynchronousTestCase):
    """The session's frame duration."""

    def test_hello_wrong(self) -> None:
        """Three consecutive packets of another duration than the hello's correct it."""
        rig = Rig()
        rig.hear(1, 2, opus=SHORT)
        self.assertIsNone(rig.channel.address)
        rig.hear(3, opus=SHORT)
        self.assertEqual((rig.sequences, rig.channel.address), ([1, 2, 3], DEVICE))
        rig.hear(4, opus=SHORT)
        rig.hear(5)
        self.assertEqual(rig.sequences, [1, 2, 3, 4])
        self.assertEqual(rig.refused, {"implausible": 1})

    def test_not_told(self) -> None:
        """With no duration Opus knows in the hello, the first three packets' counts."""
        for frame_ms in (None, 0, 30, -60, 1e400, float("nan")):
            for opus in (OPUS, SHORT, TRIPLE):
                rig = Rig(frame_ms=frame_ms)
                rig.hear(1, 2, 3, 4, opus=opus)
                self.assertEqual(rig.sequences, [1, 2, 3, 4])

    def test_told(self) -> None:
        """Every duration Opus knows is taken from the hello, whole or not."""
        celt = 28 << 3
        for frame_ms, opus in [
            (2.5, bytes([celt, 0])),
            (5, bytes([celt | 1 << 3, 0])),
            (10, bytes([celt | 2 << 3, 0])),
            (20.0, SHORT),
            (40, bytes([10 << 3, 0])),
            (60.0, OPUS),
            (80, bytes([10 << 3 | 1])),
            (100, bytes([9 << 3 | 3, 5])),
            (120, bytes([11 << 3 | 1])),
        ]:
            rig = Rig(frame_ms=frame_ms)
            rig.hear(1, opus=opus)
            self.assertEqual(rig.sequences, [1], frame_ms)

    def test_inconsistent(self) -> None:
        """Changing durations or malformed packets teach nothing; the hello's still latches."""
        rig = Rig()
        rig.hear(1, 2, opus=SHORT)
        rig.hear(3, opus=bytes([10 << 3, 0]))
        rig.hear(4, opus=STEREO)
        self.assertIsNone(rig.channel.address)
        rig.hear(5)
        self.assertEqual(rig.sequences, [5])
        self.assertEqual(rig.refused, {"unconfirmed_duration": 3, "implausible": 1})


class DownlinkTests(SynchronousTestCase):
    """To the device."""

    def test_sent(self) -> None:
        """Sequences rise from 1, timestamps survive, flags differ, bytes are counted."""
        rig = Rig()
        rig.hear(1)
        timestamps = [0, 60, 2**32 - 1]
        for timestamp in timestamps:
            rig.channel.downlink(timestamp, OPUS)
        self.assertEqual(rig.opened, [(n, t, OPUS) for n, t in enumerate(timestamps, 1)])
        self.assertEqual([datagram[1] for datagram, _ in rig.sent], [0x81, 0x82, 0x83])
        self.assertEqual({address for _, address in rig.sent}, {DEVICE})
        stats = rig.channel.stats
        self.assertEqual((stats.sent_packets, stats.sent_bytes), (3, 3 * (16 + len(OPUS))))

    def test_blocks_distinct(self) -> None:
        """Equal lengths and timestamps: no counter block sent is used twice, or by the device."""
        rig = Rig()
        rig.hear(1)
        for _ in range(200):
            rig.channel.downlink(60, bytes(MAX_OPUS))
        sent = counter_blocks([datagram for datagram, _ in rig.sent])
        heard = counter_blocks([rig.device.seal(n, 60, bytes(MAX_OPUS)) for n in range(1, 201)])
        self.assertEqual(len(set(sent)), 200 * 93)
        self.assertEqual(len(sent), 200 * 93)
        self.assertTrue(set(sent).isdisjoint(heard))

    def test_unusable(self) -> None:
        """Empty and oversized packets are dropped and counted, before and after latching."""
        rig = Rig()
        for _ in range(2):
            rig.channel.downlink(0, b"")
            rig.channel.downlink(0, bytes(MAX_OPUS + 1))
            rig.hear(1)
        self.assertEqual(rig.sent, [])
        stats = rig.channel.stats
        self.assertEqual((stats.dropped_empty, stats.dropped_oversized), (2, 2))
        rig.channel.downlink(0, bytes(MAX_OPUS))
        self.assertEqual(len(rig.sent), 1)

    def test_waits(self) -> None:
        """Early audio waits, at most one second, oldest dropped first, then goes in order."""
        rig = Rig()
        for n in range(20):
            rig.channel.downlink(n * 60, OPUS)
        self.assertEqual(rig.sent, [])
        self.assertEqual((rig.channel.stats.dropped_waiting, rig.channel.waiting), (4, 16))
        rig.hear(1)
        self.assertEqual(rig.channel.waiting, 0)
        rig.channel.downlink(1200, OPUS)
        self.assertEqual([timestamp for _, timestamp, _ in rig.opened], list(range(240, 1201, 60)))
        self.assertEqual([sequence for sequence, _, _ in rig.opened], list(range(1, 18)))

    def test_waits_by_duration(self) -> None:
        """One second is counted in the packets' own durations, 60 ms for unreadable ones."""
        for opus, kept in [(SHORT, 50), (TRIPLE, 16), (UNREADABLE, 16), (STEREO, 16)]:
            rig = Rig()
            for _ in range(60):
                rig.channel.downlink(0, opus)
            rig.hear(1)
            self.assertEqual(len(rig.sent), kept)
            self.assertEqual(rig.channel.stats.dropped_waiting, 60 - kept)

    def test_waiting_goes_first(self) -> None:
        """What waited leaves before anything that the first uplink packet causes."""
        rig = Rig()
        rig.channel.downlink(1, OPUS)
        rig.channel.uplink = lambda *_: rig.channel.downlink(2, OPUS)
        rig.hear(1)
        self.assertEqual([timestamp for _, timestamp, _ in rig.opened], [1, 2])

    def test_adoption_flushes(self) -> None:
        """What waited goes to the first address, though it came by probation."""
        rig = Rig()
        rig.channel.downlink(1, OPUS)
        rig.hear(1, 2, source=STRANGER)
        self.assertEqual(rig.sent, [])
        rig.hear(3, source=STRANGER)
        self.assertEqual([address for _, address in rig.sent], [STRANGER])


class LifeTests(SynchronousTestCase):
    """Creation, closing, secrets, and anything at all."""

    def test_hello_values(self) -> None:
        """Key and nonce are what the device needs to talk to this very channel."""
        channel = Rig().channel
        self.assertEqual((channel.key, channel.nonce), (KEY, nonce(SSRC)))

    def test_key_hidden(self) -> None:
        """Neither repr nor counts show the key."""
        channel = Rig().channel
        for text in (repr(channel), str(channel), repr(channel.stats)):
            self.assertNotIn(KEY.hex(), text)
            self.assertNotIn(repr(KEY), text)

    def test_closed(self) -> None:
        """After closing nothing is taken, sent or counted; what waited is counted dropped."""
        rig = Rig()
        rig.channel.downlink(0, OPUS)
        rig.hear(1, 2, source=STRANGER)
        rig.channel.close()
        before = rig.channel.stats.as_dict()
        self.assertEqual((before["dropped_waiting"], before["refused_unconfirmed_source"]), (1, 2))
        rig.hear(3)
        rig.channel.downlink(0, OPUS)
        rig.channel.close()
        self.assertEqual((rig.forwarded, rig.sent, rig.channel.address), ([], [], None))
        self.assertEqual(rig.channel.stats.as_dict(), before)

    def test_closed_latched(self) -> None:
        """A latched channel is as deaf and mute after closing, and still knows its address."""
        rig = Rig()
        rig.hear(1)
        rig.channel.close()
        rig.hear(2)
        rig.channel.downlink(0, OPUS)
        self.assertEqual((rig.sequences, rig.sent), ([1], []))
        self.assertEqual(rig.channel.address, DEVICE)

    def test_closed_by_uplink(self) -> None:
        """Closing from within `uplink` stops the run being passed on."""
        rig = Rig()
        taken: list[int] = []

        def take(sequence: int, timestamp: int, opus: bytes) -> None:
            taken.append(sequence)
            rig.channel.close()

        rig.channel.uplink = take
        rig.hear(1, 2, 3, 4, source=STRANGER)
        self.assertEqual(taken, [1])

    @settings(derandomize=True, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.binary(max_size=40) | st.integers(0, 2005),
                st.sampled_from([OPUS, SHORT, TRIPLE, STEREO]),
                st.sampled_from([DEVICE, MOVED, STRANGER]),
            ),
            max_size=40,
        ),
        st.sampled_from([60, 20, None]),
    )
    def test_any(
        self, steps: list[tuple[bytes | int, bytes, Address]], frame_ms: int | None
    ) -> None:
        """Whatever comes: no error, sequences rise, and every packet is accounted for."""
        rig = Rig(frame_ms=frame_ms)
        for data, opus, source in steps:
            if isinstance(data, bytes):
                rig.channel.receive(data, source)
            else:
                rig.hear(data, source=source, opus=opus)
        self.assertEqual(rig.sequences, sorted(set(rig.sequences)))
        self.assertEqual(bool(rig.sequences), rig.channel.address is not None)
        rig.channel.close()
        stats = rig.channel.stats
        self.assertEqual(stats.received_packets, len(steps))
        self.assertEqual(stats.forwarded, len(rig.forwarded))
        self.assertEqual(stats.received_packets, stats.forwarded + sum(rig.refused.values()))

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=300))
    def test_junk(self, junk: bytes) -> None:
        """Bytes that are no datagram of this session never latch and are never passed on."""
        rig = Rig()
        try:
            rig.device.open(junk)
        except AudioError as error:
            expected = {error.reason: 1}
            rig.channel.receive(junk, DEVICE)
            self.assertEqual(rig.refused, expected)
        self.assertIsNone(rig.channel.address)
        self.assertEqual(rig.forwarded, [])

    def test_flags_agree(self) -> None:
        """The device's flags, 0, are never the gateway's."""
        self.assertNotIn(0, [downlink_flags(sequence) for sequence in range(300)])
