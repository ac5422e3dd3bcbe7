"""What the doctor says, apart from when."""

from __future__ import annotations

import ssl

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.fake_gateway import KEY
from xzgw.tools.device_voice import Session
from xzgw.tools.doctor import advice
from xzgw.tools.doctor.network import words
from xzgw.tools.doctor.report import Report, Step, Trouble
from xzgw.wire.audio import nonce

AUDIO = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}


class AddressTests(SynchronousTestCase):
    """The address told for audio, next to the one where MQTT was reached."""

    def test_fine(self) -> None:
        """The same address, and a real one while testing on the gateway's own machine."""
        for told, reached in (
            ("203.0.113.7", "203.0.113.7"),
            ("192.168.1.2", "192.168.1.2"),
            ("192.168.1.2", "127.0.0.1"),
            ("2001:db8::1", "::1"),
        ):
            self.assertIsNone(advice.address_note(told, reached))

    def test_odd(self) -> None:
        """What cannot work here, what works only here, and what may work."""
        for told, reached, expected in (
            ("127.0.0.1", "127.0.0.1", "it works on this machine only"),
            ("172.17.0.2", "172.17.0.2", "it works on this machine only"),
            ("127.0.0.1", "192.168.1.2", "such as 192.168.1.2"),
            ("172.17.0.2", "192.168.1.2", "a container's address"),
            ("0.0.0.0", "192.168.1.2", "no address that one can send to"),
            ("192.168.1.2", "8.8.8.8", "a private address"),
            ("8.8.8.8", "8.8.4.4", "fine only if both lead to it"),
            ("192.168.1.3", "192.168.1.2", "fine only if both lead to it"),
        ):
            self.assertIn(expected, advice.address_note(told, reached) or "", (told, reached))


class ReplyTests(SynchronousTestCase):
    """What is odd in a reply that can be used."""

    def odd(self, **changes: object) -> list[str]:
        udp = {"encryption": "aes-128-ctr"}
        reply = {"version": 3, "udp": udp, "audio_params": AUDIO, **changes}
        header = changes.get("header", nonce(7))
        assert isinstance(header, bytes)
        return advice.odd(reply, Session("s", "192.0.2.1", 1, KEY, header, reply))

    def test_usual(self) -> None:
        """The usual reply is not odd, nor are flags in the nonce."""
        self.assertEqual(self.odd(), [])
        self.assertEqual(self.odd(header=bytes((1, 0x80)) + bytes(14)), [])

    def test_odd(self) -> None:
        """Each thing is told."""
        for name, value, expected in (
            ("version", None, "version is None"),
            ("udp", {}, "encryption is None"),
            ("header", nonce(7)[:15] + b"\1", "nonce is not zero"),
            ("audio_params", None, "no audio_params"),
            ("audio_params", {**AUDIO, "sample_rate": [1]}, "sample_rate is [1]"),
            ("audio_params", {**AUDIO, "format": "pcm"}, "format is 'pcm'"),
        ):
            (found,) = self.odd(**{name: value})
            self.assertIn(expected, found)


class CauseTests(SynchronousTestCase):
    """Errors of the network."""

    def test_tcp(self) -> None:
        """Refusal, silence and the rest have different remedies."""
        self.assertIn("Nobody listens at 1883/tcp", advice.tcp(ConnectionRefusedError(), 1883))
        self.assertIn("a firewall drops 1883/tcp", advice.tcp(TimeoutError(), 1883))
        self.assertIn("does not lead there", advice.tcp(OSError(113, "x"), 1883))

    def test_words(self) -> None:
        """An error is told in its own words, never as nothing."""
        for error, expected in (
            (OSError(111, "Connection refused"), "connection refused"),
            (TimeoutError("timed out"), "timed out"),
            (TimeoutError(), "TimeoutError"),
            (ssl.SSLError(1, "x"), "the handshake failed"),
        ):
            self.assertEqual(words(error), expected)


class ReportTests(SynchronousTestCase):
    """The lines and the exit status."""

    def test_status(self) -> None:
        """The first failure decides; warnings do not count."""
        lines: list[str] = []
        report = Report(lambda: 0.0, lines.append)
        report.begin(Step(1, "one", 11))
        report.ok("fine")
        report.warn("odd " * 30)
        self.assertEqual(report.conclude(), 0)
        self.assertEqual(lines[-1], "All is well, with 1 warning(s).")
        self.assertTrue(all(len(line) <= 96 for line in lines))
        report.failed(Trouble("bad", "Do this.", Step(2, "two", 12)))
        report.failed(Trouble("worse", "Do that."))
        self.assertEqual(report.conclude(), 12)
        self.assertEqual(lines[0], "ok       1 one               0 ms  fine")
        self.assertIn("FAILED   2 two: bad", lines)
        self.assertIn("FAILED   1 one: worse", lines)
        self.assertEqual(lines[-1], "Something is wrong; exit status 12.")
