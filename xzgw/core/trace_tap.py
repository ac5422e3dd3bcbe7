"""Where a trace listens: the present link and audio channel of its device.

Packets of audio come so often that nothing asks for each whether it is to be recorded. Instead,
while a trace runs, something that records stands in their way: in front of the channel among all
channels, in the place of what it sends with, and in the place of what takes the server's audio.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from xzgw.core.channel import AudioChannel
from xzgw.core.device_peer import Peer
from xzgw.core.link import Link
from xzgw.core.ports import Receiver, VoicePort
from xzgw.core.probation import Address
from xzgw.core.trace import FROM_DEVICE, TO_DEVICE, Datagram, Trace
from xzgw.wire.addresses import short_ip
from xzgw.wire.audio import HEADER, Cipher
from xzgw.wire.messages import Json
from xzgw.wire.opus import packet_duration_us
from xzgw.wire.pcap import RtpClock, rtp

ACCEPTED: Final = "accepted"
HELD: Final = "held"  # until its successors confirm it

_unpack = Struct(">xBHIII").unpack_from


class Tap:
    """What of one device a trace listens to."""

    def __init__(self, trace: Trace, channels: dict[int, Receiver], voice: VoicePort) -> None:
        """
        Args:
            channels: the open ones by connection id, as the gateway keeps them.
            voice: tells our address.
        """
        self.trace = trace
        self._channels = channels
        self._voice = voice
        self._link: Link | None = None
        self._traced: TracedChannel | None = None

    def follow(self, peer: Peer, link: Link | None, channel: AudioChannel | None) -> None:
        """Listen to these, and to nothing else any more."""
        self.trace.device, self.trace.gateway = peer.ip, peer.local_ip
        if link is not self._link:
            if self._link is not None:
                self._link.follow(None)
            self._link = link
            if link is not None:
                link.follow(self.trace)
        if channel is not (self._traced and self._traced.channel):
            self._leave_channel()
            if channel is not None:
                gateway = self._voice.host or peer.local_ip, self._voice.port
                self._traced = TracedChannel(channel, self.trace, gateway)
                self._channels[self._traced.ssrc] = self._traced

    def release(self) -> None:
        """Listen to nothing any more."""
        if self._link is not None:
            self._link.follow(None)
            self._link = None
        self._leave_channel()

    def _leave_channel(self) -> None:
        traced, self._traced = self._traced, None
        if traced is None:
            return
        traced.release()
        if self._channels.get(traced.ssrc) is traced:  # the session is open yet
            self._channels[traced.ssrc] = traced.channel


class TracedChannel:
    """Stands in front of an audio channel. Made, it has taken the place of its `send`, too."""

    def __init__(self, channel: AudioChannel, trace: Trace, gateway: Address) -> None:
        """
        Args:
            gateway: the address of ours that the device is served at.
        """
        self.channel = channel
        self.ssrc = int.from_bytes(channel.nonce[4:8], "big")
        self._trace = trace
        self._gateway = gateway
        self._with_audio = trace.options.audio
        self._opener = Cipher(channel.key, self.ssrc)
        self._announced: Address | None = None  # of the device
        self._clocks = {FROM_DEVICE: RtpClock(), TO_DEVICE: RtpClock()}
        self._send = channel.send
        channel.send = self._sent

    def release(self) -> None:
        """Give the channel its own `send` back."""
        self.channel.send = self._send

    def receive(self, datagram: bytes, source: Address) -> None:
        """Hand one datagram on, and record what came of it."""
        channel, inner, header = self.channel, self.channel.uplink, _header(datagram)
        known, device = False, _plain(source)
        before = channel.stats.refused_by()

        def uplink(sequence: int, timestamp: int, opus: bytes) -> None:
            nonlocal known
            if sequence == header.get("sequence"):
                known = True
                self._record(FROM_DEVICE, device, datagram, {"outcome": ACCEPTED, **header}, opus)
            else:
                self._confirmed(device, sequence, timestamp, opus)
            inner(sequence, timestamp, opus)

        channel.uplink = uplink
        try:
            channel.receive(datagram, source)
        finally:
            channel.uplink = inner
        if not known:
            members = {"outcome": _refused(before, channel.stats.refused_by()), **header}
            self._record(FROM_DEVICE, device, datagram, members, None)

    def _sent(self, datagram: bytes, address: Address) -> None:
        header = _header(datagram)
        opus = self._opener.open(datagram)[2] if self._with_audio else None
        self._record(TO_DEVICE, _plain(address), datagram, header, opus)
        self._send(datagram, address)

    def _record(
        self, way: str, device: Address, datagram: bytes, members: Json, opus: bytes | None
    ) -> None:
        members = {"size": len(datagram), **members}
        if not self._with_audio:
            payload: bytes | None = datagram[:HEADER]
        else:
            payload = None if opus is None else self._rtp(way, device, members["sequence"], opus)
        size = len(datagram) if payload is None or not self._with_audio else len(payload)
        self._trace.datagram(Datagram(way, device, self._gateway, members, payload, size), opus)

    def _confirmed(self, device: Address, sequence: int, timestamp: int, opus: bytes) -> None:
        """One that was held; its header has been recorded then."""
        payload = self._rtp(FROM_DEVICE, device, sequence, opus) if self._with_audio else None
        members = {
            "size": HEADER + len(opus),
            "outcome": ACCEPTED,
            "was": HELD,
            "sequence": sequence,
            "timestamp": timestamp,
        }
        size = len(payload or b"")
        datagram = Datagram(FROM_DEVICE, device, self._gateway, members, payload, size)
        self._trace.datagram(datagram, opus)

    def _rtp(self, way: str, device: Address, sequence: int, opus: bytes) -> bytes:
        if device != self._announced:
            self._announced = device
            for each in (FROM_DEVICE, TO_DEVICE):
                self._trace.stream(each, device, self._gateway, self.ssrc)
        duration = packet_duration_us(opus) or 0
        timestamp, begins = self._clocks[way].next(self._trace.now(), sequence, duration)
        return rtp(sequence, timestamp, self.ssrc, opus, begins)


def _header(datagram: bytes) -> Json:
    """A datagram's header, for people; nothing if it is too short for one."""
    if len(datagram) < HEADER:
        return {}
    flags, length, _, timestamp, sequence = _unpack(datagram)
    return {"flags": flags, "length": length, "sequence": sequence, "timestamp": timestamp}


def _plain(address: Address) -> Address:
    return short_ip(address[0]), address[1]


def _refused(before: dict[str, int], after: dict[str, int]) -> str:
    """Why the datagram in between was refused. What was not confirmed is others, held before."""
    for reason, count in after.items():
        if count != before[reason] and not reason.startswith("unconfirmed"):
            return reason
    return HELD
