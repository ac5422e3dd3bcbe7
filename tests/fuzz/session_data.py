"""What devices and servers say to each other in fuzzing, and the harness with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.core.test_channel import SPEECH
from tests.fuzz.harness import (
    JSON_VALUES,
    Data,
    Harness,
    Step,
    json_bytes,
    scripts,
    spoiled,
)
from tests.fuzz.session import FIRST_OWN_ID, HAPPENINGS, World, happen
from xzgw.core.rpc import LAST_ID
from xzgw.wire.audio import server_audio

_NUMBER = {happening: number for number, happening in enumerate(HAPPENINGS)}


@dataclass(frozen=True, slots=True)
class _Weighted:
    """Something that happens, with what, and how often compared with others."""

    happening: Callable[[World, bytes], None]
    data: Data
    weight: int = 1

    @property
    def steps(self) -> list[st.SearchStrategy[Step]]:
        return [st.tuples(st.just(_NUMBER[self.happening]), self.data)] * self.weight


_own_ids = st.sampled_from([FIRST_OWN_ID, LAST_ID - 2]).flatmap(
    lambda first: st.integers(first, first + 3)
)
_ids = st.one_of(
    st.sampled_from([1, 2, 0, -1, True, 5.0, "1", None, 2**31, 1e300]),
    _own_ids,
    _own_ids,
    _own_ids.map(float),
)
_results: st.SearchStrategy[Any] = st.one_of(
    JSON_VALUES,
    st.fixed_dictionaries({"serverInfo": JSON_VALUES}),
    st.fixed_dictionaries(
        {
            "tools": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(["a", "b", 1])}), max_size=3
            ),
            "nextCursor": st.sampled_from(["", "c", None, 7]),
        }
    ),
)
RPC = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "1.0", 2])},
    optional={
        "id": _ids,
        "method": st.sampled_from(["initialize", "tools/list", "tools/call", 7])
        | st.just("notifications/initialized"),
        "params": JSON_VALUES | st.just({"cursor": ""}),
        "result": _results,
        "error": JSON_VALUES | st.fixed_dictionaries({"message": JSON_VALUES}),
    },
)
_session_ids = st.sampled_from(["s0", "s1", "s2", "", None, 7, "x" * 257, "a\nb", "\ud800"])
MESSAGES = st.one_of(
    st.fixed_dictionaries({"type": st.just("mcp"), "payload": RPC | JSON_VALUES}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["hello", "goodbye", "listen", "stt", "tts", "udp_timeout", "abort", "mcp", 1, None]
            )
        },
        optional={
            "session_id": _session_ids,
            "version": st.sampled_from([3, 3.0, True, "3", 2, None]),
            "audio_params": JSON_VALUES
            | st.fixed_dictionaries(
                {"frame_duration": st.sampled_from([60, 60.0, 20, True, "60"])}
            ),
            "features": JSON_VALUES,
        },
    ),
    st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3),
)
_texts = st.one_of(
    MESSAGES.map(json_bytes),
    MESSAGES.map(json_bytes),
    spoiled(MESSAGES.map(json_bytes)),
    st.sampled_from(
        ["认证失败".encode(), b"", b"[]", b"\xff", b'{"type":"hello"}' + b" " * 300_000]
    ),
).map(lambda text: text[:65_000])
_nothing = st.integers(0, 2).map(bytes)
_some = st.integers(0, 9).map(lambda number: bytes((number,)))
_audio = st.builds(server_audio, st.just(0), st.integers(0, 2**32 - 1), st.sampled_from(SPEECH))

_steps = st.one_of(
    *(
        step
        for each in (
            _Weighted(World.device_says, _texts, 4),
            _Weighted(World.device_hello, _nothing, 3),
            _Weighted(World.device_starts, st.just(b"")),
            _Weighted(World.device_lost, st.just(b"lost")),
            _Weighted(World.datagram, st.binary(max_size=40)),
            _Weighted(World.speech, st.integers(0, 9).map(lambda n: n.to_bytes(2, "big")), 2),
            _Weighted(World.server_opens, st.just(b""), 3),
            _Weighted(World.server_says, _texts, 4),
            _Weighted(World.old_server_says, st.tuples(_some, _texts).map(b"".join)),
            _Weighted(World.server_answers, _nothing, 3),
            _Weighted(World.server_plays, spoiled(_audio), 2),
            _Weighted(World.server_lost, st.just(b"") | _some),
            _Weighted(World.time_passes, st.integers(0, 100).map(lambda n: bytes((n,)))),
            _Weighted(World.told, _some),
        )
        for step in each.steps
    )
)


def _beginning(*happenings: Callable[[World, bytes], None]) -> list[Step]:
    return [(_NUMBER[each], b"\0") for each in happenings]


_answered = (World.device_hello, World.server_opens, World.server_answers)
_beginnings = (
    _beginning(),
    _beginning(World.device_starts),
    _beginning(World.device_hello),
    _beginning(World.device_hello, World.server_opens),
    _beginning(*_answered),
    _beginning(World.device_starts, *_answered),
    [*_beginning(*_answered), (_NUMBER[World.speech], b"\0\1")],
    _beginning(*_answered, World.told),  # a call
)

HARNESSES = (Harness("session", happen, scripts(_steps, 30, _beginnings)),)
