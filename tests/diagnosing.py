"""Faults that are really there, and the places where a gateway process tells of them.

It takes 4 s at least until a fault is told, and some take a minute: so all of them are caused at
once, each with a device of its own, and looked at afterwards.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from tests.api_support import HOST, request, today, token
from tests.raw_device import RawDevice, RawVoice
from tests.stream_device import HELLO
from tests.support import KEY, PATIENCE, SECRET, ChatServer, GatewayProcess
from xzgw.core.findings import Cause

PROXIED_HOST = "127.0.0.2"  # where devices come through a proxy
DOORS = f"tcp:0:interface={HOST} haproxy:tcp:0:interface={PROXIED_HOST}"  # for XZGW_MQTT
LOOK_EVERY = 0.2  # s
SOON, LATER = 3 * PATIENCE, 20 * PATIENCE  # s that a fault may take to be told


class Afflicted:
    """One device, to which something happens."""

    device: RawDevice

    def __init__(self, test: DiagnosisTestCase, number: int) -> None:
        """The number makes the device's MAC and its own address.

        Behind one address, what comes from one device might be taken for another's.
        """
        self.number = number
        self.address = f"127.0.1.{number}"
        self.chat, self.gateway, self.statuses = test.chat, test.gateway, test.statuses
        self.ask = test.ask
        self._clean_up = test.addCleanup

    def connect(self, through: str = "") -> RawDevice:
        """Connect; through a proxy, which says that the device comes from that address."""
        if through:
            port = int(self.gateway.wait_for(rf"MQTT at {PROXIED_HOST}:(\d+)")[1])
            self.device = RawDevice((PROXIED_HOST, port), self.number)
            self.device.socket.sendall(f"PROXY TCP4 {through} {HOST} 1 1883\r\n".encode())
        else:
            address = HOST, self.gateway.mqtt_port
            self.device = RawDevice(address, self.number, self.address)
        self._clean_up(self.device.socket.close)
        self.device.socket.settimeout(SOON)
        assert self.device.log_in() == 0
        return self.device

    def greet(self, through: str = "") -> tuple[ServerConnection, dict[str, Any]]:
        """Connect and open a session; the server's end of it, and `udp` of the device's."""
        self.connect(through).say(HELLO)
        theirs = self.chat.greet(f"s-{self.number}")
        udp: dict[str, Any] = self.device.told("hello")["udp"]
        return theirs, udp

    def listen(self, state: str) -> None:
        self.device.say({"type": "listen", "state": state, "session_id": f"s-{self.number}"})

    def voice(self, udp: dict[str, Any]) -> RawVoice:
        """The device's audio, as somebody sends it who was told this."""
        voice = RawVoice(udp, self.address)
        self._clean_up(voice.socket.close)
        return voice

    @property
    def client_id(self) -> str:
        return self.device.identity.client_id

    def diagnosis(self) -> Any:
        """From the API."""
        return self.ask("GET", f"/v1/devices/{quote(self.client_id)}")["diagnosis"]


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be told of a fault.

    Attributes:
        check: the item of the checklist that fails; empty if no session is left to have one.
        words: that the sentence has.
        alert: whether the device shows it, if any does.
        within: s.
    """

    cause: Cause
    check: str
    words: tuple[str, ...]
    alert: bool = True
    within: float = SOON


@dataclass(frozen=True, slots=True)
class Fault:
    """How to cause one, and what is to be told of it."""

    befall: Callable[[Afflicted], None]
    told: Told


def fault(
    cause: Cause, check: str, *words: str, **more: Any
) -> Callable[[Callable[[Afflicted], None]], Fault]:
    """Make a fault of a function; takes what Told has."""
    return lambda befall: Fault(befall, Told(cause, check, words, **more))


def faults_in(*modules: object) -> list[Fault]:
    """All that modules have."""
    return [each for module in modules for each in vars(module).values() if isinstance(each, Fault)]


class DiagnosisTestCase(SynchronousTestCase):
    """One gateway process and one chat server.

    Attributes:
        statuses: what the chat server answers handshakes with, by MAC; otherwise well.
    """

    chat: ChatServer
    gateway: GatewayProcess

    def setUp(self) -> None:
        self.statuses: dict[str, int] = {}
        self.chat = ChatServer(process_request=self._shake_hands)
        self.addCleanup(self.chat.close)

    def start(self, gateway: GatewayProcess) -> None:
        """Use a gateway, which must stop well in the end."""
        self.gateway = gateway
        self.addCleanup(gateway.kill)
        self.addCleanup(self._stops)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to the admin API; the JSON of its answer, if it has any."""
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        answer = request(port, method, path, body, {"Authorization": f"Bearer {token(today())}"})
        self.assertIn(answer.status, (200, 202, 204), answer.body)
        return answer.json if answer.body else None

    def suffer(self, faults: Collection[Fault], alerts: bool) -> None:
        """Cause all of them, and see each one told.

        Args:
            alerts: whether devices show what is wrong.
        """
        begun = [(each, Afflicted(self, n)) for n, each in enumerate(faults, 1)]
        wrong = [_tried(each, partial(each.befall, one)) for each, one in begun]
        wrong += [_tried(each, partial(self.look, one, each.told, alerts)) for each, one in begun]
        if any(wrong):
            self.fail("\n".join(filter(None, wrong)))

    def look(self, one: Afflicted, told: Told, alerts: bool = False) -> None:
        """It is told in the API, in the log once, and on the device."""
        found = self._found(one, told)
        failed = {
            each["name"]: each["text"] for each in found["checks"] if each["state"] == "failed"
        }
        self.assertEqual(failed, {told.check: found["sentence"]} if told.check else {})
        end = f"({told.cause})"
        self.gateway.wait_for(f"{one.client_id}: .*{re.escape(end)}$", told.within)
        [line] = [
            each for each in self.gateway.lines if one.client_id in each and each.endswith(end)
        ]
        for words in told.words:
            self.assertIn(words, found["sentence"])
            self.assertIn(words, line)
        if alerts and told.alert:
            self.assertIn(f"{one.device.told('alert')['message']} {end}", line)

    def _found(self, one: Afflicted, told: Told) -> Any:
        """The device's diagnosis, once it has this cause."""
        end = time.monotonic() + told.within
        while (found := one.diagnosis())["cause"] != told.cause:
            self.assertLess(time.monotonic(), end, found)
            time.sleep(LOOK_EVERY)
        return found

    def _shake_hands(self, connection: ServerConnection, request: Request) -> Response | None:
        status = self.statuses.get(request.headers["device-id"])
        return None if status is None else connection.respond(status, "")

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for text in ("Traceback", "Unhandled", KEY, SECRET):
            self.assertNotIn(text, self.gateway.log)


def _tried(found: Fault, act: Callable[[], None]) -> str:
    """What went wrong with one; the others go on."""
    try:
        act()
    except Exception:
        return f"{found.befall.__name__}: {traceback.format_exc()}"
    return ""
