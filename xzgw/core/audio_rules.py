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
_NONSENSE = ("implausible", "unconfirmed_duration")
_ELSEWHERE = "unconfirmed_source"


def uplink(f: Findings) -> Found | None:
    """Datagrams that come, but are not believed."""
    talk = f.talk
    if talk is None or talk.age < UDP_TIME:
        return None
    nonsense = sum(talk.refused.get(reason, 0) for reason in _NONSENSE)
    if nonsense >= FEW and nonsense > 4 * talk.forwarded:  # one of 75 passes by chance
        return _found(Cause.UDP_WRONG_KEY, say("udp_wrong_key", count=nonsense))
    return None if talk.forwarded else _unbelieved(talk, nonsense, f.peer_ip)


def _unbelieved(talk: Talk, nonsense: int, peer_ip: str) -> Found | None:
    """What most of them are; of a few that may be chance."""
    if not talk.received:
        return None
    bad = sum(talk.refused.values()) - nonsense - talk.refused.get(_ELSEWHERE, 0)
    elsewhere = talk.received - bad - nonsense  # those that wait for a third one, too
    if elsewhere >= max(bad, nonsense):
        sentence = say("udp_wrong_source", count=talk.received, address=peer_ip)
        return _found(Cause.UDP_WRONG_SOURCE, sentence)
    if nonsense >= bad:
        return _found(Cause.UDP_WRONG_KEY, say("udp_wrong_key", count=nonsense))
    return _found(Cause.UDP_MALFORMED, say("udp_malformed", reasons=_reasons(talk)))


def _reasons(talk: Talk) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(talk.refused.items()))


def no_uplink(f: Findings) -> Found | None:
    """No datagram at all."""
    talk = f.talk
    if talk is None or talk.received or talk.age < UDP_TIME:
        return None
    host = talk.told[0]
    if talk.strays >= FEW:
        sentence = say("udp_unknown", seconds=talk.age, count=talk.strays, address=f.peer_ip)
        return _found(Cause.UDP_UNKNOWN, sentence)
    why = drawback(host) or _private(host, f.peer_ip)
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
    if talk.arrived >= FEW:
        sentence = say(
            "udp_refused_since",
            seconds=talk.listening,
            count=talk.arrived,
            reasons=_reasons(talk),
        )
        return _found(Cause.UDP_MALFORMED, sentence)
    sentence = say("device_silent", seconds=talk.listening, port=talk.told[1])
    return _found(Cause.DEVICE_SILENT, sentence)


def timed_out(f: Findings) -> Found | None:
    """The device's own word that nothing reaches it."""
    talk = f.talk
    if talk is None or not talk.timed_out or not talk.sent:
        return None
    host, port = talk.told
    sentence = say("udp_timeout", count=talk.sent, host=host, port=port)
    return Found(Cause.UDP_TIMEOUT, "downlink", sentence)


def reaction(f: Findings) -> Found | None:
    """A server that answers nothing, not even with audio alone."""
    talk = f.talk
    if talk is None or talk.in_call or (talk.audio and not talk.played):
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
    if talk.headless >= FEW and not talk.audio:
        what = say("headless_audio", count=talk.headless, server=talk.server)
        hint = _hint(talk)
        return _no_audio(row(what, *hint, say("suffix_adds") if hint else say("suffix_lost")))
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


def given_up(f: Findings) -> Found | None:
    """The device's own word that it gets nothing, where there was nothing to get."""
    talk = f.talk
    if talk is None or talk.in_call or not talk.timed_out or talk.audio:
        return None
    return _no_audio(row(say("given_up"), *_hint(talk), say("server_speaks")))


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


def _private(host: str, peer_ip: str) -> Saying | None:
    """What is wrong with a private address for a device that is not in such a network itself."""
    try:
        outside = ip_address(host).is_private and ip_address(peer_ip).is_global
    except ValueError:
        return None
    return say("address_private", address=peer_ip) if outside else None


def _same_machine(peer_ip: str, told: str, local_ip: str) -> bool:
    """Whether the device runs here, and was told the address at which it reached us."""
    try:
        return told == local_ip and ip_address(peer_ip).is_loopback
    except ValueError:
        return False
