"""The UDP port, over real sockets on the loopback interface."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support import PATIENCE, SPEECH
from xzgw.core.channel import AudioChannel
from xzgw.core.start_checks import RECEIVE_BUFFER, small_buffer
from xzgw.net.voice import VoiceProtocol
from xzgw.wire.audio import Cipher
from xzgw.wire.opus import packet_duration_us

KEY = bytes(range(16))


class Device:
    """A device's audio: a socket connected to the very address it was told."""

    def __init__(self, ssrc: int, bound: str, told: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in bound else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((bound, 0))
        self.socket.connect((told, port))
        self._sealer = Cipher(KEY, ssrc)
        self._opener = Cipher(KEY, ssrc)
        self._sequence = 0

    def speak(self, opus: bytes) -> None:
        self._sequence += 1
        self.socket.send(self._sealer.seal(self._sequence, 0, opus))

    def hear(self) -> bytes:
        """The next Opus packet; blocks."""
        return self._opener.open(self.socket.recv(2000))[2]


class BufferedSocket:
    """A socket with a receive buffer of a size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[int] = []

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        return self.size

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.asked.append(value)


class Port:
    """A UDP port as far as its socket goes."""

    def __init__(self, size: int) -> None:
        self.socket = BufferedSocket(size)


class BufferTests(SynchronousTestCase):
    """The receive buffer."""

    def test_size(self) -> None:
        """A small one is made larger, one that was handed over large stays as it is.

        One that stays small is told of.
        """
        for size, asked in ((212_992, [RECEIVE_BUFFER]), (2 * RECEIVE_BUFFER, [])):
            port: Any = Port(size)
            with capturedLogs() as logs:
                VoiceProtocol({}).makeConnection(port)
            self.assertEqual(port.socket.asked, asked)
            told = [formatEvent(event) for event in logs]
            self.assertEqual(told, [small_buffer(size)] if asked else [])


class VoiceTestCase(TestCase):
    """One UDP port; each test asks for the address it is bound to."""

    timeout = 20

    def setUp(self) -> None:
        self.channels: dict[int, AudioChannel] = {}
        self.heard: dict[int, list[bytes]] = {}
        self.strays: list[str] = []
        self.voice = VoiceProtocol(self.channels, self.strays.append)

    def listen(self, interface: str) -> None:
        port: Any = reactor.listenUDP(  # type: ignore[attr-defined]
            0, self.voice, interface=interface
        )
        self.addCleanup(port.stopListening)

    def channel(self, ssrc: int, peer: str, told: str, local_ip: str) -> AudioChannel:
        """A session as the gateway opens it; what it passes on lands in `heard`."""
        heard = self.heard[ssrc] = []
        channel = AudioChannel(
            key=KEY,
            ssrc=ssrc,
            peer_ip=peer,
            frame_ms=60,
            now=lambda: 0.0,
            uplink=lambda sequence, timestamp, opus: heard.append(opus),
            send=self.voice.sender(told, local_ip),
        )
        self.channels[ssrc] = channel
        return channel

    def device(self, ssrc: int, bound: str, told: str) -> Device:
        device = Device(ssrc, bound, told, self.voice.port)
        self.addCleanup(device.socket.close)
        return device

    async def converse(self, bound: str, told: str, local_ip: str, peer: str) -> None:
        """A device sends, and hears the reply on its connected socket."""
        channel = self.channel(7, peer, told, local_ip)
        device = self.device(7, bound, told)
        for opus in SPEECH[:4]:
            channel.downlink(0, opus)
            device.speak(opus)
            self.assertEqual(await deferToThread(device.hear), opus)
        self.assertEqual(self.heard[7], SPEECH[:4])
        self.assertEqual(self.voice.unsent, 0)


class RoutingTests(VoiceTestCase):
    """From a datagram to its session."""

    async def test_by_connection_id(self) -> None:
        """Each device's audio reaches its own session, and back."""
        self.listen("127.0.0.1")
        devices = {}
        for ssrc in (1, 0x80000000, 0xFFFFFFFF):
            self.channel(ssrc, "127.0.0.1", "127.0.0.1", "127.0.0.1")
            devices[ssrc] = self.device(ssrc, "127.0.0.1", "127.0.0.1")
        for number, (ssrc, device) in enumerate(devices.items()):
            device.speak(SPEECH[number])
            self.channels[ssrc].downlink(0, SPEECH[10 + number])
        for number, (ssrc, device) in enumerate(devices.items()):
            self.assertEqual(await deferToThread(device.hear), SPEECH[10 + number])
            self.assertEqual(self.heard[ssrc], [SPEECH[number]])

    async def test_short_and_unknown(self) -> None:
        """Datagrams without a whole header, or for no session, are counted; the others arrive."""
        self.listen("127.0.0.1")
        channel = self.channel(7, "127.0.0.1", "127.0.0.1", "127.0.0.1")
        device = self.device(7, "127.0.0.1", "127.0.0.1")
        for short in (b"", b"\x01", bytes(15)):
            device.socket.send(short)
        for unknown in (bytes(16), bytes(2000), Cipher(KEY, 8).seal(1, 0, SPEECH[0])):
            device.socket.send(unknown)
        channel.downlink(0, SPEECH[1])
        device.speak(SPEECH[0])
        self.assertEqual(await deferToThread(device.hear), SPEECH[1])
        self.assertEqual((self.voice.too_short, self.voice.unknown), (3, 3))
        self.assertEqual(self.strays, ["127.0.0.1"] * 3)
        counted = {
            "datagrams_too_short": 3,
            "datagrams_unknown": 3,
            "datagrams_unsent": 0,
            "datagram_faults": 0,
        }
        self.assertEqual(self.voice.counted(), counted)
        self.assertEqual(self.heard[7], [SPEECH[0]])


class SourceAddressTests(VoiceTestCase):
    """Replies leave from where the device was told to send: its socket is connected."""

    async def test_bound_to_one(self) -> None:
        """Bound to one address, that is the source."""
        self.listen("127.0.0.2")
        await self.converse("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1")

    async def test_usual(self) -> None:
        """Bound to all, and the kernel's choice is right."""
        self.listen("")
        await self.converse("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1")

    async def test_other(self) -> None:
        """Bound to all, and the kernel's choice would be another one."""
        self.listen("")
        await self.converse("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1")

    async def test_told_is_not_ours(self) -> None:
        """Behind NAT the address told is not ours: the one its MQTT arrived at is used."""
        self.listen("")
        for told in ("203.0.113.1", "voice.example"):
            channel = self.channel(7, "127.0.0.1", told, "127.0.0.3")
            device = self.device(7, "127.0.0.1", "127.0.0.3")
            channel.downlink(0, SPEECH[0])
            device.speak(SPEECH[1])
            self.assertEqual(await deferToThread(device.hear), SPEECH[0])

    async def test_neither_is_ours(self) -> None:
        """Behind a proxy or at a path not even the latter is: the kernel chooses."""
        self.listen("")
        for local_ip in ("203.0.113.2", "local"):
            channel = self.channel(7, "127.0.0.1", "voice.example", local_ip)
            device = self.device(7, "127.0.0.1", "127.0.0.1")
            channel.downlink(0, SPEECH[0])
            device.speak(SPEECH[1])
            self.assertEqual(await deferToThread(device.hear), SPEECH[0])
        self.assertEqual(self.voice.unsent, 0)

    async def test_ipv6(self) -> None:
        """Over IPv6."""
        self.listen("::")
        await self.converse("::1", "::1", "::1", "::1")

    async def test_ipv6_bound_to_one(self) -> None:
        """Over IPv6, bound to one address."""
        self.listen("::1")
        await self.converse("::1", "::1", "::1", "::1")

    async def test_ipv4_at_an_ipv6_socket(self) -> None:
        """A socket for both families serves IPv4 devices, from the right address."""
        self.listen("::")
        await self.converse("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1")

    async def test_families_differ(self) -> None:
        """MQTT over one family and audio over the other: no source is forced."""
        self.listen("::")
        await self.hears_over_other_family(local_ip="::1", bound="127.0.0.1")
        await self.hears_over_other_family(local_ip="127.0.0.2", bound="::1")

    async def test_ipv6_mqtt_and_ipv4_audio(self) -> None:
        """The same when the socket can do IPv4 only."""
        self.listen("")
        await self.hears_over_other_family(local_ip="::1", bound="127.0.0.1")

    async def hears_over_other_family(self, local_ip: str, bound: str) -> None:
        channel = self.channel(7, bound, "voice.example", local_ip)
        device = self.device(7, bound, bound)
        channel.downlink(0, SPEECH[0])
        device.speak(SPEECH[1])
        self.assertEqual(await deferToThread(device.hear), SPEECH[0])
        self.assertEqual(self.voice.unsent, 0)

    async def test_device_moves(self) -> None:
        """The source is right for each address a device sends from."""
        self.listen("")
        send = self.voice.sender("127.0.0.2", "127.0.0.2")
        for bound in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.4"):
            device = self.device(7, bound, "127.0.0.2")
            send(b"reply", device.socket.getsockname())
            self.assertEqual(await deferToThread(device.socket.recv, 100), b"reply")


class SendingTests(VoiceTestCase):
    """What cannot be sent is lost, never an exception."""

    def test_not_taken(self) -> None:
        """Datagrams that the kernel refuses are counted, pinned or not."""
        self.listen("")
        self.voice.send(bytes(70_000), ("127.0.0.1", 9))
        self.assertEqual(self.voice.unsent, 1)
        self.voice.sender("127.0.0.2", "127.0.0.2")(bytes(70_000), ("127.0.0.1", 9))
        self.assertEqual(self.voice.unsent, 2)
        # No route there: IPv6 from an IPv4 socket.
        self.voice.sender("127.0.0.2", "127.0.0.2")(b"x", ("::1", 9))
        self.assertEqual(self.voice.unsent, 3)

    def test_unreachable(self) -> None:
        """An address that the kernel has no source for is counted as well."""
        self.listen("")
        self.voice.sender("127.0.0.2", "127.0.0.2")(b"x", ("255.255.255.255", 9))
        self.assertEqual(self.voice.unsent, 1)

    async def test_closed(self) -> None:
        """After the port has closed, senders old and new do nothing."""
        port: Any = reactor.listenUDP(0, self.voice)  # type: ignore[attr-defined]
        pinned = self.voice.sender("127.0.0.2", "127.0.0.2")
        address = ("127.0.0.1", 9)
        pinned(b"x", address)
        await port.stopListening()
        pinned(b"x", address)
        self.voice.send(b"x", address)
        self.voice.sender("127.0.0.2", "127.0.0.2")(b"x", address)
        self.assertEqual(self.voice.unsent, 0)

    def test_burst_fits(self) -> None:
        """The receive buffer is larger than what kernels give by default."""
        self.listen("127.0.0.1")
        with socket.socket(type=socket.SOCK_DGRAM) as usual:
            default = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        ours = self.voice.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertGreater(ours, default)

    def test_speech_is_what_the_channel_expects(self) -> None:
        """The vectors' packets are of the frame duration used here."""
        self.assertEqual({packet_duration_us(opus) for opus in SPEECH}, {60_000})
