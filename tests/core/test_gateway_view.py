"""The gateway as a whole, as it is told through the door."""

from __future__ import annotations

from dataclasses import replace

from tests.core.phones import PhonesTestCase
from xzgw.core.door import Limit, Status
from xzgw.core.local_door import LocalDoor
from xzgw.core.mcp import McpClosed
from xzgw.settings.limits import LimitsConfig


class StatusTests(PhonesTestCase):
    """The gateway as a whole."""

    def status(self) -> Status:
        return self.successResultOf(self.board.door.status())

    def test_new(self) -> None:
        """Nothing has happened; the limits are those of the configuration."""
        status, limits = self.status(), LimitsConfig()
        self.assertEqual((status.uptime, status.devices, status.sessions), (0.0, 0, 0))
        self.assertEqual((status.draining, status.stopping, status.troubles), (False, False, ()))
        values = {name: limit.value for name, limit in status.limits.items()}
        self.assertEqual(values, {name: getattr(limits, name) for name in values})
        self.assertEqual(set(status.refused), {*values, "draining"})
        self.assertEqual(status.limits["max_sessions"], Limit(limits.max_sessions, 0))
        self.assertIsNone(status.limits["max_connects_per_second"].used)
        names = {"bad_client_id", "stopping", "unsigned", "wrong_password", "wrong_token"}
        self.assertEqual(set(status.counts), {"events", *(f"refused_{name}" for name in names)})
        self.assertEqual((sum(status.refused.values()), sum(status.counts.values())), (0, 0))

    def test_busy(self) -> None:
        """What is here, what was refused, and for how long it has been running."""
        gateway = self.board.gateway
        limits = gateway.services.limits
        self.phone(0, "s-ann")
        self.phone(1)
        limits.arrived("192.0.2.1")
        limits.called()
        gateway.wrong_token("192.0.2.1")
        gateway.configure(replace(gateway.services.config, limits=LimitsConfig(max_connections=2)))
        self.assertIsNotNone(limits.full("192.0.2.1", None))
        self.board.pass_time(7.5)
        status = self.status()
        self.assertEqual((status.uptime, status.devices, status.sessions), (7.5, 2, 1))
        self.assertEqual((status.unauthenticated, status.api_connections), (1, 1))
        self.assertEqual(status.limits["max_connections"], Limit(2, 2))
        self.assertEqual(status.limits["max_unauthenticated"].used, 1)
        self.assertEqual(status.limits["max_api_connections"].used, 1)
        self.assertEqual(status.refused["max_connections"], 1)
        self.assertEqual(status.counts["refused_wrong_token"], 1)
        self.assertEqual(status.counts["events"], gateway.services.events.published)
        self.assertGreater(status.counts["events"], 2)

    def test_end(self) -> None:
        """It says so when it is drained, and when it stops, with the reasons that readiness has."""
        gateway = self.board.gateway
        gateway.drain()
        self.assertEqual((self.status().draining, self.status().stopping), (True, False))
        gateway.stop("the end")
        self.assertEqual((self.status().draining, self.status().stopping), (True, True))
        self.assertEqual(self.status().troubles, tuple(gateway.troubles()))
        self.assertEqual(len(self.status().troubles), 2)

    def test_outside(self) -> None:
        """The version, and what adapters count and hold at that moment."""
        counted, held = {"datagrams_unknown": 1}, {"event_readers": 0}
        door = LocalDoor(self.board.gateway, "1.2.3", lambda: counted, lambda: held)
        counted["datagrams_unknown"] = 2
        held["event_readers"] = 3
        status = self.successResultOf(door.status())
        self.assertEqual((status.version, status.counts["datagrams_unknown"]), ("1.2.3", 2))
        self.assertEqual(status.held["event_readers"], 3)

    def test_held(self) -> None:
        """What lives with devices is seen to come and to go."""
        gateway = self.board.gateway
        servers = len(gateway.services.backends.known())
        nothing = {"channels": 0, "in_calls": 0, "mcp_requests": 0, "servers": servers, "timers": 0}
        self.assertEqual(self.status().held, nothing)
        ann, bob = self.phone(0, "s-ann"), self.phone(1, "s-bob")
        self.assertEqual(self.status().held["channels"], 2)
        waiting = self.status().held
        calls = [device.mcp.call("tools/call") for device in (ann.device, bob.device)]
        held = self.status().held
        self.assertEqual(held["mcp_requests"], waiting["mcp_requests"] + 2)
        self.assertEqual(held["timers"], waiting["timers"] + 2)
        self.assertEqual(gateway.calls.request(ann.mac, bob.mac, "Ann").status, "pending")
        self.assertEqual(self.status().held["in_calls"], 1)
        self.assertEqual(gateway.calls.accept(bob.mac).status, "bridged")
        self.assertEqual(self.status().held["in_calls"], 2)
        for device in list(gateway.devices.values()):
            gateway.leave(device, "gone")
        for call in calls:
            self.failureResultOf(call, McpClosed)
        self.assertEqual(self.status().held, nothing)
