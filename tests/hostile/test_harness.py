"""The suite can fail: a canary that is done wrong notices, and so does the judge."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.client import connect

from tests.hostile.caller import LAST, TOKEN, ask
from tests.hostile.canary import LATE
from tests.hostile.cases_api import JSON
from tests.hostile.harness import (
    PLATEAU,
    SINGLE,
    STRAY_LINES,
    Case,
    Course,
    HostileTestCase,
    Target,
    judge,
    on_plateau,
)
from tests.support import PATIENCE

Bend = Callable[[bytes], list[bytes]]  # one datagram to those that are sent on
TO_GATEWAY, TO_DEVICE = 0, 1
MOMENT = 0.1  # s


class Relay:
    """A path for audio that can be bent, each way."""

    def __init__(self) -> None:
        self.bends: list[Bend] = [straight, straight]
        self._near = socket.socket(type=socket.SOCK_DGRAM)  # devices send to it
        self._near.bind(("127.0.0.1", 0))
        self._far = socket.socket(type=socket.SOCK_DGRAM)
        self._stop, self._stopped = os.pipe()
        self._thread = Thread(target=self._run)
        self.port: int = self._near.getsockname()[1]

    def start(self, gateway_port: int) -> None:
        self._far.connect(("127.0.0.1", gateway_port))
        self._thread.start()

    def close(self) -> None:
        os.close(self._stopped)
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        os.close(self._stop)
        self._near.close()
        self._far.close()

    def _run(self) -> None:
        device = ("127.0.0.1", 0)
        while True:
            ready, _, _ = select.select(
                [self._near.fileno(), self._far.fileno(), self._stop], [], []
            )
            if self._stop in ready:
                return
            if self._near.fileno() in ready:
                datagram, device = self._near.recvfrom(2000)
                for each in self.bends[TO_GATEWAY](datagram):
                    self._far.send(each)
            if self._far.fileno() in ready:
                for each in self.bends[TO_DEVICE](self._far.recv(2000)):
                    self._near.sendto(each, device)


def straight(datagram: bytes) -> list[bytes]:
    return [datagram]


class _Once:
    """Bends one datagram only."""

    def __init__(self, bend: Bend) -> None:
        self._bend = bend
        self._done = False

    def __call__(self, datagram: bytes) -> list[bytes]:
        if self._done:
            return [datagram]
        self._done = True
        return self._bend(datagram)


def lose(_datagram: bytes) -> list[bytes]:
    return []


def double(datagram: bytes) -> list[bytes]:
    return [datagram, datagram]


def flip(datagram: bytes) -> list[bytes]:
    """Change a bit of the last byte: the packet stays plausible, CTR tells nobody."""
    return [datagram[:-1] + bytes((datagram[-1] ^ 1,))]


class CanaryTests(HostileTestCase):
    """One packet is enough."""

    def setUp(self) -> None:
        self.relay = Relay()
        self.addCleanup(self.relay.close)

    def start_bent(self) -> Target:
        """A canary whose audio passes through the relay; nothing is bent yet."""
        target = self.start_unheard({"PUBLIC_UDP_PORT": str(self.relay.port)})
        self.relay.start(target.gateway.udp_port)
        target.canary.start(target.gateway.mqtt_port)
        return target

    def test_one_packet(self) -> None:
        """One that is lost, changed or doubled is noticed, either way; then all is well again."""
        target = self.start_bent()
        canary, bends = target.canary, self.relay.bends
        for way, bend, what in (
            (TO_GATEWAY, lose, r"(?m)^server: packet \d+ after \d+$"),
            (TO_DEVICE, lose, r"(?m)^device: packet \d+ after \d+$"),
            (TO_GATEWAY, flip, r"(?m)^server: packet \d+ is not what was sent$"),
            (TO_DEVICE, flip, r"(?m)^device: packet \d+ is not what was sent$"),
            (TO_DEVICE, double, r"(?m)^device: packet (\d+) after \1$"),
        ):
            self.assertEqual(canary.check(), [])
            before = canary.spoken
            bends[way] = _Once(bend)
            self.assertRegex("\n".join(canary.check()), what)
            self.assertGreater(canary.spoken, before + 4)
            canary.faults.lines.clear()

    def test_text(self) -> None:
        """A text that is not the next one is noticed at either end."""
        target = self.start_bent()
        canary = target.canary
        body = b'{"type":"listen","session_id":"canary","n":1}'
        path = f"/v1/devices/{canary.client_id}/messages"
        head = f"POST {path} HTTP/1.1\r\n".encode() + TOKEN + LAST + JSON
        self.assertEqual(
            ask(target, head + b"Content-Length: %d\r\n\r\n" % len(body) + body), [202]
        )
        self.assertRegex("\n".join(canary.check()), r"(?m)^device: told b'.*\"n\":1}'$")
        canary.faults.lines.clear()
        with connect(canary.server.url, compression=None) as other:
            other.send('{"type":"hello","audio_params":{}}')
            other.recv(PATIENCE)
            other.send("{}")
            other.recv(PATIENCE)
        self.assertRegex("\n".join(canary.faults.lines), r"(?m)^server: text \d+ is '{}'$")

    def test_late(self) -> None:
        """All comes, but one packet and those behind it seconds late."""

        def hold(datagram: bytes) -> list[bytes]:
            time.sleep(LATE + MOMENT)
            return [datagram]

        target = self.start_bent()
        self.relay.bends[TO_DEVICE] = _Once(hold)
        self.assertRegex("\n".join(target.canary.check()), r"a packet came back after [2-9]\.\d s")

    def test_silence(self) -> None:
        """Nothing comes back any more."""
        target = self.start_bent()
        self.relay.bends[TO_DEVICE] = lose
        self.assertIn("did not come back", "\n".join(target.canary.check()))

    def test_process_dies(self) -> None:
        """It and the judge notice that the process is gone."""
        target = self.start_bent()

        def crash(target: Target) -> None:
            target.gateway.kill()

        case = Case("crash", "", crash)
        with self.assertRaises(self.failureException) as raised:
            self.undergo(case, target)
        self.assertIn("the process has died", str(raised.exception))
        self.assertIn("device: EOFError", str(raised.exception))

    def test_session_ends(self) -> None:
        """Another connection with its credentials takes its place."""
        target = self.start_bent()
        self.addCleanup(target.device(0xFFFF).socket.close)
        self.assertIn("device: EOFError", "\n".join(target.canary.check()))


class JudgeTests(SynchronousTestCase):
    """What is seen of the process."""

    case = Case("a case", "nothing", lambda target: None, lines=2)

    def course(self) -> Course:
        """One without fault."""
        log = ["a line"] * (3 * 2 + STRAY_LINES)
        return Course(descriptors=(9, 9), memory=[900.0, 1000.0, 2000.0, 1000.0 + PLATEAU], log=log)

    def test_well(self) -> None:
        """All is within its bounds, just so."""
        self.assertEqual(judge(self.case, self.course(), ("secret",)), [])

    def assertJudged(self, what: str, **values: object) -> None:
        course = self.course()
        for name, value in values.items():
            setattr(course, name, value)
        (problem,) = judge(self.case, course, ("s3cret",))
        self.assertIn(what, problem)

    def test_canary(self) -> None:
        self.assertJudged("lost a packet", canary=["lost a packet"])

    def test_dead(self) -> None:
        self.assertJudged("died", alive=False)

    def test_faults(self) -> None:
        for fault in ("Traceback", "Unhandled Error", "fault while opening"):
            self.assertJudged("in the log", log=[f"2026 [-] {fault}"])

    def test_secret(self) -> None:
        self.assertJudged("a secret", log=["key=s3cret"])

    def test_descriptors(self) -> None:
        self.assertJudged("10 descriptors", descriptors=(9, 10))

    def test_lines(self) -> None:
        self.assertJudged("17 lines", log=["a line"] * (3 * 2 + STRAY_LINES + 1))

    def test_memory(self) -> None:
        """It has to come to rest; how much it took before that does not matter."""
        self.assertJudged("memory", memory=[1000.0, 1000.0, 1000.0, 1001.0 + PLATEAU])
        self.assertFalse(on_plateau([1000.0, 1000.0, 1000.0]))
        self.assertFalse(on_plateau([1000.0 * n for n in range(10)]))
        self.assertTrue(on_plateau([1000.0, 90_000.0, 90_100.0, 90_100.0 + PLATEAU / 2]))

    def test_memory_of_one_round(self) -> None:
        """What runs once has a bound of its own."""
        once = replace(self.case, rounds=1, lines=99)
        course = self.course()
        course.memory = [1000.0, 1000.0 + SINGLE]
        self.assertEqual(judge(once, course), [])
        course.memory[1] += 1
        self.assertEqual(len(judge(once, course)), 1)
