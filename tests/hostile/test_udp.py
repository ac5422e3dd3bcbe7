"""Attacks on the UDP port."""

from __future__ import annotations

from tests.hostile import cases_udp
from tests.hostile.harness import LEAST_ROUNDS, HostileTestCase

LEAST_JUNK = LEAST_ROUNDS * cases_udp.JUNK


class UdpTests(HostileTestCase):
    """One gateway for all of them."""

    def test_datagrams(self) -> None:
        """Whatever is sent, only the device itself is heard."""
        target = self.face(cases_udp.CASES)
        session = target.gateway.wait_for(r"session=canary .* up=(\d+) lost=(\d+) .*refused=(\d+)")
        up, lost, refused = map(int, session.groups())
        self.assertEqual(lost, 0)
        self.assertLessEqual(up, target.canary.spoken)
        strangers = target.gateway.wait_for(r"(\d+) were for no open session")
        # All of it came to the gateway: half of the junk bears the canary's connection id.
        self.assertGreater(refused, LEAST_JUNK // 2)
        self.assertGreater(int(strangers[1]), LEAST_JUNK // 3)
