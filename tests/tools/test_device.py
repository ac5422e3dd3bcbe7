"""The simulated device against a gateway of a few lines, over the loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.tools.fake_gateway import FakeGateway
from xzgw.tools.device import Identity, SimulatedDevice, report
from xzgw.tools.steps import StepError
from xzgw.wire.credentials import parse_client_id, verify_password
from xzgw.wire.packets import Disconnect, Pingreq

SIGNATURE_KEY = "Kq7pLmZwRt"


class DeviceTestCase(TestCase):
    """One fake gateway, one device."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.gateway = FakeGateway(reactor)
        await self.gateway.start()
        self.said: list[str] = []
        identity = Identity(mac="a0:85:e3:f4:49:34", uuid="u-1", group="GID_x")
        self.device = SimulatedDevice(reactor, identity, SIGNATURE_KEY, say=self.said.append)

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.device.disconnect()
        await self.gateway.stop()

    async def connect(self) -> None:
        await self.device.connect("127.0.0.1", self.gateway.port)

    async def open(self) -> None:
        await self.connect()
        await self.device.hello()

    async def fault(self, step: Awaitable[Any]) -> str:
        """The sentence with which a step fails."""
        try:
            await step
        except StepError as e:
            return str(e)
        raise self.failureException("the step did not fail")

    async def texts(self, count: int) -> list[Any]:
        """All that the gateway got, once it is so much."""
        texts = self.gateway.texts
        await self.gateway.watch.until("texts", lambda: len(texts) >= count or None, 5)
        return texts


class ConnectionTests(DeviceTestCase):
    """CONNECT to DISCONNECT."""

    async def test_credentials(self) -> None:
        """CONNECT has the client id of MAC and uuid, and the password that belongs to it."""
        await self.connect()
        connect = self.gateway.connects[0]
        client = parse_client_id(connect.client_id)
        self.assertEqual(
            (client.group, client.mac, client.uuid), ("GID_x", "a0:85:e3:f4:49:34", "u-1")
        )
        assert connect.username is not None and connect.password is not None
        self.assertTrue(
            verify_password(SIGNATURE_KEY, connect.client_id, connect.username, connect.password)
        )
        self.assertEqual((connect.keep_alive, connect.level), (240, 4))

    async def test_ping_and_disconnect(self) -> None:
        """PINGREQ is answered; DISCONNECT is sent before the connection closes."""
        await self.connect()
        await self.device.ping()
        await self.device.disconnect()
        await self.gateway.watch.until("end", lambda: self.gateway.line is None or None, 5)
        self.assertEqual(self.gateway.packets, [Pingreq(), Disconnect()])

    async def test_refused(self) -> None:
        """A refusal names the step, the code and what it means."""
        self.gateway.return_code = 5
        fault = await self.fault(self.connect())
        self.assertTrue(fault.startswith("MQTT CONNECT: refused, code 5: not authorized"), fault)

    async def test_nobody_there(self) -> None:
        """A port that nobody listens on is named."""
        other = FakeGateway(reactor)
        await other.start()
        await other.stop()
        fault = await self.fault(self.device.connect("127.0.0.1", other.port))
        self.assertTrue(fault.startswith(f"TCP connect to 127.0.0.1 port {other.port}: "), fault)

    async def test_lost(self) -> None:
        """When the gateway hangs up, whoever waits is told, and nothing can be sent."""
        await self.open()
        wait = self.device.expect("stt")
        self.gateway.drop_device()
        fault = await self.fault(wait)
        self.assertTrue(fault.startswith("waiting for stt: the MQTT connection ended"), fault)
        error = self.assertRaises(StepError, self.device.send, {})
        self.assertEqual(str(error), "sending: there is no MQTT connection")
        self.assertIsNone(self.device.session)

    async def test_broken_mqtt(self) -> None:
        """A gateway that breaks MQTT is told of as such."""
        await self.connect()
        wait = self.device.expect("stt")
        self.gateway.write_raw(b"\x00\x00")
        self.assertIn("the gateway broke MQTT", await self.fault(wait))

    async def test_gone(self) -> None:
        """A device can wait for the gateway to hang up."""
        await self.connect()
        fault = await self.fault(self.device.gone(0.01))
        self.assertEqual(fault, "end of the MQTT connection: nothing within 0.01 s")
        self.gateway.drop_device()
        await self.device.gone()

    async def test_vanish_and_return(self) -> None:
        """A device that vanished may connect again."""
        await self.open()
        await self.device.vanish()
        await self.gateway.watch.until("end", lambda: self.gateway.line is None or None, 5)
        await self.open()
        self.assertEqual(len(self.gateway.connects), 2)

    async def test_return_at_once(self) -> None:
        """Whoever waits for the end may connect again right then."""
        await self.open()
        self.gateway.drop_device()
        await self.device.gone()
        await self.open()
        self.assertEqual(len(self.gateway.connects), 2)


class SessionTests(DeviceTestCase):
    """hello to goodbye."""

    async def test_hello(self) -> None:
        """hello says what firmware says, and what it is told to add."""
        await self.connect()
        session = await self.device.hello(text_font="x")
        hello = self.gateway.texts[0]
        self.assertEqual((hello["version"], hello["transport"]), (3, "udp"))
        self.assertEqual((hello["features"], hello["text_font"]), ({"mcp": True}, "x"))
        self.assertEqual((session.session_id, session.port), ("s-1", self.gateway.udp_port))

    async def test_bad_reply(self) -> None:
        """A reply that firmware could not use fails the step."""
        self.gateway.on_hello = lambda: self.gateway.push(self.gateway.hello_reply(port=0))
        await self.connect()
        fault = await self.fault(self.device.hello())
        self.assertEqual(fault, "hello: the reply's UDP port is 0")

    async def test_error_instead(self) -> None:
        """What the gateway gave as its reason is told when no reply follows."""

        def refuse() -> None:
            self.gateway.push({"type": "error", "message": "no server"})
            assert self.gateway.line is not None
            self.gateway.line.transport.loseConnection()

        self.gateway.on_hello = refuse
        await self.connect()
        fault = await self.fault(self.device.hello())
        self.assertTrue(fault.startswith("hello: waiting for hello: "), fault)
        self.assertTrue(fault.endswith("; the gateway says: no server"), fault)

    async def test_late_reply_is_not_taken(self) -> None:
        """A reply to an earlier hello does not open the session of the next."""
        await self.open()
        self.gateway.push(self.gateway.hello_reply("late"), {"type": "marker"})
        await self.device.expect("marker")
        session = await self.device.hello()
        self.assertEqual(session.session_id, "s-1")

    async def test_listen_and_goodbye(self) -> None:
        """Messages carry the session's id; goodbye closes the audio channel."""
        await self.open()
        self.device.listen("start", mode="manual")
        self.device.goodbye()
        self.device.goodbye()  # there is no session any more
        self.device.listen("stop")
        texts = await self.texts(4)
        self.assertEqual(
            texts[1:],
            [
                {"session_id": "s-1", "type": "listen", "state": "start", "mode": "manual"},
                {"session_id": "s-1", "type": "goodbye"},
                {"session_id": "", "type": "listen", "state": "stop"},
            ],
        )
        assert self.device.voice is not None
        self.assertFalse(self.device.voice.is_open)

    async def test_goodbye_from_gateway(self) -> None:
        """Only its own session's goodbye, or one without id, ends the session; it is answered."""
        await self.open()
        self.gateway.push({"type": "goodbye", "session_id": "other"})
        await self.device.expect("goodbye")
        self.assertIsNotNone(self.device.session)
        self.gateway.push({"type": "goodbye", "session_id": "s-1"})
        await self.device.expect("goodbye")
        self.assertIsNone(self.device.session)
        self.assertEqual((await self.texts(2))[1:], [{"session_id": "s-1", "type": "goodbye"}])
        await self.device.hello()
        self.gateway.push({"type": "goodbye"})
        await self.device.expect("goodbye")
        self.assertIsNone(self.device.session)

    async def test_expect(self) -> None:
        """Waits take the first message that fits, once, and keep what came as it came."""
        await self.open()
        texts = [b'{"type":"tts", "state":"start"}', b'{"type":"tts", "state":"stop"}']
        self.gateway.push(b"\xff not json", *texts)
        stop = await self.device.expect("tts", state="stop")
        self.assertEqual(stop["state"], "stop")
        self.assertEqual((await self.device.expect("tts"))["state"], "start")
        self.assertEqual(list(self.device.received)[-2:], texts)
        fault = await self.fault(self.device.expect("tts", 0.01, state="stop"))
        self.assertEqual(fault, "waiting for tts stop: nothing within 0.01 s")


class McpTests(DeviceTestCase):
    """MCP requests in their envelopes."""

    def request(self, number: int) -> dict[str, Any]:
        return {
            "type": "mcp",
            "payload": {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": {}},
        }

    async def test_before_hello(self) -> None:
        """Before any session a request is answered with an empty session id."""
        await self.connect()
        self.gateway.push(self.request(1))
        (reply,) = await self.texts(1)
        self.assertEqual((reply["type"], reply["session_id"]), ("mcp", ""))
        self.assertEqual(reply["payload"]["id"], 1)

    async def test_held_while_hello_waits(self) -> None:
        """A request that comes before the hello reply is answered after it, with the new id."""
        self.gateway.on_hello = lambda: self.gateway.push(
            self.request(1), self.gateway.hello_reply(), self.request(2)
        )
        await self.connect()
        session = await self.device.hello()
        _, *replies = await self.texts(3)
        self.assertEqual([r["session_id"] for r in replies], [session.session_id] * 2)
        self.assertEqual([r["payload"]["id"] for r in replies], [1, 2])

    async def test_notification(self) -> None:
        """What firmware ignores is not answered."""
        await self.connect()
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        odd = {"type": "mcp", "payload": 5}
        self.gateway.push({"type": "mcp", "payload": note}, odd, self.request(3))
        (reply,) = await self.texts(1)
        self.assertEqual(reply["payload"]["id"], 3)

    async def test_held_then_lost(self) -> None:
        """A connection that is lost while hello waits leaves nothing to answer."""

        def ask_and_leave() -> None:
            self.gateway.push(self.request(1))
            assert self.gateway.line is not None
            self.gateway.line.transport.loseConnection()

        self.gateway.on_hello = ask_and_leave
        await self.connect()
        fault = await self.fault(self.device.hello())
        self.assertIn("the MQTT connection ended", fault)
        self.assertEqual(len(self.gateway.texts), 1)


@implementer(IHostResolution)
class Nothing:
    """The resolution of a name that has no address."""

    name = "nothing"

    def cancel(self) -> None:
        """There is nothing to stop."""


@implementer(IHostnameResolver)
class Nameless:
    """A resolver that knows no names, and asks no network."""

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, *_args: Any, **_options: Any
    ) -> IHostResolution:
        resolutionReceiver.resolutionBegan(Nothing())
        resolutionReceiver.resolutionComplete()
        return Nothing()


class AudioTests(DeviceTestCase):
    """Datagrams over a real socket."""

    async def test_there_and_back(self) -> None:
        """What is spoken arrives, 60 ms apart, and what is sent back is heard."""
        await self.open()
        opus = [b"\x58one", b"\x58two", b"\x58three"]
        await self.device.speak(opus, [10, 20, 30])
        self.assertEqual(
            self.gateway.audio, [(n, 10 * n, packet) for n, packet in enumerate(opus, 1)]
        )
        voice = self.device.voice
        assert voice is not None
        self.assertGreater(voice.sent_at[2] - voice.sent_at[0], 0.06)
        for sequence, timestamp, packet in self.gateway.audio:
            self.gateway.send_audio(sequence, timestamp, packet)
        await self.device.hear(3, 5)
        self.assertEqual([heard.opus for heard in voice.heard], opus)
        self.assertEqual([heard.timestamp for heard in voice.heard], [10, 20, 30])

    async def test_timestamps_default(self) -> None:
        """Without echo cancellation timestamps are 0."""
        await self.open()
        await self.device.speak([b"\x58one"])
        self.assertEqual(self.gateway.audio, [(1, 0, b"\x58one")])

    async def test_not_enough(self) -> None:
        """Waiting for audio that does not come names how much was wanted."""
        error = self.assertRaises(StepError, self.device.hear, 1, 1.0)
        self.assertEqual(str(error), "audio: no session was opened")
        await self.open()
        fault = await self.fault(self.device.hear(2, 0.01))
        self.assertEqual(fault, "hearing 2 audio packets: nothing within 0.01 s")

    async def test_speaking_ends_with_the_session(self) -> None:
        """Speech that outlives its session fails, and does not go on in the next."""
        await self.open()
        speech = self.device.speak([b"\x58one"] * 20)
        await self.gateway.watch.until("audio", lambda: self.gateway.audio or None, 5)
        await self.device.hello()
        self.assertEqual(await self.fault(speech), "speaking: the session is over")
        self.assertLess(len(self.gateway.audio), 10)

    async def test_empty_datagram(self) -> None:
        """A datagram of zero length ends the device's socket, as it does on real devices."""
        await self.open()
        await self.device.speak([b"\x58one"])
        self.gateway.send_datagram(b"")
        voice = self.device.voice
        assert voice is not None
        watch = self.device.hear(1, 0.5)
        self.assertIn("nothing within", await self.fault(watch))
        self.assertFalse(voice.is_open)

    async def test_unknown_host(self) -> None:
        """A UDP server that is no address and has no name is named."""
        await self.connect()
        self.addCleanup(
            reactor.installNameResolver,  # type: ignore[attr-defined]
            reactor.installNameResolver(Nameless()),  # type: ignore[attr-defined]
        )
        reply = self.gateway.hello_reply(server="gateway.example")
        self.gateway.on_hello = lambda: self.gateway.push(reply)
        fault = await self.fault(self.device.hello())
        self.assertTrue(fault.startswith("hello: the reply's UDP server 'gateway.e"), fault)

    async def test_ipv6(self) -> None:
        """An IPv6 address is spoken to as it is."""
        reply = self.gateway.hello_reply(server="::1")
        self.gateway.on_hello = lambda: self.gateway.push(reply)
        await self.open()
        voice = self.device.voice
        assert voice is not None and voice.transport is not None
        self.assertEqual(voice.transport.getHost().host, "::1")


class CommandTests(DeviceTestCase):
    """`python -m xzgw.tools.device`."""

    async def command(self, *arguments: str, **environ: str) -> tuple[str, str, int]:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "xzgw.tools.device", *arguments], environ
        )
        return out.decode(), err.decode(), status

    def echo(self) -> None:
        """Behave as a gateway with an echo server behind it."""
        gateway = self.gateway
        heard = gateway.on_datagram

        def on_datagram(datagram: bytes, address: Any) -> None:
            heard(datagram, address)
            gateway.send_audio(*gateway.audio[-1])
            if len(gateway.audio) == 2:
                gateway.push({"type": "tts", "state": "stop"})

        gateway.on_datagram = on_datagram  # type: ignore[method-assign]

    async def test_passed(self) -> None:
        """A whole conversation: each step is shown, the figures are told, the status is 0."""
        self.echo()
        out, err, status = await self.command(
            "--port", str(self.gateway.port), "--frames", "2", MQTT_SIGNATURE_KEY=SIGNATURE_KEY
        )
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("sent 2 packets, heard 2, lost 0", out)
        self.assertTrue(out.endswith("PASSED\n"), out)
        steps = [
            "CONNECT",
            "CONNACK",
            "PINGRESP",
            "-> hello",
            "<- hello",
            "listen start",
            "listen stop",
            "goodbye",
            "-> DISCONNECT",
        ]
        places = [out.index(step) for step in steps]
        self.assertTrue(all(a < b for a, b in pairwise(places)), out)
        self.assertNotIn(SIGNATURE_KEY, out)

    async def test_failed(self) -> None:
        """A step that fails is named on the last line, and the status is not 0."""
        out, err, status = await self.command(
            *("--port", str(self.gateway.port), "--frames", "1", "--seconds", "0.1"),
            MQTT_SIGNATURE_KEY=SIGNATURE_KEY,
        )
        self.assertEqual(status, 1)
        self.assertEqual(err, "FAILED: hearing 1 audio packets: nothing within 0.1 s\n")
        self.assertIn("sent 1 packets, heard 0, lost 0", out)

    async def test_no_key(self) -> None:
        """Without a signature key the usage says how to give one."""
        _, err, status = await self.command(MQTT_SIGNATURE_KEY="")
        self.assertEqual(status, 2)
        self.assertIn("set MQTT_SIGNATURE_KEY or give --key", err)

    async def test_report(self) -> None:
        """The report tells of drops and refusals, and is empty without a session."""
        self.assertEqual(report(None), [])
        await self.open()
        voice = self.device.voice
        assert voice is not None
        for datagram in (b"x", voice.seal(3, 0, b"a"), voice.seal(2, 0, b"b")):
            voice.datagramReceived(datagram, None)
        voice.connectionRefused()
        self.assertEqual(
            report(voice),
            [
                "sent 0 packets, heard 1, lost 2",
                "dropped 1 datagrams for their length",
                "dropped 1 datagrams for their sequence",
                "the network refused our datagrams 1 times",
            ],
        )
