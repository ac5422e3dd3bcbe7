"""Why a device has no session: rules from what was seen to cause and remedy."""

from __future__ import annotations

import re

from xzgw.core.findings import Attempt, Cause, Findings, Found, Try
from xzgw.core.limits import DRAINING
from xzgw.core.sayings import Saying, row, say

PING_TIME = 5.0  # s in which an MCP ping is answered by a device that is there
UNAUTHENTICATED = "认证失败"  # the xiaozhi-server's very words
NO_HELLO = "no hello within"  # how the time-out of a server begins
TLS_FAILED = "TLS failed"  # how a certificate that is not good, and its like, begin

_STATUS = re.compile(r"upgrade failed \[(\d{3})\]")  # autobahn's words

# The nearer to a session, the more it tells.
_TELLING = (
    Cause.SERVER_REFUSED,
    Cause.SERVER_HUNG_UP,
    Cause.SERVER_SILENT,
    Cause.SERVER_UNREACHABLE,
)


def mqtt(f: Findings) -> Found | None:
    """A connection that is only there in name."""
    if f.unanswered is None or f.unanswered < PING_TIME:
        return None
    sentence = say("mqtt_gone", silent_seconds=f.silent, seconds=f.unanswered)
    return Found(Cause.MQTT_GONE, "mqtt", sentence)


def hello(f: Findings) -> Found | None:
    """The hello, or the lack of one."""
    if f.talk is not None:
        return None
    if f.attempt is not None and f.attempt.tried is None:
        return _refused(f.attempt)
    if f.hello is not None or f.answers:
        return None
    if f.wrong_topic is not None:
        sentence = say("wrong_topic", topic=repr(f.wrong_topic))
        return Found(Cause.WRONG_TOPIC, "hello", sentence)
    if f.bad_messages:
        sentence = say("bad_messages", count=f.bad_messages)
        return Found(Cause.BAD_MESSAGES, "hello", sentence)
    return None


def _refused(attempt: Attempt) -> Found:
    if attempt.malformed:
        sentence = say("bad_hello", seconds=attempt.ago, reason=attempt.reason)
        return Found(Cause.BAD_HELLO, "hello", sentence)
    if attempt.reason == DRAINING:
        sentence = say("no_room_draining", seconds=attempt.ago)
    else:
        sentence = say("no_room", seconds=attempt.ago, reason=attempt.reason)
    return Found(Cause.NO_ROOM, "hello", sentence)


def servers(f: Findings) -> Found | None:
    """The chat servers that were tried for the latest hello, and gave no session."""
    if f.talk is not None or f.attempt is None or f.attempt.tried is None:
        return None
    if not f.attempt.tried:
        return Found(Cause.NO_SERVER, "server", say("no_server", seconds=f.attempt.ago))
    found = [(_server(tried, f.secret), tried) for tried in f.attempt.tried]
    told, best = min(found, key=lambda each: _TELLING.index(each[0].cause))
    sentence = row(say("no_session", seconds=f.attempt.ago), told.sentence)
    others = "; ".join(f"{t.server}: {t.reason}" for _, t in found if t is not best)
    if others:
        sentence = row(sentence, say("others_failed", others=others))
    return Found(told.cause, told.check, sentence)


def _server(tried: Try, secret: bool) -> Found:
    """What one server did, and what to do about it."""
    status = _STATUS.search(tried.reason)
    if UNAUTHENTICATED in tried.said or (status and status[1] in ("401", "403")):
        return Found(Cause.SERVER_REFUSED, "server_hello", _token(tried, status, secret))
    if status:
        return Found(Cause.SERVER_REFUSED, "server", _no_websocket(tried, status[1]))
    if not tried.opened:
        return Found(Cause.SERVER_UNREACHABLE, "server", _unreachable(tried))
    if tried.reason.startswith(NO_HELLO):
        sentence = say("server_silent", server=tried.server, reason=tried.reason)
        return Found(Cause.SERVER_SILENT, "server_hello", sentence)
    return Found(Cause.SERVER_HUNG_UP, "server_hello", _hung_up(tried))


def _token(tried: Try, status: re.Match[str] | None, secret: bool) -> Saying:
    if status:
        how = say("token_refused_http", server=tried.server, status=status[1])
    else:
        how = say("token_refused", server=tried.server)
    return row(how, say("compare_secret") if secret else say("set_secret"))


def _no_websocket(tried: Try, status: str) -> Saying:
    what = say("no_websocket", server=tried.server, status=status)
    return row(what, say("server_failing") if status.startswith("5") else say("server_path"))


def _unreachable(tried: Try) -> Saying:
    if tried.reason.startswith(NO_HELLO):
        what = say("server_unanswered", server=tried.server)
    else:
        reason = tried.reason.rstrip(".")
        what = say("server_unreachable", server=tried.server, reason=reason)
    failed = tried.reason.startswith(TLS_FAILED)
    return row(what, say("server_certificate") if failed else say("server_running"))


def _hung_up(tried: Try) -> Saying:
    server, reason, said = tried.server, tried.reason, tried.said
    if said:
        what = say("server_hung_up_saying", server=server, reason=reason, said=repr(said))
    else:
        what = say("server_hung_up", server=server, reason=reason)
    return row(what, say("server_at_all"))
