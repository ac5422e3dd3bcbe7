"""The wider API."""

from __future__ import annotations

from dataclasses import replace

from tests.admin import fakes
from tests.admin.fakes import ALIKE, CLIENT_ID, CONNECTED_AT, SERVER, device
from tests.admin.support import PATH, AdminTestCase
from xzgw.core.audio_stats import Stats
from xzgw.core.door import BackendState, Filter, Presence
from xzgw.core.totals import Totals


class ListTests(AdminTestCase):
    """GET /v1/devices"""

    def test_pages(self) -> None:
        """Going from `next` to `next` one sees every device once, in order."""
        ids = [f"g@@@a0_85_e3_f4_49_{number:02d}@@@u" for number in range(25)]
        self.door.devices = {each: device(each) for each in reversed(ids)}
        seen: list[str] = []
        after = ""
        for size in (10, 10, 5):
            page = self.ask("GET", f"/v1/devices?limit=10{after}").json
            self.assertEqual((len(page["devices"]), page["total"]), (size, 25))
            seen += [each["client_id"] for each in page["devices"]]
            after = f"&after={page['next']}"
        self.assertIsNone(page["next"])
        self.assertEqual(seen, ids)

    def test_defaults(self) -> None:
        """Without parameters: all devices, from the first one, a hundred at a time."""
        answer = self.ask("GET", "/v1/devices")
        self.assertEqual([each["client_id"] for each in answer.json["devices"]], [CLIENT_ID])
        self.assertEqual(self.door.looked_for, [(Filter(), "", 100)])

    def test_filter(self) -> None:
        """Group, state and MAC prefix reach the door in its own terms."""
        self.ask("GET", "/v1/devices?group=GID%20x&state=in_call&mac_prefix=A0-85_e3:F&limit=1000")
        expected = Filter("GID x", Presence.IN_CALL, "a0:85:e3:f")
        self.assertEqual(self.door.looked_for, [(expected, "", 1000)])


class DeviceTests(AdminTestCase):
    """/v1/devices/{client_id}"""

    def test_show(self) -> None:
        """Everything the door knows, with times that people can read."""
        self.door.devices[CLIENT_ID] = device(presence=Presence.LIVE)
        shown = self.ask("GET", PATH).json
        self.assertEqual(shown["mac"], "a0:85:e3:f4:49:34")
        self.assertEqual(shown["mqtt"]["connected_since"], "2026-01-31T11:59:00.000Z")
        self.assertEqual(shown["mqtt"]["last_seen"], "2026-01-31T12:00:00.250Z")
        self.assertEqual(shown["mqtt"]["keep_alive"], 240)
        self.assertEqual(shown["session"]["since"], "2026-01-31T11:59:30.000Z")
        self.assertEqual(shown["udp"]["up"]["lost"], 1)
        self.assertEqual(shown["diagnosis"]["sentence"], "all is well")
        self.assertEqual(shown["talk_seconds_today"], 30.5)

    def test_disconnect(self) -> None:
        """A device that was disconnected is not there any more."""
        answer = self.ask("DELETE", PATH)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.ask("DELETE", PATH).status, 404)

    def test_end_session(self) -> None:
        """A session can be ended once; without one it is a conflict."""
        self.door.devices[CLIENT_ID] = device(presence=Presence.LIVE)
        self.assertEqual(self.ask("DELETE", PATH + "/session").status, 204)
        self.assertProblem(self.ask("DELETE", PATH + "/session"), 409, "no session is open")
        self.assertEqual(self.ask("GET", PATH).json["state"], "idle")


class ToolTests(AdminTestCase):
    """/v1/devices/{client_id}/tools"""

    def test_list(self) -> None:
        """The tools as the device described them."""
        self.device.tools = {
            "tools": [{"name": "self.a", "inputSchema": {"type": "object"}}],
            "complete": True,
            "status": "all of them",
        }
        self.assertEqual(self.ask("GET", PATH + "/tools").json, self.device.tools)

    def test_call(self) -> None:
        """Arguments in, result out; the JSON-RPC around it is ours."""
        answer = self.ask("POST", PATH + "/tools/self.set%2Fvolume", {"volume": 50})
        params = {"name": "self.set/volume", "arguments": {"volume": 50}}
        self.assertEqual(answer.json, {"result": {"method": "tools/call", "params": params}})
        self.assertEqual(self.door.asked, [(CLIENT_ID, "tools/call", params, 10)])

    def test_large_result(self) -> None:
        """A result of any size arrives whole."""
        self.device.answer = lambda method, params: fakes.echo("x" * 2_000_000, None)
        answer = self.ask("POST", PATH + "/tools/self.take_photo", {})
        self.assertEqual(len(answer.json["result"]["method"]), 2_000_000)

    def test_timeout(self) -> None:
        """The caller says how long the device has."""
        self.assertEqual(self.ask("POST", PATH + "/tools/a?timeout=60", {}).status, 200)
        self.assertEqual(self.door.asked[0][3], 60)
        answer = self.ask("POST", PATH + "/tools/a?timeout=61", {})
        self.assertProblem(answer, 400, "timeout must be a whole number from 1 to 60")

    def test_device_fails(self) -> None:
        """An error of the device, its silence and its leaving are told apart."""
        for behaviour, status, detail in (
            (fakes.refuse, 502, "Unknown tool: self.fly"),
            (fakes.stay_silent, 504, "device did not answer tools/call within 5 s"),
            (fakes.leave, 503, "the device has disconnected"),
        ):
            self.device.answer = behaviour
            self.assertProblem(self.ask("POST", PATH + "/tools/self.fly", {}), status, detail)


class PushTests(AdminTestCase):
    """POST /v1/devices/{client_id}/messages"""

    def test_push(self) -> None:
        """Any type, with whatever members."""
        message = {"type": "alert", "status": "提醒", "deep": [{"a": None}]}
        answer = self.ask("POST", PATH + "/messages", message)
        self.assertEqual((answer.status, answer.json), (202, {"status": "sent"}))
        self.assertEqual(self.device.pushed, [message])

    def test_without_type(self) -> None:
        """A message without a type is none that firmware knows."""
        for message in ({}, {"type": 5}, {"type": ""}):
            answer = self.ask("POST", PATH + "/messages", message)
            self.assertProblem(answer, 400, "type must be a text that is not empty")
        self.assertEqual(self.device.pushed, [])


class DrainTests(AdminTestCase):
    """POST /v1/drain"""

    def test_drain(self) -> None:
        """Each time it is passed on and answered with what is left; it needs no body."""
        for times in (1, 2):
            answer = self.ask("POST", "/v1/drain")
            body = {"status": "draining", "devices": 1, "sessions": 1}
            self.assertEqual((answer.status, answer.json, self.door.drained), (202, body, times))

    def test_without_token(self) -> None:
        """Nobody else can do it."""
        self.assertEqual(self.ask("POST", "/v1/drain", token=None).status, 401)
        self.assertEqual(self.door.drained, 0)


class BackendTests(AdminTestCase):
    """/v1/backends"""

    def one(self) -> dict[str, object]:
        """The only server, as it is shown."""
        (shown,) = self.ask("GET", "/v1/backends").json["backends"]
        return dict(shown)

    def test_up(self) -> None:
        """A server that is well has no error and is not being waited for."""
        expected = {
            "url": SERVER,
            "groups": ["production"],
            "weight": 1,
            "sessions": 0,
            "failures": 0,
            "state": "up",
            "last_error": None,
            "next_try": None,
        }
        self.assertEqual(self.one(), expected)

    def test_failing(self) -> None:
        """One that has failed: how often, why, and when it is tried again."""
        self.door.servers[SERVER] = replace(
            self.door.servers[SERVER],
            groups=(),
            failures=3,
            state=BackendState.FAILING,
            last_error="refused",
            next_try=CONNECTED_AT,
        )
        shown = self.one()
        self.assertEqual((shown["groups"], shown["failures"]), ([], 3))
        self.assertEqual((shown["state"], shown["last_error"]), ("failing", "refused"))
        self.assertEqual(shown["next_try"], "2026-01-31T11:59:00.000Z")

    def test_drain_and_resume(self) -> None:
        """Each may be asked for twice."""
        for what, state in (("drain", "draining"), ("resume", "up")):
            for _ in range(2):
                answer = self.ask("POST", f"/v1/backends/{what}", {"url": SERVER})
                self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertEqual(self.one()["state"], state)

    def test_unknown(self) -> None:
        """A server that is not there; a body that names none."""
        for what in ("drain", "resume"):
            answer = self.ask("POST", f"/v1/backends/{what}", {"url": SERVER + "&"})
            self.assertProblem(answer, 404, "no chat server has this address")
            answer = self.ask("POST", f"/v1/backends/{what}", {"url": ALIKE})
            self.assertProblem(answer, 409, "several chat servers are shown like this")
            answer = self.ask("POST", f"/v1/backends/{what}", {"URL": SERVER})
            self.assertProblem(answer, 400, "url must be a text that is not empty")
        self.assertEqual(self.one()["state"], "up")


STATS = Stats(
    forwarded=50,
    forwarded_bytes=9000,
    lost=4,
    late=2,
    duplicate=1,
    refused_old_sequence=3,
    sent_packets=40,
    sent_bytes=8000,
    dropped_waiting=6,
)


class StatusTests(AdminTestCase):
    """GET /v1/status"""

    def test_all(self) -> None:
        """Everything the door knows, as plain members."""
        self.door.sums = Totals(audio=STATS)
        expected = {
            "version": "1.2.3",
            "uptime_seconds": 61.235,
            "draining": False,
            "stopping": True,
            "troubles": ["the gateway is stopping"],
            "trouble_parts": [[{"id": "stopping", "values": {}}]],
            "devices": 3,
            "unauthenticated": 2,
            "sessions": 1,
            "api_connections": 4,
            "audio": {
                "up": {
                    "packets": 50,
                    "bytes": 9000,
                    "lost": 4,
                    "late": 2,
                    "duplicate": 1,
                    "refused": 3,
                },
                "down": {"packets": 40, "bytes": 8000, "dropped": 6},
            },
            "limits": {
                "max_connections": {"value": 50, "used": 3},
                "max_connects_per_second": {"value": 9, "used": None},
            },
            "refused": {"max_connections": 7, "draining": 0},
            "counts": {"refused_wrong_token": 5, "events": 8},
            "held": {"timers": 6},
        }
        self.assertEqual(self.ask("GET", "/v1/status").json, expected)

    def test_without_token(self) -> None:
        """Nobody else sees it."""
        self.assertEqual(self.ask("GET", "/v1/status", token=None).status, 401)


class ConfigTests(AdminTestCase):
    """GET /v1/config"""

    def test_taken(self) -> None:
        """The report as it is, with times for people."""
        expected = {**self.report, "read_at": "2026-01-31T12:00:00.000Z"}
        self.assertEqual(self.ask("GET", "/v1/config").json, expected)

    def test_not_taken(self) -> None:
        """When and why the last change was not taken."""
        refused = {"at": CONNECTED_AT, "problems": ["xzgw.json: oops"]}
        self.report = {**self.report, "not_taken": refused, "source": "/etc/xzgw.json"}
        shown = self.ask("GET", "/v1/config").json
        self.assertEqual(shown["not_taken"], {**refused, "at": "2026-01-31T11:59:00.000Z"})
        self.assertEqual(shown["source"], "/etc/xzgw.json")

    def test_without_token(self) -> None:
        """Nobody else sees it."""
        self.assertEqual(self.ask("GET", "/v1/config", token=None).status, 401)


class EventsTests(AdminTestCase):
    """GET /v1/events; the stream itself is tested elsewhere."""

    def test_stream(self) -> None:
        """Events come as they happen, until the stream ends."""
        pending = self.begin("GET", "/v1/events?kinds=connect")
        self.client.flush()
        self.events.publish("connect", client_id=CLIENT_ID)
        self.events.publish("disconnect", client_id=CLIENT_ID)
        self.stream.close()
        self.client.flush()
        answer = self.successResultOf(pending)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertIn(b"event: connect\n", answer.body)
        self.assertNotIn(b"disconnect", answer.body)

    def test_head(self) -> None:
        """HEAD does not make a reader."""
        answer = self.ask("HEAD", "/v1/events")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self.stream.readers, 0)

    def test_unknown_kinds(self) -> None:
        """A kind that does not exist would never come."""
        answer = self.ask("GET", "/v1/events?kinds=connected")
        self.assertProblem(answer, 400, "no such kinds of events: connected")
