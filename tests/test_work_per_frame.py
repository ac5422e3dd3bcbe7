"""How much the gateway does for one frame of audio, counted so that the machine does not matter.

Counted are calls of Python functions in the gateway's thread, but for the reactor's own: how many
frames share one round of the reactor depends on the machine. A frame must not pass through the
reactor's queue for writing, though, nor through autobahn.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from os import urandom
from types import FrameType
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.sync.server import ServerConnection

from tests.raw_device import RawDevice, RawVoice
from tests.support import KEY, PATIENCE, SPEECH, ChatServer
from xzgw.config import Config
from xzgw.net.services import StreamService
from xzgw.tap import build
from xzgw.tools.simulated import HELLO
from xzgw.wire.audio import server_audio

HOST = "127.0.0.1"
FRAMES = 200
# Calls that a frame may take. More than these: find out why, or say here what for.
MOST_UP = 10.25
MOST_DOWN = 10.25
DETOURS = ("FileDescriptor.write", "EPollReactor.addWriter", "WebSocketProtocol.consumeData")
REACTOR = ("twisted.internet", "twisted.python", "twisted.logger")


class Counted:
    """Counts this thread's calls of Python functions, by the function."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Counted:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_qualname
        module: str = frame.f_globals["__name__"]
        if event == "call" and (name in DETOURS or not module.startswith(REACTOR)):
            self.calls[name] += 1

    def a_frame(self) -> float:
        """How many for each of FRAMES."""
        return self.calls.total() / FRAMES


class WorkTests(TestCase):
    """A whole gateway in this process; device and chat server are in other threads."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        chat = ChatServer()
        self.addCleanup(deferToThread, chat.close)
        config = Config(
            (chat.url,),
            public_ip=HOST,
            signature_key=KEY,
            mqtt=(f"tcp:0:interface={HOST}",),
            udp_host=HOST,
            udp_port=0,
            api=f"tcp:0:interface={HOST}",
        )
        gateway = build(reactor, config, urandom)
        self.addCleanup(gateway.service.stopService)
        gateway.service.startService()
        streams = [each for each in gateway.service if isinstance(each, StreamService)]
        address: Any = streams[0].ports[0].getHost()
        self.server, self.voice = await deferToThread(self._open, address.port, chat)

    def _open(self, port: int, chat: ChatServer) -> tuple[ServerConnection, RawVoice]:
        """A device with an open session whose audio has been heard."""
        device = RawDevice((HOST, port), 1)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.log_in(), 0)
        device.say(dict(HELLO))
        server = chat.greet("s1")
        voice = RawVoice(device.told("hello")["udp"])
        self.addCleanup(voice.socket.close)
        voice.speak(SPEECH[0])
        server.recv(PATIENCE)
        return server, voice

    async def count(self, once: Callable[[bytes], object]) -> Counted:
        """What it takes to do something with FRAMES packets, one after the other."""

        def talk() -> None:
            for number in range(FRAMES):
                once(SPEECH[number % len(SPEECH)])

        with Counted() as counted:
            await deferToThread(talk)
        return counted

    async def test_up(self) -> None:
        """From the device's datagram to the server's frame."""

        def once(opus: bytes) -> None:
            self.voice.speak(opus)
            message = self.server.recv(PATIENCE)
            self.assertEqual(message[16:], opus)

        counted = await self.count(once)
        self.assertLessEqual(counted.a_frame(), MOST_UP, counted.calls.most_common(40))
        self.assertEqual(counted.calls["AudioChannel.receive"], FRAMES)
        self.assertEqual([name for name in DETOURS if counted.calls[name]], [])

    async def test_down(self) -> None:
        """From the server's frame to the device's datagram."""

        def once(opus: bytes) -> None:
            self.server.send(server_audio(0, 0, opus))
            self.assertEqual(self.voice.hear(), opus)

        counted = await self.count(once)
        self.assertLessEqual(counted.a_frame(), MOST_DOWN, counted.calls.most_common(40))
        self.assertEqual(counted.calls["AudioChannel.downlink"], FRAMES)
        self.assertEqual([name for name in DETOURS if counted.calls[name]], [])
