"""Who a simulated device is."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from xzgw.wire import messages
from xzgw.wire.credentials import device_password
from xzgw.wire.packets import Connect

KEEP_ALIVE = 240  # seconds, as firmware has it


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the device is; mac in colon form."""

    mac: str = "02:00:00:00:00:01"
    uuid: str = "0f5e1c6a-7c0b-4a52-9a44-0c5e55a1b001"
    group: str = "GID_test"

    @property
    def client_id(self) -> str:
        return f"{self.group}@@@{self.mac.replace(':', '_')}@@@{self.uuid}"

    def credentials(self, key: str) -> Connect:
        """CONNECT as the OTA endpoint with this signature key would have it."""
        username = base64.b64encode(messages.encode({"ip": "127.0.0.1"})).decode("ascii")
        password = device_password(key, self.client_id, username).encode("ascii")
        return Connect(self.client_id, username, password, KEEP_ALIVE, True, 4, None)
