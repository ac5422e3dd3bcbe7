"""One connection to one chat server, on behalf of one device.

Turns what the server says into events of the device's session. Its number tells it from the links
before and after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from xzgw.core import mcp
from xzgw.core.channel import AudioChannel, Uplink
from xzgw.core.hello import MAX_HELLO
from xzgw.core.ports import BackendLink
from xzgw.core.session_types import (
    BackendEvent,
    BackendHello,
    BackendLost,
    BackendOpened,
    BackendText,
)
from xzgw.core.trace import FROM_SERVER, TO_SERVER, Trace
from xzgw.wire import messages
from xzgw.wire.audio import AudioError, parse_server_audio

MAX_SESSION_ID = 256  # characters; it goes into the log, too
MAX_TEXT = 256 * 1024  # bytes; no device could take more

Feed = Callable[[BackendEvent], None]


class Listener(Protocol):
    """The session that a link is for, which hears what the server says in passing."""

    def server_said(self, kind: str | None, state: str | None) -> None:
        """A message other than hello and MCP has come, of this type and state."""

    def server_left(self) -> None:
        """None will come any more."""


class Link:
    """See the module's text.

    Attributes, None until the server answers, and when it is gone:
        channel: where its audio goes.
        listener: told of its messages.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        number: int,
        name: str,
        feed: Feed,
        tools: mcp.McpClient,
        on_lost: Callable[[Link, str], None],
    ) -> None:
        """
        Args:
            number: of the dial; travels in each event.
            name: of device and server, for the log.
            feed: takes the events.
            tools: what the gateway knows of the device's tools, to answer in its place.
            on_lost: told once, before the event, that the connection is no more, and why.
        """
        self.number = number
        self.channel: AudioChannel | None = None
        self.listener: Listener | None = None
        self.gone = False  # by itself
        self.answered = False
        self.closing = False
        self.was_open = False
        self.strange_text = ""  # the beginning of the last text that was no message
        self.refused_texts = 0
        self.refused_audio = 0
        self.unwanted_audio = 0  # while nobody has a key for it: common, and no fault
        self._name = name
        self._feed = feed
        self._tools = tools
        self._on_lost = on_lost
        self._backend: BackendLink | None = None
        self._dropped = 0  # audio, until the connection was lost
        self._trace: Trace | None = None
        self.send_audio: Uplink = _nowhere  # sequence, timestamp in ms, Opus packet

    def attach(self, backend: BackendLink) -> None:
        """Take the connection that the dialer made for this link."""
        self._backend = backend
        self.send_audio = backend.send_audio  # frame after frame: with nothing in between

    def play_to(self, channel: AudioChannel) -> None:
        """The server has answered: here its audio goes from now on."""
        self.channel = channel
        self._shorten()

    def follow(self, trace: Trace | None) -> None:
        """Record what passes here, or no more."""
        self._trace = trace
        self._shorten()

    def _shorten(self) -> None:
        """The way of the server's audio: with nothing in between, unless that has to see it."""
        if self._backend is not None:
            channel = self.channel if self._trace is None else None
            self._backend.opus_to(None if channel is None else channel.downlink)

    # --- towards the server ---

    @property
    def audio_dropped(self) -> int:
        """Packets that the server was too slow to be sent."""
        return self._dropped if self._backend is None else self._backend.audio_dropped

    def send_text(self, text: bytes) -> None:
        if self._trace is not None:
            self._trace.message("server", TO_SERVER, text)
        if self._backend is not None:
            self._backend.send_text(text)

    def close(self, code: int, reason: str) -> None:
        self.closing = True
        self._part()
        if self._backend is not None:
            self._backend.close(code, reason)

    # --- from the server (ports.BackendEvents) ---

    def opened(self) -> None:
        self.was_open = True
        self._feed(BackendOpened(self.number))

    def text(self, text: bytes) -> None:
        if self._trace is not None:
            self._trace.message("server", FROM_SERVER, text)
        if self.closing:
            return
        if len(text) > MAX_TEXT:
            self._refuse_text("longer than any device takes", text)
            return
        try:
            message = messages.parse(text)
        except messages.MessageError as error:
            self._refuse_text(str(error), text)
            return
        match message.get("type"):
            case "hello":
                self._hello(message, text)
            case "mcp":
                self._mcp(message, text)
            case _:
                if self.listener is not None:
                    kind = messages.text_member(message, "type")
                    self.listener.server_said(kind, messages.text_member(message, "state"))
                self._feed(BackendText(self.number, text))

    def audio(self, message: bytes) -> None:
        if self._trace is not None:
            self._trace.server_audio(message)
        channel = self.channel
        if channel is None:
            self.unwanted_audio += 1
            return
        try:
            timestamp, opus = parse_server_audio(message)
        except AudioError as error:
            self._refuse_audio(error)
            return
        channel.downlink(timestamp, opus)

    def lost(self, reason: str) -> None:
        self._part()
        self.gone = not self.closing
        self._dropped = self.audio_dropped
        self._backend = None
        self.send_audio = _nowhere
        self._on_lost(self, reason)
        self._feed(BackendLost(self.number, reason))

    def _part(self) -> None:
        self.channel = None
        self._shorten()
        if self.listener is not None:
            self.listener.server_left()
            self.listener = None

    def _hello(self, message: messages.Json, text: bytes) -> None:
        if len(text) > MAX_HELLO:
            self._refuse_text("a hello longer than any has to be", text)
            return
        session_id = messages.text_member(message, "session_id")
        if not session_id or len(session_id) > MAX_SESSION_ID or not session_id.isprintable():
            self._refuse_text("a hello without a usable session_id", text)
            return
        self._feed(BackendHello(self.number, session_id, message.get("audio_params")))

    def _mcp(self, message: messages.Json, text: bytes) -> None:
        match self._tools.answer_server(message):
            case mcp.Answer(payload):
                self.send_text(messages.mcp(payload, messages.text_member(message, "session_id")))
            case mcp.PassOn():
                self._feed(BackendText(self.number, text))

    def _refuse_text(self, why: str, text: bytes) -> None:
        self.refused_texts += 1
        self.strange_text = start = text[:60].decode("utf-8", "replace")
        if self.refused_texts == 1:
            self._log.warn(
                "{name}: dropping a message from the server that is {why}: {start!r}"
                " (further ones are only counted)",
                name=self._name,
                why=why,
                start=start,
            )

    def _refuse_audio(self, error: AudioError) -> None:
        self.refused_audio += 1
        if self.refused_audio == 1:
            self._log.warn(
                "{name}: dropping audio from the server: {why} (further such is only counted)",
                name=self._name,
                why=error.reason,
            )


def _nowhere(sequence: int, timestamp: int, opus: bytes) -> None:
    """Audio while there is no connection."""
