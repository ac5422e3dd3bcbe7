"""What failures look like to callers, and what they do not get to see."""

from __future__ import annotations

from tests.admin.fakes import CLIENT_ID
from tests.admin.support import PATH, TOKEN, AdminTestCase


class Fault(Exception):
    """A bug of ours."""


class ProblemTests(AdminTestCase):
    """Both dialects."""

    def test_problem_details(self) -> None:
        """All members of RFC 9457 that we use are there, and no cache keeps them."""
        answer = self.ask("GET", "/v1/devices/nobody")
        self.assertEqual(
            answer.json,
            {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "no device with this client id is connected",
            },
        )
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")

    def test_unknown_path(self) -> None:
        """404 in the path's own dialect."""
        for path in ("/x", "/v1", "/v2/devices", "/v1/devices/", "/apis/x", "/v1/devices/a/b"):
            self.assertProblem(self.ask("GET", path), 404, "no such path")
        for path in ("/api/", "/api/commands", "/api/commands/", "/api/nothing/a"):
            self.assertFailed(self.ask("POST", path, {}), 404, "no such path")

    def test_wrong_method(self) -> None:
        """405 says which methods there are."""
        answer = self.ask("PUT", PATH)
        self.assertProblem(answer, 405, "no such method here")
        self.assertEqual(answer.headers["allow"], "DELETE, GET, HEAD, OPTIONS")
        answer = self.ask("GET", "/api/commands/" + CLIENT_ID)
        self.assertFailed(answer, 405, "no such method here")
        self.assertEqual(answer.headers["allow"], "OPTIONS, POST")
        self.assertEqual(self.ask("POST", "/healthz", {}, token=None).status, 405)

    def test_options(self) -> None:
        """OPTIONS tells the methods of a path that exists."""
        answer = self.ask("OPTIONS", PATH + "/session")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers["allow"], "DELETE, OPTIONS")
        self.assertNotIn("content-type", answer.headers)
        self.assertEqual(self.ask("OPTIONS", "/v1/nothing").status, 404)

    def test_head(self) -> None:
        """HEAD is GET without the body."""
        head = self.ask("HEAD", PATH)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.ask("HEAD", "/v1/devices/nobody").status, 404)
        self.assertEqual(self.ask("HEAD", "/api/call/accept").status, 405)

    def test_fault(self) -> None:
        """A fault of ours is logged once, and its caller sees nothing of it."""
        self.door.fault = Fault("secret internals")
        # openapi.json promises no 500, so this one goes past the client's check.
        for path in (PATH, PATH + "/tools"):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            pending = self.client.get("http://gateway" + path, headers=headers)
            self.client.flush()
            response = self.successResultOf(pending)
            body = self.successResultOf(self.client.json_content(response))
            self.assertEqual(response.code, 500)
            self.assertEqual(body["detail"], "the gateway has a fault; its log has the details")
            self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
