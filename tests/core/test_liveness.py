"""Devices that are gone without a word are found within a minute, and no others."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, CREDENTIALS, FakeDeviceLink, Surroundings, Voice, warnings
from xzgw.config import Config
from xzgw.core.device import Device
from xzgw.core.gateway import Gateway
from xzgw.core.liveness import ANSWER_TIME, LOOK_EVERY, PROBE_AFTER, Liveness
from xzgw.wire import messages
from xzgw.wire.packets import Connect

HELLO = b'{"type":"hello","version":3,"audio_params":{"frame_duration":60}}'
OPUS = bytes([0x58]) + bytes(40)  # 60 ms
GONE = "silent for 44 s, and no answer to an MCP ping in 15 s"
NOT_IMPLEMENTED: dict[str, object] = {"error": {"message": "Method not implemented: ping"}}


class FakeDevice:
    """A connected device that answers when it is told to."""

    def __init__(self, test: LivenessTests, number: int) -> None:
        vector = CREDENTIALS[number]
        password = vector["password"].encode()
        connect = Connect(vector["client_id"], vector["username"], password, 240, True, 4, None)
        self.link = FakeDeviceLink()
        self.device: Device = test.gateway.admit(connect, self.link, "1.2.3.4", "192.0.2.1")
        self._clock = test.around.clock
        self._asked: dict[str, list[int]] = {}  # ids of requests by method

    def sends(self, payload: bytes | None = None) -> None:
        """Any MQTT packet, with a message in it or without."""
        self.device.seen_at = self._clock.seconds()
        if payload is not None:
            self.device.received(payload)

    def pings(self) -> int:
        """How many it got since the last time."""
        before = len(self._asked.get("ping", ()))
        self._read()
        return len(self._asked.get("ping", ())) - before

    def answers(self, method: str, **reply: object) -> None:
        """Answer the oldest such request."""
        self._read()
        number = self._asked[method].pop(0)
        body = reply or {"result": {}}
        self.sends(messages.mcp({"jsonrpc": "2.0", "id": number, **body}))

    def _read(self) -> None:
        for text in self.link.take():
            payload = messages.parse(text).get("payload", {})
            if "id" in payload:
                self._asked.setdefault(payload["method"], []).append(payload["id"])


class LivenessTests(SynchronousTestCase):
    """The clock goes in steps of LOOK_EVERY, with a look after each."""

    def setUp(self) -> None:
        self.use(CONFIG)

    def tearDown(self) -> None:
        for device in list(self.gateway.devices.values()):
            self.gateway.leave(device, "lost")
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def use(self, config: Config) -> None:
        """Start over with this configuration."""
        self.around = Surroundings(config)
        self.gateway = Gateway(self.around.services)
        self.liveness = Liveness(self.gateway, self.around.clock)

    def connect(self, number: int = 0) -> FakeDevice:
        """A device that has not answered anything yet."""
        device = FakeDevice(self, number)
        device.device.start()
        return device

    def willing(self, number: int = 0) -> FakeDevice:
        """A device that is known to answer pings, and was heard just now."""
        device = self.connect(number)
        device.answers("initialize")
        self.liveness.look()
        device.answers("ping", **NOT_IMPLEMENTED)
        return device

    def unwilling(self) -> FakeDevice:
        """A device that answers MCP, but has let its first ping pass."""
        device = self.connect()
        device.answers("initialize")
        self.liveness.look()
        self.assertEqual(device.pings(), 1)
        return device

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_EVERY)):
            self.around.clock.advance(LOOK_EVERY)
            self.liveness.look()

    def speak(self, device: FakeDevice, sequence: int) -> None:
        """One packet of audio arrives, and is believed."""
        assert device.device.voice is not None
        channel = device.device.voice.channel
        datagram = self.cipher.seal(sequence, 0, OPUS)
        channel.receive(datagram, ("1.2.3.4", 40000))
        self.assertEqual(channel.stats.forwarded, sequence)

    def open_session(self, device: FakeDevice) -> None:
        device.sends(HELLO)
        server = self.around.dialer.dials[-1]
        server.open()
        server.answers("s-1")
        reply = next(t for t in device.link.published if b'"udp"' in t)
        self.cipher = Voice(reply).cipher

    def test_dead(self) -> None:
        """Within a minute, a device that says nothing any more is not connected any more."""
        device = self.willing()
        self.passes(PROBE_AFTER - 1)
        self.assertEqual(device.pings(), 0)
        self.passes(1)
        self.assertEqual(device.pings(), 1)
        self.passes(ANSWER_TIME - 1)
        self.assertEqual(device.link.closed, [])
        self.passes(1)
        self.assertEqual(device.link.closed, [GONE])
        self.assertEqual(self.gateway.devices, {})
        self.assertLessEqual(PROBE_AFTER + LOOK_EVERY + ANSWER_TIME, 60)

    def test_tcp_answers(self) -> None:
        """While a device's TCP answers, it is asked only when it should have said something."""
        device = self.willing()
        device.link.quiet = 30.0
        self.passes(240)
        self.assertEqual(device.pings(), 0)
        self.passes(1)
        self.assertEqual(device.pings(), 1)
        self.passes(ANSWER_TIME)
        self.assertEqual(len(device.link.closed), 1)

    def test_tcp_falls_silent(self) -> None:
        """One whose TCP does not answer either is asked at once."""
        device = self.willing()
        device.link.quiet = PROBE_AFTER - 1
        self.passes(100)
        self.assertEqual(device.pings(), 0)
        device.link.quiet = PROBE_AFTER
        self.passes(1)
        self.assertEqual(device.pings(), 1)

    def test_alive(self) -> None:
        """One that answers, with an error or a result, stays, and is asked once a silence."""
        device = self.willing()
        replies: tuple[dict[str, object], ...] = (NOT_IMPLEMENTED, {"result": {}}, {"nonsense": 1})
        for reply in replies:
            self.passes(PROBE_AFTER + 1)
            self.assertEqual(device.pings(), 1)
            device.answers("ping", **reply)
        self.assertEqual(device.link.closed, [])

    def test_any_packet(self) -> None:
        """While a ping is open any packet is a sign of life; others than its answer, too."""
        device = self.willing()
        self.passes(PROBE_AFTER + 5)
        device.sends()
        self.passes(ANSWER_TIME + 10)
        self.assertEqual((device.pings(), device.link.closed), (1, []))

    def test_not_silent(self) -> None:
        """Nobody asks a device that says something by itself."""
        device = self.willing()
        for _ in range(10):
            self.passes(PROBE_AFTER - 1)
            device.sends()
        self.assertEqual((device.pings(), device.link.closed), (0, []))

    def test_audio(self) -> None:
        """Audio is a sign of life as well; then it is as if the device was seen."""
        device = self.willing()
        self.open_session(device)
        self.speak(device, 1)
        self.passes(PROBE_AFTER)
        self.speak(device, 2)
        self.passes(ANSWER_TIME + PROBE_AFTER - 1)
        self.assertEqual((device.pings(), device.link.closed), (1, []))
        self.passes(1 + ANSWER_TIME)
        self.assertEqual((device.pings(), device.link.closed), (1, [GONE]))

    def test_session_ends(self) -> None:
        """The end of a session, which the server may cause, is no sign of life of the device."""
        device = self.willing()
        self.open_session(device)
        self.speak(device, 1)
        self.passes(PROBE_AFTER)
        self.around.dialer.dials[-1].lose("server gone")
        self.passes(ANSWER_TIME)
        self.assertEqual(device.link.closed, [GONE])

    def test_without_mcp(self) -> None:
        """A device that has never answered anything of MCP is not asked."""
        device = self.connect()
        self.passes(300)
        self.assertEqual((device.pings(), device.link.closed), (0, []))

    def test_without_ping(self) -> None:
        """One that answers MCP but no ping is asked once, while it is there, and let be."""
        device = self.unwilling()
        self.passes(300)
        self.assertEqual((device.pings(), device.link.closed), (0, []))

    def test_never_answers(self) -> None:
        """However often it is heard and silent again, it is asked once a silence and stays."""
        device = self.unwilling()
        self.passes(1)
        for _ in range(5):
            device.sends()
            self.passes(PROBE_AFTER - 1)
            self.assertEqual(device.pings(), 0)
            self.passes(240)
            self.assertEqual((device.pings(), device.link.closed), (1, []))

    def test_second_chance(self) -> None:
        """One that has missed the first ping, and answers a later one, is held to it from then."""
        device = self.unwilling()
        self.passes(100)
        device.sends()
        self.passes(PROBE_AFTER)
        self.assertEqual(device.pings(), 1)
        device.answers("ping")  # the first one, which was given up: a sign of life, no more
        device.answers("ping", **NOT_IMPLEMENTED)
        self.passes(PROBE_AFTER + ANSWER_TIME)
        self.assertEqual((device.pings(), device.link.closed), (1, [GONE]))

    def test_dialing(self) -> None:
        """A device that waits for the answer to its hello cannot answer and is not asked."""
        device = self.willing()
        device.device.received(HELLO)
        device.device.seen_at -= PROBE_AFTER
        self.liveness.look()
        self.assertEqual(device.pings(), 0)
        self.around.dialer.dials[-1].open()
        self.around.dialer.dials[-1].answers("s-1")
        self.liveness.look()
        self.assertEqual(device.pings(), 1)

    def test_gone_meanwhile(self) -> None:
        """A device that leaves while it is asked is not disconnected once more."""
        device = self.willing()
        self.passes(PROBE_AFTER)
        self.gateway.leave(device.device, "lost")
        self.passes(ANSWER_TIME)
        self.assertEqual((device.pings(), device.link.closed), (1, []))

    def test_told(self) -> None:
        """Whoever is given up is told of, with cause and remedy."""
        self.willing(0)
        with capturedLogs() as logs:
            self.passes(PROBE_AFTER + ANSWER_TIME)
        [line] = [line for line in warnings(logs) if "(mqtt_gone)" in line]
        self.assertIn("nothing from this device for 59 s", line)
        events = [event.data for event in self.around.events.since(0) if event.kind == "diagnosis"]
        self.assertEqual([event["cause"] for event in events], ["mqtt_gone"])

    def test_others(self) -> None:
        """Each device has its own silence."""
        dead, well = self.willing(0), self.willing(1)
        self.passes(PROBE_AFTER - 1)
        well.sends()
        self.passes(1 + ANSWER_TIME)
        self.assertEqual((dead.link.closed, well.link.closed), ([GONE], []))
        self.assertEqual(list(self.gateway.devices.values()), [well.device])

    def test_switched_off(self) -> None:
        """Without probe_silent nobody is asked; it can be changed at any time."""
        self.use(replace(CONFIG, probe_silent=False))
        device = self.connect()
        device.answers("initialize")
        self.passes(100)
        self.assertEqual(device.pings(), 0)
        self.gateway.configure(CONFIG)
        self.passes(1)
        self.assertEqual(device.pings(), 1)
