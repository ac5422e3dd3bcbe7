"""Each way in which a gateway can fail a device, and at which step the doctor stops."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase

from tests.support import SPEECH
from tests.tools.fake_gateway import FakeGateway
from xzgw.tools.doctor.network import connect, in_thread
from xzgw.tools.doctor.visit import Plan, visit
from xzgw.tools.identity import Identity
from xzgw.wire.packets import Connect, Packet, Pingreq, Publish

PLAN = Plan(
    host="127.0.0.1",
    port=0,
    credentials=Identity().credentials("Kq7pLmZwRt"),
    by_key=True,
    timeout=0.3,
    packets=SPEECH[:2],
)
ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
AUDIO = {"format": "opus", "sample_rate": 24000, "channels": 1, "frame_duration": 60}


def closed_port(kind: int) -> int:
    """A port that nobody listens at now."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway(FakeGateway):
    """Does something at each kind of message, if it is told to."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.does: dict[str, Callable[[], object]] = {}
        self.asks = [ASK]  # MCP, at CONNECT

    def on_packet(self, line: Any, packet: Packet) -> None:
        super().on_packet(line, packet)
        if isinstance(packet, Connect):
            self.push(*({"type": "mcp", "payload": ask} for ask in self.asks))
        elif isinstance(packet, Publish):
            kind = self.texts[-1]["type"]
            if kind == "listen":
                kind = self.texts[-1]["state"]
            self.does.get(kind, lambda: None)()

    def hello_reply(self, session_id: str = "s-1", **udp: Any) -> dict[str, Any]:
        return {**super().hello_reply(session_id, **udp), "audio_params": AUDIO}

    def tell(self, *states: str) -> None:
        """The chat server's tts messages."""
        self.push(*({"type": "tts", "state": state, "session_id": "s-1"} for state in states))

    def speak(self) -> None:
        for sequence in range(1, 6):
            self.send_audio(sequence, 0, SPEECH[0])


class VisitTestCase(TestCase):
    """The report's lines are in `lines`."""

    timeout = 20

    def setUp(self) -> None:
        self.lines: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.lines).split())

    async def examine(self, status: int, *words: str, **changes: Any) -> None:
        """The exit status, and words that the report must have."""
        found = await visit(reactor, replace(PLAN, **changes), self.lines.append)
        self.assertEqual(found, status, "\n".join(self.lines))
        for each in words:
            self.assertIn(each, self.text)


class Answering(Protocol):
    """One connection to a server that is no gateway."""

    transport: ITCPTransport

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self._answer)
        self.transport.loseConnection()


class DoorTests(VisitTestCase):
    """Before anybody speaks MQTT."""

    def listen(self, answer: bytes) -> int:
        """A server that answers this to whatever comes, and closes."""
        factory: Any = ServerFactory.forProtocol(lambda: Answering(answer))
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def test_name(self) -> None:
        """A host name that does not exist."""
        await self.examine(11, "FAILED 1 name: nowhere.invalid:", host="nowhere.invalid")
        self.assertEqual(len([line for line in self.lines if "FAILED" in line]), 1)

    async def test_odd_name(self) -> None:
        """What cannot be a name fails in the same way."""
        await self.examine(11, host="a" * 70 + ".example")

    async def test_closed(self) -> None:
        """A port where nobody listens."""
        await self.examine(
            *(12, "FAILED 2 TCP:", "connection refused", "Is the gateway running"),
            port=closed_port(socket.SOCK_STREAM),
        )

    async def test_addresses(self) -> None:
        """Each address is tried until one answers; why the others did not is kept."""
        port = self.listen(b"")
        call = partial(connect, ["127.0.0.2", "127.0.0.1", "127.0.0.3"], port, 5)
        address, failures = await in_thread(reactor, call, 5)
        self.assertEqual(address, "127.0.0.1")
        self.assertEqual(list(failures), ["127.0.0.2"])
        self.assertIsInstance(failures["127.0.0.2"], ConnectionRefusedError)

    async def test_silent(self) -> None:
        """A server that takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            await self.examine(14, "FAILED 4 CONNECT: no CONNACK in 0.3 s", "--tls", port=port)

    async def test_silent_tls(self) -> None:
        """The same, asked for TLS."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            await self.examine(13, "FAILED 3 TLS:", "plain MQTT port", port=port, tls=True)

    async def test_no_tls(self) -> None:
        """A server that answers in plain text where TLS is wanted."""
        port = self.listen(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await self.examine(13, "does not speak TLS", port=port, tls=True)

    async def test_other_protocol(self) -> None:
        """A server of another protocol."""
        port = self.listen(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await self.examine(14, "FAILED 4 CONNECT: MQTT CONNECT: the gateway broke MQTT", port=port)
        self.assertIn("Another program", self.text)

    async def test_closes(self) -> None:
        """A server that hangs up at CONNECT."""
        port = self.listen(b"")
        await self.examine(14, "It took the TCP connection and closed it again", port=port)


class GatewayTests(VisitTestCase):
    """A gateway of a few lines that fails in one way."""

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.gateway = Gateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)

    async def examine(self, status: int, *words: str, **changes: Any) -> None:
        await super().examine(status, *words, **{"port": self.gateway.port, **changes})

    def reply(self, **udp: Any) -> None:
        """Answer hello like this."""
        self.gateway.on_hello = lambda: self.gateway.push(self.gateway.hello_reply(**udp))

    async def test_well(self) -> None:
        """All is well with a gateway that asks for no tools and a server that only answers."""
        self.gateway.asks = []
        self.gateway.does["stop"] = self.gateway.speak
        await self.examine(0, "All is well", "the gateway did not ask", "5 packets heard")
        listened = [text["state"] for text in self.gateway.texts if text["type"] == "listen"]
        self.assertEqual(listened, ["start", "stop"])
        self.assertEqual([opus for _, _, opus in self.gateway.audio], SPEECH[:2])
        self.assertEqual(self.gateway.texts[-1], {"type": "goodbye", "session_id": "s-1"})

    async def test_refusals(self) -> None:
        """CONNACK's code decides the advice, and so does whose credentials they are."""
        for code, by_key, words in (
            (4, True, "MQTT_SIGNATURE_KEY is not the one"),
            (5, True, "MQTT_SIGNATURE_KEY is not the one"),
            (5, False, "belong together"),
            (2, True, "GROUP@@@"),
            (3, True, "full, drained"),
            (1, True, "3.1.1"),
        ):
            self.gateway.return_code = code
            self.lines.clear()
            await self.examine(14, f"refused, code {code}", words, by_key=by_key)

    async def test_late_refusal(self) -> None:
        """A gateway that says yes and then closes has refused the signature."""
        self.gateway.asks = []
        on_packet = self.gateway.on_packet

        def accept_and_close(line: Any, packet: Packet) -> None:
            on_packet(line, packet)
            line.transport.loseConnection()

        self.gateway.on_packet = accept_and_close  # type: ignore[method-assign]
        await self.examine(14, "accepted, then closed", "Node.js", "MQTT_SIGNATURE_KEY")

    async def test_no_pingresp(self) -> None:
        """A gateway that does not answer PINGREQ: firmware would leave it."""
        take = self.gateway.on_packet

        def all_but_ping(line: Any, packet: Packet) -> None:
            if not isinstance(packet, Pingreq):
                take(line, packet)

        self.gateway.on_packet = all_but_ping  # type: ignore[method-assign]
        await self.examine(14, "FAILED 4 CONNECT: no PINGRESP in 0.3 s")

    async def test_mcp(self) -> None:
        """A gateway that asks for tools gets them; one that hangs up then fails the step."""
        gateway = self.gateway
        gateway.asks = [{**ASK, "id": "x"}, ASK]
        gateway.does["stop"] = gateway.speak
        await self.examine(0, "answered: tools/list", "warning: the gateway asks with ids")
        self.assertEqual(gateway.texts[0]["payload"]["id"], 1)
        gateway.does["mcp"] = gateway.drop_device
        await self.examine(15, "FAILED 5 MCP", "max_mqtt_payload_size")

    async def test_hello(self) -> None:
        """No reply, an error, a goodbye, and the end of the connection in its place."""
        error = {"type": "error", "message": "no chat server answered"}
        acts: tuple[tuple[Callable[[], None], str, str], ...] = (
            (lambda: None, "FAILED 6 hello: no reply in 0.3 s", "chat server may be unreachable"),
            (lambda: self.gateway.push(error), "no chat server answered", "in chat_servers right"),
            (lambda: self.gateway.push({"type": "goodbye"}), "goodbye", "SERVER_SECRET"),
            (self.gateway.drop_device, "the MQTT connection ended", "chat_servers"),
        )
        for act, what, why in acts:
            self.gateway.on_hello = act
            self.lines.clear()
            await self.examine(16, what, why)

    async def test_held_mcp(self) -> None:
        """Like firmware, it answers no MCP while it waits for the hello reply, and then does."""
        gateway = self.gateway
        ask = {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": 7, "method": "initialize"}}

        def first_mcp() -> None:
            gateway.push(ask)
            gateway.answer_hello()

        gateway.on_hello = first_mcp
        gateway.does["stop"] = gateway.speak
        await self.examine(0)
        kinds = [text["type"] for text in gateway.texts]
        self.assertEqual(kinds[:4], ["mcp", "hello", "mcp", "listen"])
        gateway.texts.clear()

        def mcp_and_drop() -> None:
            gateway.push(ask)
            reactor.callLater(0.1, gateway.drop_device)

        gateway.on_hello = mcp_and_drop
        await self.examine(16, "FAILED 6 hello: the MQTT connection ended")

    async def test_bad_reply(self) -> None:
        """Each field that a device needs."""
        for field, value in (
            ("server", ""),
            ("server", 7),
            ("port", 0),
            ("port", "8884"),
            ("key", "00"),
            ("nonce", "02" + 15 * "00"),
        ):
            self.reply(**{field: value})
            self.lines.clear()
            await self.examine(17, "FAILED 7 hello reply:", field, "No device can use")

    async def test_unknown_server(self) -> None:
        """A host name for audio that cannot be looked up."""
        self.reply(server="nowhere.invalid")
        await self.examine(17, "nowhere.invalid", "Set PUBLIC_IP")

    async def test_odd_reply(self) -> None:
        """What a device can live with is a warning, and changes no exit status."""
        reply = self.gateway.hello_reply(encryption="none")
        odd = {**reply, "version": 4, "audio_params": {**AUDIO, "channels": 2}}
        self.gateway.on_hello = lambda: self.gateway.push(odd)
        self.gateway.does["stop"] = self.gateway.speak
        await self.examine(
            *(0, "encryption is 'none'", "version is 4", "audio_params.channels is 2"),
            *("which is the loopback address", "with 4 warning(s)"),
        )

    async def test_nobody_at_port(self) -> None:
        """A port for audio where nobody listens."""
        port = closed_port(socket.SOCK_DGRAM)
        self.reply(port=port)
        words = f"nobody listens at {port}/udp", "PUBLIC_UDP_PORT", "which is the loopback"
        await self.examine(18, "FAILED 8 UDP out: nobody listens there", *words)

    async def test_no_route(self) -> None:
        """An address for audio that this machine cannot send to."""
        self.reply(server="255.255.255.255")
        await self.examine(
            18, "FAILED 8 UDP out:", "cannot send to 255.255.255.255", "many machines"
        )

    async def test_blocked(self) -> None:
        """Datagrams go nowhere: the server hears nothing, but answers a text."""
        self.gateway.does["detect"] = lambda: self.gateway.tell("start", "stop")
        with socket.socket(type=socket.SOCK_DGRAM) as hole:
            hole.bind(("127.0.0.1", 0))
            port = hole.getsockname()[1]
            self.reply(port=port)
            await self.examine(18, "FAILED 8 UDP out", f"Open {port}/udp", f"{port}:{port}/udp")

    async def test_deaf_server(self) -> None:
        """Audio that comes for a text only shows that UDP is well, and recognition is not."""
        self.gateway.does["detect"] = self.gateway.speak
        await self.examine(0, "warning: the chat server did not react to speech")

    async def test_silent_server(self) -> None:
        """A server that never reacts; goodbyes for other sessions do not count."""
        goodbye = {"type": "goodbye", "session_id": "another"}
        self.gateway.does["stop"] = lambda: self.gateway.push(goodbye, b"no JSON")
        await self.examine(
            19, "ok 8 UDP out", "FAILED 9 answer: nothing in 0.3 s", "Look at its log"
        )
        self.assertEqual(self.gateway.texts[-1]["state"], "detect")

    async def test_speechless_server(self) -> None:
        """A server that understands and does not speak."""
        self.gateway.does["stop"] = lambda: self.gateway.push({"type": "stt", "text": "hi"})
        await self.examine(19, "FAILED 9 answer: stt, but no speech", "speech synthesis")

    async def test_ended(self) -> None:
        """A server that ends the session."""
        self.gateway.does["stop"] = lambda: self.gateway.push(
            {"type": "goodbye", "session_id": "s-1"}
        )
        await self.examine(19, "FAILED 9 answer: the session was ended")

    async def test_lost(self) -> None:
        """The connection ends while the device speaks."""
        self.gateway.does["start"] = self.gateway.drop_device
        await self.examine(18, "FAILED 8 UDP out: ", "no MQTT connection", "The connection broke")

    async def test_no_downlink(self) -> None:
        """A server that speaks, whose audio does not come."""
        self.gateway.does["stop"] = lambda: self.gateway.tell("start", "stop")
        await self.examine(
            *(20, "ok 8 UDP out", "ok 9 answer", "FAILED 10 UDP back: no audio came"),
            "its answers come from another address",
        )

    async def test_bad_datagrams(self) -> None:
        """Audio that a device drops, and a datagram that ends its socket."""
        self.gateway.does["stop"] = lambda: self.gateway.send_datagram(bytes(20))
        await self.examine(20, "drops for their length", "no packet that a device plays")
        self.lines.clear()
        self.gateway.does["stop"] = lambda: self.gateway.send_datagram(b"")
        await self.examine(20, "an empty datagram came", "socket ends")

    async def test_nonsense(self) -> None:
        """Audio encrypted with another key is a warning: it may be no Opus on purpose."""
        self.gateway.does["stop"] = lambda: self.gateway.send_audio(1, 0, b"\xff\xff")
        await self.examine(0, "warning: what came back is no Opus")

    async def test_goodbye(self) -> None:
        """A gateway that drops the connection at a goodbye."""
        self.gateway.does["stop"] = self.gateway.speak
        self.gateway.does["goodbye"] = self.gateway.drop_device
        await self.examine(21, "FAILED 11 goodbye")
