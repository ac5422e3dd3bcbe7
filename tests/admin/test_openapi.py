"""openapi.json is valid, and every answer that it describes does come, as it describes it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from tests.admin import fakes, spec
from tests.admin.support import TOKEN, AdminTestCase
from xzgw.admin.bodies import MAX_BODY
from xzgw.admin.event_stream import MOST_READERS
from xzgw.admin.health import Health
from xzgw.admin.legacy import Legacy
from xzgw.admin.metrics import Metrics
from xzgw.admin.queries import STATES
from xzgw.admin.v1 import MAX_PAGE, MAX_TOOL_TIME, PAGE, TOOL_TIME, V1
from xzgw.core.door import BackendState, CallStatus, Presence
from xzgw.core.events import KINDS
from xzgw.core.trace_types import (
    LEAST_BYTES,
    MAX_BYTES,
    MAX_SECONDS,
    MAX_TRACES,
    SECONDS,
    TraceForm,
    TraceOptions,
)

# What a device does so that its caller gets this status.
BEHAVIOUR = {502: fakes.refuse, 503: fakes.leave, 504: fakes.stay_silent}


class DocumentTests(SynchronousTestCase):
    """The document by itself."""

    def test_valid(self) -> None:
        """It is OpenAPI 3.1."""
        self.assertEqual(spec.DOCUMENT["openapi"], "3.1.0")
        validate(spec.DOCUMENT)

    def test_examples(self) -> None:
        """Each body has an example, and each example fits its schema."""
        for operation in spec.OPERATIONS.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for media in (m for body in bodies for m in body.get("content", {}).values()):
                spec.fit(media["example"], media["schema"])

    def test_problem_examples(self) -> None:
        """The status in an example of a problem is the one that it is given for."""
        for operation in spec.OPERATIONS.values():
            for status, response in operation["responses"].items():
                media = response.get("content", {}).get("application/problem+json")
                if media is not None:
                    self.assertEqual(str(media["example"]["status"]), status)

    def test_values(self) -> None:
        """Enumerations and limits are those of the code."""
        schemas = spec.DOCUMENT["components"]["schemas"]
        options = schemas["TraceOptions"]["properties"]
        seconds, size = options["seconds"], options["max_bytes"]
        self.assertEqual((seconds["maximum"], seconds["default"]), (MAX_SECONDS, SECONDS))
        self.assertEqual((size["minimum"], size["maximum"]), (LEAST_BYTES, MAX_BYTES))
        form = self._parameter("/v1/devices/{client_id}/trace", "get", "format")
        self.assertEqual(form["enum"], list(TraceForm))
        self.assertEqual(schemas["State"]["enum"], list(STATES))
        self.assertEqual(schemas["BackendState"]["enum"], list(BackendState))
        self.assertEqual(schemas["EventKind"]["enum"], list(KINDS))
        self.assertEqual(schemas["CallResult"]["properties"]["status"]["enum"], list(CallStatus))
        limit = self._parameter("/v1/devices", "get", "limit")
        self.assertEqual((limit["maximum"], limit["default"]), (MAX_PAGE, PAGE))
        timeout = self._parameter("/v1/devices/{client_id}/tools/{name}", "post", "timeout")
        self.assertEqual((timeout["maximum"], timeout["default"]), (MAX_TOOL_TIME, TOOL_TIME))

    def _parameter(self, template: str, method: str, name: str) -> dict[str, Any]:
        parameters = spec.OPERATIONS[template, method]["parameters"]
        (found,) = (each["schema"] for each in parameters if each["name"] == name)
        return dict(found)


class AnswerTests(AdminTestCase):
    """The API against the document; the client checks each answer's body and headers."""

    def test_every_documented_answer(self) -> None:
        """For each operation and status there is a request that gets it, on the example's path."""
        self.servers = self.door.servers
        for (template, method), operation in spec.OPERATIONS.items():
            for status in map(int, operation["responses"]):
                self._provoke(template, method, operation, status)

    def test_every_route_is_documented(self) -> None:
        """No route of the API is missing from the document."""
        routes = {
            (_template(rule.rule), method.lower())
            for app in (Legacy.app, V1.app, Health.app, Metrics.app)
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        self.assertEqual(routes, set(spec.OPERATIONS))

    def _trace(self, method: str, status: int) -> None:
        """As many traces as it takes: of the device itself, or of others."""
        of_it, of_others = method != "post" or status == 409, status == 429
        ids = [fakes.CLIENT_ID] * of_it + [f"{n}" for n in range(MAX_TRACES * of_others)]
        for client_id in ids:
            self.door.devices.setdefault(client_id, self.device)
            self.successResultOf(self.door.start_trace(client_id, TraceOptions()))

    def _provoke(self, template: str, method: str, operation: dict[str, Any], status: int) -> None:
        presence = Presence.LIVE if status == 204 else Presence.IDLE
        self.device = fakes.device(presence=presence, answer=BEHAVIOUR.get(status, fakes.echo))
        self.door.devices = {} if status == 404 else {fakes.CLIENT_ID: self.device}
        self.door.servers = {} if status == 404 else self.servers
        self.door.traces = {}
        if template.endswith("/trace") and status != 404:
            self._trace(method, status)
        self.reasons[:] = ["no chat server can be reached"] if status == 503 else []
        self.metrics_token = None if status == 403 else TOKEN
        path, body, headers = _request(template, operation, status)
        streaming = template == "/v1/events"
        if streaming and status == 503:
            for _ in range(MOST_READERS):
                self.begin(method, path)
        token = {"token": None} if status == 401 or operation.get("security") == [] else {}
        pending = self.begin(method, path, body, headers=headers, **token)
        self.client.flush()
        if streaming:
            self.stream.close()
            self.client.flush()
        self.assertEqual(self.successResultOf(pending).status, status, f"{method} {template}")


def _template(rule: str) -> str:
    return rule.replace("<segment:", "{").replace(">", "}")


def _request(
    template: str, operation: dict[str, Any], status: int
) -> tuple[str, object, dict[str, str]]:
    """Path, body and headers: the documented examples, spoilt so that the status must come."""
    path = template
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(parameter["example"]))
    body: object = None
    headers = {}
    if status == 403:
        headers["X-Forwarded-For"] = "192.0.2.1"
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["example"]
        if status == 415:
            headers["Content-Type"] = "text/plain"
        ambiguous = {"url": fakes.ALIKE} if template.startswith("/v1/backends/") else body
        spoilt = {400: b"{", 409: ambiguous, 413: b" " * (MAX_BODY + 1)}
        body = spoilt.get(status, body)
    elif status == 400:
        path += "?kinds=nonsense"
    return path, body, headers
