"""The query part of request addresses: every parameter known, given once, and of its kind."""

from __future__ import annotations

import re

from twisted.web.server import Request

from xzgw.admin.problems import Refusal
from xzgw.core.door import Filter, Presence

STATES = tuple(state for state in Presence if state is not Presence.GONE)

_MAC_PREFIX = re.compile(r"[0-9A-Fa-f:_-]{1,17}")


class Query:
    """The parameters of one request. All methods raise Refusal, 400."""

    def __init__(self, request: Request, *known: str) -> None:
        """Refuse others than the known ones: a misspelt filter would list everything."""
        self._values: dict[str, str] = {}
        for name, values in request.args.items():
            try:
                key, (value,) = name.decode("utf-8"), (each.decode("utf-8") for each in values)
            except ValueError:
                raise Refusal(400, "a query parameter is repeated or not UTF-8") from None
            if key not in known:
                raise Refusal(400, f"query parameters here are {', '.join(known)} only")
            self._values[key] = value

    def text(self, name: str) -> str | None:
        """A parameter of at least one character; None if it is not given."""
        value = self._values.get(name)
        if value == "":
            raise Refusal(400, f"{name} must not be empty")
        return value

    def number(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number from low to high."""
        value = self._values.get(name)
        if value is None:
            return default
        if not re.fullmatch("[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise Refusal(400, f"{name} must be a whole number from {low} to {high}")
        return int(value)

    def filter(self) -> Filter:
        """Of `group`, `state` and `mac_prefix`."""
        return Filter(self.text("group"), self._state(), self._mac_prefix())

    def _state(self) -> Presence | None:
        value = self._values.get("state")
        if value is None:
            return None
        if value not in STATES:
            raise Refusal(400, f"state must be one of {', '.join(STATES)}")
        return Presence(value)

    def _mac_prefix(self) -> str | None:
        value = self._values.get("mac_prefix")
        if value is None:
            return None
        if not _MAC_PREFIX.fullmatch(value):
            raise Refusal(400, "mac_prefix must be the beginning of a MAC like a0:85:e3")
        return value.lower().replace("_", ":").replace("-", ":")
