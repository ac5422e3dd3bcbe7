"""The bench's chat server: WebSockets that say hello, count what they hear, and speak."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic_ns
from uuid import uuid4

from xzgw.tools.bench.figures import Flow
from xzgw.tools.bench.frames import Ear, Frames, Window
from xzgw.tools.bench.loop import READ, Loop
from xzgw.tools.bench.orders import Address
from xzgw.tools.bench.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WebSocketError,
    frame,
    next_frame,
    upgrade,
)
from xzgw.wire import messages
from xzgw.wire.audio import AudioError, parse_server_audio, server_audio

_BACKLOG = 1024
_MAX_REQUEST = 16 * 1024  # bytes


class Line:
    """One session's WebSocket."""

    __slots__ = (
        "_ear",
        "_frames",
        "_loop",
        "_lost",
        "_number",
        "_rest",
        "_socket",
        "_unsent",
        "is_open",
    )

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        ear: Ear,
        frames: Frames,
        lost: Callable[[Line, str], None],
    ) -> None:
        """Take a connection that was just accepted, and whom to tell that it has ended, and why."""
        self.is_open = False  # greeted and not closed
        self._loop = loop
        self._socket: socket.socket | None = connection
        self._ear = ear
        self._frames = frames
        self._lost = lost
        self._number = 0  # of the last frame sent
        self._rest = b""  # the beginning of what comes next
        self._unsent = b""  # the end of what did not go out whole
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.watch(connection.fileno(), READ, self._request)

    def listen(self, flow: Flow) -> None:
        """Count from now on what is heard there."""
        self._ear.flow = flow

    def speak(self, stamp: int) -> None:
        """Send one frame; closed or blocked, it is lost."""
        self._number += 1
        opus = self._frames.make(stamp, self._number)
        self._send(frame(BINARY, server_audio(self._number, 0, opus)))

    def close(self, reason: str = "") -> None:
        """End it; a reason tells that it should not have ended."""
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self.is_open = False
            self._lost(self, reason)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            return
        data = self._unsent or data  # behind half a frame that is stuck, this one is lost
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return  # the gateway does not read: lost
        except OSError as e:
            self.close(e.strerror or str(e))
            return
        self._unsent = data[sent:]

    def _receive(self) -> bytes | None:
        """Everything not taken yet and what came now; None when it has ended."""
        if self._socket is None:
            return None
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return self._rest
        except OSError as e:
            self.close(e.strerror or str(e))
            return None
        if not data:
            self.close("the gateway closed a WebSocket without a word" if self.is_open else "")
            return None
        return self._rest + data if self._rest else data

    def _request(self, _events: int) -> None:
        """The HTTP request for a WebSocket."""
        data = self._receive()
        if data is None or self._socket is None:
            return
        head, end, rest = data.partition(b"\r\n\r\n")
        response = upgrade(head) if end else None
        if response is not None:
            self._send(response)
            self._loop.watch(self._socket.fileno(), READ, self._readable)
            self._rest = b""
            self._take(rest)
        elif end or len(data) > _MAX_REQUEST:
            self.close("what connected to the chat server asked for no WebSocket")
        else:
            self._rest = data

    def _readable(self, _events: int) -> None:
        data = self._receive()
        if data is not None:
            self._take(data)

    def _take(self, data: bytes) -> None:
        at = 0
        try:
            while (found := next_frame(data, at)) is not None:
                opcode, payload, at = found
                self._received(opcode, payload)
        except WebSocketError as e:
            self.close(str(e))
        self._rest = data[at:]

    def _received(self, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            now = monotonic_ns()
            try:
                _, opus = parse_server_audio(payload)
            except AudioError:
                self._ear.flow.damaged += 1
                return
            self._ear.take(opus, now)
        elif opcode == TEXT:
            self._told(payload)
        elif opcode == PING:
            self._send(frame(PONG, payload))
        elif opcode == CLOSE:
            self._send(frame(CLOSE, payload))
            self.close()

    def _told(self, text: bytes) -> None:
        try:
            message = messages.parse(text)
        except messages.MessageError as e:
            self.close(f"the gateway sent a text that is {e}")
            return
        if message.get("type") == "hello":
            reply = {"type": "hello", "version": 1, "transport": "websocket"}
            reply |= {"session_id": str(uuid4()), "audio_params": message.get("audio_params")}
            self._send(frame(TEXT, messages.encode(reply)))
            self.is_open = self._socket is not None


class Server:
    """Listens; several processes may at one address, among which the kernel shares connections."""

    def __init__(
        self,
        loop: Loop,
        family: int,
        address: Address,
        frames: Frames,
        window: Window,
        lost: Callable[[str], None],
    ) -> None:
        """Take whom to tell why a session ended that should not have. Raises OSError."""
        self.lines: dict[Line, None] = {}  # all connections, the oldest first
        self._loop = loop
        self._frames = frames
        self._window = window
        self._tell = lost
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._listener.bind(address)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def open_lines(self) -> list[Line]:
        """The sessions."""
        return [line for line in self.lines if line.is_open]

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # gone again
        ear = Ear(self._frames, self._window, Flow())
        self.lines[Line(self._loop, connection, ear, self._frames, self._lost)] = None

    def _lost(self, line: Line, reason: str) -> None:
        self.lines.pop(line, None)
        if reason:
            self._tell(reason)
