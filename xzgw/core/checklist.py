"""What a session needs, item by item, in the order in which it comes about."""

from __future__ import annotations

from xzgw.core.findings import CHECKS, Check, Findings, Found, State, Talk
from xzgw.core.sayings import Saying, say

Item = tuple[State, Saying]

_NO_HELLO: Item = (State.NONE, say("hello_none"))
_NO_SESSION: Item = (State.NONE, say("no_session_open"))
_IN_CALL: Item = (State.NONE, say("in_a_call"))
_GREETED: Item = (State.OK, say("server_greeted"))
_REACHING: Item = (State.WAITING, say("server_reaching"))
_ANSWERED: Item = (State.OK, say("server_answered"))
_ASKED: Item = (State.WAITING, say("server_asked"))
_NO_DOWNLINK: Item = (State.WAITING, say("downlink_none"))
_NOT_PLAYED: Item = (State.WAITING, say("playback_none"))
_PLAYS: Item = (State.OK, say("playback_begun"))
_PLAYED: Item = (State.OK, say("playback_over"))


def checklist(f: Findings, found: Found | None) -> tuple[Check, ...]:
    """All items of CHECKS.

    Args:
        found: what is wrong; its item fails, whatever it looks like by itself.
    """
    items = {
        "mqtt": (State.OK, say("mqtt_up", address=f.peer_ip, seconds=f.connected)),
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
    return _NO_HELLO if f.hello is None else (State.OK, say("hello_came", seconds=f.hello))


def _server(f: Findings) -> Item:
    if f.talk is not None:
        reached = say("server_reached", server=f.talk.server)
        return _IN_CALL if f.talk.in_call else (State.OK, reached)
    if f.greeted:
        return _GREETED
    return _REACHING if f.reaching else _NO_SESSION


def _server_hello(f: Findings) -> Item:
    if f.talk is not None:
        return _IN_CALL if f.talk.in_call else _ANSWERED
    return _ASKED if f.reaching else _NO_SESSION


def _uplink(talk: Talk) -> Item:
    if talk.forwarded:
        return State.OK, say("audio_flows", count=talk.forwarded)
    return State.WAITING, say("uplink_none", count=talk.received, seconds=talk.age)


def _downlink(talk: Talk) -> Item:
    if talk.sent:
        return State.OK, say("audio_flows", count=talk.sent)
    if talk.waiting:
        return State.WAITING, say("downlink_waits", count=talk.waiting)
    return _NO_DOWNLINK


def _playback(talk: Talk) -> Item:
    if talk.in_call:
        return _IN_CALL
    if not talk.played:
        return _NOT_PLAYED
    return _PLAYS if talk.speaking is not None else _PLAYED
