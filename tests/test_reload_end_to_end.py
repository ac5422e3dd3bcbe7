"""Every setting is changed while a gateway runs: each is seen to take effect, or is said to need a
restart. None is passed over in silence, and nobody is disconnected.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.api_support import HOST, Answer, request, today
from tests.net.certificates import Authority
from tests.raw_device import RawDevice
from tests.support import KEY, PATIENCE, ChatServer, GatewayProcess
from xzgw.settings import table as settings
from xzgw.tools.identity import Identity
from xzgw.wire import credentials, messages
from xzgw.wire.packets import Connack, Connect, Pingreq, Pingresp, Publish

NEW_KEY = "An0ther-Key-of-ours"
NEW_SECRET = "S0me-other-secret"
NEW_TOKEN = "a-token-for-figures"
DEVELOPER = 7  # number of the device on the list
HELLO = {"type": "hello", "version": 3, "audio_params": {"frame_duration": 60}}
PORTS = ("XZGW_MQTT", "XZGW_API", "XZGW_UDP")
BEFORE = {
    "mqtt": "tcp:0:interface=127.0.0.1",
    "api": "tcp:0:interface=127.0.0.1",
    "udp": "127.0.0.1:0",
}
NUMBERS = ("mqtt_port", "api_port", "udp_port")
LIMITS = {
    "max_connections": 6,
    "max_connections_per_address": 5,
    "max_connects_per_second": 900,
    "max_unauthenticated": 40,
    "max_sessions": 2,
    "max_api_connections": 20,
    "drain_seconds": 1,
    "drain_rate": 3,
}

F = TypeVar("F", bound=Callable[..., None])
SHOWN: list[str] = []  # names of settings that a test below shows


def shows(*names: str) -> Callable[[F], F]:
    """Mark a test with the settings whose change it shows."""
    SHOWN.extend(names)
    return lambda test: test


class Receiver(HTTPServer):
    """Takes webhooks' deliveries."""

    def __init__(self) -> None:
        self.heard: Queue[dict[str, Any]] = Queue()
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.put({**json.loads(body), "signed": "X-Xzgw-Signature" in self.headers})
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Not on standard error."""

        super().__init__((HOST, 0), Handler)
        self._thread = Thread(target=self.serve_forever)
        self._thread.start()

    def handle_error(self, *args: object) -> None:
        """The gateway may hang up, as it does when it stops."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join(PATIENCE)
        self.server_close()


class ReloadTests(SynchronousTestCase):
    """A gateway that has little more than a chat server in its file, a device that is connected,
    and a new file in which everything is otherwise.
    """

    def setUp(self) -> None:
        self.before, self.after, self.development = (self.chat_server() for _ in range(3))
        self.hooks = Receiver()
        self.addCleanup(self.hooks.close)
        nothing = dict.fromkeys(("MQTT_SIGNATURE_KEY", "SERVER_SECRET", *PORTS), "")
        files = {
            ".env": f"MQTT_SIGNATURE_KEY={KEY}\n",
            "xzgw.json": json.dumps({"production": {"chat_servers": [self.before.url]}, **BEFORE}),
        }
        directory = Path(self.mktemp()).absolute()
        self.file, self.dotenv = directory / "xzgw.json", directory / ".env"
        flags = ("--config", str(self.file))
        self.gateway = GatewayProcess(directory, nothing, flags=flags, files=files)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)
        self.port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        self.old = self.device(1, KEY)

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled", NEW_KEY, NEW_SECRET, NEW_TOKEN):
            self.assertNotIn(fault, self.gateway.log)

    def chat_server(self) -> ChatServer:
        chat = ChatServer()
        self.addCleanup(chat.close)
        return chat

    def change(self, **more: object) -> None:
        """Write everything anew; the gateway sees it by itself."""
        authority = Authority(self.mktemp()).path
        self.dotenv.write_text(
            f"MQTT_SIGNATURE_KEY={NEW_KEY}\nSERVER_SECRET={NEW_SECRET}\nMETRICS_TOKEN={NEW_TOKEN}\n"
        )
        members: dict[str, object] = {
            "production": {"chat_servers": [{"url": self.after.url, "weight": 9}]},
            "development": {
                "chat_servers": [self.development.url],
                "mac_addresss": [Identity(mac=f"02:00:00:00:00:{DEVELOPER:02x}").mac],
                "mac_addresses": ["02:00:00:00:00:08"],
            },
            "backend_ca": str(Path(authority).absolute()),
            "trusted_proxies": [HOST],
            "debug": True,
            "max_mqtt_payload_size": 3000,
            "message_rate": 1,
            "message_burst": 4,
            "diagnosis_alert": True,
            "publish_topic": "upwards",
            "allow_unsigned": True,
            "public_ip": "192.0.2.77",
            "public_udp_port": 7777,
            "mcp_client": {
                "capabilities": {"vision": {}},
                "client_info": {"name": "renamed"},
                "max_tools_count": 1,
            },
            "webhooks": [{"url": f"http://{HOST}:{self.hooks.server_port}/", "secret": "s"}],
            **BEFORE,
            **more,
        }
        self.file.write_text(json.dumps(members))
        self.gateway.wait_for(f"configuration read again from {self.file}")

    def device(self, number: int, key: str = NEW_KEY) -> RawDevice:
        """Connected, and let in."""
        device = RawDevice((HOST, self.gateway.mqtt_port), number)
        self.addCleanup(device.socket.close)
        device.send(device.identity.credentials(key))
        self.assertEqual(device.next(Connack).return_code, 0)
        return device

    def say(self, device: RawDevice, message: dict[str, object], topic: str = "upwards") -> None:
        device.send(Publish(topic, messages.encode(message)))

    def asked(self, device: RawDevice, method: str) -> dict[str, Any]:
        """The gateway's next MCP request of this kind; others before it are dropped."""
        while (payload := device.told("mcp")["payload"])["method"] != method:
            pass
        found: dict[str, Any] = payload
        return found

    def answer(self, device: RawDevice, number: int, **reply: object) -> None:
        self.say(device, {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": number, **reply}})

    def get(self, path: str, key: str = NEW_KEY) -> Answer:
        token = credentials.daily_token(key, today())
        return request(self.port, "GET", path, None, {"Authorization": f"Bearer {token}"})

    def assertHere(self, device: RawDevice) -> None:
        device.send(Pingreq())
        device.next(Pingresp)

    @shows("MQTT_SIGNATURE_KEY", "allow_unsigned", "public_ip", "public_udp_port", "publish_topic")
    @shows("SERVER_SECRET", "production.chat_servers", "development.chat_servers")
    @shows("development.mac_addresss", "development.mac_addresses")
    def test_sessions(self) -> None:
        """The next session has the new servers, secrets and addresses; the open one goes on where
        it is, and so does the device, which has the old key's password.
        """
        self.say(self.old, HELLO, "device-server")
        theirs = self.before.greet("old")
        self.old.told("hello")
        self.change()
        assert theirs.request is not None
        self.assertEqual(theirs.request.headers["authorization"], "Bearer test-token")
        self.say(self.old, {"type": "listen", "session_id": "old"})
        self.assertIn("listen", theirs.recv(PATIENCE))
        unsigned = RawDevice((HOST, self.gateway.mqtt_port), 5)
        self.addCleanup(unsigned.socket.close)
        client_id = "GID_test@@@02_00_00_00_00_05"
        unsigned.send(Connect(client_id, None, None, 240, True, 4, None))
        self.assertEqual(unsigned.next(Connack).return_code, 0)
        refused = RawDevice((HOST, self.gateway.mqtt_port), 2)
        self.addCleanup(refused.socket.close)
        self.assertEqual(refused.log_in(), 4)
        new = self.device(2)
        self.say(new, HELLO)
        request = self.after.greet("new").request
        assert request is not None
        self.assertNotIn(request.headers["authorization"], ("", "Bearer test-token"))
        udp = new.told("hello")["udp"]
        self.assertEqual((udp["server"], udp["port"]), ("192.0.2.77", 7777))
        for number in (DEVELOPER, 8):
            developer = self.device(number)
            self.say(developer, HELLO)
            self.development.greet(f"development {number}")
            developer.told("hello")
            developer.socket.close()
            self.gateway.wait_for(f"session end: .*development {number} ")

    @shows("mqtt", "api", "udp", "mqtt_port", "api_port", "udp_port")
    def test_ports(self) -> None:
        """Ports stay, which the log and the API say, however the new ones are named."""
        changes: tuple[tuple[dict[str, object], list[str]], ...] = (
            ({"mqtt": "tcp:1", "api": "tcp:1", "udp": 1}, ["mqtt", "api", "udp_host", "udp_port"]),
            ({"udp": "fd:9"}, ["udp_socket"]),
            ({**dict.fromkeys(BEFORE), **dict.fromkeys(NUMBERS, 1)}, ["mqtt", "api", "udp_port"]),
        )
        for changed, names in changes:
            self.gateway.lines.clear()
            self.change(**changed)
            for name in names:
                self.gateway.wait_for(f"configuration: a change of {name} needs a restart")
            shown = self.get("/v1/config").json["needs_restart"]
            self.assertLessEqual(set(names), set(shown))
            self.assertHere(self.old)

    @shows("message_rate", "message_burst", "max_mqtt_payload_size", "debug")
    @shows("diagnosis_alert")
    def test_messages(self) -> None:
        """Devices that connect now may say less; one more line is logged for each message, and what
        is wrong is shown on the device.
        """
        self.change()
        device = self.device(2)
        self.say(device, {**HELLO, "version": 1})
        device.told("alert")
        self.gateway.wait_for("to device: 'error', ")
        for _ in range(9):
            self.say(device, {"type": "listen"})
        self.gateway.wait_for(r"more than 1 messages/s \(message_rate\)")
        self.assertRaises(EOFError, device.told, "none")
        device = self.device(3)
        device.send(Publish("upwards", bytes(3001)))
        self.assertRaises(EOFError, device.told, "none")
        self.assertHere(self.old)

    @shows("mcp_client.capabilities", "mcp_client.client_info", "mcp_client.max_tools_count")
    @shows("probe_silent")
    def test_mcp(self) -> None:
        """Devices that connect now are asked in the new name, for fewer tools; and not whether they
        are still there.
        """
        self.change(probe_silent=False)
        device = self.device(2)
        asked = self.asked(device, "initialize")
        self.assertEqual(asked["params"]["capabilities"], {"vision": {}})
        self.assertEqual(asked["params"]["clientInfo"]["name"], "renamed")
        self.answer(device, asked["id"], result={})
        asked = self.asked(device, "tools/list")
        tools = [dict[str, object](name=name, inputSchema={}) for name in ("a", "b")]
        self.answer(device, asked["id"], result={"tools": tools})
        self.gateway.wait_for("MCP: .*: device has more than the 1 tools that are kept")
        path = f"/v1/devices/{device.identity.client_id}/tools"
        self.assertEqual(len(self.get(path).json["tools"]), 1)
        self.file.write_text(
            self.file.read_text().replace('"probe_silent": false', '"debug": true')
        )
        self.asked(device, "ping")

    @shows("METRICS_TOKEN", "trusted_proxies", "webhooks", "backend_check_seconds", "backend_ca")
    def test_others(self) -> None:
        """The API's tokens, whom it believes, who is told of events, and how servers are seen."""
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        self.change(backend_check_seconds=1)
        checked = self.after.accept().request
        assert checked is not None
        self.assertNotIn("device-id", checked.headers)
        token = {"Authorization": f"Bearer {NEW_TOKEN}"}
        self.assertEqual(request(self.port, "GET", "/metrics", None, token).status, 200)
        self.assertEqual(request(self.port, "GET", "/metrics", None, {}).status, 401)
        self.assertEqual(self.get("/v1/status", KEY).status, 401)
        request(self.port, "GET", "/v1/status", None, {**token, **forwarded})
        self.device(2)
        told = [self.hooks.heard.get(timeout=PATIENCE) for _ in range(3)]
        self.assertEqual([each["kind"] for each in told], ["refused", "refused", "connect"])
        self.assertEqual([each["address"] for each in told], [HOST, "203.0.113.9", HOST])
        self.assertTrue(told[0]["signed"])
        weights = {
            each["url"]: each["weight"] for each in self.get("/v1/backends").json["backends"]
        }
        self.assertEqual(weights, {self.after.url: 9, self.development.url: 1})
        shown = self.get("/v1/config").json["config"]
        self.assertIn("authority.pem", shown["backend_ca"]["path"])

    @shows(*LIMITS)
    def test_limits(self) -> None:
        """All of them count at once; who is there already stays."""
        self.change(**LIMITS)
        shown = self.get("/v1/status").json["limits"]
        for name, value in LIMITS.items():
            if name in shown:
                self.assertEqual(shown[name]["value"], value)
        devices = [self.device(number) for number in range(2, 6)]
        full = RawDevice((HOST, self.gateway.mqtt_port), 6)
        self.addCleanup(full.socket.close)
        full.send(full.identity.credentials(NEW_KEY))
        self.assertEqual(full.next(Connack).return_code, 3)
        for device in devices[:2]:
            self.say(device, HELLO)
            self.after.greet("one of two")
            device.told("hello")
        self.say(devices[2], HELLO)
        self.assertIn("max_sessions", devices[2].told("error")["message"])
        token = credentials.daily_token(NEW_KEY, today())
        request(self.port, "POST", "/v1/drain", None, {"Authorization": f"Bearer {token}"})
        self.gateway.wait_for("5 devices are to go, 2 sessions may last 1 s yet")
        self.gateway.wait_for("drained: nobody is left")


class SettingsTests(SynchronousTestCase):
    """The tests above."""

    def test_all(self) -> None:
        """There is no setting that none of them shows, but the one that names the file."""
        names = {each.key or each.variables[0] for each in settings.ALL}
        self.assertEqual(names - set(SHOWN), {"XZGW_CONFIG"})
        self.assertEqual(set(SHOWN) - names, set())
