"""What is told of one device."""

from __future__ import annotations

from dataclasses import replace

from tests.core.phones import AUDIO, SPEECH, Phone, PhonesTestCase, connect_of, goodbye
from tests.fakes import URL, Surroundings
from xzgw.core.device_view import view
from xzgw.core.door import DeviceView, Presence
from xzgw.wire.audio import server_audio

START = Surroundings.now  # unix seconds, while the clock shows 0


class DeviceViewTests(PhonesTestCase):
    """The first device of the vectors, from its connection on."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0)

    def view(self, phone: Phone | None = None) -> DeviceView:
        return view((phone or self.ann).device, self.board.around.services)

    def test_connected(self) -> None:
        """Without a session there is none to tell of, nor any audio."""
        self.board.pass_time(30.0)
        self.ann.device.seen_at = 20.0
        self.assertEqual(
            self.view(),
            DeviceView(
                client_id=connect_of(0).client_id,
                group="GID_test",
                mac="a0:85:e3:f4:49:34",
                uuid="aeebef32-f0ef-4bce-9d8a-894d91bc6932",
                presence=Presence.IDLE,
                mqtt={
                    "connected_since": START,
                    "last_seen": START + 20.0,
                    "address": "192.0.2.50",
                    "keep_alive": 240,
                    "messages": 0,
                    "messages_refused": 0,
                    "messages_over_limit": 0,
                },
                session=None,
                udp=None,
                talk_seconds_today=0.0,
                tools={
                    "count": 0,
                    "complete": False,
                    "status": "device was not asked for its tools yet",
                },
                diagnosis=self.ann.device.checkup.diagnosis().as_json(),
            ),
        )

    def test_messages(self) -> None:
        """What came, what of it was no message, and what was too much."""
        config = replace(self.board.around.services.config, message_rate=1, message_burst=3)
        self.board.gateway.configure(config)
        self.board.gateway.leave(self.ann.device, "lost")
        ann = self.phone(0)
        for text in (b"{}", b"?", b'{"type":"mcp"}', b"{}"):
            ann.device.received(text)
        mqtt = self.view(ann).mqtt
        names = ("messages", "messages_refused", "messages_over_limit")
        self.assertEqual([mqtt[name] for name in names], [4, 1, 1])

    def test_session(self) -> None:
        """Since when, with which server, and the audio that each side announced."""
        self.board.pass_time(5.0)
        self.ann.hello("s-1")
        self.board.pass_time(7.0)
        told = self.view()
        self.assertEqual(told.presence, "live")
        self.assertEqual(
            told.session,
            {
                "id": "s-1",
                "server": URL,
                "since": START + 5.0,
                "device_audio": AUDIO,
                "server_audio": AUDIO,
            },
        )
        self.assertEqual(told.talk_seconds_today, 7.0)

    def test_talk_time(self) -> None:
        """The sessions of today, over all connections, and the one that is open."""
        self.ann.hello("s-1")
        self.board.pass_time(10.0)
        self.ann.says(goodbye("s-1"))
        self.board.pass_time(100.0)
        self.assertEqual(self.view().talk_seconds_today, 10.0)
        self.board.gateway.leave(self.ann.device, "lost")
        ann = self.phone(0, "s-2")
        self.board.pass_time(5.0)
        self.assertEqual(self.view(ann).talk_seconds_today, 15.0)

    def test_unheard(self) -> None:
        """Before its first datagram the device has no address."""
        self.ann.hello("s-1")
        none = {"packets": 0, "bytes": 0, "jitter_ms": 0.0, "gaps": 0, "longest_gap_ms": 0.0}
        up = {"lost": 0, "late": 0, "duplicate": 0, "refused": 0, "refused_by": {}}
        self.assertEqual(
            self.view().udp,
            {
                "address": None,
                "up": {**none, **up},
                "down": {**none, "dropped": 0, "dropped_by": {}},
            },
        )

    def test_uplink(self) -> None:
        """What the device sent: packets, bytes, loss, what was refused, jitter, gaps."""
        self.ann.hello("s-1")
        for pause, skip in ((0.0, 0), (0.06, 0), (0.07, 2), (0.0, -2), (0.0, 0), (0.25, 0)):
            self.board.pass_time(pause)
            self.ann.speaks(SPEECH[1], skip=skip)
        self.ann.speaks(b"\xff" * 40)
        udp = self.view().udp
        assert udp is not None
        self.assertEqual(udp["address"], "192.0.2.50:40000")
        # Sequences 1, 2, 5, 4, 5, 6. The third packet comes 0.11 s early for one that follows two
        # lost ones, the last one 0.19 s late: 0.11 / 16 s, and of 0.19 s the sixteenth.
        up = {
            "packets": 4,
            "bytes": 4 * (16 + len(SPEECH[1])),
            "lost": 1,
            "late": 1,
            "duplicate": 1,
            "refused": 3,
            "refused_by": {"old_sequence": 2, "implausible": 1},
            "jitter_ms": 18.3,
            "gaps": 1,
            "longest_gap_ms": 250.0,
        }
        self.assertEqual(udp["up"], up)

    def test_downlink(self) -> None:
        """What it got: packets, bytes, what was dropped, jitter, gaps."""
        self.ann.hello("s-1")
        for _ in range(20):  # before it is heard, one second of them can wait
            self.ann.server.plays(server_audio(1, 60, SPEECH[2]))
            self.board.pass_time(0.06)
        self.ann.speaks(SPEECH[1])
        self.board.pass_time(0.07)
        self.ann.server.plays(server_audio(1, 60, SPEECH[2]))
        udp = self.view().udp
        assert udp is not None
        # The last packet comes 0.07 s late: 0.07 / 16 s.
        down = {
            "packets": 17,
            "bytes": 17 * (16 + len(SPEECH[2])),
            "dropped": 4,
            "dropped_by": {"waiting": 4},
            "jitter_ms": 4.4,
            "gaps": 0,
            "longest_gap_ms": 0.0,
        }
        self.assertEqual(udp["down"], down)

    def test_ipv6(self) -> None:
        """An address and a port can be told apart."""
        ann = Phone(self.board, connect_of(0), "2001:db8::7")
        ann.hello("s-1")
        ann.speaks(SPEECH[0])
        udp = self.view(ann).udp
        assert udp is not None
        self.assertEqual(udp["address"], "[2001:db8::7]:40000")

    def test_call(self) -> None:
        """In a call the session goes on."""
        self.ann.hello("s-1")
        self.phone(1, "s-2")
        self.board.gateway.calls.request(self.ann.mac, "11:22:33:44:55:66", "")
        told = self.view()
        assert told.session is not None
        self.assertEqual((told.presence, told.session["id"]), ("in_call", "s-1"))
