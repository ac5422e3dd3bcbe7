"""What the encoder refuses; its bytes are checked by the table in test_mqtt."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connect, Publish, Unsubscribe, Will


class RefusalTests(SynchronousTestCase):
    """Values that have no bytes are the caller's mistake."""

    def test_long_field(self) -> None:
        """A field holds 65,535 bytes, counted in UTF-8, and no more."""
        will = Will("w", bytes(0x10000), 0, False)
        for packet in (
            Publish("é" * 0x8000, b""),
            Unsubscribe(1, ("t" * 0x10000,)),
            Connect("c", None, None, 0, True, 4, will),
        ):
            with self.assertRaisesRegex(ValueError, "field of 65536 bytes"):
                encode(packet)

    def test_long_packet(self) -> None:
        """Four length bytes say at most 268,435,455."""
        with self.assertRaisesRegex(ValueError, "packet of 268435456 bytes"):
            encode(Publish("t", bytes(0x0FFFFFFF - 2)))

    def test_lone_surrogate(self) -> None:
        """A str that is not Unicode text is refused rather than sent ill-formed."""
        with self.assertRaises(ValueError):
            encode(Publish("\ud800", b""))
