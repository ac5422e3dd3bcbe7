"""Audio: datagrams from anywhere, binary messages of the server, and the framing of Opus."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.core.test_channel import KEY, SPEECH, SSRC, Rig
from tests.fuzz.harness import Data, Harness, Step, scripts, spoiled, steps
from xzgw.core.channel import MAX_WAITING_US, Address
from xzgw.core.probation import CONFIRMATIONS, MAX_SOURCES
from xzgw.wire.audio import (
    MAX_OPUS,
    AudioError,
    Cipher,
    downlink_flags,
    parse_server_audio,
    server_audio,
)
from xzgw.wire.opus import MAX_DURATION_US, packet_duration_us

# The device's address, others of its host, and strangers.
SOURCES: tuple[Address, ...] = (
    ("1.2.3.4", 40000),
    ("1.2.3.4", 40001),
    ("::ffff:1.2.3.4", 40000),
    *((f"6.6.6.{n}", 40000) for n in range(13)),
)
RAW, SEALED, DOWN, CLOSE = range(4)
SHORTEST_US = 2_500  # of a packet


def receive(data: bytes) -> None:
    """Datagrams, raw or well encrypted, and downlink audio between them.

    Of a step's number the low two bits tell what it is, the next four its source.
    """
    rig = Rig(frame_ms=[60, 20, None, 7][len(data) % 4])
    sealer = Cipher(KEY, SSRC)
    sources = set()
    down, closed = 0, False
    for what, body in steps(data):
        source = SOURCES[what >> 2 & 15]
        match what & 3:
            case 0:
                rig.channel.receive(body, source)
            case 1 if len(body) > 9:  # SEALED: sequence, timestamp, flags, Opus
                sequence, timestamp = (int.from_bytes(body[at : at + 4], "big") for at in (0, 4))
                packet = body[9 : 9 + MAX_OPUS]
                rig.channel.receive(sealer.seal(sequence, timestamp, packet, body[8]), source)
            case 2:  # DOWN
                rig.channel.downlink(len(body), body)
                down += not closed
            case 3 if body == b"close":  # rarely
                rig.channel.close()
                closed = True
        sources.add(source)
        _check(rig, sources)
        waiting = down - rig.channel.stats.sent_packets - rig.channel.stats.dropped
        assert 0 <= waiting <= (0 if closed else MAX_WAITING_US // SHORTEST_US)


def _check(rig: Rig, sources: set[Address]) -> None:
    stats = rig.channel.stats
    held = stats.received_packets - stats.forwarded - stats.refused
    assert 0 <= held <= MAX_SOURCES * (CONFIRMATIONS - 1)
    assert rig.channel.address is None or rig.channel.address in sources
    assert len(rig.forwarded) == stats.forwarded
    assert rig.sequences == sorted(set(rig.sequences))
    for _, _, packet in rig.forwarded:
        assert packet_duration_us(packet) is not None
    assert len(rig.sent) == stats.sent_packets
    for number, ((datagram, _), (sequence, _, packet)) in enumerate(
        zip(rig.sent, rig.opened, strict=True), 1
    ):
        assert sequence == number
        assert datagram[1] == downlink_flags(sequence)
        assert 0 < len(packet) <= MAX_OPUS


def from_server(data: bytes) -> None:
    """A binary message: what is taken is just what the server's own framing would carry."""
    try:
        timestamp, packet = parse_server_audio(data)
    except AudioError as error:
        assert error.reason
        return
    sequence = int.from_bytes(data[4:8], "big")
    again = server_audio(sequence, timestamp, packet)
    assert (data[:1], data[2:]) == (again[:1], again[2:])
    assert 0 < len(packet) <= MAX_OPUS


def measure(data: bytes) -> None:
    """A packet's duration is what cutting it into its frames tells."""
    frames = cut(data)
    duration = packet_duration_us(data)
    if frames is None or data[0] & 4:
        assert duration is None
        return
    total = len(frames) * _FRAME_US[data[0] >> 3]
    assert duration == (total if 0 < total <= MAX_DURATION_US else None)


_FRAME_US = (
    *(10_000, 20_000, 40_000, 60_000) * 3,
    *(10_000, 20_000) * 2,
    *(2_500, 5_000, 10_000, 20_000) * 4,
)


def cut(packet: bytes) -> list[bytes] | None:
    """The frames of an Opus packet, RFC 6716 section 3.2; None if it is malformed."""
    if not packet:
        return None
    code, rest = packet[0] & 3, packet[1:]
    if code == 0:
        frames: list[bytes] | None = [rest]
    elif code == 1:
        half = len(rest) // 2
        frames = [rest[:half], rest[half:]] if len(rest) % 2 == 0 else None
    elif code == 2:
        frames = _of_lengths(rest, 2)
    else:
        frames = _of_many(rest)
    return None if frames is None or any(len(frame) > 1275 for frame in frames) else frames


def _of_many(rest: bytes) -> list[bytes] | None:
    if not rest or not rest[0] & 63:
        return None
    count, vbr, padded = rest[0] & 63, rest[0] & 128, rest[0] & 64
    rest = rest[1:]
    if padded:
        padding = 0
        while rest[:1] == b"\xff":
            padding, rest = padding + 254, rest[1:]
        if not rest or padding + rest[0] > len(rest) - 1:
            return None
        padding, rest = padding + rest[0], rest[1:]
        rest = rest[: len(rest) - padding]
    if vbr:
        return _of_lengths(rest, count)
    size, over = divmod(len(rest), count)
    return None if over else [rest[size * n : size * (n + 1)] for n in range(count)]


def _of_lengths(rest: bytes, count: int) -> list[bytes] | None:
    lengths = []
    for _ in range(count - 1):
        if not rest or (rest[0] > 251 and len(rest) < 2):
            return None
        taken = 1 if rest[0] < 252 else 2
        lengths.append(rest[0] + (4 * rest[1] if taken == 2 else 0))
        rest = rest[taken:]
    frames = []
    for length in lengths:
        if length > len(rest):
            return None
        frames.append(rest[:length])
        rest = rest[length:]
    return [*frames, rest]


_packets: Data = st.one_of(
    st.sampled_from(SPEECH),
    st.builds(lambda toc, body: bytes((toc,)) + body, st.integers(0, 255), st.binary(max_size=60)),
    st.binary(max_size=8),
    st.builds(
        lambda toc, flags, lengths, size: bytes((toc | 3, flags, *lengths)) + bytes(size),
        st.integers(0, 31).map(lambda config: config << 3),
        st.integers(0, 255),
        st.lists(st.sampled_from([0, 1, 7, 251, 252, 253, 255]), max_size=8),
        st.integers(0, 2600),
    ),
)
# As before, well padded.
_padded: Data = st.builds(
    lambda toc, count, full, over, frames: (
        bytes((toc | 3, 0x40 | count, *[255] * full, over))
        + bytes(count * frames + 254 * full + over)
    ),
    st.integers(0, 31).map(lambda config: config << 3),
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(0, 254),
    st.integers(0, 9),
)
_whole = st.builds(
    Cipher(KEY, SSRC).seal, st.integers(0, 5000), st.just(0), st.sampled_from(SPEECH)
)
_sequences = st.integers(0, 12) | st.sampled_from([999, 1000, 1001, 2**31, 2**32 - 2, 2**32 - 1])


def _step(what: int, source: int, body: bytes) -> Step:
    return what | source << 2, body


_sealed = st.builds(
    lambda sequence, flags, packet: (
        sequence.to_bytes(4, "big") + bytes((0, 0, 0, 9, flags)) + packet
    ),
    _sequences,
    st.sampled_from([0, 0, 0, 1, 0x81]),
    st.sampled_from(SPEECH) | _packets,
)
_places = st.sampled_from([0, 0, 0, 1, 2, 3, 4]) | st.integers(0, 15)
_steps = st.one_of(
    st.builds(_step, st.just(SEALED), _places, _sealed),
    st.builds(_step, st.just(RAW), _places, spoiled(_whole)),
    st.builds(_step, st.just(DOWN), st.just(0), _packets),
    st.just((CLOSE, b"close")),
)
_messages = st.builds(server_audio, st.integers(0, 99), st.integers(0, 2**32 - 1), _packets)

HARNESSES = (
    Harness("udp", receive, scripts(_steps, 30)),
    Harness("server_audio", from_server, spoiled(_messages)),
    Harness("opus", measure, _padded | _packets | spoiled(_packets)),
)
