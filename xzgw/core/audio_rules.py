"""Why a session has no sound: rules from what was seen to cause and remedy."""

from __future__ import annotations

from ipaddress import ip_address

from xzgw.core.findings import Cause, Findings, Found, Talk
from xzgw.core.start_checks import drawback

UDP_TIME = 4.0  # s in which a device that listens is heard
REACTION_TIME = 8.0  # s for the server to react to the end of speech, or to a wake word
QUIET_TIME = 20.0  # s of audio that nothing follows, when only the server knows the end of speech
SPEECH_TIME = 12.0  # s from recognised text, or tts start, to the first audio
FEW = 5  # packets that may be stray ones

_SUFFIX = "?from=mqtt_gateway"
_LATE = "old_sequence"  # no sign of anything but an untidy network
_DOUBTED = ("unconfirmed_source", "unconfirmed_jump", "unconfirmed_duration")


def uplink(f: Findings) -> Found | None:
    """Datagrams that come, but are not believed."""
    talk = f.talk
    if talk is None or talk.age < UDP_TIME:
        return None
    implausible = talk.refused.get("implausible", 0)
    if implausible >= FEW and implausible > 4 * talk.forwarded:  # one of 75 passes by chance
        return _found(
            Cause.UDP_WRONG_KEY,
            f"{implausible} datagrams of this session decrypt to nonsense: the device does not use"
            " the key and nonce of its latest hello reply, or does not send Opus of one channel in"
            " the frame duration of its hello; restart it, then look at its firmware",
        )
    return None if talk.forwarded else _unbelieved(talk, f.peer_ip)


def _unbelieved(talk: Talk, peer_ip: str) -> Found | None:
    known = (_LATE, "implausible", *_DOUBTED)
    bad = {reason: n for reason, n in talk.refused.items() if reason not in known}
    if bad:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(bad.items()))
        return _found(
            Cause.UDP_MALFORMED,
            f"what arrives by UDP for this session is no audio packet ({reasons}): something on the"
            " way changes datagrams, or the firmware speaks another protocol",
        )
    if not talk.received:
        return None
    return _found(
        Cause.UDP_WRONG_SOURCE,
        f"{talk.received} datagrams of this session, but none could be believed: they come from"
        f" other places than {peer_ip}, where this device's MQTT comes from, and never three in a"
        " row from one: is there a NAT, VPN or load balancer that spreads UDP over several"
        " addresses or ports? Let it keep one for each device",
    )


def no_uplink(f: Findings) -> Found | None:
    """No datagram at all."""
    talk = f.talk
    if talk is None or talk.received or talk.age < UDP_TIME:
        return None
    host, here = talk.told[0], f"hello answered {talk.age:.0f} s ago"
    if talk.strays >= FEW:
        return _found(
            Cause.UDP_UNKNOWN,
            f"{here}, {talk.strays} datagrams came from {f.peer_ip} since, but none with this"
            " session's connection id: the device goes on with an older session, or they are"
            " another device's behind the same address; restart the device",
        )
    why = drawback(host)
    if why is not None and not _same_machine(f.peer_ip, host, talk.local_ip):
        return _found(
            Cause.WRONG_ADDRESS,
            f"{here}, no UDP from this device: it was told to send audio to {host}, which {why}:"
            " set PUBLIC_IP to the address that devices reach this machine at",
        )
    return _unheard(talk, here)


def _unheard(talk: Talk, here: str) -> Found:
    host, port = talk.told
    question = f"is {port}/udp open, is {host} reachable from it?"
    if not talk.waiting:
        return _found(Cause.NO_UDP, f"{here}, no UDP from this device: {question}")
    return Found(
        Cause.AUDIO_BEFORE_UDP,
        "downlink",
        f"subtitles but no sound: {talk.waiting} packets of the server's audio wait, as no UDP"
        f" came from this device in {talk.age:.0f} s, so nobody knows where to send them:"
        f" {question}",
    )


def silent(f: Findings) -> Found | None:
    """A device that is heard no more."""
    talk = f.talk
    if talk is None or talk.listening is None or talk.listened or talk.listening < UDP_TIME:
        return None
    return _found(
        Cause.DEVICE_SILENT,
        f"the device began to listen {talk.listening:.0f} s ago, and sends no audio since, though"
        " it did before: is its microphone well, has its network changed, does a NAT forget its"
        f" UDP (after {talk.told[1]}/udp was quiet)? Restart the device",
    )


def timed_out(f: Findings) -> Found | None:
    """The device's own word that nothing reaches it."""
    talk = f.talk
    if talk is None or not talk.timed_out:
        return None
    return Found(
        Cause.UDP_TIMEOUT,
        "downlink",
        f"the device reported that no audio reaches it, {talk.sent} packets were sent: do answers"
        f" leave from {talk.told[0]}:{talk.told[1]}, the only place it takes them from, and does a"
        " firewall on its side let them in?",
    )


def reaction(f: Findings) -> Found | None:
    """A server that answers nothing."""
    talk = f.talk
    if talk is None or talk.in_call:
        return None
    if talk.asked is not None and talk.asked >= REACTION_TIME:
        what = f"the device ended its speech or said its wake word {talk.asked:.0f} s ago"
    elif not talk.reactions and talk.listened and (talk.listening or 0.0) >= QUIET_TIME:
        what = f"audio flows to {talk.server} for {talk.listening:.0f} s"
    else:
        return None
    return Found(
        Cause.SERVER_NO_REACTION,
        "downlink",
        f"{what}, and the server does not react (unless nobody has spoken): {_hint(talk)}is its"
        " speech recognition configured, does its model answer? Look at its log",
    )


def speech(f: Findings) -> Found | None:
    """A server that reacts, but is not heard."""
    talk = f.talk
    if talk is None or talk.in_call:
        return None
    if talk.headless and not talk.audio:
        what = f"{talk.headless} binary messages of {talk.server} have no audio header"
        return _no_audio(f"{what}: {_hint(talk)}only with that the server adds one")
    mute = _mute(talk)
    if mute is None:
        return None
    return _no_audio(
        f"{mute}: {_hint(talk)}do its language model and its speech synthesis answer? Look at its"
        " log"
    )


def _mute(talk: Talk) -> str | None:
    if talk.mute_turns:
        return "subtitles but no sound: the server's answer (tts start to stop) has no audio"
    if talk.spoken:
        return None
    if talk.speaking is not None and talk.speaking >= SPEECH_TIME:
        return f"the server began to answer {talk.speaking:.0f} s ago (tts start), without audio"
    if talk.understood is not None and talk.understood >= SPEECH_TIME:
        return f"the server understood the speech {talk.understood:.0f} s ago, but is silent since"
    return None


def playback(f: Findings) -> Found | None:
    """Audio that devices do not play."""
    talk = f.talk
    if talk is None or talk.in_call or talk.played or talk.audio <= FEW or talk.age < UDP_TIME:
        return None
    return Found(
        Cause.NO_TTS_START,
        "playback",
        f"the server sent {talk.audio} packets of audio, but no tts start before: devices play"
        " audio only between tts start and stop; look at the server's log",
    )


def _no_audio(sentence: str) -> Found:
    return Found(Cause.SERVER_NO_AUDIO, "downlink", sentence)


def _found(cause: Cause, sentence: str) -> Found:
    return Found(cause, "uplink", sentence)


def _hint(talk: Talk) -> str:
    if talk.server.endswith(_SUFFIX):
        return ""
    return f"its address in chat_servers has to end with {_SUFFIX}; "


def _same_machine(peer_ip: str, told: str, local_ip: str) -> bool:
    """Whether the device runs here, and was told the address at which it reached us."""
    try:
        return told == local_ip and ip_address(peer_ip).is_loopback
    except ValueError:
        return False
