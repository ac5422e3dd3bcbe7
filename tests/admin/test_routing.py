"""Client ids in paths, however they are spelt."""

from __future__ import annotations

from urllib.parse import quote

from tests.admin.fakes import CLIENT_ID, device
from tests.admin.support import PATH, AdminTestCase

ODD_ID = "a/b%2F?#[]@@@a0_85_e3_f4_49_34@@@x"


class RoutingTests(AdminTestCase):
    """One device, one path."""

    def test_spellings(self) -> None:
        """Plain @@@, percent-encoded, needlessly encoded: all are the same device."""
        every_byte = "".join(f"%{byte:02x}" for byte in CLIENT_ID.encode())
        for spelling in (CLIENT_ID, quote(CLIENT_ID), CLIENT_ID.replace("@", "%40"), every_byte):
            answer = self.ask("GET", "/v1/devices/" + spelling)
            self.assertEqual((answer.status, answer.json["client_id"]), (200, CLIENT_ID))
        self.assertEqual(self.ask("GET", PATH.replace("devices", "%64evices")).status, 200)

    def test_any_character(self) -> None:
        """A slash, a percent sign or a question mark in a client id is found when encoded."""
        self.door.devices = {ODD_ID: device(ODD_ID)}
        path = "/v1/devices/" + quote(ODD_ID, safe="")
        self.assertEqual(self.ask("GET", path).json["client_id"], ODD_ID)
        self.assertEqual(self.ask("GET", path + "/tools").status, 200)

    def test_not_utf8(self) -> None:
        """A path that is not UTF-8 leads nowhere, and that is no fault of ours."""
        self.assertProblem(self.ask("GET", "/v1/devices/%ff"), 404, "no such path")
        self.assertFailed(self.ask("POST", "/api/commands/%c3%28", {}), 404, "no such path")

    def test_no_detours(self) -> None:
        """Doubled slashes are not forgiven, and nobody is sent elsewhere."""
        for path in ("//v1/devices", "/v1//devices", "/v1/devices//", "/v1/devices//tools"):
            answer = self.ask("GET", path)
            self.assertEqual(answer.status, 404, path)
            self.assertNotIn("location", answer.headers)

    def test_odd_hosts(self) -> None:
        """Whatever host the caller believes to talk to does not matter."""
        for host in ("", "a" * 300, "..", "\u97f3", "[::1", "x:y:z"):
            answer = self.ask("GET", PATH, headers={"Host": host})
            self.assertEqual(answer.status, 200, host)
