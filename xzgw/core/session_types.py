"""The vocabulary of the session machine: its states, the events it takes, the commands it gives.

Events are past facts, commands imperatives. `link` is the number of one dial; `session_id` is the
server's name for the session, which the device repeats in its messages.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001


@dataclass(frozen=True, slots=True)
class Hello:
    """What a device asked for: the hello for the server, as text, and its frame duration."""

    text: bytes
    frame_ms: float | None


# --- States: data exists only where it is valid. `ended` is the id of the session before. ---


@dataclass(frozen=True, slots=True)
class Idle:
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Dialing:
    """A server is being reached; `greeted` once it has our hello."""

    link: int
    hello: Hello
    greeted: bool = False
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    link: int
    session_id: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class InCall:
    """The device talks, or waits to talk, to another device; there is no server."""

    session_id: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The device's connection is lost; nothing happens any more."""


State = Idle | Dialing | Live | InCall | Gone


# --- Events: past facts ---


@dataclass(frozen=True, slots=True)
class DeviceHello:
    hello: Hello


@dataclass(frozen=True, slots=True)
class DeviceHelloRefused:
    """A hello that this gateway cannot serve, ever (its version, its shape) or just now."""

    reason: str
    ends: bool = False  # the open session: the device has given it up for this hello


@dataclass(frozen=True, slots=True)
class DeviceText:
    """Any other message of the device. `kind` is its type, `session_id` the id it carries."""

    text: bytes
    kind: str | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class DeviceGoodbye:
    session_id: str | None


@dataclass(frozen=True, slots=True)
class DeviceUdpTimeout:
    pass


@dataclass(frozen=True, slots=True)
class DeviceLost:
    pass


@dataclass(frozen=True, slots=True)
class BackendOpened:
    link: int


@dataclass(frozen=True, slots=True)
class BackendHello:
    link: int
    session_id: str
    audio_params: object


@dataclass(frozen=True, slots=True)
class BackendText:
    link: int
    text: bytes


@dataclass(frozen=True, slots=True)
class BackendLost:
    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class BackendSilent:
    """The server's share of the time is used up."""

    link: int


@dataclass(frozen=True, slots=True)
class BackendSlow:
    """No answer to our hello for a while: the server may have dropped it."""

    link: int


@dataclass(frozen=True, slots=True)
class NoBackend:
    """There is no server left to try."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallEntered:
    """The device is taken from its server into a call with another device."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The other device has left the call, or never came."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The gateway itself ends the session: it stops, or its operator says so."""

    reason: str


DeviceEvent = (
    DeviceHello
    | DeviceHelloRefused
    | DeviceText
    | DeviceGoodbye
    | DeviceUdpTimeout
    | DeviceLost
    | CallEntered
    | CallEnded
    | SessionEnded
)
BackendEvent = (
    BackendOpened
    | BackendHello
    | BackendText
    | BackendLost
    | BackendSilent
    | BackendSlow
    | NoBackend
)


# --- Commands: imperatives ---


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to a server; a fresh dial starts a new time budget with all servers eligible."""

    link: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Greet:
    """Say hello to the server that has just been reached."""

    link: int
    text: bytes


@dataclass(frozen=True, slots=True)
class HangUp:
    link: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Open the audio channel with a fresh key and reply to the device's hello."""

    link: int
    session_id: str
    audio_params: object
    frame_ms: float | None


@dataclass(frozen=True, slots=True)
class CloseAudio:
    reason: str


@dataclass(frozen=True, slots=True)
class LeaveCall:
    """Tell the other device of the call, or the one that calls, that this one has left."""

    reason: str


@dataclass(frozen=True, slots=True)
class ToDevice:
    text: bytes


@dataclass(frozen=True, slots=True)
class ToBackend:
    link: int
    text: bytes


Command = Dial | Greet | HangUp | Answer | CloseAudio | LeaveCall | ToDevice | ToBackend
