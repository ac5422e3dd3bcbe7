"""HTTP to the admin API: raw bytes in any pieces."""

from __future__ import annotations

import re
from urllib.parse import quote

from hypothesis import strategies as st
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.admin.fakes import CLIENT_ID, SERVER, MemoryDoor, device
from tests.admin.support import NOW, TOKEN, new_app, new_site
from tests.fuzz.harness import (
    JSON_VALUES,
    Data,
    Harness,
    Transport,
    json_bytes,
    no_failure_logged,
    spoiled,
    steps,
    streams,
)
from xzgw.admin.event_stream import EventStream
from xzgw.admin.site import REQUEST_TIME, busy
from xzgw.core.events import Events

# What differs between answers to the same: time, and what the process takes.
_VARYING = re.compile(
    rb"Date: [^\r]*\r\n|Content-Length: [^\r]*\r\n|^(?:process|python)_[^\n]*\n", re.MULTILINE
)
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) [^\r\n]*\r\n")
_SHORTEST_REQUEST = 5  # bytes
_LONGEST_ANSWER = 200_000  # bytes; the API's own description is most of it


def serve(data: bytes) -> None:
    """Any bytes in any pieces: answers, none of them 5xx, and the connection lives or ends."""
    chunks = [chunk for _, chunk in steps(data)]
    too_many = busy(b"".join(chunks))
    assert too_many is None or too_many.startswith(b"HTTP/1.1 503 ")
    with no_failure_logged():
        answers = _run(chunks)
        assert _run([b"".join(chunks)]) == answers
    assert not answers or _STATUS.match(answers), answers[:100]
    statuses = [int(status) for status in _STATUS.findall(answers)]
    assert all(100 <= status < 500 for status in statuses), statuses
    size = len(b"".join(chunks))
    assert len(answers) <= (size // _SHORTEST_REQUEST + 1) * _LONGEST_ANSWER


def _run(chunks: list[bytes]) -> bytes:
    clock = Clock()
    stream = EventStream(Events(lambda: NOW, "run"), clock)
    site = new_site(new_app(MemoryDoor(device()), stream, clock), clock)
    channel, transport = site.buildProtocol(None), Transport()
    channel.makeConnection(transport)
    for chunk in chunks:
        if not transport.disconnecting:
            channel.dataReceived(chunk)
    clock.advance(REQUEST_TIME + 1)  # nobody stays who says nothing, but readers of events
    answers = _VARYING.sub(b"", transport.value())
    channel.connectionLost(Failure(connectionDone.value))
    stream.close()
    assert clock.getDelayedCalls() == []
    return answers


_PATHS = (
    "/api/commands/" + quote(CLIENT_ID),
    "/api/commands/" + CLIENT_ID,
    "/api/devices/status",
    "/api/call/request",
    "/api/call/accept",
    "/v1/devices",
    "/v1/devices?limit=1&after=x&presence=idle",
    "/v1/devices/" + quote(CLIENT_ID),
    "/v1/devices/" + quote(CLIENT_ID) + "/session",
    "/v1/devices/" + quote(CLIENT_ID) + "/tools",
    "/v1/devices/" + quote(CLIENT_ID) + "/tools/a%2Fb",
    "/v1/devices/" + quote(CLIENT_ID) + "/messages",
    "/v1/drain",
    "/v1/backends",
    "/v1/backends/drain",
    "/v1/backends/resume",
    "/v1/config",
    "/v1/events",
    "/healthz",
    "/metrics",
    "/readyz",
    "/openapi.json",
    "*",
    "http://x/healthz",
    "//",
    "/%ff",
    "/v1/devices/%00",
)
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "get", "")
_HEADERS = (
    "Host: x",
    "Host: ",
    "Host: \xff",
    "Connection: close",
    "Connection: keep-alive",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/json; \xff",
    "Content-Encoding: gzip",
    "Content-Encoding: \xff",
    "Expect: 100-continue",
    "Transfer-Encoding: gzip, chunked",
    "Content-Length: -1",
    "Content-Length: 1_0",
    "Content-Length: 99999999",
    "Content-Length: 3",
    "Cookie: a=b; =; \x01",
    "Last-Event-ID: run-7",
    "Last-Event-ID: \xff",
    "X-Forwarded-For: 1.2.3.4, junk,, ::1%eth0",
    "X-Forwarded-For: \xff",
    "Range: bytes=0-1",
    "If-Modified-Since: junk",
    "If-None-Match: *",
    "Upgrade: h2c",
    " folded",
    "no colon",
    ": no name",
)
_DEVICE = "/v1/devices/" + quote(CLIENT_ID)
_COMMAND = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}
# Requests that are served, but for bodies that are not what they should be.
_GOOD: tuple[tuple[str, str, object], ...] = (
    ("POST", "/api/commands/" + CLIENT_ID, {"type": "mcp", "payload": _COMMAND}),
    ("POST", "/api/devices/status", {"clientIds": [CLIENT_ID, "x"]}),
    ("POST", "/api/call/request", {"caller_mac": "a", "target_mac": "b", "caller_nickname": "c"}),
    ("POST", "/api/call/accept", {"mac": "a"}),
    ("POST", _DEVICE + "/tools/a%2Fb", {"a": 1}),
    ("POST", _DEVICE + "/messages", {"type": "x"}),
    ("POST", "/v1/backends/drain", {"url": SERVER}),
    ("POST", "/v1/backends/resume", {"url": SERVER}),
    ("POST", "/v1/drain", {}),
    ("DELETE", _DEVICE + "/session", {}),
    ("DELETE", _DEVICE, {}),
    ("GET", _DEVICE + "/tools", {}),
    ("GET", "/v1/devices?limit=1&after=x", {}),
    ("GET", "/v1/devices?%ff=x&limit=%ff", {}),
    ("GET", "/v1/events?kinds=%ff&last_event_id=%ff", {}),
    ("GET", "/v1/events?kinds=connect&last_event_id=run-1", {}),
    ("POST", _DEVICE + "/trace", {"seconds": 5, "audio": True, "max_bytes": 70_000}),
    ("GET", _DEVICE + "/trace?format=pcap", {}),
    ("DELETE", _DEVICE + "/trace", {}),
    ("GET", "/v1/status", {}),
    ("GET", "/", {}),
    ("GET", "/dashboard/app.js", {}),
)
_targets = st.one_of(
    *[st.sampled_from(_GOOD)] * 3,
    st.tuples(st.sampled_from(_METHODS), st.sampled_from(_PATHS), st.just({})),
)
_members = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["mcp", "goodbye", 1]),
        "payload": JSON_VALUES
        | st.fixed_dictionaries({"method": JSON_VALUES, "params": JSON_VALUES}),
        "clientIds": JSON_VALUES | st.just([CLIENT_ID]),
        "deviceIds": JSON_VALUES,
        "caller_mac": JSON_VALUES,
        "target_mac": JSON_VALUES,
        "mac": JSON_VALUES,
        "seconds": JSON_VALUES,
        "max_bytes": JSON_VALUES,
        "url": JSON_VALUES,
    },
)


def _bodies(good: object) -> Data:
    return st.one_of(
        st.just(json_bytes(good)),
        st.just(json_bytes(good)),
        _members.map(json_bytes),
        spoiled(st.just(json_bytes(good))),
        st.binary(max_size=30),
    )


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """A request that is all right, but for at most a few things."""
    method, path, good = draw(_targets)
    head = [f"{method} {path} HTTP/1.1"]
    token = draw(st.sampled_from([TOKEN] * 8 + ["wrong", ""]))
    if token:
        head.append(f"Authorization: Bearer {token}")
    if draw(st.integers(0, 9)):
        head.append("Content-Type: application/json")
    if not draw(st.integers(0, 2)):
        head += draw(st.lists(st.sampled_from(_HEADERS), max_size=2))
    body = draw(_bodies(good))
    form = draw(st.sampled_from(["length", "length", "length", "chunked", "chunked", "none"]))
    if form == "length":
        head.append(f"Content-Length: {len(body)}")
    elif form == "chunked":
        head.append("Transfer-Encoding: chunked")
        body = _in_chunks(body, draw(st.sampled_from([b"", b"", b"", b"", b";x=y", b" ", b"_"])))
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def _in_chunks(body: bytes, extension: bytes) -> bytes:
    half = len(body) // 2
    return b"".join(
        b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
        for piece in (body[:half], body[half:], b"")
    )


_sessions = st.lists(_requests(), min_size=1, max_size=3).map(b"".join)

HARNESSES = (Harness("http", serve, streams(st.one_of(_sessions, _sessions, spoiled(_sessions)))),)
