"""The shapes that a session is told in; their use is in test_voice_session and test_device_view."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_channel import MOVED, Rig
from xzgw.core import telemetry
from xzgw.core.jitter import Jitter
from xzgw.core.totals import ENDINGS
from xzgw.core.turns import Turns


class UdpTests(SynchronousTestCase):
    """Packets of both directions."""

    def test_address(self) -> None:
        """As in a URL, IPv4 that IPv6 carries in its own form."""
        for host, shown in (
            ("1.2.3.4", "1.2.3.4:40001"),
            ("::ffff:1.2.3.4", "1.2.3.4:40001"),
            ("2001:db8::7", "[2001:db8::7]:40001"),
        ):
            rig = Rig(peer_ip=host)
            rig.hear(1, source=(host, MOVED[1]))
            self.assertEqual(telemetry.udp(rig.channel)["address"], shown)

    def test_refused_by(self) -> None:
        """Reasons that never were are left out, and the others add up."""
        rig = Rig()
        rig.hear(1, 1, 1)
        rig.channel.receive(b"x", MOVED)
        up = telemetry.udp(rig.channel)["up"]
        self.assertEqual(up["refused_by"], {"too_short": 1, "old_sequence": 2})
        self.assertEqual(up["refused"], 3)


class TimesTests(SynchronousTestCase):
    """How long things took."""

    def test_rounded(self) -> None:
        """In ms, with one decimal; a time of zero is not the same as none."""
        rig = Rig()
        turns = Turns(lambda: 7.0, Jitter(), rig.channel.jitter_down, lambda _seconds: None)
        turns.server_said("stt", None)
        rig.channel.jitter_down.arrived(7.0, 0.06)
        times = telemetry.times(5.0, 5.12345, rig.channel, turns)
        self.assertEqual(times["hello_to_reply_ms"], 123.5)
        self.assertIsNone(times["hello_to_first_uplink_ms"])
        self.assertEqual(times["stop_to_first_audio_ms"], 0.0)


class EndingTests(SynchronousTestCase):
    """Why a session has ended, in one word."""

    def test_words(self) -> None:
        """Whatever is not the device's, a call's or the server's doing is the gateway's."""
        for reason, expected in (
            ("device said goodbye", "goodbye"),
            ("the call was not answered", "call"),
            ("the other device has left the call", "call"),
            ("the gateway is being drained", "gateway"),
            ("", "gateway"),
        ):
            self.assertEqual(telemetry.ending(reason, server_gone=False), expected)
            self.assertIn(expected, ENDINGS)

    def test_server(self) -> None:
        """A server's words for its end can be any, ours included."""
        for reason in ("device said goodbye", "1000 bye"):
            self.assertEqual(telemetry.ending(reason, server_gone=True), "server")
