"""All harnesses, by name."""

from __future__ import annotations

from tests.fuzz import (
    audio,
    configuration,
    credentials,
    http,
    mcp,
    messages,
    mqtt,
    proxy,
    session_data,
    websocket,
)
from tests.fuzz.harness import Harness

_MODULES = (
    mqtt,
    audio,
    websocket,
    messages,
    session_data,
    mcp,
    http,
    configuration,
    proxy,
    credentials,
)
HARNESSES: dict[str, Harness] = {
    harness.name: harness for module in _MODULES for harness in module.HARNESSES
}
