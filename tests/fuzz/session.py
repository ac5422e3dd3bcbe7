"""One device and its servers: what both say, in any order, through the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    no_failure_logged,
    one_line,
    steps,
)
from xzgw.core.device import Device
from xzgw.core.device_peer import Peer
from xzgw.core.link import MAX_SESSION_ID
from xzgw.core.session_types import CallEnded, CallEntered, Gone, InCall, Live, SessionEnded
from xzgw.wire.audio import MAX_DATAGRAM
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


# Cases of the corpus know these by their places.
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


def happen(data: bytes) -> None:
    """Anything at all happens to one device: no exception, and its parts agree at any time."""
    world = World(debug=len(data) % 2 == 1)
    with no_failure_logged():
        for what, body in steps(data):
            HAPPENINGS[what % len(HAPPENINGS)](world, body)
            world.check()
        world.end()
