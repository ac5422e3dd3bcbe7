"""One connected device: its messages in, its session run, its replies out.

The decisions are the session machine's (session.py); here its commands are carried out. Audio does
not pass here: the machine only opens and closes the channel.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.core.checkup import Checkup
from xzgw.core.device_peer import Peer
from xzgw.core.door import Presence
from xzgw.core.hello import read_hello
from xzgw.core.intake import Intake
from xzgw.core.link import Link
from xzgw.core.message_log import log_message
from xzgw.core.ports import DeviceLink
from xzgw.core.presence import presence_of
from xzgw.core.reach import Reach
from xzgw.core.services import Services
from xzgw.core.session import Session
from xzgw.core.session_types import (
    Answer,
    BackendEvent,
    CloseAudio,
    Command,
    DeviceEvent,
    DeviceGoodbye,
    DeviceHello,
    DeviceHelloRefused,
    DeviceLost,
    DeviceText,
    DeviceUdpTimeout,
    Dial,
    Greet,
    HangUp,
    LeaveCall,
    ToBackend,
    ToDevice,
)
from xzgw.core.voice_session import Opening, VoiceSession
from xzgw.wire import messages

BYTES_A_MESSAGE = 8192  # so many bytes count as one message towards message_rate


class Device:
    """See the module's text. Lives as long as one MQTT connection.

    Attributes, for looking only; times are clock seconds:
        voice: the open session, in a call, too.
        device_audio: the audio_params of the latest good hello, as they came.
    """

    _log = Logger()

    def __init__(
        self,
        peer: Peer,
        link: DeviceLink,
        services: Services,
        leave_call: Callable[[Device, str], None],
    ) -> None:
        """
        Args:
            leave_call: told when the device leaves a call with another one, or will not answer
                one, and why.
        """
        self.peer = peer
        self.session = Session()
        self.voice: VoiceSession | None = None
        self.mcp = services.mcp_client(link.publish)
        self.intake = Intake(peer.client_id, services, link.close)
        self.checkup = Checkup(self, services)
        self.connected_at = self.seen_at = services.clock.seconds()
        self.device_audio: object = None
        self._leave_call = leave_call
        self._mqtt = link
        self._services = services
        self._reach = Reach(peer, services, self.mcp, self.feed, self.checkup.unserved)
        self._link: Link | None = None  # the present one to a server
        # Few at a time; a deque would take 700 bytes even when it is empty.
        self._events: list[DeviceEvent | BackendEvent] = []
        self._busy = False
        self._counted = False  # its session, among all

    def start(self) -> None:
        """Ask for the device's tools; called once CONNACK is sent."""
        self.mcp.start().addCallback(self._log_tools)

    @property
    def presence(self) -> Presence:
        """What the session is doing."""
        return presence_of(self.session.state)

    def push(self, text: bytes) -> None:
        """Publish one message to the device, in the gateway's own name."""
        self._mqtt.publish(text)

    def received(self, text: bytes) -> None:
        """Take one message of the device."""
        if not self._take(text):
            return
        try:
            message = messages.parse(text)
        except messages.MessageError as error:
            self.intake.refuse(str(error))
            self.checkup.unreadable()
            return
        kind = messages.text_member(message, "type")
        session_id = messages.text_member(message, "session_id")
        match kind:
            case "hello":
                self._greet(message)
            case "goodbye":
                self.feed(DeviceGoodbye(session_id))
            case "udp_timeout":
                self.checkup.timed_out()
                self.feed(DeviceUdpTimeout())
            case "mcp" if self._is_ours(message.get("payload")):
                pass
            case _:
                if self.voice is not None:
                    self.voice.device_said(kind, messages.text_member(message, "state"))
                self.feed(DeviceText(text, kind, session_id))

    def misplaced(self, topic: str, text: bytes) -> None:
        """A message came on a topic that is not taken; it counts all the same."""
        self.checkup.misplaced(topic)
        self._take(text)

    def quiet_for(self) -> float | None:
        """Seconds since its TCP last acknowledged anything; None if nobody knows."""
        return self._mqtt.quiet_for()

    def disconnect(self, reason: str) -> None:
        """Close the MQTT connection; `lost` follows."""
        self._mqtt.close(reason)

    def lost(self) -> None:
        """The MQTT connection is no more."""
        self.feed(DeviceLost())
        self.mcp.close("device disconnected")

    def feed(self, event: DeviceEvent | BackendEvent) -> None:
        """Let the session take an event; what its commands cause in turn comes after them."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                taken = self._events.pop(0)
                for command in self.session.receive(taken):
                    self._run(command)
                if self._services.traces.running:
                    self.show_trace(taken)
        finally:
            self._busy = False
            self._count()

    def show_trace(self, taken: DeviceEvent | BackendEvent | None = None) -> None:
        """Tell a trace of this device, if there is one, what there is now to listen to."""
        channel = None if self.voice is None else self.voice.channel
        self._services.traces.step(self.peer, taken, self.session.state, self._link, channel)

    def _run(self, command: Command) -> None:
        match command:
            case ToDevice(text):
                self._debug("to device", text)
                self._mqtt.publish(text)
            case ToBackend(_, text):
                self._debug("to server", text)
                self._to_backend(text)
            case Dial(number, fresh):
                self.checkup.greeted = False
                self._link = self._reach.dial(number, fresh)
            case Greet(number, text):
                self._to_backend(text)
                self._reach.greeted(number)
                self.checkup.greeted = True
            case Answer():
                self._answer(command)
            case CloseAudio(reason):
                self._close_audio(reason)
            case LeaveCall(reason):
                self._leave_call(self, reason)
            case HangUp(_, code, reason):
                self._hang_up(code, reason)

    def _greet(self, message: messages.Json) -> None:
        """Take a hello, unless there is no room for its session."""
        self.checkup.asked()
        event = read_hello(message)
        if isinstance(event, DeviceHello):
            self.device_audio = message.get("audio_params")
            if self.presence is not Presence.DIALING:
                no = self._services.limits.no_session(self._counted)
                event = event if no is None else DeviceHelloRefused(no, ends=True)
        self.feed(event)
        if isinstance(event, DeviceHelloRefused):
            self.checkup.refused(event.reason, malformed=not event.ends)

    def _count(self) -> None:
        is_open = self.presence not in (Presence.IDLE, Presence.GONE)
        if is_open != self._counted:
            self._counted = is_open
            self._services.limits.sessions += 1 if is_open else -1

    def _debug(self, direction: str, text: bytes) -> None:
        if self._services.config.debug:
            log_message(self._log, self.peer.client_id, direction, text)

    def _to_backend(self, text: bytes) -> None:
        if self._link is not None:
            self._link.send_text(text)

    def _hang_up(self, code: int, reason: str) -> None:
        self._reach.stop()
        if self._link is not None:
            self._link.close(code, reason)
            self._link = None

    def _answer(self, answer: Answer) -> None:
        if self._link is None:
            return
        opening = Opening(answer, self._reach.reached(), self._reach.started_at)
        self.voice = VoiceSession(opening, self.peer, self._link, self._services)
        self.checkup.opened(self.voice, self._link)
        self._mqtt.publish(self.voice.reply())

    def _close_audio(self, reason: str) -> None:
        if self.voice is not None:
            self.checkup.closing()
            voice, self.voice = self.voice, None
            voice.close(reason)

    def _is_ours(self, payload: object) -> bool:
        return isinstance(payload, dict) and self.mcp.reply(payload)

    def _log_tools(self, status: str) -> None:
        self._log.info("MCP: {client}: {status}", client=self.peer.client_id, status=status)

    def _take(self, text: bytes) -> bool:
        """Count a message; whether to take it."""
        return self.intake.take(1 + len(text) // BYTES_A_MESSAGE, self.seen_at)
