"""What was seen of one device and its session, and what is made of it: plain values.

All times are seconds ago, None for what has not happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from xzgw.core.sayings import Saying, say
from xzgw.wire.messages import Json


class Cause(StrEnum):
    """What keeps a device from talking; docs/diagnosis.md explains each."""

    MQTT_GONE = "mqtt_gone"
    WRONG_TOPIC = "wrong_topic"
    BAD_MESSAGES = "bad_messages"
    BAD_HELLO = "bad_hello"
    NO_ROOM = "no_room"
    NO_SERVER = "no_server"
    SERVER_UNREACHABLE = "server_unreachable"
    SERVER_REFUSED = "server_refused"
    SERVER_HUNG_UP = "server_hung_up"
    SERVER_SILENT = "server_silent"
    UDP_WRONG_KEY = "udp_wrong_key"
    UDP_MALFORMED = "udp_malformed"
    UDP_WRONG_SOURCE = "udp_wrong_source"
    UDP_UNKNOWN = "udp_unknown"
    WRONG_ADDRESS = "wrong_address"
    AUDIO_BEFORE_UDP = "audio_before_udp"
    NO_UDP = "no_udp"
    UDP_TIMEOUT = "udp_timeout"
    DEVICE_SILENT = "device_silent"
    SERVER_NO_REACTION = "server_no_reaction"
    SERVER_NO_AUDIO = "server_no_audio"
    NO_TTS_START = "no_tts_start"


class State(StrEnum):
    OK = "ok"
    WAITING = "waiting"
    FAILED = "failed"
    NONE = "none"  # there is nothing to expect


_WELL = say("all_is_well")

CHECKS = ("mqtt", "hello", "server", "server_hello", "uplink", "downlink", "playback")


@dataclass(frozen=True, slots=True)
class Try:
    """One chat server that a hello was tried at in vain.

    Attributes:
        server: its URL, for people.
        reason: as the adapter or the gateway's own time-out has it.
        opened: whether there was a WebSocket.
        said: the beginning of the last message of it that was none; empty if there was none.
    """

    server: str
    reason: str
    opened: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A hello that came to nothing, so long ago.

    Attributes:
        reason: as the device was told.
        malformed: whether the hello itself was to blame.
        tried: the chat servers; None if it did not come to that.
    """

    ago: float
    reason: str
    malformed: bool = False
    tried: tuple[Try, ...] | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """One open session.

    Attributes:
        age: since the reply to the hello.
        server: the chat server's URL, for people.
        told: host and port that the device was told to send audio to.
        local_ip: the address of ours that its MQTT connection arrived at.
        received, forwarded, refused: datagrams with its connection id: all, those that were
            believed, and the others by reason, without those of which there were none.
        strays: datagrams from the device's IP address since then, for no open session.
        listening: since the device began to listen, and still does; arrived, listened: datagrams
            since then, all and those that were believed.
        asked: since it ended its speech, or said its wake word, and got no reaction.
        understood: since the server had recognised its speech, and nothing followed.
        speaking: since the server's tts start, if no stop came; spoken: its audio packets since
            that, or since it had understood.
        mute_turns: of the server's latest answers, those in a row with subtitles but no audio.
        reactions: messages of the server, but for MCP.
        played: whether there was any tts start.
        audio: the server's audio packets; sent: those that went to the device; waiting: those that
            could not, as nobody knows yet where it is.
        headless: binary messages of the server that had no header.
        timed_out: whether the device reported that it gets no audio.
    """

    age: float
    server: str
    told: tuple[str, int]
    local_ip: str
    in_call: bool = False
    received: int = 0
    forwarded: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    strays: int = 0
    listening: float | None = None
    arrived: int = 0
    listened: int = 0
    asked: float | None = None
    understood: float | None = None
    speaking: float | None = None
    spoken: int = 0
    mute_turns: int = 0
    reactions: int = 0
    played: bool = False
    audio: int = 0
    sent: int = 0
    waiting: int = 0
    headless: int = 0
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """One connected device.

    Attributes:
        connected, silent: since its CONNECT, since its last packet.
        unanswered: since an MCP ping that it has not answered, as it did earlier ones, nor spoken.
        wrong_topic: one that it published on in vain.
        bad_messages: how many of its messages were no JSON objects.
        answers: whether it has answered anything of MCP, as one does that speaks the protocol.
        secret: whether chat servers are shown a real token.
        hello: since its latest one.
        reaching: whether a chat server is being reached for it; greeted: one has it.
        attempt: the latest one that failed, if no session came after it.
        talk: the open session.
        last: what was wrong with the session before; `ended`: since its end.
    """

    peer_ip: str
    connected: float
    silent: float = 0.0
    unanswered: float | None = None
    wrong_topic: str | None = None
    bad_messages: int = 0
    answers: bool = False
    secret: bool = False
    hello: float | None = None
    reaching: bool = False
    greeted: bool = False
    attempt: Attempt | None = None
    talk: Talk | None = None
    last: Found | None = None
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """Something wrong.

    Attributes:
        check: the item of the checklist that fails for it, one of CHECKS.
        sentence: cause and remedy.
    """

    cause: Cause
    check: str
    sentence: Saying


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the checklist."""

    name: str
    state: State
    text: Saying


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, if anything, and the whole checklist in order."""

    found: Found | None
    checks: tuple[Check, ...]

    def as_json(self) -> Json:
        """As the API shows it."""
        found = self.found
        sentence = _WELL if found is None else found.sentence
        return {
            "cause": None if found is None else found.cause.value,
            "sentence": sentence,
            "parts": sentence.parts,
            "checks": [
                {
                    "name": check.name,
                    "state": check.state.value,
                    "text": check.text,
                    "parts": check.text.parts,
                }
                for check in self.checks
            ],
        }
