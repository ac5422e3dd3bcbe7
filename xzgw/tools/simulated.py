"""A simulated device: speaks MQTT, UDP and MCP to a gateway as the firmware does.

Source: xiaozhi-esp32 main/protocols/mqtt_protocol.cc
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import deferLater

from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_tools import usual_tools
from xzgw.tools.device_voice import Session, Voice, parse_hello_reply
from xzgw.tools.identity import Identity
from xzgw.tools.mqtt_link import MqttLink
from xzgw.tools.narration import Say, describe, shorten, silent
from xzgw.tools.pacing import paced
from xzgw.tools.steps import StepError, Watch
from xzgw.wire import messages
from xzgw.wire.messages import Json
from xzgw.wire.packets import Pingresp, Publish

PUBLISH_TOPIC = "device-server"
HELLO_SECONDS = 10.0  # the firmware's patience
PAUSE_SECONDS = 0.2  # so that "listen stop" over TCP does not overtake the last datagrams
KEPT = 1000  # messages that are remembered

HELLO: Mapping[str, object] = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {"mcp": True},
    "audio_params": {
        "format": "opus",
        "sample_rate": 16000,
        "channels": 1,
        "frame_duration": 60,
    },
}


class SimulatedDevice:
    """One device. Each wait is a Deferred that errbacks with StepError, which names the step."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP, IReactorUDP, IReactorTime and IReactorPluggableNameResolver
        identity: Identity,
        key: str,
        *,
        say: Say = silent,
        mcp: DeviceMcp | None = None,
    ) -> None:
        """Take the signature key that the device's credentials are made with."""
        self.identity = identity
        self.mcp = DeviceMcp(usual_tools()) if mcp is None else mcp
        self.session: Session | None = None
        self.voice: Voice | None = None  # the latest session's, open or not
        self.received: deque[bytes] = deque(maxlen=KEPT)  # payloads pushed to us, as they came
        self._reactor = reactor
        self._key = key
        self._say = say
        self._watch = Watch(reactor)
        self._link = MqttLink(reactor, self._on_payload, self._on_lost)
        self._texts: deque[Json] = deque(maxlen=KEPT)  # those that nobody has waited for yet
        self._held_mcp: list[object] | None = None  # not None while the main task waits for hello

    def connect(self, host: str, port: int) -> Deferred[None]:
        """Connect over TCP, then MQTT, with signed credentials."""
        self._say(f"-> CONNECT to {host} port {port}, signed")
        self._watch = Watch(self._reactor)
        credentials = self.identity.credentials(self._key)
        connected = Deferred.fromCoroutine(self._link.connect(host, port, credentials))
        return connected.addCallback(lambda _: self._say("<- CONNACK, accepted"))

    def ping(self) -> Deferred[Pingresp]:
        """PINGREQ; fires with its answer."""
        return self._link.ping()

    def disconnect(self) -> Deferred[bool]:
        """DISCONNECT and close; fires when the connection is gone, at once without one."""
        return self._link.disconnect()

    def vanish(self) -> Deferred[bool]:
        """Reset the connection, as if the power went; fires when it is gone."""
        return self._link.vanish()

    def gone(self, seconds: float = 5.0) -> Deferred[bool]:
        """Fire when the MQTT connection has ended, from whichever side."""
        return self._link.gone(seconds)

    def send(self, *texts: Mapping[str, Any] | bytes) -> None:
        """Publish the messages to the gateway, all in one TCP write. Raises StepError."""
        payloads = [t if isinstance(t, bytes) else messages.encode(t) for t in texts]
        self._link.send(*(Publish(PUBLISH_TOPIC, payload) for payload in payloads))

    def expect(self, kind: str, seconds: float = 5.0, **members: object) -> Deferred[Json]:
        """Fire with the next message of this type and these members, past or future.

        A message ends one wait only; mcp requests are answered and never waited for.
        """
        wanted = {"type": kind, **members}
        step = " ".join(["waiting for", kind, *map(str, members.values())])
        return self._watch.until(step, lambda: self._take(wanted), seconds)

    def hello(self, **members: object) -> Deferred[Session]:
        """Open a session: hello with these members added, its reply, the UDP socket."""
        return Deferred.fromCoroutine(self._hello(members))

    async def _hello(self, members: Mapping[str, object]) -> Session:
        self._end_session()
        while self._take({"type": "hello"}) or self._take({"type": "error"}):
            pass  # answers to an earlier hello
        self._say("-> hello")
        self._held_mcp = []
        try:
            self.send({**HELLO, **members})
            session = await self._open_voice(await self._hello_reply())
        finally:
            held, self._held_mcp = self._held_mcp, None
            for payload in held:
                self._answer_mcp(payload)
        return session

    async def _hello_reply(self) -> Session:
        try:
            reply = await self.expect("hello", HELLO_SECONDS)
        except StepError as e:
            error = self._take({"type": "error"})
            said = f"; the gateway says: {error.get('message')}" if error else ""
            raise StepError(f"hello: {e}{said}") from None
        return parse_hello_reply(reply)

    async def _open_voice(self, session: Session) -> Session:
        self._say(f"<- hello, session {session.session_id}, UDP {session.server}:{session.port}")
        address = session.server
        if not isIPv6Address(address):
            try:
                address = await self._reactor.resolve(address)
            except DNSLookupError as e:
                raise StepError(f"hello: the reply's UDP server {address!r}: {e}") from None
        self.voice = Voice(self._reactor, session, address, self._watch.changed)
        self.voice.open(self._reactor)
        self.session = session
        return session

    def listen(self, state: str, **members: object) -> None:
        """Tell the server that speech starts ("start") or has ended ("stop")."""
        self._say(f"-> listen {state}")
        self.send({"session_id": self._session_id, "type": "listen", "state": state, **members})

    def speak(
        self, packets: Sequence[bytes], timestamps: Sequence[int] | None = None
    ) -> Deferred[None]:
        """Speak Opus packets, each when its 60 ms have passed; fires a short pause after the last.

        Timestamps (ms) are 0 unless given, as they are without server-side echo cancellation.
        """
        stamps = [0] * len(packets) if timestamps is None else timestamps
        voice = self._latest_voice()
        pairs = list(zip(packets, stamps, strict=True))
        spoken = paced(self._reactor, pairs, lambda pair: voice.send(*pair), burst=0)
        return spoken.addCallback(lambda _: deferLater(self._reactor, PAUSE_SECONDS))

    def hear(self, count: int, seconds: float) -> Deferred[bool]:
        """Fire once the latest session has heard so many packets."""
        voice = self._latest_voice()
        step = f"hearing {count} audio packets"
        return self._watch.until(step, lambda: len(voice.heard) >= count or None, seconds)

    def goodbye(self) -> None:
        """End the session from this side."""
        if self.session is not None:
            self._say("-> goodbye")
            self.send(messages.goodbye(self.session.session_id))
        self._end_session()

    @property
    def _session_id(self) -> str:
        return self.session.session_id if self.session else ""

    def _latest_voice(self) -> Voice:
        if self.voice is None:
            raise StepError("audio: no session was opened")
        return self.voice

    def _end_session(self) -> None:
        self.session = None
        if self.voice is not None:
            self.voice.close()

    def _take(self, wanted: Mapping[str, object]) -> Json | None:
        for text in self._texts:
            if all(text.get(name) == value for name, value in wanted.items()):
                self._texts.remove(text)
                return text
        return None

    def _on_payload(self, payload: bytes) -> None:
        self.received.append(payload)
        try:
            text = messages.parse(payload)
        except messages.MessageError as e:
            self._say(f"<- a message that is {e}: {shorten(repr(payload))}")
            return
        if text.get("type") == "mcp":
            self._on_mcp(text.get("payload"))
            return
        self._texts.append(text)
        if text.get("type") == "goodbye":
            self._on_goodbye(text)
        elif text.get("type") != "hello":
            self._say(f"<- {describe(text)}")
        self._watch.changed()

    def _on_goodbye(self, text: Json) -> None:
        session_id = text.get("session_id", self._session_id)
        if self.session is None or session_id != self._session_id:
            self._say("<- goodbye, not for an open session")
            return
        self._say("<- goodbye")
        self.goodbye()  # firmware answers it in kind

    def _on_mcp(self, payload: object) -> None:
        if self._held_mcp is None:
            self._answer_mcp(payload)
        else:
            self._held_mcp.append(payload)

    def _answer_mcp(self, payload: object) -> None:
        method = payload.get("method") if isinstance(payload, dict) else None
        reply = self.mcp.answer(payload)
        self._say(f"<- mcp {method}" + (", answered" if reply else ""))
        if reply is not None:
            self.send(messages.mcp(reply, self._session_id))

    def _on_lost(self, reason: str) -> None:
        self._end_session()
        if self._held_mcp is not None:
            self._held_mcp.clear()  # nobody is left to answer
        self._watch.close(reason)
