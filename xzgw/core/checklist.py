"""What a session needs, item by item, in the order in which it comes about."""

from __future__ import annotations

from xzgw.core.findings import CHECKS, Check, Findings, Found, State, Talk

Item = tuple[State, str]

_NO_SESSION: Item = (State.NONE, "no session is open")
_IN_CALL: Item = (State.NONE, "in a call with another device")


def checklist(f: Findings, found: Found | None) -> tuple[Check, ...]:
    """All items of CHECKS.

    Args:
        found: what is wrong; its item fails, whatever it looks like by itself.
    """
    items = {
        "mqtt": (State.OK, f"connected from {f.peer_ip} for {f.connected:.0f} s"),
        "hello": _hello(f),
        "server": _server(f),
        "server_hello": _server_hello(f),
        "uplink": _NO_SESSION if f.talk is None else _uplink(f.talk),
        "downlink": _NO_SESSION if f.talk is None else _downlink(f.talk),
        "playback": _NO_SESSION if f.talk is None else _playback(f.talk),
    }
    if found is not None:
        items[found.check] = (State.FAILED, found.sentence)
    return tuple(Check(name, *items[name]) for name in CHECKS)


def _hello(f: Findings) -> Item:
    if f.hello is None:
        return State.NONE, "the device has not asked for a session"
    return State.OK, f"came {f.hello:.0f} s ago"


def _server(f: Findings) -> Item:
    if f.talk is not None:
        return _IN_CALL if f.talk.in_call else (State.OK, f"reached: {f.talk.server}")
    if f.greeted:
        return State.OK, "reached"
    return (State.WAITING, "is being reached") if f.reaching else _NO_SESSION


def _server_hello(f: Findings) -> Item:
    if f.talk is not None:
        return _IN_CALL if f.talk.in_call else (State.OK, "answered")
    return (State.WAITING, "not answered yet") if f.reaching else _NO_SESSION


def _uplink(talk: Talk) -> Item:
    if talk.forwarded:
        return State.OK, f"{talk.forwarded} packets of audio"
    return State.WAITING, f"no audio yet, {talk.received} datagrams in {talk.age:.0f} s"


def _downlink(talk: Talk) -> Item:
    if talk.sent:
        return State.OK, f"{talk.sent} packets of audio"
    if talk.waiting:
        return State.WAITING, f"{talk.waiting} packets wait for the device's first datagram"
    return State.WAITING, "no audio yet"


def _playback(talk: Talk) -> Item:
    if talk.in_call:
        return _IN_CALL
    if not talk.played:
        return State.WAITING, "no tts start yet"
    return State.OK, "tts start" if talk.speaking is not None else "tts start and stop"
