"""What the echo server says: it repeats what it heard, in the manner of the xiaozhi-server.

Source: xiaozhi-server core/connection.py, core/handle
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from xzgw.tools.narration import Say, describe
from xzgw.tools.pacing import paced
from xzgw.tools.server_mcp import ServerMcp
from xzgw.wire import messages
from xzgw.wire.audio import AudioError, parse_server_audio, server_audio
from xzgw.wire.messages import Json

VISION_URL = "http://127.0.0.1:8003/mcp/vision/explain"
BURST = 5  # packets that are sent at once when speech begins
LONGEST_TURN = 1000  # packets, a minute
AUTO_TURN = 50  # packets, 3 s: a device that never says "stop" is answered after these


class Line(Protocol):
    """The connection a conversation goes over."""

    def send_text(self, text: bytes) -> None: ...

    def send_audio(self, message: bytes) -> None: ...

    def hang_up(self, reason: str) -> None: ...


@dataclass(slots=True)
class Frame:
    """One packet that was heard; times are the clock's seconds."""

    timestamp: int
    opus: bytes
    heard_at: float
    sent_at: float | None = None  # when it was sent back


class Conversation:
    """One device's conversation, over one WebSocket."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, line: Line, say: Say) -> None:
        self.session_id = str(uuid4())
        self.turn: list[Frame] = []  # the latest turn's audio
        self.refused = 0  # binary messages that are not audio
        vision = {"url": VISION_URL, "token": str(uuid4())}
        self.mcp = ServerMcp(clock, self._send_mcp, vision)
        self._clock = clock
        self._line = line
        self._say = say
        self._greeted = False
        self._limit = 0  # packets this turn may have; 0 while not listening
        self._reply: Deferred[None] | None = None

    def on_text(self, text: bytes) -> None:
        """Take one text message."""
        try:
            message = messages.parse(text)
        except messages.MessageError:
            self._line.send_text(text)  # the real server hands such a text back
            return
        if message.get("type") == "hello":
            self._on_hello(message)
        elif not self._greeted:
            self._line.hang_up(f"{describe(message)} came before hello")
        else:
            self._on_message(message)

    def on_audio(self, message: bytes) -> None:
        """Take one binary message; anything that is not audio is counted and dropped."""
        if not self._greeted:
            self._line.hang_up("audio came before hello")
            return
        try:
            timestamp, opus = parse_server_audio(message)
        except AudioError:
            self.refused += 1
            return
        if self._limit:
            self.turn.append(Frame(timestamp, opus, self._clock.seconds()))
            if len(self.turn) >= self._limit:
                self._answer()

    def close(self, reason: str) -> None:
        """The connection is gone: stop all timers."""
        self._stop_speaking()
        self._limit = 0
        self.mcp.close(reason)

    def _on_hello(self, hello: Json) -> None:
        self._say("<- hello")
        self._greeted = True
        reply = {"type": "hello", "version": 1, "transport": "websocket"}
        # The real server claims the device's own parameters, whatever it sends.
        self._send({**reply, "audio_params": hello.get("audio_params")})
        features = hello.get("features")
        if isinstance(features, dict) and features.get("mcp"):
            self.mcp.start()

    def _on_message(self, message: Json) -> None:
        match message.get("type"):
            case "listen":
                self._on_listen(message)
            case "abort":
                self._say("<- abort")
                self._stop_speaking()
                self._send({"type": "tts", "state": "stop"})
            case "mcp":
                self.mcp.reply(message.get("payload"))
            case _:
                self._say(f"<- {describe(message)}, not understood")

    def _on_listen(self, message: Json) -> None:
        self._say(f"<- {describe(message)}")
        match message.get("state"):
            case "start":
                self._stop_speaking()
                self.turn = []
                manual = message.get("mode", "manual") == "manual"
                self._limit = LONGEST_TURN if manual else AUTO_TURN
            case "stop" if self._limit:
                self._answer()

    def _answer(self) -> None:
        self._limit = 0
        self._say(f"-> the {len(self.turn)} audio packets that it heard")
        text = f"{len(self.turn)} packets of audio"
        self._send({"type": "stt", "text": f"I heard {text}."})
        self._send({"type": "tts", "state": "start"})
        self._send({"type": "tts", "state": "sentence_start", "text": f"Here are your {text}."})
        self._reply = paced(self._clock, enumerate(self.turn), self._send_frame, BURST)
        self._reply.addCallback(lambda _: self._send({"type": "tts", "state": "stop"}))
        self._reply.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        self._reply.addErrback(lambda failure: self._log.failure("echo", failure))

    def _stop_speaking(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.cancel()

    def _send_frame(self, numbered: tuple[int, Frame]) -> None:
        sequence, frame = numbered
        frame.sent_at = self._clock.seconds()
        self._line.send_audio(server_audio(sequence, frame.timestamp, frame.opus))

    def _send(self, message: Json) -> None:
        self._line.send_text(messages.encode({**message, "session_id": self.session_id}))

    def _send_mcp(self, payload: Json) -> None:
        self._say(f"-> mcp {payload['method']}, id {payload['id']}")
        self._line.send_text(messages.mcp(payload, self.session_id))
