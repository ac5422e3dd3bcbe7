"""Chat servers that give no session, or are not heard in one."""

from __future__ import annotations

import json

from websockets.sync.server import ServerConnection

from tests.api_support import HOST
from tests.diagnosing import LATER, Afflicted, fault
from tests.stream_device import HELLO
from tests.support import PATH, PATIENCE, SPEECH
from xzgw.core.findings import Cause
from xzgw.tools.echo_connection import NOT_AUTHENTICATED
from xzgw.wire.audio import server_audio

UNSERVED = 250  # the number of the device that has these
SECRET_HINT = "compare SERVER_SECRET with the server's server.auth_key"
DEAD = [f"ws://{HOST}:{port}{PATH}" for port in (1, 2)]  # where nobody listens
OTHERS = "(the others failed, too: ws://127.0.0.1:"
SERVER_LOG = "its speech synthesis answer? Look at its log"


@fault(Cause.SERVER_UNREACHABLE, "server", "cannot be reached (", "-server running", OTHERS)
def dead(one: Afflicted) -> None:
    """Nobody listens where its servers should be."""
    one.number = UNSERVED
    one.connect().say(HELLO)


@fault(Cause.SERVER_SILENT, "server_hello", "took our hello and did not answer", "its models")
def silent(one: Afflicted) -> None:
    """It takes the WebSocket, and never says hello."""
    one.connect().say(HELLO)
    one.chat.accept()


@fault(Cause.SERVER_HUNG_UP, "server_hello", "hung up before its hello (", "is the path right")
def hung_up(one: Afflicted) -> None:
    """It closes in place of a hello."""
    one.connect().say(HELLO)
    one.chat.accept().close(1011)


@fault(Cause.SERVER_REFUSED, "server_hello", "refuses our token (it says 认证失败)", SECRET_HINT)
def bad_token(one: Afflicted) -> None:
    """It checks the token after the handshake, as the xiaozhi-server does."""
    one.connect().say(HELLO)
    theirs = one.chat.accept()
    theirs.send(NOT_AUTHENTICATED)
    theirs.close()


@fault(Cause.SERVER_REFUSED, "server_hello", "refuses our token (HTTP 401)", SECRET_HINT)
def unauthorised(one: Afflicted) -> None:
    """It, or a proxy before it, checks the token in the handshake."""
    refuse(one, 401)


@fault(Cause.SERVER_REFUSED, "server", "HTTP 404 in place of a WebSocket", "is the path right")
def not_found(one: Afflicted) -> None:
    """The path is wrong."""
    refuse(one, 404)


@fault(Cause.SERVER_REFUSED, "server", "HTTP 502 in place of a WebSocket", "is failing")
def bad_gateway(one: Afflicted) -> None:
    """A proxy in front of it does not reach it."""
    refuse(one, 502)


def refuse(one: Afflicted, status: int) -> None:
    """Say hello in vain: the handshake is answered with this status."""
    device = one.connect()
    one.statuses[device.identity.mac] = status
    device.say(HELLO)


def talk(one: Afflicted) -> ServerConnection:
    """Open a session in which the device is heard; the server's end of it."""
    theirs, udp = one.greet()
    voice = one.voice(udp)
    voice.speak(SPEECH[0])
    theirs.recv(PATIENCE)
    one.listen("start")
    theirs.recv(PATIENCE)
    voice.speak(SPEECH[1])
    theirs.recv(PATIENCE)
    return theirs


def answer(theirs: ServerConnection, kind: str, *states: str) -> None:
    """What the server says to it."""
    for state in states:
        theirs.send(json.dumps({"type": kind, "state": state, "text": "Hello"}))


@fault(Cause.SERVER_NO_REACTION, "downlink", "ended its speech", "speech recognition")
def no_reaction(one: Afflicted) -> None:
    """It takes the speech, and says nothing."""
    talk(one)
    one.listen("stop")


@fault(Cause.SERVER_NO_REACTION, "downlink", "audio flows to ws://", "speech", within=LATER)
def no_reaction_to_a_stream(one: Afflicted) -> None:
    """It is the one to tell the end of speech, and tells nothing."""
    talk(one)


@fault(Cause.SERVER_NO_AUDIO, "downlink", "subtitles but no sound", SERVER_LOG)
def mute(one: Afflicted) -> None:
    """It hears and writes, but does not speak."""
    theirs = talk(one)
    answer(theirs, "stt", "")
    answer(theirs, "tts", "start", "sentence_start", "stop")


@fault(
    Cause.SERVER_NO_AUDIO,
    "downlink",
    "began to answer",
    "without audio",
    SERVER_LOG,
    within=LATER,
)
def begins_only(one: Afflicted) -> None:
    """It begins to answer, and that is all."""
    answer(talk(one), "tts", "start")


@fault(Cause.SERVER_NO_AUDIO, "downlink", "understood the speech", SERVER_LOG, within=LATER)
def understands_only(one: Afflicted) -> None:
    """Its language model never comes to an end."""
    answer(talk(one), "stt", "")


@fault(Cause.SERVER_NO_AUDIO, "downlink", "6 binary messages of ws://", "does a proxy in front")
def no_header(one: Afflicted) -> None:
    """Its audio has no header, although its address asks for one."""
    theirs = talk(one)
    answer(theirs, "tts", "start")
    for packet in SPEECH[:6]:
        theirs.send(packet)


@fault(Cause.SERVER_NO_AUDIO, "", "has given up waiting for audio", SERVER_LOG, alert=False)
def given_up(one: Afflicted) -> None:
    """It answers without audio, and the device does not wait for the gateway's own patience."""
    theirs = talk(one)
    answer(theirs, "tts", "start")
    one.device.say({"type": "udp_timeout"})


@fault(Cause.NO_TTS_START, "playback", "6 packets of audio", "no tts start before", "server's log")
def no_tts_start(one: Afflicted) -> None:
    """It sends audio, but never says that devices are to play it."""
    theirs = talk(one)
    for number, packet in enumerate(SPEECH[:6]):
        theirs.send(server_audio(number, 60 * number, packet))
