"""Why a device has no session: rules from what was seen to cause and remedy."""

from __future__ import annotations

import re

from xzgw.core.findings import Attempt, Cause, Findings, Found, Try

PING_TIME = 5.0  # s in which an MCP ping is answered by a device that is there
UNAUTHENTICATED = "认证失败"  # the xiaozhi-server's very words
NO_HELLO = "no hello within"  # how the time-out of a server begins

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
    return Found(
        Cause.MQTT_GONE,
        "mqtt",
        f"nothing from this device for {f.silent:.0f} s, and no answer to an MCP ping"
        f" {f.unanswered:.0f} s ago: it has lost its power or its network; wait for it to come"
        " back, and look at its Wi-Fi if this happens often",
    )


def hello(f: Findings) -> Found | None:
    """The hello, or the lack of one."""
    if f.talk is not None:
        return None
    if f.attempt is not None and f.attempt.tried is None:
        return _refused(f.attempt)
    if f.hello is not None:
        return None
    if f.wrong_topic is not None:
        return Found(
            Cause.WRONG_TOPIC,
            "hello",
            f"no hello from this device, which publishes on {f.wrong_topic!r}: messages are taken"
            " on publish_topic only; make that topic and the OTA's publish_topic the same",
        )
    if f.bad_messages:
        return Found(
            Cause.BAD_MESSAGES,
            "hello",
            f"no hello from this device, but {f.bad_messages} messages that are no JSON objects:"
            " its firmware has to speak the xiaozhi protocol, version 3 over MQTT and UDP",
        )
    return None


def _refused(attempt: Attempt) -> Found:
    when = f"the hello {attempt.ago:.0f} s ago was refused: {attempt.reason}"
    if attempt.malformed:
        advice = "the firmware has to speak version 3, MQTT with audio over UDP; update it"
        return Found(Cause.BAD_HELLO, "hello", f"{when}: {advice}")
    advice = "raise the limit, let the drain end, or add a gateway"
    return Found(Cause.NO_ROOM, "hello", f"{when}: {advice}")


def servers(f: Findings) -> Found | None:
    """The chat servers that were tried for the latest hello, and gave no session."""
    if f.talk is not None or f.attempt is None or f.attempt.tried is None:
        return None
    if not f.attempt.tried:
        return Found(
            Cause.NO_SERVER,
            "server",
            f"the hello {f.attempt.ago:.0f} s ago found no chat server that takes sessions: all"
            " are being drained; resume one, or add one to chat_servers",
        )
    found = [(_server(tried, f.secret), tried) for tried in f.attempt.tried]
    told, best = min(found, key=lambda each: _TELLING.index(each[0].cause))
    others = "; ".join(f"{t.server}: {t.reason}" for _, t in found if t is not best)
    also = f" (the others failed, too: {others})" if others else ""
    start = f"no session for the hello {f.attempt.ago:.0f} s ago: "
    return Found(told.cause, told.check, start + told.sentence + also)


def _server(tried: Try, secret: bool) -> Found:
    """What one server did, and what to do about it."""
    status = _STATUS.search(tried.reason)
    if UNAUTHENTICATED in tried.said or (status and status[1] in ("401", "403")):
        return Found(Cause.SERVER_REFUSED, "server_hello", _token(tried, status, secret))
    if status:
        return Found(Cause.SERVER_REFUSED, "server", _no_websocket(tried, status[1]))
    silent = tried.reason.startswith(NO_HELLO)
    if not tried.opened:
        why = tried.reason.rstrip(".")
        what = "does not answer" if silent else f"cannot be reached ({why})"
        advice = (
            "is the xiaozhi-server running, is this address right as seen from the gateway (in a"
            " container, 127.0.0.1 is the container itself), does a firewall let it through?"
        )
        return Found(Cause.SERVER_UNREACHABLE, "server", f"{tried.server} {what}: {advice}")
    if silent:
        advice = "is it still loading its models, or waiting for its console? Look at its log"
        what = f"took our hello and did not answer ({tried.reason})"
        return Found(Cause.SERVER_SILENT, "server_hello", f"{tried.server} {what}: {advice}")
    said = f", after saying {tried.said!r}" if tried.said else ""
    what = f"hung up before its hello ({tried.reason}{said})"
    advice = "is it a xiaozhi-server, is the path right? Look at its log"
    return Found(Cause.SERVER_HUNG_UP, "server_hello", f"{tried.server} {what}: {advice}")


def _token(tried: Try, status: re.Match[str] | None, secret: bool) -> str:
    how = f"HTTP {status[1]}" if status else f"it says {UNAUTHENTICATED}"
    here = "SERVER_SECRET" if secret else "SERVER_SECRET (none is set here)"
    return (
        f"{tried.server} refuses our token ({how}): compare {here} with the server's"
        " server.auth_key, and the clocks of both machines"
    )


def _no_websocket(tried: Try, status: str) -> str:
    advice = (
        "the server, or a proxy in front of it, is failing; look at its log"
        if status.startswith("5")
        else "is the path right, does the address end with ?from=mqtt_gateway, and does a proxy in"
        " front pass WebSockets on?"
    )
    return f"{tried.server} answers HTTP {status} in place of a WebSocket: {advice}"
