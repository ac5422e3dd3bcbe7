"""One session's audio, both ways: which datagrams are believed, and where replies go.

CTR encryption cannot tell a forgery, so an uplink packet counts only if it decrypts to a plausible
one: a well-formed mono Opus packet of the session's frame duration, which one random payload in 75
is. What would move more than the next sequence (another address, a long jump of the sequence,
another frame duration than the hello's) waits in probation until its successors confirm it. While
the device itself is being heard, nothing else gets confirmed: each packet from its address empties
probation, so copies of its datagrams raced in from elsewhere come to nothing.

Some seventeen packets a second and direction pass here for each device: `receive` and `downlink`
are kept a straight line for the usual packet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xzgw.core.audio_stats import Stats
from xzgw.core.jitter import Jitter
from xzgw.core.missing import MAX_JUMP, Missing
from xzgw.core.probation import Address, Packet, Probation
from xzgw.wire.addresses import plain_ip
from xzgw.wire.audio import HEADER, MAX_OPUS, AudioError, Cipher, downlink_flags, nonce
from xzgw.wire.opus import MAX_SINGLE, SINGLE_US, packet_duration_us

__all__ = ["MAX_JUMP", "Address", "AudioChannel", "Stats"]

Uplink = Callable[[int, int, bytes], None]
Send = Callable[[bytes, Address], None]

MAX_WAITING_US: Final = 1_000_000  # of downlink audio before the device's first datagram
DOWNLINK_SPACING: Final = 0.06  # s; servers send 60 ms frames
_FALLBACK_US: Final = 60_000  # of a downlink packet that cannot be read

# By the hello's milliseconds; 60.0 finds 60.
_KNOWN_US: Final = {ms: int(ms * 1000) for ms in (2.5, 5, 10, 20, 40, 60, 80, 100, 120)}


class AudioChannel:
    """One session's audio; a new hello makes a new one. Knows no socket and no clock."""

    __slots__ = (
        "_address",
        "_closed",
        "_frame_us",
        "_key",
        "_last",
        "_missing",
        "_now",
        "_opener",
        "_origin",
        "_peer_ip",
        "_probation",
        "_sealer",
        "_sequence",
        "_spacing",
        "_ssrc",
        "_waiting",
        "_waiting_us",
        "heard_at",
        "jitter_down",
        "jitter_up",
        "send",
        "stats",
        "uplink",
    )

    def __init__(
        self,
        *,
        key: bytes,
        ssrc: int,
        peer_ip: str,
        frame_ms: float | None,
        now: Callable[[], float],
        uplink: Uplink,
        send: Send,
    ) -> None:
        """Start with nothing heard and nothing sent.

        Args:
            key: 16 random bytes, this session's own.
            ssrc: the connection id, below 2**32, this session's own.
            peer_ip: where the device's MQTT connection comes from.
            frame_ms: frame duration from the hello; unknown to Opus or None: learned.
            now: clock seconds.
            uplink: called with sequence, timestamp (ms) and Opus packet of each packet accepted.
            send: called with each datagram for the device and its address.
        """
        self.uplink = uplink
        self.stats = Stats()
        self.jitter_up = Jitter()
        self.jitter_down = Jitter()
        self._now = now
        self.send = send
        self._key = key
        self._ssrc = ssrc
        self._opener = Cipher(key, ssrc)
        self._sealer = Cipher(key, ssrc)
        self._peer_ip = plain_ip(peer_ip)
        self._frame_us = None if frame_ms is None else _KNOWN_US.get(frame_ms)
        self._spacing = (self._frame_us or 0) / 1e6  # s of audio in one packet
        self._address: Address | None = None  # as the socket spells it
        self._origin: Address | None = None  # the same, in plain spelling
        self._last = 0  # sequence accepted
        self._sequence = 0  # sequence sent
        self._missing = Missing(self.stats)
        self.heard_at: float | None = None  # clock seconds of the first packet accepted
        self._probation = Probation(self.stats.refuse)
        self._waiting: list[tuple[int, bytes, int]] = []  # timestamp, Opus, microseconds
        self._waiting_us = 0
        self._closed = False

    @property
    def key(self) -> bytes:
        """The session key, for the hello reply only."""
        return self._key

    @property
    def nonce(self) -> bytes:
        """The 16-byte nonce of the hello reply."""
        return nonce(self._ssrc)

    @property
    def address(self) -> Address | None:
        """Where downlink audio goes, None before the device was heard."""
        return self._address

    @property
    def waiting(self) -> int:
        """Downlink packets that wait for the device's first datagram."""
        return len(self._waiting)

    def receive(self, datagram: bytes, source: Address) -> None:
        """Take one datagram from the network: any bytes, from anywhere."""
        if self._closed:
            return
        stats = self.stats
        stats.received_packets += 1
        stats.received_bytes += len(datagram)
        try:
            sequence, timestamp, opus = self._opener.open(datagram)
        except AudioError as error:
            stats.refuse(error.reason)
            return
        if datagram[1] and datagram[1] == downlink_flags(sequence):
            # Our own datagram sent back would decrypt to perfect Opus; a device's flags are 0.
            stats.refuse("reflected")
        elif (
            source == self._address
            and 0 < sequence - self._last <= MAX_JUMP
            and SINGLE_US[opus[0]] == self._frame_us
            and len(opus) <= MAX_SINGLE
        ):
            if self._probation.runs:
                self._probation.clear()
            self._accept(sequence, timestamp, opus)
        else:
            self._consider(source, (sequence, timestamp, opus))

    def downlink(self, timestamp_ms: int, opus: bytes) -> None:
        """Send one Opus packet to the device, or keep it until the device is heard."""
        if self._closed:
            return
        # Of the server's spacing: before anything of ours can delay it.
        self.jitter_down.arrived(self._now(), DOWNLINK_SPACING)
        if not opus:
            self.stats.dropped_empty += 1
        elif len(opus) > MAX_OPUS:
            self.stats.dropped_oversized += 1
        elif (address := self._address) is None:
            self._wait(timestamp_ms, opus)
        else:
            self._transmit(address, timestamp_ms, opus)

    def close(self) -> None:
        """Drop what waits; from now on nothing is taken or sent. Counts and address stay."""
        self._closed = True
        self._probation.clear()
        self.stats.dropped_waiting += len(self._waiting)
        self._waiting.clear()

    def _accept(self, sequence: int, timestamp: int, opus: bytes) -> None:
        stats = self.stats
        step = sequence - self._last
        if step > 1:
            self._missing.skipped(self._last, sequence)
        self._last = sequence
        stats.forwarded += 1
        stats.forwarded_bytes += HEADER + len(opus)
        self.jitter_up.arrived(self._now(), step * self._spacing)
        self.uplink(sequence, timestamp, opus)

    def _consider(self, source: Address, packet: Packet) -> None:
        """Whatever is not simply the device's next packet of one frame."""
        sequence, _, opus = packet
        if sequence <= self._last:
            self.stats.refuse("old_sequence")
            if source == self._address:  # a replay from elsewhere is not late
                self._missing.old(self._last, sequence)
            return
        duration = packet_duration_us(opus)
        expected = duration == self._frame_us
        if duration is None or not (expected or self._address is None):
            self.stats.refuse("implausible")
            return
        origin = (plain_ip(source[0]), source[1])
        trusted = origin[0] == self._peer_ip if self._origin is None else origin == self._origin
        if expected and trusted and sequence - self._last <= MAX_JUMP:
            self._adopt(source, origin, duration, [packet])
            return
        reason = "duration" if not expected else "jump" if trusted else "source"
        run = self._probation.offer(origin, packet, duration, "unconfirmed_" + reason)
        if run:
            self._adopt(source, origin, duration, run)

    def _adopt(self, source: Address, origin: Address, duration: int, run: list[Packet]) -> None:
        """Believe these packets, and with them their source and duration."""
        self._probation.clear()
        self._frame_us = duration
        self._spacing = duration / 1e6
        if self.heard_at is None:
            self.heard_at = self._now()
        if origin != self._origin:
            self._address, self._origin = source, origin
        while self._waiting:
            timestamp, opus, _ = self._waiting.pop(0)
            self._transmit(source, timestamp, opus)
        for packet in run:
            if not self._closed:  # the packet before may have ended the session
                self._accept(*packet)

    def _wait(self, timestamp_ms: int, opus: bytes) -> None:
        duration = packet_duration_us(opus) or _FALLBACK_US
        self._waiting.append((timestamp_ms, opus, duration))
        self._waiting_us += duration
        while self._waiting_us > MAX_WAITING_US:
            self._waiting_us -= self._waiting.pop(0)[2]
            self.stats.dropped_waiting += 1

    def _transmit(self, address: Address, timestamp_ms: int, opus: bytes) -> None:
        self._sequence = sequence = self._sequence + 1
        datagram = self._sealer.seal(sequence, timestamp_ms, opus, downlink_flags(sequence))
        self.stats.sent_packets += 1
        self.stats.sent_bytes += len(datagram)
        self.send(datagram, address)
