"""The UDP port that all devices' audio passes through: datagrams <-> audio channels."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from xzgw.core.ports import Receiver
from xzgw.core.probation import Address
from xzgw.core.sayings import Saying
from xzgw.core.start_checks import RECEIVE_BUFFER, small_buffer
from xzgw.wire.addresses import short_ip
from xzgw.wire.audio import MAX_DATAGRAM

_unpack_ssrc = struct.Struct(">4xI8x").unpack_from
Send = Callable[[bytes, Address], None]
Ancillary = tuple[int, int, bytes]

READ_SIZE = MAX_DATAGRAM + 1  # bytes: tells a longer one
MAX_BATCH = 256  # datagrams before others have their turn
PATIENCE = 2  # batches that were there before a larger one is tried
_IP_PKTINFO = 8  # linux/in.h; Python names it only from 3.14 on


class VoiceProtocol(DatagramProtocol):
    """Finds each datagram's channel by its connection id (core.ports.VoicePort)."""

    transport: Any  # a port of Twisted's; its socket is no part of IUDPTransport
    noisy = False
    _log = Logger()

    def __init__(
        self,
        channels: Mapping[int, Receiver],
        stray: Callable[[str], object] = str,
    ) -> None:
        """
        Args:
            channels: the open ones by connection id, as the gateway keeps them.
            stray: told the IP address that each datagram for no open channel comes from.
        """
        self.too_short = 0  # datagrams without a whole header
        self.unknown = 0  # datagrams for no open channel
        self.unsent = 0  # datagrams the kernel did not take
        self.faults = 0  # datagrams at which we stumbled
        self.advice: Saying | None = None  # about the socket, once it is open
        self._channels = channels
        self._stray = stray
        self._batch = 1  # datagrams to be read at once
        self._whole = 0  # batches in a row that were there
        self._socket: socket.socket | None = None

    @property
    def host(self) -> str:
        """The only address it is bound to; empty for all of the host's."""
        host = str(self.transport.getHost().host)
        return "" if _is_any(host) else host

    @property
    def port(self) -> int:
        """The number it is bound to."""
        return int(self.transport.getHost().port)

    def counted(self) -> dict[str, int]:
        """Datagrams that came to nothing, for core.door.Status."""
        return {
            "datagrams_too_short": self.too_short,
            "datagrams_unknown": self.unknown,
            "datagrams_unsent": self.unsent,
            "datagram_faults": self.faults,
        }

    def startProtocol(self) -> None:
        self._socket = self.transport.socket
        self.transport.doRead = self._read
        # A burst of all devices at once must fit. The kernel may grant less than we ask for, and
        # systemd may have given a socket more than would be granted to us.
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        granted = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.advice = small_buffer(granted)
        if self.advice:
            self._log.warn("{advice}", advice=self.advice)

    def stopProtocol(self) -> None:
        self._socket = None
        if self.too_short or self.unknown or self.unsent:
            self._log.info(
                "audio over UDP: {short} datagrams were too short, {unknown} were for no open"
                " session, {unsent} of ours could not be sent",
                short=self.too_short,
                unknown=self.unknown,
                unsent=self.unsent,
            )

    def _read(self) -> None:
        """In place of the port's doRead, which reads until the kernel has no more.

        With usually one datagram waiting, every other call found nothing, for 1 us. A batch grows
        while all of it is there, and shrinks to what was there.
        """
        receive = self.transport.socket.recvfrom
        for n in range(self._batch):
            try:
                datagram, address = receive(READ_SIZE)
            except OSError:
                self._batch, self._whole = max(n, 1), 0
                return
            try:
                self.datagramReceived(datagram, address[:2])
            except Exception:
                self._stumbled()
        self._whole += 1
        if self._whole == PATIENCE:
            self._batch, self._whole = min(2 * self._batch, MAX_BATCH), 0

    def _stumbled(self) -> None:
        self.faults += 1
        if self.faults == 1:
            self._log.failure("fault at a datagram (further ones are only counted)")

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        if len(datagram) < 16:
            self.too_short += 1
            return
        channel = self._channels.get(_unpack_ssrc(datagram)[0])
        if channel is None:
            self.unknown += 1
            self._stray(addr[0])
            return
        channel.receive(datagram, addr)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send one datagram; one that the kernel does not take is lost, as on the network."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(datagram, address)
        except OSError:
            self.unsent += 1

    def send_from(self, datagram: bytes, ancillary: list[Ancillary], address: Address) -> None:
        """Like `send`, from the source address that the ancillary data names."""
        if self._socket is None:
            return
        try:
            self._socket.sendmsg([datagram], ancillary, 0, address)
        except OSError:
            self.unsent += 1

    def sender(self, told: str, local_ip: str) -> Send:
        """How to send to one device, whose socket accepts only the address it was told.

        Bound to all addresses, the kernel would choose the source by route, which on a host with
        several addresses may be another one.
        """
        if self._socket is None or not _is_any(self._socket.getsockname()[0]):
            return self.send
        for source in (told, local_ip):  # behind NAT or a proxy neither may be ours
            if _is_ours(source):
                return _PinnedSender(self, source).send
        return self.send


class _PinnedSender:
    """Sends from one source address, by the cheap way if that is what the kernel does anyway."""

    __slots__ = ("_address", "_ancillary", "_source", "_voice")

    def __init__(self, voice: VoiceProtocol, source: str) -> None:
        self._voice = voice
        self._source = source
        self._address: Address | None = None
        self._ancillary: list[Ancillary] = []

    def send(self, datagram: bytes, address: Address) -> None:
        if address != self._address:
            self._address = address
            usual = _usual_source(address)
            self._ancillary = [] if usual == self._source else _pin(self._source, address)
        if self._ancillary:
            self._voice.send_from(datagram, self._ancillary, address)
        else:
            self._voice.send(datagram, address)


def _is_any(host: str) -> bool:
    return ip_address(host).is_unspecified


def _is_ours(host: str) -> bool:
    """Whether it is an IP address of this machine."""
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def _usual_source(address: Address) -> str:
    """The source address that the kernel would choose towards an address; "" if unreachable."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return ""
        return short_ip(probe.getsockname()[0])


def _pin(source: str, address: Address) -> list[Ancillary]:
    """Ancillary data for sendmsg (ip(7), ipv6(7)) that sets the source address.

    None where it cannot be had: MQTT may come over one address family and audio over the other.
    """
    mixed = (":" in source) != (":" in short_ip(address[0]))
    if mixed or not sys.platform.startswith("linux"):
        return []
    if ":" not in address[0]:
        info = struct.pack("@i4s4x", 0, socket.inet_aton(source))
        return [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
    full = source if ":" in source else "::ffff:" + source
    info = struct.pack("@16si", socket.inet_pton(socket.AF_INET6, full), 0)
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
