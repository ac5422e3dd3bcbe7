"""Why a session has no sound: rules from what was seen to cause and remedy."""

from __future__ import annotations

from ipaddress import ip_address

from xzgw.core.findings import Cause, Findings, Found, Talk
from xzgw.core.sayings import Saying, row, say
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
        return _found(Cause.UDP_WRONG_KEY, say("udp_wrong_key", count=implausible))
    return None if talk.forwarded else _unbelieved(talk, f.peer_ip)


def _unbelieved(talk: Talk, peer_ip: str) -> Found | None:
    known = (_LATE, "implausible", *_DOUBTED)
    bad = {reason: n for reason, n in talk.refused.items() if reason not in known}
    if bad:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(bad.items()))
        return _found(Cause.UDP_MALFORMED, say("udp_malformed", reasons=reasons))
    if not talk.received:
        return None
    sentence = say("udp_wrong_source", count=talk.received, address=peer_ip)
    return _found(Cause.UDP_WRONG_SOURCE, sentence)


def no_uplink(f: Findings) -> Found | None:
    """No datagram at all."""
    talk = f.talk
    if talk is None or talk.received or talk.age < UDP_TIME:
        return None
    host = talk.told[0]
    if talk.strays >= FEW:
        sentence = say("udp_unknown", seconds=talk.age, count=talk.strays, address=f.peer_ip)
        return _found(Cause.UDP_UNKNOWN, sentence)
    why = drawback(host)
    if why is not None and not _same_machine(f.peer_ip, host, talk.local_ip):
        told = say("wrong_address", seconds=talk.age, host=host)
        return _found(Cause.WRONG_ADDRESS, row(told, why, say("set_public_ip")))
    return _unheard(talk)


def _unheard(talk: Talk) -> Found:
    host, port = talk.told
    question = say("udp_open", port=port, host=host)
    if not talk.waiting:
        return _found(Cause.NO_UDP, row(say("no_udp", seconds=talk.age), question))
    waits = say("audio_before_udp", count=talk.waiting, seconds=talk.age)
    return Found(Cause.AUDIO_BEFORE_UDP, "downlink", row(waits, question))


def silent(f: Findings) -> Found | None:
    """A device that is heard no more."""
    talk = f.talk
    if talk is None or talk.listening is None or talk.listened or talk.listening < UDP_TIME:
        return None
    sentence = say("device_silent", seconds=talk.listening, port=talk.told[1])
    return _found(Cause.DEVICE_SILENT, sentence)


def timed_out(f: Findings) -> Found | None:
    """The device's own word that nothing reaches it."""
    talk = f.talk
    if talk is None or not talk.timed_out:
        return None
    host, port = talk.told
    sentence = say("udp_timeout", count=talk.sent, host=host, port=port)
    return Found(Cause.UDP_TIMEOUT, "downlink", sentence)


def reaction(f: Findings) -> Found | None:
    """A server that answers nothing."""
    talk = f.talk
    if talk is None or talk.in_call:
        return None
    if talk.asked is not None and talk.asked >= REACTION_TIME:
        what = say("server_reaction_asked", seconds=talk.asked)
    elif not talk.reactions and talk.listened and (talk.listening or 0.0) >= QUIET_TIME:
        what = say("server_reaction_stream", server=talk.server, seconds=talk.listening or 0.0)
    else:
        return None
    sentence = row(what, *_hint(talk), say("server_hears"))
    return Found(Cause.SERVER_NO_REACTION, "downlink", sentence)


def speech(f: Findings) -> Found | None:
    """A server that reacts, but is not heard."""
    talk = f.talk
    if talk is None or talk.in_call:
        return None
    if talk.headless and not talk.audio:
        what = say("headless_audio", count=talk.headless, server=talk.server)
        return _no_audio(row(what, *_hint(talk), say("suffix_adds")))
    mute = _mute(talk)
    return None if mute is None else _no_audio(row(mute, *_hint(talk), say("server_speaks")))


def _mute(talk: Talk) -> Saying | None:
    if talk.mute_turns:
        return say("mute_answer")
    if talk.spoken:
        return None
    if talk.speaking is not None and talk.speaking >= SPEECH_TIME:
        return say("mute_since_start", seconds=talk.speaking)
    if talk.understood is not None and talk.understood >= SPEECH_TIME:
        return say("mute_since_speech", seconds=talk.understood)
    return None


def playback(f: Findings) -> Found | None:
    """Audio that devices do not play."""
    talk = f.talk
    if talk is None or talk.in_call or talk.played or talk.audio <= FEW or talk.age < UDP_TIME:
        return None
    return Found(Cause.NO_TTS_START, "playback", say("no_tts_start", count=talk.audio))


def _no_audio(sentence: Saying) -> Found:
    return Found(Cause.SERVER_NO_AUDIO, "downlink", sentence)


def _found(cause: Cause, sentence: Saying) -> Found:
    return Found(cause, "uplink", sentence)


def _hint(talk: Talk) -> list[Saying]:
    return [] if talk.server.endswith(_SUFFIX) else [say("suffix_wanted")]


def _same_machine(peer_ip: str, told: str, local_ip: str) -> bool:
    """Whether the device runs here, and was told the address at which it reached us."""
    try:
        return told == local_ip and ip_address(peer_ip).is_loopback
    except ValueError:
        return False
