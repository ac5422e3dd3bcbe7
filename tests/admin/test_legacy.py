"""The four calls that consoles make, body for body."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from tests.admin import fakes
from tests.admin.fakes import CLIENT_ID, device
from tests.admin.support import AdminTestCase
from xzgw.admin.legacy import MAX_IDS
from xzgw.core.door import CallResult, CallStatus, Presence

COMMAND = "/api/commands/" + CLIENT_ID
STATUS = "/api/devices/status"


def command(method: object = "tools/list", **payload: object) -> dict[str, Any]:
    """A command as consoles send it."""
    return {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": 1, "method": method, **payload}}


class CommandTests(AdminTestCase):
    """POST /api/commands/{client_id}"""

    def test_result(self) -> None:
        """The device's result comes back; method and params reach it, the caller's id does not."""
        params = {"name": "self.audio_speaker.set_volume", "arguments": {"volume": 50}}
        answer = self.ask("POST", COMMAND, command("tools/call", params=params))
        data = {"method": "tools/call", "params": params}
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json, {"success": True, "data": data})
        self.assertEqual(self.door.asked, [(CLIENT_ID, "tools/call", params, 5.0)])

    def test_encoded(self) -> None:
        """Consoles percent-encode the client id, or not."""
        path = "/api/commands/" + quote(CLIENT_ID, safe="")
        self.assertEqual(self.ask("POST", path, command()).status, 200)
        self.assertEqual(self.door.asked[0][0], CLIENT_ID)

    def test_without_params(self) -> None:
        """Missing and null params are the same."""
        self.ask("POST", COMMAND, command())
        self.ask("POST", COMMAND, command(params=None))
        self.assertEqual([params for _, _, params, _ in self.door.asked], [None, None])

    def test_text(self) -> None:
        """Texts come back as UTF-8, also where half a character was escaped."""
        answer = self.ask(
            "POST", COMMAND, b'{"type":"mcp","payload":{"method":"\\ud83d\xe9\x9f\xb3"}}'
        )
        self.assertIn('{"method":"\\ud83d音"'.encode(), answer.body)

    def test_bad_bodies(self) -> None:
        """The reason says which member is wrong."""
        no_method = "method must be a text that is not empty"
        for body, reason in (
            ({}, 'type must be "mcp"'),
            ({"type": "hello", "payload": {"method": "x"}}, 'type must be "mcp"'),
            ({"type": "mcp"}, "payload must be an object"),
            ({"type": "mcp", "payload": []}, "payload must be an object"),
            (command(method=None), no_method),
            (command(method=""), no_method),
            (command(params=[1]), "params must be an object"),
        ):
            self.assertFailed(self.ask("POST", COMMAND, body), 400, reason)
        self.assertEqual(self.door.asked, [])

    def test_not_connected(self) -> None:
        """A device that is not there: 404."""
        answer = self.ask("POST", "/api/commands/nobody", command())
        self.assertFailed(answer, 404, "no device with this client id is connected")

    def test_device_fails(self) -> None:
        """An error of the device, its silence and its leaving are told apart."""
        for behaviour, status, error in (
            (fakes.refuse, 502, "Unknown tool: self.fly"),
            (fakes.stay_silent, 504, "device did not answer tools/list within 5 s"),
            (fakes.leave, 503, "the device has disconnected"),
        ):
            self.device.answer = behaviour
            self.assertFailed(self.ask("POST", COMMAND, command()), status, error)

    def test_many_at_once(self) -> None:
        """200 commands wait for one device; each gets its own answer, in any order."""
        waiting: list[Deferred[Any]] = []

        def wait(method: str, params: fakes.Params) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.device.answer = wait
        pending = [self.begin("POST", COMMAND, command()) for _ in range(200)]
        self.client.flush()
        for number in reversed(range(200)):
            waiting[number].callback(number)
        self.client.flush()
        results = [self.successResultOf(each).json["data"] for each in pending]
        self.assertEqual(results, list(range(200)))


class StatusTests(AdminTestCase):
    """POST /api/devices/status"""

    def test_states(self) -> None:
        """true with a session or in a call, null when only connected, false when not."""
        self.door.devices = {
            presence.value: device(presence.value, presence) for presence in Presence
        }
        answer = self.ask("POST", STATUS, {"clientIds": [*self.door.devices, "nobody"]})
        absent = {"isAlive": False, "exists": False}
        self.assertEqual(
            answer.json,
            {
                "idle": {"isAlive": None, "exists": True},
                "dialing": {"isAlive": None, "exists": True},
                "live": {"isAlive": True, "exists": True},
                "in_call": {"isAlive": True, "exists": True},
                "gone": absent,
                "nobody": absent,
            },
        )

    def test_both_keys(self) -> None:
        """Either key is taken, null is like missing, and both together are joined."""
        for body, asked in (
            ({"clientIds": ["a"]}, ["a"]),
            ({"deviceIds": ["b"]}, ["b"]),
            ({"clientIds": None, "deviceIds": ["b"]}, ["b"]),
            ({"clientIds": ["a", "b", "a"], "deviceIds": ["b", "c"]}, ["a", "b", "c"]),
            ({"clientIds": []}, []),
        ):
            answer = self.ask("POST", STATUS, body)
            self.assertEqual((answer.status, list(answer.json)), (200, asked))

    def test_bad_bodies(self) -> None:
        """Not lists of texts, or too many of them."""
        for body, reason in (
            ({}, "clientIds or deviceIds is missing"),
            ({"clientIds": None}, "clientIds or deviceIds is missing"),
            ({"clientIds": "a"}, "clientIds and deviceIds must be lists"),
            ({"clientIds": ["a"], "deviceIds": {}}, "clientIds and deviceIds must be lists"),
            ({"clientIds": [1]}, "client ids must be texts"),
            ({"deviceIds": [None]}, "client ids must be texts"),
        ):
            self.assertFailed(self.ask("POST", STATUS, body), 400, reason)

    def test_most(self) -> None:
        """As many ids as allowed are fine, one more is not."""
        ids = ["x"] * MAX_IDS
        self.assertEqual(self.ask("POST", STATUS, {"clientIds": ids}).status, 200)
        answer = self.ask("POST", STATUS, {"clientIds": ids, "deviceIds": ["y"]})
        self.assertFailed(answer, 400, "at most 10000 client ids may be asked for at once")


class CallTests(AdminTestCase):
    """POST /api/call/request and /api/call/accept"""

    def test_request(self) -> None:
        """MACs and nickname are passed on; the answer is 200 whatever became of it."""
        macs = {"caller_mac": "AA:BB", "target_mac": "CC:DD"}
        for status in CallStatus:
            self.door.verdict = CallResult(status, "see there")
            answer = self.ask("POST", "/api/call/request", {**macs, "caller_nickname": "奶奶"})
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.json, {"status": status.value, "message": "see there"})
        self.assertEqual(set(self.door.calls), {("AA:BB", "CC:DD", "奶奶")})

    def test_without_nickname(self) -> None:
        """A nickname may be missing or null."""
        macs = {"caller_mac": "AA:BB", "target_mac": "CC:DD"}
        self.ask("POST", "/api/call/request", macs)
        self.ask("POST", "/api/call/request", {**macs, "caller_nickname": None})
        self.assertEqual(self.door.calls, [("AA:BB", "CC:DD", "")] * 2)

    def test_accept(self) -> None:
        """The MAC is passed on."""
        self.door.verdict = CallResult(CallStatus.BRIDGED, "connected")
        answer = self.ask("POST", "/api/call/accept", {"mac": "CC:DD"})
        self.assertEqual(answer.json, {"status": "bridged", "message": "connected"})
        self.assertEqual(self.door.calls, [("CC:DD",)])
        answer = self.ask("POST", "/api/call/accept", {})
        self.assertFailed(answer, 400, "mac must be a text that is not empty")
