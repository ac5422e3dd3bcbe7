"""Traces of a simulated device, asked for at the API of a real gateway."""

from __future__ import annotations

from tests.api_support import HOST, Console, Device
from tests.support import SECRET
from tests.trace_support import SPOKEN, TraceTestCase
from xzgw.tools.steps import StepError


class TraceTests(TraceTestCase):
    """Each test has a gateway of its own."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.start()
        self.console = Console(self.port)

    def secrets(self, device: Device) -> list[bytes]:
        """What must not be in a trace: the device's own, the servers' secret, and their tokens."""
        return [secret.encode() for secret in (*device.secrets(), SECRET, "Bearer")]

    async def test_whole_session(self) -> None:
        """From the CONNECT to the end, in order; no key in it, and nothing that was said."""
        device = self.unconnected(1)
        await self.trace(device)
        await device.connect(HOST, self.gateway.mqtt_port)
        heard = await self.talk(device)
        lines = await self.lines(device)
        self.assertEqual((lines[0]["kind"], lines[0]["state"]), ("trace", "running"))
        times = [line["time"] for line in lines]
        self.assertEqual(times, sorted(times))
        packets = [line["packet"] for line in lines if line["kind"] == "mqtt"]
        self.assertEqual(packets[:2], ["connect", "connack"])
        self.assertEqual(packets[-2:], ["pingreq", "pingresp"])
        said = [(line["way"], line.get("message", {}).get("type")) for line in lines]
        for expected in (
            ("from_device", "hello"),
            ("to_server", "hello"),
            ("from_server", "hello"),
            ("to_device", "hello"),
            ("from_device", "listen"),
            ("to_server", "listen"),
            ("to_device", "tts"),
            ("from_device", "goodbye"),
        ):
            self.assertIn(expected, said)
        states = [line["state"] for line in lines if line["kind"] == "session"]
        self.assertEqual((states[0], states[-1]), ("dialing", "idle"))
        up, down = (
            [line for line in lines if (line["kind"], line["way"]) == ("datagram", way)]
            for way in ("from_device", "to_device")
        )
        self.assertEqual([line["outcome"] for line in up], ["accepted"] * len(SPOKEN))
        self.assertEqual([line["length"] for line in up], [len(opus) for opus in SPOKEN])
        self.assertEqual([line["length"] for line in down], [len(opus) for opus in heard])
        self.assertEqual(len([line for line in lines if line["kind"] == "server_audio"]), len(down))
        for query in ("", "?format=pcap"):
            data = await self.read(device, query)
            for secret in (*self.secrets(device), *(opus[2:12] for opus in (*SPOKEN, *heard))):
                self.assertNotIn(secret, data)
                self.assertNotIn(secret.hex().encode(), data)

    async def test_reconnect(self) -> None:
        """A device that comes back goes on being recorded."""
        device = await self.device(1)
        await self.trace(device, audio=True)
        await device.vanish()
        await device.connect(HOST, self.gateway.mqtt_port)
        await self.talk(device)
        lines = await self.lines(device)
        events = [line["event"] for line in lines if line["kind"] == "event"]
        self.assertEqual(events, ["disconnect", "connect", "session_start", "session_end"])
        with_audio = [line for line in lines if "opus" in line]
        self.assertEqual(len(with_audio), 2 * len(SPOKEN))
        data = await self.read(device)
        for secret in self.secrets(device):
            self.assertNotIn(secret, data)

    async def test_refused(self) -> None:
        """Of a device that is not let in, what it showed but for its password, and why not."""
        device = Device(1, key="another Key1")
        self.devices.append(device)
        await self.trace(device)
        with self.assertRaises(StepError):
            await device.connect(HOST, self.gateway.mqtt_port)
        _, connect, event = await self.lines(device)
        self.assertEqual((connect["packet"], connect["password"]), ("connect", "***"))
        self.assertEqual(event["event"], "refused")
        self.assertIn("wrong password", event["data"]["reason"])

    async def test_forgotten(self) -> None:
        """After DELETE there is none, and the device talks on."""
        device = await self.device(1)
        await self.trace(device)
        answer = await self.console.ask("DELETE", self.path(device))
        self.assertEqual(answer.status, 204)
        answer = await self.console.ask("GET", self.path(device))
        self.assertEqual(answer.status, 404)
        self.assertEqual(len(await self.talk(device)), len(SPOKEN))
