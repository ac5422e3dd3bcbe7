"""SIGUSR1 and SIGTERM, to a real process: who talks may finish, the others go, and then nobody is
there.
"""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.api_support import request, today, token
from tests.raw_device import RawDevice
from tests.support import ChatServer, GatewayProcess

HELLO = {"type": "hello", "version": 3, "audio_params": {"frame_duration": 60}}
SERVER_UNAVAILABLE = 3


class DrainTests(SynchronousTestCase):
    """An idle device, one with an open session, and one that has not said CONNECT."""

    def setUp(self) -> None:
        self.chat = ChatServer(max_size=None)
        self.addCleanup(self.chat.close)
        settings = {"CHAT_SERVERS": self.chat.url, "XZGW_DRAIN_RATE": "1"}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.early = self.device(4)  # accepted before the others, who are let in
        self.idle, self.talking = self.device(1), self.device(2)
        for device in (self.idle, self.talking):
            self.assertEqual(device.log_in(), 0)
        self.talking.say(HELLO)
        self.theirs = self.chat.greet("s1")
        self.talking.told("hello")
        self.gateway.send(signal.SIGUSR1)
        self.gateway.wait_for("draining: 2 devices are to go, 1 sessions may last 300 s yet")

    def device(self, number: int) -> RawDevice:
        device = RawDevice(("127.0.0.1", self.gateway.mqtt_port), number)
        self.addCleanup(device.socket.close)
        return device

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, self.gateway.log)

    def test_to_the_end(self) -> None:
        """The idle one is closed, the other after its session; nobody comes in any more but who
        was at the door already.
        """
        self.assertRaises(EOFError, self.idle.told, "none")
        self.assertEqual(self.device(3).log_in(), SERVER_UNAVAILABLE)
        self.assertEqual(self.early.log_in(), 0)
        self.assertRaises(EOFError, self.early.told, "none")
        self.talking.say({"type": "listen", "session_id": "s1", "state": "start"})
        self.assertIn("listen", self.theirs.recv(5))
        self.theirs.close()
        self.assertEqual(self.talking.told("goodbye")["session_id"], "s1")
        self.assertRaises(EOFError, self.talking.told, "none")
        self.gateway.wait_for("drained: nobody is left")
        self._stops()

    def test_polled(self) -> None:
        """The API tells what is left, who is still to come in included, until there is nobody."""
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])

        def left() -> tuple[int, int]:
            headers = {"Authorization": f"Bearer {token(today())}"}
            answer = request(port, "POST", "/v1/drain", None, headers)
            self.assertEqual(answer.status, 202, answer.body)
            return answer.json["devices"], answer.json["sessions"]

        self.assertRaises(EOFError, self.idle.told, "none")
        self.assertEqual(left(), (2, 1))
        self.theirs.close()
        self.assertRaises(EOFError, self.talking.told, "none")
        self.assertEqual(left(), (1, 0))
        self.early.socket.close()
        self.gateway.wait_for("drained: nobody is left")
        self.assertEqual(left(), (0, 0))
        self._stops()

    def test_stop(self) -> None:
        """SIGTERM ends it at once: the session gets its goodbye, and a CONNECT on its way an answer
        (CONNACK 3).
        """
        self.gateway.send(signal.SIGTERM)
        self.assertEqual(self.talking.told("goodbye")["session_id"], "s1")
        self.assertEqual(self.early.log_in(), SERVER_UNAVAILABLE)
        self.assertEqual(self.gateway.ended(), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, self.gateway.log)
