"""The device that the doctor plays: like firmware, but it lets itself be looked at.

Unlike `SimulatedDevice` it shows a hello reply before it judges it, tells which MCP requests came,
and opens its audio as a step of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import deferLater

from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_tools import usual_tools
from xzgw.tools.device_voice import Session, Voice
from xzgw.tools.mqtt_link import MqttLink
from xzgw.tools.pacing import paced
from xzgw.tools.simulated import HELLO, PAUSE_SECONDS, PUBLISH_TOPIC
from xzgw.tools.steps import Watch
from xzgw.wire import messages
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect, Pingresp, Publish

KEPT = 1000  # messages that are remembered

T = TypeVar("T")


class Patient:
    """One device. Each wait errbacks with StepError when its time is over or the connection is."""

    def __init__(self, reactor: Any) -> None:
        self.asked: list[str] = []  # methods of the MCP requests that were answered
        self.unanswerable = 0  # MCP requests that firmware does not answer for their id
        self.garbled = 0  # payloads that are not a JSON object
        self.texts: deque[Json] = deque(maxlen=KEPT)  # all but mcp, until taken
        self.voice: Voice | None = None
        self.session_id = ""
        self._reactor = reactor
        self._mcp = DeviceMcp(usual_tools())
        self._watch = Watch(reactor)
        self._link = MqttLink(reactor, self._on_payload, self._on_lost)
        self._held: list[object] | None = None  # MCP that came while hello waits

    async def connect(
        self,
        address: str,
        port: int,
        credentials: Connect,
        tls: IOpenSSLClientConnectionCreator | None,
    ) -> None:
        """TCP, TLS, CONNECT."""
        await self._link.connect(address, port, credentials, tls)

    def ping(self) -> Deferred[Pingresp]:
        """PINGREQ; fires with its answer."""
        return self._link.ping()

    async def leave(self) -> None:
        """End audio and connection, in whatever state they are."""
        self.hush()
        await self._link.disconnect()

    def hush(self) -> None:
        """End the audio."""
        if self.voice is not None:
            self.voice.close()

    def say(self, kind: str, **members: object) -> None:
        """Publish a message of the open session."""
        self._send(messages.encode({"session_id": self.session_id, "type": kind, **members}))

    def until(self, step: str, ready: Callable[[], T | None], seconds: float) -> Deferred[T]:
        """Fire with what `ready` gives once that is not None."""
        return self._watch.until(step, ready, seconds)

    def take(self, *kinds: str) -> Json | None:
        """The first message of one of these types, which is forgotten then."""
        for text in self.texts:
            if text.get("type") in kinds:
                self.texts.remove(text)
                return text
        return None

    async def hello(self, seconds: float) -> Json:
        """Say hello; the reply, or what came in its place: an error or a goodbye.

        Firmware's main task waits meanwhile, and answers no MCP request.
        """
        self._held = []
        try:
            self._send(messages.encode(HELLO))
            return await self.until(
                "hello", lambda: self.take("hello", "error", "goodbye"), seconds
            )
        finally:
            held, self._held = self._held, None
            for payload in held:
                self._answer(payload)

    def open_voice(self, session: Session, address: str) -> Voice:
        """Open the UDP socket towards this IP address. Raises OSError, CannotListenError."""
        self.session_id = session.session_id
        self.voice = voice = Voice(self._reactor, session, address, self._watch.changed)
        voice.open(self._reactor)
        return voice

    async def speak(self, packets: Sequence[bytes]) -> None:
        """One utterance: listen start, the packets in their own time, listen stop.

        Raises StepError, and OSError where the network takes no datagram.
        """
        voice = self.voice
        assert voice is not None  # noqa: S101 - speaking comes after open_voice
        self.say("listen", state="start", mode="manual")
        await paced(self._reactor, packets, voice.send, burst=0)
        await deferLater(self._reactor, PAUSE_SECONDS)
        self.say("listen", state="stop")

    def _send(self, payload: bytes) -> None:
        self._link.send(Publish(PUBLISH_TOPIC, payload))

    def _on_payload(self, payload: bytes) -> None:
        try:
            text = messages.parse(payload)
        except messages.MessageError:
            self.garbled += 1
            return
        if text.get("type") != "mcp":
            self.texts.append(text)
        elif self._held is None:
            self._answer(text.get("payload"))
        else:
            self._held.append(text.get("payload"))
        self._watch.changed()

    def _answer(self, payload: object) -> None:
        method = payload.get("method") if isinstance(payload, dict) else None
        reply = self._mcp.answer(payload)
        if reply is not None:
            self._send(messages.mcp(reply, self.session_id))
            self.asked.append(str(method))
        elif isinstance(method, str) and not method.startswith("notifications"):
            self.unanswerable += 1

    def _on_lost(self, reason: str) -> None:
        if self._held is not None:
            self._held.clear()  # nobody is left to answer
        self._watch.close(reason)
