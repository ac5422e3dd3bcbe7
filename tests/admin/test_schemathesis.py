"""schemathesis, a program not ours, lets its requests loose on the API as openapi.json has it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.admin import spec
from tests.admin.fakes import MemoryDoor, device
from tests.admin.support import NOW, TOKEN, new_app, new_site
from xzgw.admin.event_stream import EventStream
from xzgw.core.events import Events

reactor: Any = installed
EXAMPLES = 50  # requests per operation and phase
# Objects are not made through the API, so none is used after its end or looked for too early.
WITHOUT = ("use_after_free", "ensure_resource_availability", "object_level_authorization")


class LastingDoor(MemoryDoor):
    """Its devices come back at once when they are disconnected."""

    def disconnect(self, client_id: str) -> Deferred[None]:
        return self.find(client_id).addCallback(lambda _: None)


class SchemathesisTests(TestCase):
    """A device is connected that echoes what it is asked."""

    timeout = 60.0

    async def setUp(self) -> None:  # type: ignore[override]
        stream = EventStream(Events(lambda: NOW, "run"), reactor)
        self.site = new_site(new_app(LastingDoor(device()), stream, reactor), reactor)
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.closing = LoopingCall(stream.close)  # schemathesis reads answers to their end
        self.closing.start(0.05)

    async def tearDown(self) -> None:  # type: ignore[override]
        self.closing.stop()
        await gatherResults([self.port.stopListening(), self.site.close_all()])

    async def test_run(self) -> None:
        """No fault and no answer that is not documented; wrong requests are told so."""
        directory = Path(self.mktemp())
        directory.mkdir()
        report = directory / "report.json"
        url = f"http://127.0.0.1:{self.port.getHost().port}/openapi.json"
        options = [f"--header=Authorization: Bearer {TOKEN}", "--phases=examples,coverage,fuzzing"]
        options += ["--checks=all", "--exclude-checks=" + ",".join(WITHOUT), "--warnings=off"]
        options += [f"--max-examples={EXAMPLES}", "--request-timeout=5"]
        options += ["--generation-deterministic", "--no-color"]
        options += ["--report=json", f"--report-json-path={report.name}"]
        output, errors, status = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "schemathesis.cli", "run", url, *options],
            env={**os.environ, "NO_PROXY": "*"},
            path=str(directory),
        )
        self.assertEqual(status, 0, (output + errors).decode())
        found = json.loads(report.read_text("utf-8"))
        tried = set(spec.OPERATIONS) - {("/openapi.json", "get")}  # it leaves that one out
        self.assertEqual(found["operations"]["tested"], len(tried))
        self.assertGreater(found["test_cases"]["generated"], 500)
