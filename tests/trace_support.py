"""A device that talks to an echo server while it is traced, through a real gateway."""

from __future__ import annotations

import json
from typing import Any

from tests.api_support import ApiTestCase, Device
from tests.support import PATIENCE, SPEECH

SPOKEN = SPEECH[:8]


class TraceTestCase(ApiTestCase):
    """What a test asks for at the API, and reads there."""

    async def trace(self, device: Device, **options: object) -> None:
        """Start to record a device that may come yet."""
        answer = await self.console.ask("POST", self.path(device), {"seconds": 60, **options})
        self.assertEqual(answer.status, 201, answer.body)

    async def talk(self, device: Device) -> list[bytes]:
        """Hello, one turn, goodbye; returns what the device heard."""
        await device.hello()
        device.listen("start", mode="manual")
        await device.speak(SPOKEN)
        device.listen("stop")
        await device.hear(len(SPOKEN), PATIENCE)
        assert device.voice is not None
        heard = [each.opus for each in device.voice.heard]
        device.goodbye()
        await device.ping()  # answered behind the goodbye
        return heard

    async def read(self, device: Device, query: str = "") -> bytes:
        answer = await self.console.ask("GET", self.path(device) + query)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body

    async def lines(self, device: Device) -> list[Any]:
        """The records, the trace's own head first."""
        return [json.loads(line) for line in (await self.read(device)).splitlines()]

    def path(self, device: Device) -> str:
        return f"/v1/devices/{device.client_id}/trace"

    def unconnected(self, number: int) -> Device:
        """A device that is to be connected by the test."""
        device = Device(number)
        self.devices.append(device)
        self.addCleanup(device.disconnect)
        return device
