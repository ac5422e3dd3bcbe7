"""One device and its servers: what both say, in any order, through the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.core.test_channel import SPEECH
from tests.fakes import (
    CONFIG,
    CREDENTIALS,
    URL,
    FakeBackendLink,
    FakeDeviceLink,
    Surroundings,
    Voice,
)
from tests.fuzz.harness import (
    JSON_VALUES,
    Data,
    Harness,
    Step,
    json_bytes,
    no_failure_logged,
    one_line,
    scripts,
    spoiled,
    steps,
)
from xzgw.core.device import Device
from xzgw.core.device_peer import Peer
from xzgw.core.link import MAX_SESSION_ID
from xzgw.core.session_types import CallEnded, CallEntered, Gone, InCall, Live, SessionEnded
from xzgw.wire.audio import MAX_DATAGRAM, server_audio
from xzgw.wire.credentials import parse_client_id
from xzgw.wire.messages import parse

OTHER_URL = "ws://b.example:8000/xiaozhi/v1/?from=mqtt_gateway"
CLIENT: str = CREDENTIALS[0]["client_id"]
FROM = ("1.2.3.4", 40000)
HELLO = (
    b'{"type":"hello","version":3,"transport":"udp","audio_params":{"frame_duration":60},"x":%d}'
)
OWN_TO_DEVICE = ("hello", "goodbye", "error", "mcp")
OWN_TO_SERVER = ("hello", "mcp")
# CountedEntropy makes the ids of our calls: these are the first.
FIRST_OWN_ID = 0x41010101


class World:
    """The device, what was said, and what has to hold at any time."""

    def __init__(self, debug: bool) -> None:
        config = replace(
            CONFIG,
            production_servers=(URL, OTHER_URL),
            debug=debug,
            message_rate=5,
            message_burst=8,
        )
        self.around = Surroundings(config)
        self.around.configure()
        self.link = FakeDeviceLink()
        peer = Peer(CLIENT, parse_client_id(CLIENT), FROM[0], "192.0.2.1")
        self.device = Device(peer, self.link, self.around.services, self._left)
        self.from_device: set[bytes] = set()
        self.from_server: set[bytes] = set()
        self._discovers = False
        self._published = 0
        self._checked: dict[int, int] = {}  # dial -> texts
        self._open: list[FakeBackendLink] = []
        self._lost: list[FakeBackendLink] = []

    # --- what can happen; each takes the bytes of its step ---

    def device_says(self, text: bytes) -> None:
        self.from_device.add(text)
        self.device.received(text)

    def device_hello(self, text: bytes) -> None:
        self.device_says(HELLO % (len(text) % 3))

    def device_starts(self, _: bytes) -> None:
        if not self._discovers:
            self._discovers = True
            self.device.start()

    def device_lost(self, sure: bytes) -> None:
        if sure == b"lost":
            self.device.lost()

    def datagram(self, data: bytes) -> None:
        for channel in list(self.around.services.channels.values()):
            channel.receive(data, FROM)

    def speech(self, data: bytes) -> None:
        replies = [text for text in self.link.published if b'"udp":{' in text]
        if replies and self.device.voice is not None:
            sequence = int.from_bytes(data[:2], "big")
            opus = SPEECH[len(data) % len(SPEECH)]
            self.datagram(Voice(replies[-1]).cipher.seal(sequence, 0, opus))

    def server_opens(self, _: bytes) -> None:
        dials = self.around.dialer.dials
        if dials and not dials[-1].closed and dials[-1] not in self._open + self._lost:
            self._open.append(dials[-1])
            dials[-1].open()

    def server_says(self, text: bytes) -> None:
        self.from_server.add(text)
        dial = self._dial(b"")
        if dial is not None:
            dial.says(text)

    def old_server_says(self, data: bytes) -> None:
        self.from_server.add(data[1:])
        dial = self._dial(data)
        if dial is not None:
            dial.says(data[1:])

    def server_answers(self, data: bytes) -> None:
        dial = self._dial(b"")
        if dial is not None:
            dial.answers(f"s{len(data) % 3}", audio_params={"frame_duration": 60})

    def server_plays(self, data: bytes) -> None:
        dial = self._dial(b"")
        if dial is not None:
            dial.plays(data)

    def server_lost(self, data: bytes) -> None:
        dials = self.around.dialer.dials
        if dials:
            dial = dials[data[0] % len(dials) if data else -1]
            self._lost.append(dial)
            self._open = [each for each in self._open if each is not dial]
            dial.lose("reset")

    def time_passes(self, data: bytes) -> None:
        self.around.clock.advance((data[0] if data else 1) / 10)

    def told(self, data: bytes) -> None:
        """Calls and the operator."""
        match (data or b"\0")[0] % 3:
            case 0 if self.device.voice is not None:
                self.device.feed(CallEntered())
            case 1:
                self.device.feed(CallEnded("over"))
            case 2:
                self.device.feed(SessionEnded("by the operator"))

    def _left(self, device: Device, reason: str) -> None:
        assert one_line(reason)

    def _dial(self, data: bytes) -> FakeBackendLink | None:
        """The newest that is open, or a certain one."""
        dials = self._open
        return dials[data[0] % len(dials) if data else -1] if dials else None

    # --- what has to hold ---

    def check(self) -> None:
        device, services = self.device, self.around.services
        state = device.session.state
        assert (device.voice is not None) == isinstance(state, Live | InCall), state
        assert len(services.channels) == (device.voice is not None)
        assert services.limits.sessions == (device.presence.value in ("dialing", "live", "in_call"))
        if device.voice is not None:
            assert 0 < len(device.voice.session_id) <= MAX_SESSION_ID
        wanted = [dial for dial in self.around.dialer.dials if not dial.closed]
        used = sum(server.sessions for server in services.backends.listed())
        assert 0 <= used <= len(self.around.dialer.dials)
        assert used >= len([dial for dial in wanted if dial.texts and isinstance(state, Live)][-1:])
        # Our own part: at most one call for tools, and the two timers of a dial.
        assert len(self.around.clock.getDelayedCalls()) <= 3
        self._check_published()
        for number, dial in enumerate(self.around.dialer.dials):
            self._check_dial(number, dial)
        assert all(16 < len(datagram) <= MAX_DATAGRAM for datagram, _ in self.around.voice.sent)

    def _check_published(self) -> None:
        for text in self.link.published[self._published :]:
            if text not in self.from_server:
                assert parse(text)["type"] in OWN_TO_DEVICE, text
        self._published = len(self.link.published)

    def _check_dial(self, number: int, dial: FakeBackendLink) -> None:
        if dial.texts:  # an `mcp` before the hello would close the socket
            assert parse(dial.texts[0])["type"] == "hello"
        for text in dial.texts[self._checked.get(number, 0) :]:
            if text not in self.from_device:
                assert parse(text)["type"] in OWN_TO_SERVER, text
        self._checked[number] = len(dial.texts)

    def end(self) -> None:
        """The device goes, and nothing is left."""
        self.device.lost()
        assert isinstance(self.device.session.state, Gone)
        for dial in self.around.dialer.dials:
            dial.lose("over")
        services = self.around.services
        assert self.around.clock.getDelayedCalls() == []
        assert services.channels == {}
        assert services.limits.sessions == 0
        assert [server.sessions for server in services.backends.listed()] == [0, 0]


HAPPENINGS: tuple[Callable[[World, bytes], None], ...] = (
    World.device_says,
    World.device_hello,
    World.device_starts,
    World.device_lost,
    World.datagram,
    World.speech,
    World.server_opens,
    World.server_says,
    World.old_server_says,
    World.server_answers,
    World.server_plays,
    World.server_lost,
    World.time_passes,
    World.told,
)
_NUMBER = {happening: number for number, happening in enumerate(HAPPENINGS)}


def happen(data: bytes) -> None:
    """Anything at all happens to one device: no exception, and its parts agree at any time."""
    world = World(debug=len(data) % 2 == 1)
    with no_failure_logged():
        for what, body in steps(data):
            HAPPENINGS[what % len(HAPPENINGS)](world, body)
            world.check()
        world.end()


@dataclass(frozen=True, slots=True)
class _Weighted:
    """Something that happens, with what, and how often compared with others."""

    happening: Callable[[World, bytes], None]
    data: Data
    weight: int = 1

    @property
    def steps(self) -> list[st.SearchStrategy[Step]]:
        return [st.tuples(st.just(_NUMBER[self.happening]), self.data)] * self.weight


_ids = st.sampled_from(
    [1, 2, 0, -1, True, 5.0, "1", None, FIRST_OWN_ID, FIRST_OWN_ID + 1, FIRST_OWN_ID + 2, 2**31]
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
