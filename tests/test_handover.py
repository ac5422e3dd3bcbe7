"""Restarts that keep the ports: real sockets, handed over to one gateway process after another."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from tests.handed_over import WRAPPER
from tests.raw_device import RawDevice
from tests.support import KEY, ROOT, SECRET, SPEECH
from tests.tools.child import Child
from xzgw.tools import mqtt_link
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.identity import Identity
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import StepError, Watch

PATIENCE = 60.0  # s
DEVICES = 50
NEWCOMERS = 4
BY_SYSTEMD = (
    *("--mqtt", "systemd:domain=INET6:index=0", "--udp", "systemd:audio"),
    *("--api", "systemd:domain=INET6:name=api"),
)
BY_NUMBER = ("--mqtt", "fd:3", "--udp", "fd:6", "--api", "fd:5")  # with another UDP port
LEFT = "accepting no more, others may listen there"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, and that the system gives to nobody who asks for any: they are to be
    free for as long as it takes."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind(("127.0.0.1", port))
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
        found += [port] if port not in found else []
    return found


class Process:
    """`twistd -n xzgw` with the sockets of a test."""

    def __init__(self, test: HandoverTestCase, flags: tuple[str, ...], **settings: str) -> None:
        sockets = (test.mqtt, test.udp, test.api, test.other_udp)
        twistd = str(Path(sys.executable).with_name("twistd"))
        gateway = [sys.executable, twistd, "-n", "--pidfile=", "xzgw", *flags]
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "MQTT_SIGNATURE_KEY": KEY,
            "SERVER_SECRET": SECRET,
            "CHAT_SERVERS": test.echo.url,
            "LISTEN_FDNAMES": "mqtt:audio:api:audio2",
            "PASSED": "3 4 5 6",
            **settings,
        }
        self.child = Child()
        # Any: Twisted says nothing of numbers among childFDs.
        descriptors: Any = {0: "w", 1: "r", 2: "r"}
        descriptors |= {place: known.fileno() for place, known in enumerate(sockets, 3)}
        self.transport: IProcessTransport = reactor.spawnProcess(
            self.child,
            sys.executable,
            [sys.executable, "-c", WRAPPER, *gateway],
            environ,
            test.directory,
            childFDs=descriptors,
        )
        test.addCleanup(self.child.end, self.transport)

    async def open(self) -> None:
        """All ports are open."""
        for place in ("audio over UDP at", "MQTT at", "admin API at"):
            await self.child.shows(place)

    async def drain(self) -> None:
        """SIGUSR1; from now on it accepts nobody."""
        self.transport.signalProcess(signal.SIGUSR1)
        await self.child.shows(LEFT)

    async def stop(self) -> None:
        """SIGTERM; it ends well, and nothing has gone wrong in it."""
        self.transport.signalProcess("TERM")
        status = await self.child.ended
        assert status == 0, self.child.output
        for fault in ("Traceback", "Unhandled"):
            assert fault not in self.child.output, self.child.output


class HandoverTestCase(TestCase):
    """This process holds the sockets, as systemd would."""

    timeout = 300

    async def setUp(self) -> None:  # type: ignore[override]
        self.patch(mqtt_link, "CONNECT_SECONDS", PATIENCE)  # some wait for a process that starts
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.mqtt = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.api = socket.create_server(("127.0.0.1", 0))
        self.udp, self.other_udp = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for known in (self.udp, self.other_udp):
            known.bind(("127.0.0.1", 0))
        for known in (self.mqtt, self.api, self.udp, self.other_udp):
            self.addCleanup(known.close)
        self.port: int = self.mqtt.getsockname()[1]
        self.audio: tuple[str, int] = self.udp.getsockname()
        self.echo = EchoServer(reactor, secret=SECRET)
        await self.echo.listen()
        self.addCleanup(self.echo.stop)

    def device(self, number: int) -> SimulatedDevice:
        device = SimulatedDevice(reactor, Identity(mac=f"02:00:00:00:00:{number:02x}"), KEY)
        self.addCleanup(device.disconnect)
        return device

    async def converse(self, device: SimulatedDevice) -> str:
        """Connect, say hello, speak, and hear it all; returns the id of the session, still open."""
        await device.connect("127.0.0.1", self.port)
        return await self.converse_again(device)

    async def converse_again(self, device: SimulatedDevice) -> str:
        """The same of a device that is connected."""
        session = await device.hello()
        self.assertEqual((session.server, session.port), self.audio)
        await self.turn(device)
        return session.session_id

    async def turn(self, device: SimulatedDevice) -> None:
        """Speak, and hear all of it."""
        assert device.voice is not None
        before = len(device.voice.heard)
        device.listen("start", mode="manual")
        await device.speak(SPEECH[:5])
        device.listen("stop")
        await device.expect("tts", PATIENCE, state="stop")
        await device.hear(before + 5, PATIENCE)
        self.assertEqual([heard.opus for heard in device.voice.heard][before:], SPEECH[:5])


class RollingRestartTests(HandoverTestCase):
    """Two processes at the same sockets, for a moment."""

    async def test_under_load(self) -> None:
        """With 50 sessions under audio: all the while everybody who connects is let in. Sessions
        go on, none of their audio lost, until they have to end; they get their goodbye, and all
        devices come back to the same port.
        """
        old = Process(self, BY_SYSTEMD, XZGW_DRAIN_SECONDS="3")
        await old.open()
        devices = [self.device(number) for number in range(DEVICES)]
        sessions = await self.all_converse(devices)
        witness = self.device(DEVICES + NEWCOMERS)
        await self.converse(witness)
        talks = [self.talk(device) for device in devices]
        newcomers = [Newcomer(self.device(DEVICES + n), self.port) for n in range(NEWCOMERS)]
        new = Process(self, BY_NUMBER)
        await new.open()
        await old.drain()
        await self.turn(witness)
        await old.child.shows("drained: nobody is left")
        await old.stop()
        for device, session_id in zip(devices, sessions, strict=True):
            await device.gone(PATIENCE)
            await device.expect("goodbye", PATIENCE, session_id=session_id)
        spoken = await gatherResults(talks)
        self.assertGreater(min(spoken), 5)
        self.audio = self.other_udp.getsockname()
        again = await self.all_converse(devices)
        self.assertEqual(len({*sessions, *again}), 2 * DEVICES)
        for newcomer in newcomers:
            await newcomer.leave()
            self.assertGreater(newcomer.let_in, 10)
            self.assertEqual(newcomer.failures, [])
        await new.stop()

    async def test_one_after_the_other(self) -> None:
        """As a service manager does it: whoever comes after the drain has begun waits for the next
        process. Nobody is refused.
        """
        old = Process(self, BY_SYSTEMD)
        await old.open()
        early = RawDevice(("127.0.0.1", self.port), 3)  # accepted, CONNECT to come
        self.addCleanup(early.socket.close)
        talking, late = self.device(1), self.device(2)
        session_id = await self.converse(talking)
        await old.drain()
        self.assertEqual(early.log_in(), 0)
        coming = late.connect("127.0.0.1", self.port)
        talking.goodbye()
        await talking.gone(PATIENCE)
        await old.child.shows("drained: nobody is left")
        self.assertFalse(coming.called)
        await old.stop()
        new = Process(self, BY_SYSTEMD)
        await coming
        self.assertNotEqual(await self.converse_again(late), session_id)
        await new.open()
        await new.stop()

    async def all_converse(self, devices: list[SimulatedDevice]) -> list[str]:
        """All at once; the ids of their sessions."""
        return await gatherResults([Deferred.fromCoroutine(self.converse(d)) for d in devices])

    def talk(self, device: SimulatedDevice) -> Deferred[int]:
        """Talk until the session is over; fires with the number of packets."""

        async def talk() -> int:
            voice = device.voice
            assert voice is not None
            device.listen("start", mode="manual")
            try:
                await device.speak(SPEECH * 20)
            except StepError as error:
                self.assertEqual(str(error), "speaking: the session is over")
                return len(voice.sent_at)
            raise AssertionError("nothing ended the session")

        return Deferred.fromCoroutine(talk())


class Newcomer:
    """A device that comes and goes, again and again."""

    def __init__(self, device: SimulatedDevice, port: int) -> None:
        self.let_in = 0
        self.failures: list[str] = []
        self._device = device
        self._port = port
        self._enough = False
        self._done = Deferred.fromCoroutine(self._come_and_go())

    def leave(self) -> Deferred[None]:
        """Fires when it has left for good."""
        self._enough = True
        return self._done

    async def _come_and_go(self) -> None:
        while not self._enough:
            try:
                await self._device.connect("127.0.0.1", self._port)
                self.let_in += 1
                await self._device.disconnect()
            except StepError as error:
                self.failures.append(str(error))
                await self._device.vanish()


class SuddenDeathTests(HandoverTestCase):
    """The process is killed, and another one takes its place."""

    async def test_stale_sessions(self) -> None:
        """A device that comes back believing in its old session is told goodbye for it, so that it
        says hello again. Whoever connects while no process is there waits, and is not refused.
        """
        old = Process(self, BY_SYSTEMD)
        await old.open()
        device, newcomer = self.device(1), self.device(2)
        stale = await self.converse(device)
        old.transport.signalProcess("KILL")
        await old.child.ended
        await device.gone(PATIENCE)
        coming = [d.connect("127.0.0.1", self.port) for d in (device, newcomer)]
        new = Process(self, BY_SYSTEMD)
        await gatherResults(coming)
        device.send({"session_id": stale, "type": "listen", "state": "start"})
        await device.expect("goodbye", PATIENCE, session_id=stale)
        self.assertNotEqual(await self.converse_again(device), stale)
        await new.open()
        await new.stop()


class ScriptTests(HandoverTestCase):
    """The script in docs/operations.md, which holds the ports without systemd."""

    def script(self) -> str:
        """With other ports in place of the usual ones, and the same in this test."""
        document = (ROOT / "docs" / "operations.md").read_text("utf-8")
        text: str
        (text,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
        usual = ("1883", "8007", "8884", "8885")
        ports = free_ports(len(usual))
        for before, number in zip(usual, ports, strict=True):
            self.assertEqual(text.count(before), 1)
            text = text.replace(before, str(number))
        self.port = ports[0]
        self.audio, self.other_audio = (("127.0.0.1", port) for port in ports[2:])
        return text

    async def test_renew(self) -> None:
        """On each SIGHUP there is another gateway at the same ports, audio at the second and the
        first in turn; nobody who connects is refused. SIGTERM ends it all.
        """
        child = Child()
        environ = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MQTT_SIGNATURE_KEY": KEY,
            "SERVER_SECRET": SECRET,
            "CHAT_SERVERS": self.echo.url,
        }
        arguments = [sys.executable, "-c", self.script(), "--drain-seconds", "1"]
        first, second = self.audio, self.other_audio
        process = reactor.spawnProcess(child, sys.executable, arguments, environ, self.directory)
        self.addCleanup(child.end, process)
        await child.shows("admin API at")
        device = self.device(1)
        newcomer = Newcomer(self.device(2), self.port)
        for self.audio in (first, second):
            session_id = await self.converse(device)
            process.signalProcess("HUP")
            await device.gone(PATIENCE)
            await device.expect("goodbye", PATIENCE, session_id=session_id)
        self.audio = first
        self.assertNotEqual(await self.converse(device), session_id)
        await newcomer.leave()
        self.assertEqual(newcomer.failures, [])
        process.signalProcess("TERM")
        self.assertEqual(await child.ended, 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, child.output)


class Manager(DatagramProtocol):
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self) -> None:
        self.told: list[str] = []  # the first line of each
        self.last = ""
        self._watch = Watch(reactor)

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.last = datagram.decode()
        self.told.append(self.last.split("\n")[0])
        self._watch.changed()

    def hears(self, *told: str) -> Deferred[bool]:
        """Fire once it was told just this."""
        return self._watch.until(f"{told}", lambda: self.told == list(told) or None, PATIENCE)


class NotifyTests(HandoverTestCase):
    """What the service manager is told over the life of the process."""

    async def test_told(self) -> None:
        """Ready, reloading and ready again, stopping."""
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory, "notify"))
            manager = Manager()
            port = reactor.listenUNIXDatagram(path, manager)  # type: ignore[attr-defined]
            process = Process(self, BY_SYSTEMD, NOTIFY_SOCKET=path)
            await manager.hears("READY=1")
            await process.open()
            process.transport.signalProcess("HUP")
            await manager.hears("READY=1", "RELOADING=1", "READY=1")
            await process.stop()
            await manager.hears("READY=1", "RELOADING=1", "READY=1", "STOPPING=1")
            await port.stopListening()

    async def test_drained(self) -> None:
        """That it is being drained, and that it is done; that stays so, whatever is read again."""
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory, "notify"))
            manager = Manager()
            port = reactor.listenUNIXDatagram(path, manager)  # type: ignore[attr-defined]
            process = Process(self, BY_SYSTEMD, NOTIFY_SOCKET=path)
            await manager.hears("READY=1")
            process.transport.signalProcess(signal.SIGUSR1)
            told = ("READY=1", "STATUS=draining", "STATUS=drained")
            await manager.hears(*told)
            process.transport.signalProcess("HUP")
            await manager.hears(*told, "RELOADING=1", "READY=1")
            self.assertEqual(manager.last, "READY=1\nSTATUS=drained")
            await process.stop()
            await port.stopListening()

    async def test_nothing_handed_over(self) -> None:
        """One line says what is missing, and the process does not come up."""
        process = Process(self, ("--udp", "systemd:sound"), NOTIFY_SOCKET="@xzgw-nobody")
        self.assertEqual(await process.child.ended, 1)
        missing = "the socket that was handed over: no socket with the name sound was passed"
        self.assertIn(missing, process.child.output)
        self.assertNotIn("Traceback", process.child.output)
