"""Attacks on the MQTT port; the cases are in the modules named after them."""

from __future__ import annotations

from tests.hostile import (
    cases_connect,
    cases_connections,
    cases_floods,
    cases_packets,
    cases_sessions,
)
from tests.hostile.harness import HostileTestCase


class MqttTests(HostileTestCase):
    """One gateway for each kind of attack."""

    def test_packets(self) -> None:
        """Whoever breaks the protocol is closed, and nobody else notices."""
        self.face(cases_packets.CASES)

    def test_connect(self) -> None:
        """Nobody gets in without credentials, nor by odd ones."""
        self.face(cases_connect.CASES)

    def test_floods(self) -> None:
        """Who is let in cannot harm the others, however much is sent."""
        self.face(cases_floods.CASES)

    def test_sessions(self) -> None:
        """Nor can its sessions and its answers."""
        self.face(cases_sessions.CASES)

    def test_connections(self) -> None:
        """Nor by coming in large numbers."""
        self.face(cases_connections.CASES)

    def test_pace(self) -> None:
        """Nor by coming faster than it is allowed; who is there already is served."""
        most = str(cases_connections.MOST_A_SECOND)
        self.face(cases_connections.PACE, settings={"XZGW_MAX_CONNECTS_PER_SECOND": most})
