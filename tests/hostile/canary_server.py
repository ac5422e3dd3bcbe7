"""The canary's chat server, and what both ends of it have in common."""

from __future__ import annotations

import json
from contextlib import suppress
from threading import Thread

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.support import PATH, PATIENCE, SPEECH
from xzgw.wire import messages
from xzgw.wire.audio import HEADER, AudioError, parse_server_audio, server_audio

SESSION = "canary"
KEPT_FAULTS = 20


class Faults:
    """What went wrong, from any thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        if len(self.lines) < KEPT_FAULTS:
            self.lines.append(line)


class Track:
    """Packets of one direction, each to come exactly once and in order.

    Packet number n, from 1, is SPEECH[n % 64] with the timestamp 60 n.
    """

    def __init__(self, where: str, faults: Faults) -> None:
        self.last = 0
        self._where = where
        self._faults = faults

    def take(self, timestamp: int, opus: bytes) -> None:
        """Check the next packet; after a fault, go on from there."""
        number, rest = divmod(timestamp, 60)
        if rest:
            self._faults.add(f"{self._where}: timestamp {timestamp} is nobody's")
            return
        if number != self.last + 1:
            self._faults.add(f"{self._where}: packet {number} after {self.last}")
        if opus != packet(number):
            self._faults.add(f"{self._where}: packet {number} is not what was sent")
        self.last = max(self.last, number)


def packet(number: int) -> bytes:
    """The Opus packet that bears this number."""
    return SPEECH[number % len(SPEECH)]


def text(number: int) -> bytes:
    """The message that bears this number, from 1."""
    return messages.encode({"type": "listen", "session_id": SESSION, "n": number})


class CanaryServer:
    """A chat server with one client for ever, echoing all that is right."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._sessions = 0
        self._texts = 0
        self._over = False
        self._server = serve(self._handle, "127.0.0.1", 0, compression=None)
        port = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}{PATH}"
        self._thread = Thread(target=self._server.serve_forever, name="canary's server")
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop the connection."""
        self._over = True
        self._server.shutdown()
        self._thread.join(PATIENCE)

    def _handle(self, connection: ServerConnection) -> None:
        self._sessions += 1
        if self._sessions > 1:
            self._faults.add("server: a second session was opened")
        hello = json.loads(connection.recv(PATIENCE))
        reply = {"type": "hello", "session_id": SESSION, "audio_params": hello["audio_params"]}
        connection.send(json.dumps(reply))
        track = Track("server", self._faults)
        with suppress(ConnectionClosed):
            for message in connection:
                self._echo(connection, track, message)
        if not self._over:
            self._faults.add(f"server: the connection was closed, {connection.close_code}")

    def _echo(self, connection: ServerConnection, track: Track, message: str | bytes) -> None:
        if isinstance(message, str):
            self._texts += 1
            if message.encode() != text(self._texts):
                self._faults.add(f"server: text {self._texts} is {message[:100]!r}")
            connection.send(message)
            return
        try:
            timestamp, opus = parse_server_audio(message)
        except AudioError as error:
            self._faults.add(f"server: audio that is {error}")
            return
        track.take(timestamp, opus)
        # Parsed and made anew: what is echoed is what was understood.
        connection.send(server_audio(track.last, timestamp, opus))
        if len(message) != HEADER + len(opus):
            self._faults.add(f"server: a message of {len(message)} bytes")
