"""One device under observation: what was seen of it, and a diagnosis of that whenever asked.

A diagnosis that finds something is told once in each session: in the log, as an event and, if so
configured, on the device. So is one of a hello that came to nothing, until one succeeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from twisted.logger import Logger

from xzgw.core.device_peer import Peer
from xzgw.core.diagnosis import diagnose, first
from xzgw.core.door import Presence
from xzgw.core.findings import Attempt, Cause, Diagnosis, Findings, Found, Talk, Try
from xzgw.core.intake import Intake
from xzgw.core.link import Link
from xzgw.core.mcp import McpClient
from xzgw.core.services import Services
from xzgw.core.symptoms import Symptoms
from xzgw.core.voice_session import VoiceSession
from xzgw.wire import messages

LONGEST_TOPIC = 100  # characters that are remembered of one


class Patient(Protocol):
    """What is looked at of a device; times are clock seconds."""

    peer: Peer
    mcp: McpClient
    voice: VoiceSession | None
    connected_at: float
    seen_at: float
    intake: Intake

    @property
    def presence(self) -> Presence: ...

    def push(self, text: bytes) -> None:
        """Publish one message to it."""


class Checkup:
    """See the module's text.

    Attributes:
        greeted: whether the chat server that is being reached has the device's hello.
    """

    __slots__ = (
        "_attempt",
        "_hello_at",
        "_last",
        "_patient",
        "_queued",
        "_services",
        "_symptoms",
        "_told",
        "_topic",
        "greeted",
    )

    _log = Logger()

    def __init__(self, patient: Patient, services: Services) -> None:
        self.greeted = False
        self._patient = patient
        self._services = services
        self._symptoms: Symptoms | None = None  # of the open session
        self._told: frozenset[Cause] = frozenset()
        self._queued = False
        self._topic: str | None = None
        self._hello_at: float | None = None
        self._attempt: tuple[float, Attempt] | None = None  # and when its hello came
        self._last: tuple[float, Found] | None = None

    # --- what happens ---

    def misplaced(self, topic: str) -> None:
        """It published on a topic that is not taken."""
        self._topic = topic[:LONGEST_TOPIC]
        self._look_later()

    def unreadable(self) -> None:
        """It sent what is no message."""
        self._look_later()

    def asked(self) -> None:
        """It said hello."""
        self._hello_at = self._now

    def timed_out(self) -> None:
        """It reported that no audio reaches it."""
        if self._symptoms is not None:
            self._symptoms.timed_out = True

    def refused(self, reason: str, malformed: bool) -> None:
        """Its hello was refused."""
        self._failed(Attempt(0.0, reason, malformed))

    def unserved(self, reason: str, tried: tuple[Try, ...]) -> None:
        """None of the chat servers gave it a session."""
        self._failed(Attempt(0.0, reason, tried=tried))

    def given_up(self) -> None:
        """It is about to be disconnected, as it gives no sign of life."""
        self._tell(alert=False)

    def opened(self, voice: VoiceSession, link: Link) -> None:
        """Its session is open."""
        told = self._services.voice_address(self._patient.peer.local_ip)
        seconds = self._services.clock.seconds
        self._symptoms = voice.observer = Symptoms(
            seconds, voice.channel, link, told, self._strays(), self._look_later
        )
        self._told = frozenset()
        self._attempt = self._last = None
        self._look_later()

    def closing(self) -> None:
        """Its session ends, and is still there to be looked at."""
        found = self._tell(alert=False)
        self._last = None if found is None else (self._now, found)
        self._symptoms = None

    # --- what is made of it ---

    def diagnosis(self) -> Diagnosis:
        """As things are now."""
        return diagnose(self._findings())

    def _findings(self) -> Findings:
        patient, now = self._patient, self._now
        attempt, last = self._attempt, self._last
        return Findings(
            peer_ip=patient.peer.ip,
            connected=now - patient.connected_at,
            silent=now - patient.seen_at,
            unanswered=self._unanswered(),
            wrong_topic=self._topic,
            bad_messages=patient.intake.refused,
            answers=patient.mcp.answered,
            secret=bool(self._services.config.server_secret),
            hello=None if self._hello_at is None else now - self._hello_at,
            reaching=patient.presence is Presence.DIALING,
            greeted=self.greeted,
            attempt=None if attempt is None else replace(attempt[1], ago=now - attempt[0]),
            talk=self._talk(),
            last=None if last is None else last[1],
            ended=0.0 if last is None else now - last[0],
        )

    def _talk(self) -> Talk | None:
        patient = self._patient
        if self._symptoms is None or patient.voice is None:
            return None
        in_call = patient.presence is Presence.IN_CALL
        server, local_ip = patient.voice.server, patient.peer.local_ip
        return self._symptoms.talk(server, local_ip, in_call, self._strays())

    def _unanswered(self) -> float | None:
        mcp, seen_at, voice = self._patient.mcp, self._patient.seen_at, self._patient.voice
        if voice is not None:
            seen_at = max(seen_at, voice.channel.jitter_up.at)
        if not mcp.answers_ping or mcp.pinged_at is None or mcp.pinged_at < seen_at:
            return None
        return self._now - mcp.pinged_at

    def _failed(self, attempt: Attempt) -> None:
        self._attempt = self._now if self._hello_at is None else self._hello_at, attempt
        self._tell(alert=True)

    def _look_later(self) -> None:
        if not self._queued:
            self._queued = True
            self._services.rounds.expect(self._look)

    def _look(self) -> None:
        self._queued = False
        if self._patient.presence is Presence.GONE:
            return
        self._tell(alert=True)
        if self._symptoms is not None and self._symptoms.pending:
            self._look_later()

    def _tell(self, alert: bool) -> Found | None:
        """Tell what is wrong, if it is news; returns it either way."""
        found = first(self._findings())
        if found is None or found.cause in self._told:
            return found
        self._told |= {found.cause}
        self._services.tally.diagnosed(found.cause)
        client_id = self._patient.peer.client_id
        if self._services.lines.take(found.cause):
            self._log.warn(
                "{client}: {sentence} ({cause})",
                client=client_id,
                sentence=found.sentence,
                cause=found.cause.value,
            )
        self._services.events.publish(
            "diagnosis",
            client_id=client_id,
            cause=found.cause.value,
            sentence=found.sentence,
            parts=found.sentence.parts,
        )
        if alert and self._services.config.diagnosis_alert:
            self._patient.push(messages.alert("xzgw", found.sentence))
        return found

    def _strays(self) -> int:
        return self._services.strays.count(self._patient.peer.ip)

    @property
    def _now(self) -> float:
        return self._services.clock.seconds()
