"""What is wrong because of the gateway's own settings, said by a whole gateway."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.diagnosing import DOORS, LOOK_EVERY, SOON, Afflicted, DiagnosisTestCase, Told
from tests.stream_device import HELLO
from tests.support import PATIENCE, SPEECH, GatewayProcess
from xzgw.core.findings import Cause
from xzgw.core.start_checks import RECEIVE_BUFFER


def wrong_address(*words: str) -> Told:
    return Told(Cause.WRONG_ADDRESS, "uplink", (*words, "no UDP from this device", "set PUBLIC_IP"))


# Where devices are told to send audio, and where one comes from, if through a proxy.
ADDRESSES = (
    ("127.0.0.2", "", wrong_address("127.0.0.2, which is the loopback address")),
    ("172.17.0.2", "", wrong_address("172.17.0.2, which is in Docker's own network")),
    ("10.0.0.5", "8.8.8.8", wrong_address("10.0.0.5, which is a private", "comes from 8.8.8.8")),
)
FULL = Told(Cause.NO_ROOM, "hello", ("max_sessions (1) is reached", "raise the limit"))
DRAINED = Told(Cause.NO_SERVER, "server", ("no chat server that takes sessions", "resume one"))
HEADLESS = Told(
    Cause.SERVER_NO_AUDIO,
    "downlink",
    ("6 binary messages", "its address in chat_servers has to end with ?from=mqtt_gateway"),
)


TOLD = (FULL, DRAINED, HEADLESS, *(told for _, _, told in ADDRESSES))


class SettingsTests(DiagnosisTestCase):
    """A gateway with a JSON file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).resolve()

    def write(self, **settings: Any) -> None:
        """The file has these, and a chat server unless they say another."""
        servers = {"production": {"chat_servers": [self.chat.url]}}
        self.path.write_text(json.dumps({**servers, **settings}), "utf-8")

    def begin(self, **settings: Any) -> None:
        """Start the gateway with these."""
        self.write(**settings)
        flags = "--config", str(self.path)
        self.start(GatewayProcess(Path(self.mktemp()), {"XZGW_MQTT": DOORS}, flags=flags))
        self.gateway.wait_for("admin API at")

    def warnings(self, words: Collection[str]) -> list[str]:
        """Those in the API, each of which the log has, too; these words are in one each."""
        warnings: list[str] = self.ask("GET", "/v1/config")["warnings"]
        for each in warnings:
            self.assertIn(each, self.gateway.log)
        for each in words:
            self.assertEqual(len([line for line in warnings if each in line]), 1, warnings)
        return warnings

    def test_wrong_addresses(self) -> None:
        """Devices are told addresses that lead nowhere."""
        self.begin()
        begun = []
        for number, (address, through, told) in enumerate(ADDRESSES, 1):
            self.write(public_ip=address)
            self.reload(address)
            one = Afflicted(self, number)
            _, udp = one.greet(through)
            self.assertEqual(udp["server"], address)
            begun.append((one, told))
        for one, told in begun:
            self.look(one, told)

    def reload(self, address: str) -> None:
        """Let the file be read again, in which PUBLIC_IP is this."""
        end = time.monotonic() + SOON
        self.gateway.send(signal.SIGHUP)
        while self.ask("GET", "/v1/config")["config"]["public_ip"] != address:
            self.assertLess(time.monotonic(), end)
            time.sleep(LOOK_EVERY)

    def test_full(self) -> None:
        """There is no room for a session; then there is room, but no server that takes one."""
        self.begin(max_sessions=1)
        first, second, third = (Afflicted(self, number) for number in (1, 2, 3))
        first.greet()
        second.connect().say(HELLO)
        self.look(second, FULL)
        self.ask("DELETE", f"/v1/devices/{quote(first.client_id)}/session")
        self.ask("POST", "/v1/backends/drain", {"url": self.chat.url})
        third.connect().say(HELLO)
        self.look(third, DRAINED)
        [trouble] = self.ask("GET", "/v1/status")["troubles"]
        self.assertEqual(trouble.partition(": ")[2], f"{self.chat.url}: draining")

    def test_no_suffix(self) -> None:
        """The server does not learn that it talks to a gateway; that was warned of at the start."""
        url = self.chat.url.replace("?from=mqtt_gateway", "")
        self.begin(production={"chat_servers": [url]})
        self.warnings(["does not end with ?from=mqtt_gateway"])
        one = Afflicted(self, 1)
        theirs, udp = one.greet()
        one.voice(udp).speak(SPEECH[0])
        theirs.recv(PATIENCE)
        for packet in SPEECH[:6]:
            theirs.send(packet)
        self.look(one, HEADLESS)

    def test_warnings(self) -> None:
        """What is unwise before any device comes; of the kernel's buffer only if it is small."""
        self.begin(public_ip="172.17.0.2")
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            granted = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        small = [f"a receive buffer of {granted // 1024} KiB"] if granted < RECEIVE_BUFFER else []
        found = self.warnings(["'172.17.0.2' is in Docker's own network", *small])
        self.assertEqual(["receive buffer" in line for line in found].count(True), len(small))

    def test_weak_key(self) -> None:
        """It keeps the admin API shut."""
        settings = {"CHAT_SERVERS": self.chat.url, "MQTT_SIGNATURE_KEY": "Weak1"}
        self.start(GatewayProcess(Path(self.mktemp()), settings))
        why = "the key has less than 8 characters"
        self.gateway.wait_for(f"configuration: .*MQTT_SIGNATURE_KEY: {why}; the admin API will not")
        self.gateway.wait_for(f"the admin API is not started: {why}")
        self.gateway.wait_for("MQTT at ")

    def test_placeholder(self) -> None:
        """The gateway does not start with a chat server's address that is yet to be filled in."""
        settings = {"CHAT_SERVERS": "ws://<ip>:8000/xiaozhi/v1/?from=mqtt_gateway"}
        gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(gateway.kill)
        self.assertEqual(gateway.ended(), 1, gateway.log)
        self.assertIn("CHAT_SERVERS[0]: found 'ws://<ip>:8000", gateway.log)
