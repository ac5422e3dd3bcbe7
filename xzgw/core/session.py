"""The voice session of one device: one explicit state machine, data in, commands out.

A device has at most one session at a time:

    Idle --hello--> Dialing --server hello--> Live --goodbye, loss, ...--> Idle
                                               |
                                               +--call--> InCall --goodbye, loss, ...--> Idle

`Session.receive(event)` returns the commands to run, in order, and never performs anything itself,
so nothing re-enters it and tests are plain equality. Every dial gets a number (`link`); an event
that carries an older number is stale news about a connection already given up, and is ignored.
That is what keeps the end of one session from touching the next, in whatever order the news comes.

Source of the rules: docs/protocol.md, "Session".
"""

from __future__ import annotations

from dataclasses import replace

from xzgw.core.session_types import (
    CLOSE_GOING_AWAY,
    CLOSE_NORMAL,
    Answer,
    BackendEvent,
    BackendHello,
    BackendLost,
    BackendOpened,
    BackendSilent,
    BackendSlow,
    BackendText,
    CallEnded,
    CallEntered,
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
    Dialing,
    Gone,
    Greet,
    HangUp,
    Hello,
    Idle,
    InCall,
    LeaveCall,
    Live,
    NoBackend,
    SessionEnded,
    State,
    ToBackend,
    ToDevice,
)
from xzgw.wire import messages


class Session:
    """The state machine; see the module's text."""

    __slots__ = ("_last_link", "state")

    def __init__(self) -> None:
        self.state: State = Idle()
        self._last_link = 0

    def receive(self, event: DeviceEvent | BackendEvent) -> list[Command]:
        """Take one event; return what is to be done about it, in order."""
        state = self.state
        match state, event:
            case Gone(), _:
                return []
            case _, DeviceHelloRefused(reason, ends):
                # An open session stays if this hello could never have replaced it; no goodbye if
                # it ends, as for any hello.
                end = self._end(state, reason, CLOSE_NORMAL) if ends else []
                return [*end, _error(reason)]
            case _, DeviceLost():
                commands = self._leave(state, "device disconnected")
                self.state = Gone()
                return commands
            case Idle(), _:
                return self._while_idle(state, event)
            case Dialing(), _:
                return self._while_dialing(state, event)
            case Live(), _:
                return self._while_live(state, event)
            case _:
                return self._while_in_call(state, event)

    def _while_idle(self, state: Idle, event: DeviceEvent | BackendEvent) -> list[Command]:
        match event:
            case DeviceHello(hello):
                return self._dial(hello, state.ended, fresh=True)
            case DeviceText(_, kind, session_id) if kind != "mcp" or session_id:
                # The device believes its channel open, as after a lost connection: this goodbye
                # is what makes it say hello again. (An MCP reply outside any session is no sign
                # of that: the gateway's own MCP client asked for it.)
                return [ToDevice(messages.goodbye(session_id))]
        return []

    def _while_dialing(self, state: Dialing, event: DeviceEvent | BackendEvent) -> list[Command]:
        link = state.link
        match event:
            case DeviceHello(hello):
                return self._newer_hello(state, hello)
            case DeviceGoodbye(session_id) if not session_id or session_id != state.ended:
                return self._leave(state, "device said goodbye")
            case SessionEnded(reason):
                return [*self._end(state, reason, CLOSE_GOING_AWAY), _error(reason)]
            case BackendOpened(n) if n == link:
                self.state = replace(state, greeted=True)
                return [Greet(link, state.hello.text)]
            case BackendSlow(n) if n == link and state.greeted:
                return [ToBackend(link, state.hello.text)]
            case BackendText(n, text) if n == link:
                return [ToDevice(text)]  # some servers speak before they answer the hello
            case BackendHello(n, session_id, audio_params) if n == link:
                self.state = Live(link, session_id, state.ended)
                return [Answer(link, session_id, audio_params, state.hello.frame_ms)]
            case BackendSilent(n) if n == link:
                hang_up = HangUp(link, CLOSE_NORMAL, "no hello in time")
                return [hang_up, *self._dial(state.hello, state.ended, fresh=False)]
            case BackendLost(n) if n == link:
                return self._dial(state.hello, state.ended, fresh=False)
            case NoBackend(n, reason) if n == link:
                self.state = Idle(state.ended)
                return [_error(reason)]
        return []

    def _while_live(self, state: Live, event: DeviceEvent | BackendEvent) -> list[Command]:
        link = state.link
        match event:
            case DeviceText(text):
                return [ToBackend(link, text)]
            case BackendText(n, text) if n == link:
                return [ToDevice(text)]
            case DeviceHello(hello):
                # No goodbye for the old session: some clients drop MQTT on any goodbye.
                end = self._end(state, "replaced by a new hello", CLOSE_NORMAL)
                return [*end, *self._dial(hello, state.session_id, fresh=True)]
            case DeviceGoodbye(session_id) if not _names_earlier(session_id, state):
                return self._leave(state, "device said goodbye")
            case DeviceUdpTimeout():
                return self._end(state, "device reported a UDP time-out", CLOSE_NORMAL)
            case BackendLost(n, reason) if n == link:
                self.state = Idle(state.session_id)
                return [CloseAudio(reason), ToDevice(messages.goodbye(state.session_id))]
            case CallEntered():
                self.state = InCall(state.session_id, state.ended)
                return [HangUp(link, CLOSE_NORMAL, "device is in a call")]
            case SessionEnded(reason):
                end = self._end(state, reason, CLOSE_GOING_AWAY)
                return [*end, ToDevice(messages.goodbye(state.session_id))]
        return []

    def _while_in_call(self, state: InCall, event: DeviceEvent | BackendEvent) -> list[Command]:
        match event:
            case DeviceHello(hello):
                end = self._end(state, "replaced by a new hello", CLOSE_NORMAL)
                return [*end, *self._dial(hello, state.session_id, fresh=True)]
            case DeviceGoodbye(session_id) if not _names_earlier(session_id, state):
                return self._end(state, "device said goodbye", CLOSE_NORMAL)
            case DeviceUdpTimeout():
                return self._end(state, "device reported a UDP time-out", CLOSE_NORMAL)
            case CallEnded(reason):
                self.state = Idle(state.session_id)
                return [CloseAudio(reason), ToDevice(messages.goodbye(state.session_id))]
            case SessionEnded(reason):
                end = self._end(state, reason, CLOSE_GOING_AWAY)
                return [*end, ToDevice(messages.goodbye(state.session_id))]
        return []

    def _dial(self, hello: Hello, ended: str, *, fresh: bool) -> list[Command]:
        self._last_link += 1
        self.state = Dialing(self._last_link, hello, ended=ended)
        return [Dial(self._last_link, fresh)]

    def _newer_hello(self, state: Dialing, hello: Hello) -> list[Command]:
        """The newest hello wins, with never more than one dial in flight."""
        if not state.greeted or hello == state.hello:
            self.state = replace(state, hello=hello)
            return []
        hang_up = HangUp(state.link, CLOSE_NORMAL, "replaced by a new hello")
        return [hang_up, *self._dial(hello, state.ended, fresh=True)]

    def _leave(self, state: State, reason: str) -> list[Command]:
        """The device ends it. If it is being called, it will not answer."""
        end = self._end(state, reason, CLOSE_NORMAL)
        return end if isinstance(state, InCall) else [*end, LeaveCall(reason)]

    def _end(self, state: State, reason: str, code: int) -> list[Command]:
        """Back to Idle; the server's connection is closed, the device is not told."""
        match state:
            case Dialing(link):
                self.state = Idle(state.ended)
                return [HangUp(link, code, reason)]
            case Live(link, session_id):
                self.state = Idle(session_id)
                return [CloseAudio(reason), HangUp(link, code, reason)]
            case InCall(session_id):
                self.state = Idle(session_id)
                return [CloseAudio(reason), LeaveCall(reason)]
        return []


def _names_earlier(session_id: str | None, state: Live | InCall) -> bool:
    """Whether a goodbye is late news of the session before this one."""
    return bool(session_id) and session_id == state.ended and session_id != state.session_id


def _error(reason: str) -> ToDevice:
    return ToDevice(messages.error(reason))
