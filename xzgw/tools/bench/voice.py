"""The UDP socket of one of the bench's sessions."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic_ns

from xzgw.tools.bench.frames import Ear, Frames
from xzgw.tools.bench.loop import READ, Loop
from xzgw.tools.device_voice import Session
from xzgw.tools.steps import StepError
from xzgw.wire.audio import AudioError, Cipher

_DATAGRAM = 2048  # bytes, more than any has


class BenchVoice:
    """Speaks, and listens with its ear."""

    __slots__ = ("_frames", "_loop", "_number", "_opener", "_sealer", "_socket", "ear")

    def __init__(self, loop: Loop, session: Session, frames: Frames, ear: Ear) -> None:
        """Have a socket of its own. Raises StepError."""
        family = socket.AF_INET6 if ":" in session.server else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect((session.server, session.port))
        except OSError as e:
            self._socket.close()
            raise StepError(f"UDP to {session.server} port {session.port}: {e}") from None
        ssrc = int.from_bytes(session.nonce[4:8], "big")
        self._sealer, self._opener = Cipher(session.key, ssrc), Cipher(session.key, ssrc)
        self._frames = frames
        self._number = 0  # of the last frame sent
        self._loop = loop
        self.ear = ear
        loop.watch(self._socket.fileno(), READ, self._hear)

    def speak(self, stamp: int) -> None:
        """Send one frame that says it was sent at this time (ns)."""
        self._number += 1
        opus = self._frames.make(stamp, self._number)
        with suppress(OSError):  # an ICMP answer or a full queue: lost, and counted as such
            self._socket.send(self._sealer.seal(self._number, 0, opus))

    def close(self) -> None:
        """Neither speak nor listen any more."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()

    def _hear(self, _events: int) -> None:
        try:
            datagram = self._socket.recv(_DATAGRAM)
        except OSError:
            return  # an ICMP answer to an earlier datagram
        now = monotonic_ns()
        try:
            _, _, opus = self._opener.open(datagram)
        except AudioError:
            self.ear.flow.damaged += 1
            return
        self.ear.take(opus, now)
