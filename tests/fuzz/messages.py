"""JSON messages from devices, servers and callers of the API."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.fuzz.harness import JSON_VALUES, Harness, json_bytes, one_line, spoiled
from xzgw.core.hello import read_hello
from xzgw.core.session_types import DeviceHello
from xzgw.wire.messages import MessageError, encode, mcp, parse, server_hello, text_member


def read(data: bytes) -> None:
    """One object that can be written and read again to the same value, or a MessageError."""
    try:
        message = parse(data)
    except MessageError as error:
        assert one_line(str(error))
        return
    again = encode(message)
    assert parse(again) == message
    assert encode(parse(again)) == again
    # In an envelope it may be deeper than what is read.
    enveloped = json.loads(mcp(message, text_member(message, "session_id")))
    assert enveloped["payload"] == message
    hello = parse(server_hello(message))
    assert hello == {**message, "version": 2, "transport": "websocket"}
    event = read_hello(message)
    if isinstance(event, DeviceHello):
        assert parse(event.hello.text) == hello
        assert event.hello.frame_ms is None or event.hello.frame_ms == event.hello.frame_ms


_nested = st.builds(
    lambda depth, opening: b'{"a":' * (opening == b"{") + opening * depth,
    st.sampled_from([1, 99, 100, 101, 5000]),
    st.sampled_from([b"[", b"{"]),
)
_balanced = st.sampled_from([1, 98, 99, 100, 101, 990]).map(
    lambda depth: b'{"a":' + b"[" * depth + b"]" * depth + b"}"
)
_numbers = st.sampled_from(
    [
        b"1e999",
        b"-1e999",
        b"1e-999",
        b"NaN",
        b"-Infinity",
        b"1" * 4301,
        b"1" * 4300,
        b"-0.0",
        b"1E5",
    ]
)
_objects = st.dictionaries(
    st.sampled_from(["type", "version", "session_id", "audio_params", "payload"])
    | st.text(max_size=3),
    st.one_of(
        JSON_VALUES,
        st.sampled_from(["hello", "mcp", 3, 3.0, True]),
        st.fixed_dictionaries({"frame_duration": JSON_VALUES}),
    ),
    max_size=5,
).map(json_bytes)

HARNESSES = (
    Harness(
        "messages",
        read,
        st.one_of(
            spoiled(_objects),
            _nested,
            _balanced,
            _numbers.map(lambda number: b'{"a":' + number + b"}"),
            st.text(max_size=9).map(
                lambda text: (
                    b'{"\xf0\x9f\x98\x80":"' + text.encode("utf-8", "surrogatepass") + b'"}'
                )
            ),
        ),
    ),
)
