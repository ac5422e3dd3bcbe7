"""Sessions without sound, because of what became of UDP."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.api_support import HOST
from tests.diagnosing import Afflicted, fault
from tests.support import PATIENCE, SPEECH
from xzgw.core.findings import Cause
from xzgw.wire.audio import Cipher, server_audio

OPEN = "/udp open, is 127.0.0.1 reachable from it?"


def speak(one: Afflicted, udp: dict[str, Any], count: int = 6) -> None:
    """So many packets of audio, as somebody does who was told this."""
    voice = one.voice(udp)
    for packet in SPEECH[:count]:
        voice.speak(packet)


def sealed(one: Afflicted, udp: dict[str, Any]) -> tuple[socket.socket, Cipher]:
    """For datagrams that no device would send: its socket, and what makes them."""
    cipher = Cipher(bytes.fromhex(udp["key"]), int(udp["nonce"][8:16], 16))
    return one.voice(udp).socket, cipher


@fault(Cause.NO_UDP, "uplink", "no UDP from this device: is ", OPEN, "set PUBLIC_IP")
def blocked(one: Afflicted) -> None:
    """Not one datagram arrives."""
    _, udp = one.greet()
    with socket.socket(type=socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((HOST, 0))
        speak(one, {**udp, "port": elsewhere.getsockname()[1]})


@fault(Cause.AUDIO_BEFORE_UDP, "downlink", "subtitles but no sound: 1 packets", OPEN)
def subtitles_but_no_sound(one: Afflicted) -> None:
    """The server's audio waits for the device's first datagram."""
    theirs, _ = one.greet()
    theirs.send(json.dumps({"type": "tts", "state": "start"}))
    theirs.send(server_audio(0, 60, SPEECH[0]))


@fault(Cause.UDP_WRONG_KEY, "uplink", "decrypt to nonsense", "key and nonce of its latest hello")
def wrong_key(one: Afflicted) -> None:
    """The device goes on with another session's key."""
    _, udp = one.greet()
    speak(one, {**udp, "key": "00" * 16}, 40)  # one of 75 passes for audio by chance


@fault(Cause.UDP_MALFORMED, "uplink", "no audio packet (wrong_length 6)", "on the way changes")
def malformed(one: Afflicted) -> None:
    """Something on the way cuts datagrams short."""
    voice, cipher = sealed(one, one.greet()[1])
    for sequence in range(1, 7):
        voice.send(cipher.seal(sequence, 0, SPEECH[sequence])[:-1])


@fault(Cause.UDP_MALFORMED, "uplink", "none of the 9 datagrams since", "old_sequence 9")
def malformed_later(one: Afflicted) -> None:
    """The device begins to count anew in the middle of its session."""
    theirs, udp = one.greet()
    voice, cipher = sealed(one, udp)
    for sequence in range(1, 11):
        voice.send(cipher.seal(sequence, 0, SPEECH[sequence]))
        theirs.recv(PATIENCE)
    one.listen("start")
    theirs.recv(PATIENCE)
    for sequence in range(1, 10):
        voice.send(cipher.seal(sequence, 0, SPEECH[sequence]))


@fault(Cause.UDP_WRONG_SOURCE, "uplink", "9 datagrams", "other places than 127.0.1.", "NAT")
def wrong_source(one: Afflicted) -> None:
    """Its datagrams come from many places, each time another one."""
    udp = one.greet()[1]
    _, cipher = sealed(one, udp)
    for sequence in range(1, 10):
        with socket.socket(type=socket.SOCK_DGRAM) as voice:
            voice.bind((f"127.0.0.{3 + sequence % 3}", 0))
            voice.sendto(cipher.seal(sequence, 0, SPEECH[sequence]), (HOST, udp["port"]))


@fault(Cause.UDP_UNKNOWN, "uplink", "6 datagrams came from 127.0.1.", "an older session")
def another_session(one: Afflicted) -> None:
    """It goes on with a connection id that is no more."""
    _, udp = one.greet()
    nonce = udp["nonce"]
    other = f"{int(nonce[8:16], 16) ^ 1:08x}"
    speak(one, {**udp, "nonce": nonce[:8] + other + nonce[16:]})


@fault(
    Cause.UDP_TIMEOUT,
    "",
    "no audio reaches it, 1 packets were sent",
    "let them in?",
    alert=False,
)
def time_out(one: Afflicted) -> None:
    """What the gateway sends does not get through to the device, which says so."""
    theirs, udp = one.greet()
    voice = one.voice(udp)
    voice.speak(SPEECH[0])
    theirs.send(json.dumps({"type": "tts", "state": "start"}))
    theirs.send(server_audio(0, 60, SPEECH[0]))
    voice.hear()  # as far as its firewall
    one.device.say({"type": "udp_timeout"})
