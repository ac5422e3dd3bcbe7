"""A process of the fleet, its devices and its chat server, on peers that misbehave."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.support import KEY, client_frame, upgrade
from xzgw.tools.bench.figures import Steps, Tally
from xzgw.tools.bench.frames import Frames
from xzgw.tools.bench.orders import Connect, Count, Leave, Open, Order, Role, Talk
from xzgw.tools.bench.worker import Worker
from xzgw.wire import messages
from xzgw.wire.audio import server_audio
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connack, Publish

HOST = "127.0.0.1"
PATIENCE = 5.0  # s
MS = 1_000_000  # ns
Script = Callable[[socket.socket], object]


def say(peer: socket.socket, message: messages.Json) -> None:
    peer.sendall(encode(Publish("devices/p2p/x", messages.encode(message))))


def accept(peer: socket.socket, code: int = 0) -> None:
    peer.recv(65536)  # CONNECT
    peer.sendall(encode(Connack(code)))


class Case(SynchronousTestCase):
    """A worker in this very process."""

    def setUp(self) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.addCleanup(self.listener.close)
        with socket.create_server((HOST, 0)) as free:
            self.server = free.getsockname()

    def worker(self, script: Script | None = None, step_ns: int = 5000 * MS) -> Worker:
        """A worker whose gateway does to its only device what the script says."""
        if script is not None:
            self.gateway = Thread(target=self.play, args=(script,))
            self.gateway.start()
            self.addCleanup(self.gateway.join, PATIENCE)
        role = Role(
            first=0,
            family=socket.AF_INET,
            gateway=self.listener.getsockname(),
            server_family=socket.AF_INET,
            server=self.server,
            key=KEY,
            frame_ms=60,
            frame_bytes=40,
            rate=1000,
        )
        self.assertNotIn(KEY, repr(role))
        return Worker(role, step_ns)

    def play(self, script: Script) -> None:
        peer, _ = self.listener.accept()
        with peer:
            peer.settimeout(PATIENCE)
            script(peer)


class WorkerTests(Case):
    """Orders and their answers."""

    def failed(self, worker: Worker, order: Order) -> str:
        """Why the only device could not do it."""
        steps = worker.obey(order)
        assert isinstance(steps, Steps)
        self.assertEqual(steps.done, 0)
        (reason,) = steps.failed
        return reason

    def test_refused(self) -> None:
        """Nobody listens, the credentials are wrong, or the gateway hangs up or speaks no MQTT."""
        scripts: list[tuple[Script, str]] = [
            (lambda peer: accept(peer, 5), "MQTT CONNECT: refused, code 5"),
            (lambda peer: peer.recv(9999), "MQTT CONNECT: the gateway closed the connection"),
            (lambda peer: peer.sendall(b"\0\0"), "MQTT CONNECT: the gateway broke MQTT: "),
        ]
        for script, reason in scripts:
            self.assertIn(reason, self.failed(self.worker(script), Connect(1)))
        self.listener.close()
        self.listener = socket.socket()
        self.listener.bind((HOST, 0))  # and does not listen
        reason = self.failed(self.worker(), Connect(1))
        self.assertEqual(reason, "MQTT CONNECT: Connection refused")

    def test_silent(self) -> None:
        """A gateway that says nothing is waited for only so long."""
        reason = self.failed(self.worker(step_ns=50 * MS), Connect(1))
        self.assertEqual(reason, "MQTT CONNECT: nothing within 0.05 s")

    def test_hello(self) -> None:
        """An error instead of a session, or a reply that no device could use."""
        for message, reason in (
            ({"type": "error", "message": "busy"}, "hello: the gateway says: busy"),
            ({"type": "hello"}, "hello: the reply offers no UDP transport"),
        ):

            def script(peer: socket.socket, message: messages.Json = message) -> None:
                accept(peer)
                peer.recv(65536)
                say(peer, message)
                peer.recv(65536)

            worker = self.worker(script)
            worker.obey(Connect(1))
            self.assertEqual(self.failed(worker, Open()), reason)

    def test_lost(self) -> None:
        """A connection that ends later is told with the next load."""

        def script(peer: socket.socket) -> None:
            accept(peer)
            peer.recv(65536)  # what it is sent, or closing would be a reset

        worker = self.worker(script)
        worker.obey(Connect(1))
        now = time.monotonic_ns()
        tally = worker.obey(Talk(True, True, now, now, now, now + 200 * MS))
        assert isinstance(tally, Tally)
        self.assertEqual(dict(tally.lost), {"the gateway closed the connection": 1})
        again = worker.obey(Talk(True, True, now, now, now, now))
        assert isinstance(again, Tally)
        self.assertEqual(dict(again.lost), {})

    def test_leave(self) -> None:
        """Devices say goodbye to the gateway, and are no more."""
        seen: list[bytes] = []

        def script(peer: socket.socket) -> None:
            accept(peer)
            while data := peer.recv(65536):
                seen.append(data)

        worker = self.worker(script)
        worker.obey(Connect(1))
        worker.obey(Leave(0))
        self.gateway.join(PATIENCE)
        self.assertEqual(b"".join(seen), b"\xe0\0")  # DISCONNECT

    def test_mcp(self) -> None:
        """The gateway's questions are answered."""
        answers: list[bytes] = []

        def script(peer: socket.socket) -> None:
            accept(peer)
            say(peer, {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": 7, "method": "ping"}})
            answers.append(peer.recv(65536))

        worker = self.worker(script)
        worker.obey(Connect(1))
        now = time.monotonic_ns()
        worker.obey(Talk(False, False, now, now, now, now + 100 * MS))
        self.assertIn(b'"id":7', answers[0])

    def test_serves_until_the_end(self) -> None:
        """It answers each order, and ends when nobody orders any more."""
        ours, theirs = socket.socketpair()
        worker = self.worker()
        ended: list[BaseException] = []

        def serve() -> None:
            with Connection(theirs.detach()) as orders:
                try:
                    worker.serve(orders)
                except EOFError as e:
                    ended.append(e)

        thread = Thread(target=serve)
        thread.start()
        with Connection(ours.detach()) as line:
            line.send(Count())
            self.assertEqual(line.recv(), 0)
        thread.join(PATIENCE)
        self.assertEqual(len(ended), 1)


class ServerTests(Case):
    """The chat server, from a gateway's side."""

    frames = Frames(60, 40)

    def setUp(self) -> None:
        super().setUp()
        self.serving = self.worker()
        self.peer = socket.create_connection(self.server, PATIENCE)
        self.peer.settimeout(PATIENCE)
        self.addCleanup(self.peer.close)

    def turn(self, milliseconds: int = 50) -> Tally:
        """Serve for a while; what was sent within it counts."""
        now = time.monotonic_ns()
        end = now + milliseconds * MS
        tally = self.serving.obey(Talk(True, True, now, 0, end, end))
        assert isinstance(tally, Tally)
        return tally

    def shake_hands(self) -> None:
        request = b"GET /?from=mqtt_gateway HTTP/1.1\r\nSec-WebSocket-Key: abc\r\n\r\n"
        self.peer.sendall(request[:20])
        self.turn()
        self.peer.sendall(request[20:])
        self.turn()
        accepted = upgrade(request).partition(b"Accept: ")[2]
        self.assertTrue(self.peer.recv(65536).endswith(accepted))

    def text(self, payload: bytes) -> bytes:
        return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload

    def greet(self) -> None:
        self.shake_hands()
        self.peer.sendall(self.text(b'{"type":"hello"}'))
        self.turn()
        self.assertIn(b'"session_id"', self.peer.recv(65536))
        self.assertEqual(self.serving.obey(Count()), 1)

    def test_session(self) -> None:
        """After its hello it speaks, and hears what is cut into any pieces."""
        self.greet()
        now = time.monotonic_ns()
        wire = b"".join(
            client_frame(server_audio(n, 0, self.frames.make(now, n)), n * 0x01010101)
            for n in (1, 2, 3)
        )
        heard = 0
        for at in range(0, len(wire), 40):
            self.peer.sendall(wire[at : at + 40])
            heard += self.turn(20).up.arrived
        self.assertEqual(heard, 3)
        self.assertEqual(self.peer.recv(65536)[0], 0x82)

    def test_damaged(self) -> None:
        """What is not the audio that devices sent is counted as damaged."""
        self.greet()
        for message in (b"short", server_audio(1, 0, b"not a frame of ours")):
            self.peer.sendall(client_frame(message, 1))
            tally = self.turn()
            self.assertEqual((tally.up.damaged, tally.up.arrived), (1, 0))

    def test_ping_and_close(self) -> None:
        """A ping gets its pong; a close is answered, and is no fault."""
        self.greet()
        self.peer.sendall(bytes((0x89, 0x82, 0, 0, 0, 0)) + b"hi")
        tally = self.turn(10)
        self.assertIn(b"\x8a\x02hi", self.peer.recv(65536))
        self.peer.sendall(bytes((0x88, 0x82, 0, 0, 0, 0)) + b"\x03\xe8")
        tally = self.turn()
        self.assertEqual(dict(tally.lost), {})
        self.assertEqual(self.serving.obey(Count()), 0)
        rest = b""
        while data := self.peer.recv(65536):
            rest += data
        self.assertTrue(rest.endswith(b"\x88\x02\x03\xe8"))

    def test_faults(self) -> None:
        """A session that ends otherwise is a fault, and is told as one."""
        self.greet()
        self.peer.sendall(b"\x02\x80\0\0\0\0")
        self.assertIn("fragmented", "".join(self.turn().lost))

    def test_vanished(self) -> None:
        """So is a WebSocket that ends without a close."""
        self.greet()
        self.peer.close()
        self.assertIn("without a word", "".join(self.turn().lost))

    def test_no_websocket(self) -> None:
        """Whoever asks for something else, or for ever, is sent away."""
        for request in (b"GET / HTTP/1.1\r\n\r\n", b"x" * 20_000):
            with socket.create_connection(self.server, PATIENCE) as other:
                other.sendall(request)
                self.assertIn("no WebSocket", "".join(self.turn().lost))

    def test_not_json(self) -> None:
        """A text that is no JSON is a gateway's fault."""
        self.shake_hands()
        self.peer.sendall(self.text(b"{"))
        self.assertIn("not JSON", "".join(self.turn().lost))
