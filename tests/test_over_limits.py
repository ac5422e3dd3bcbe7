"""A gateway process at its limits, over real TCP: who is new is told so, who is here is served."""

from __future__ import annotations

import re
import select
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.api_support import HOST, request, today, token
from tests.net.certificates import Authority
from tests.raw_device import RawDevice
from tests.stream_device import open_tls
from tests.support import KEY, PATH, PATIENCE, GatewayProcess, read_to_end
from xzgw.tap import TOLD_DEVICES
from xzgw.tools.identity import Identity
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connack, Pingreq, Pingresp

NO_ROOM = encode(Connack(3))
CONNECT = encode(Identity(mac="02:00:00:00:00:99").credentials(KEY))
UNFINISHED = b"\x10\xff\x0f" + bytes(1000)  # of a CONNECT
FLOOD = 1500  # connections
DESCRIPTORS = 150  # where there are few
AT_A_TIME = 25  # of these: all must be told while those who take all places may yet stay
MOST = 2500  # KiB that the flood may cost


def authorization() -> dict[str, str]:
    """The header of the moment."""
    return {"Authorization": f"Bearer {token(today())}"}


class OverLimitsTestCase(SynchronousTestCase):
    """The gateway stops cleanly in the end, whatever it was put through."""

    def start(self, **settings: str) -> None:
        """Start it with these environment variables."""
        settings = {"CHAT_SERVERS": "ws://127.0.0.1:9" + PATH, **settings}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        self.assertNotIn("Traceback", self.gateway.log)

    def call(self, sent: bytes = b"", port: int = 0) -> socket.socket:
        """A new connection to the port of devices, or another one, that has sent this."""
        connection = socket.create_connection((HOST, port or self.gateway.mqtt_port), PATIENCE)
        self.addCleanup(connection.close)
        connection.sendall(sent)
        return connection

    @property
    def api_port(self) -> int:
        return int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])


class DeviceTests(OverLimitsTestCase):
    """One connection without good credentials is allowed, and is there."""

    def test_told(self) -> None:
        """CONNACK 3 after the whole CONNECT, then the end; what is counted is shown."""
        self.start(XZGW_MAX_UNAUTHENTICATED="1")
        device = RawDevice((HOST, self.gateway.mqtt_port), 1)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.log_in(), 0)
        stranger = self.call()
        for _ in range(20):
            connection = self.call(CONNECT[:20])
            connection.sendall(CONNECT[20:])
            self.assertEqual(read_to_end(connection), NO_ROOM)
        shown = request(self.api_port, "GET", "/v1/status", None, authorization()).json
        self.assertEqual(shown["refused"]["max_unauthenticated"], 20)
        self.assertEqual(shown["limits"]["max_unauthenticated"], {"value": 1, "used": 1})
        self.assertEqual((shown["devices"], shown["api_connections"]), (1, 1))
        self.assertEqual(shown["counts"]["refused_bad_proxy_header"], 0)
        stranger.sendall(CONNECT)
        self.assertEqual(stranger.recv(4), encode(Connack(0)))
        self.assertNotIn("no device", self.gateway.log)

    def test_tls(self) -> None:
        """The same inside TLS."""
        authority = Authority(str(Path(self.mktemp()).resolve()))
        file = authority.certificate("localhost")
        endpoint = f"ssl:0:privateKey={file}:interface=127.0.0.1"
        self.start(XZGW_MAX_UNAUTHENTICATED="1", XZGW_MQTT=endpoint)
        self.call()
        with open_tls(self.gateway.mqtt_port, authority.path) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(CONNECT)
            self.assertEqual(read_to_end(connection), NO_ROOM)

    def test_flood(self) -> None:
        """Only so many connections are heard, for a short time; they cost little memory and hardly
        a line in the log, and a device goes on all the while."""
        self.start(XZGW_MAX_UNAUTHENTICATED="1")
        device = RawDevice((HOST, self.gateway.mqtt_port), 1)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.log_in(), 0)
        self.call()
        before, lines = self.gateway.memory(), len(self.gateway.lines)
        flood = []
        for number in range(FLOOD):
            try:
                flood.append(self.call())
                flood[-1].sendall(UNFINISHED)
            except ConnectionError:
                pass  # cut off already
            if number % 100 == 0:
                device.send(Pingreq())
                device.next(Pingresp)
        cost = self.gateway.memory() - before
        self.assertLess(cost, MOST, f"{cost:.0f} KiB")
        self.assertLessEqual(len(self.gateway.lines) - lines, 2, self.gateway.log)
        self.assertGreater(len(flood), TOLD_DEVICES)
        self.assertEqual({read_to_end(connection) for connection in flood}, {b""})
        self.assertEqual(read_to_end(self.call(CONNECT)), NO_ROOM)

    def test_cut_off(self) -> None:
        """Beyond those that are heard nobody is."""
        self.start(XZGW_MAX_UNAUTHENTICATED="1")
        self.call()
        heard = [self.call() for _ in range(TOLD_DEVICES)]
        self.assertEqual(read_to_end(self.call()), b"")
        self.assertEqual(select.select(heard, [], [], 0)[0], [])
        heard[0].sendall(CONNECT)
        self.assertEqual(read_to_end(heard[0]), NO_ROOM)

    def test_proxied(self) -> None:
        """Who has not shown a PROXY header counts as well; one more is cut off."""
        self.start(
            XZGW_MAX_UNAUTHENTICATED="1",
            XZGW_MAX_CONNECTIONS_PER_ADDRESS="1",
            XZGW_MQTT="haproxy:tcp:0:interface=127.0.0.1",
        )
        waiting = self.call()
        self.assertEqual(read_to_end(self.call()), b"")
        for number in (1, 2):
            waiting.sendall(b"PROXY TCP4 203.0.113.%d 192.0.2.1 50000 1883\r\n" % number)
            waiting.sendall(encode(Identity(mac=f"02:00:00:00:00:0{number}").credentials(KEY)))
            self.assertEqual(waiting.recv(4), encode(Connack(0)))
            waiting = self.call()


class DescriptorTests(OverLimitsTestCase):
    """A process that may have few file descriptors."""

    def setUp(self) -> None:
        self.start()
        self.device = RawDevice((HOST, self.gateway.mqtt_port), 1)
        self.addCleanup(self.device.socket.close)
        self.assertEqual(self.device.log_in(), 0)
        self.gateway.allow_descriptors(DESCRIPTORS)
        self.gateway.send(signal.SIGHUP)
        self.gateway.wait_for("configuration read again")

    def assertServed(self) -> None:
        self.device.send(Pingreq())
        self.device.next(Pingresp)

    def test_told(self) -> None:
        """The limits are within that, so that there is one left to tell with."""
        lowered = self.gateway.wait_for(
            rf"configuration: {DESCRIPTORS} file descriptors .* max_unauthenticated (\d+)"
        )
        for _ in range(int(lowered[1])):
            self.call()
        for _ in range(2 * DESCRIPTORS // AT_A_TIME):
            for connection in [self.call(CONNECT) for _ in range(AT_A_TIME)]:
                self.assertEqual(read_to_end(connection), NO_ROOM)
        self.assertServed()
        self.assertNotIn("cannot accept", self.gateway.log)

    def test_flood(self) -> None:
        """More at once than there are descriptors: some are cut off, which takes one line."""
        before = len(self.gateway.lines)
        flood = [self.call() for _ in range(3 * DESCRIPTORS)]
        self.gateway.wait_for("cannot accept connections: no file descriptors are left")
        self.assertServed()
        for connection in flood:
            connection.close()
        while not self.answered():
            pass  # until the gateway has seen that they are gone
        self.assertServed()
        self.assertLessEqual(len(self.gateway.lines) - before, 20, self.gateway.log)

    def answered(self) -> bool:
        """Whether a device that connects hears anything."""
        try:
            return self.call(CONNECT).recv(4) != b""
        except ConnectionError:
            return False


class ApiTests(OverLimitsTestCase):
    """Two connections to the admin API are allowed."""

    def test_told(self) -> None:
        """503 to a third one; when one has gone, there is room again."""
        self.start(XZGW_MAX_API_CONNECTIONS="2")
        idle, reader = (HTTPConnection(HOST, self.api_port, timeout=PATIENCE) for _ in range(2))
        self.addCleanup(idle.close)
        self.addCleanup(reader.close)
        idle.request("GET", "/healthz")
        self.assertEqual(idle.getresponse().read(), b'{"status":"ok"}')
        reader.request("GET", "/v1/events", headers=authorization())
        self.assertEqual(reader.getresponse().status, 200)
        third = HTTPConnection(HOST, self.api_port, timeout=PATIENCE)
        self.addCleanup(third.close)
        third.request("POST", "/v1/drain", b"{}", authorization())
        refusal = third.getresponse()
        self.assertEqual((refusal.status, refusal.getheader("Retry-After")), (503, "5"))
        self.assertIn(b"max_api_connections", refusal.read())
        idle.request("GET", "/v1/status", headers=authorization())
        shown = idle.getresponse()
        self.assertTrue(re.search(rb'"max_api_connections":1[,}]', shown.read()))
        idle.close()
        while (
            answer := request(self.api_port, "GET", "/v1/status", None, authorization())
        ).status == 503:
            pass  # until the gateway has seen that it is gone
        self.assertEqual((answer.status, answer.json["api_connections"]), (200, 2))
        self.assertFalse(answer.json["draining"])
