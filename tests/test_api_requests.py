"""schemathesis, a program not ours, lets its requests loose on a whole gateway with a device."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.admin import spec
from tests.api_support import HOST, ApiTestCase, today, token

OWN_PATH = "/openapi.json"  # which it reads, but does not try
# A stream of events does not end, and a drained gateway lets nobody in for the rest of the test.
WITHOUT_PATHS = ("/v1/events", "/v1/drain")
# Objects are not made through the API, so none is used after its end or looked for too early.
WITHOUT_CHECKS = ("use_after_free", "ensure_resource_availability", "object_level_authorization")


class ApiRequestsTests(ApiTestCase):
    """Requests as /openapi.json describes them, right and wrong ones."""

    async def test_run(self) -> None:
        """The real gateway gives no answer that is not documented, and no fault."""
        self.start(TZ="UTC")
        await self.device(1)
        directory = Path(self.mktemp())
        directory.mkdir()
        options = [f"--header=Authorization: Bearer {token(today())}", "--checks=all"]
        options += ["--phases=examples,coverage,fuzzing", "--max-examples=25", "--warnings=off"]
        options += ["--exclude-checks=" + ",".join(WITHOUT_CHECKS), "--request-timeout=12"]
        options += ["--generation-deterministic", "--no-color"]
        options += [f"--exclude-path={path}" for path in WITHOUT_PATHS]
        output, errors, status = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "schemathesis.cli", "run", f"http://{HOST}:{self.port}/openapi.json", *options],
            env={**os.environ, "NO_PROXY": "*"},
            path=str(directory),
        )
        self.assertEqual(status, 0, (output + errors).decode())
        tried = [path for path, _ in spec.OPERATIONS if path not in (*WITHOUT_PATHS, OWN_PATH)]
        self.assertIn(f"Tested: {len(tried)}", output.decode())
