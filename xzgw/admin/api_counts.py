"""How many requests the API has answered, by route: what a stranger can ask for is without end,
what is counted apart is not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from klein import Klein
from twisted.web.server import Request

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "DELETE")  # those that some route has
OTHER = "other"
PAGES = "dashboard"  # all of its files
GONE = "gone"  # in place of a status: the caller did not wait for it

_VARIABLE = re.compile(r"<segment:(\w+)>")


class Kind(NamedTuple):
    """What requests are counted by.

    Attributes:
        route: `/v1/devices/{client_id}`.
        status: as digits.
    """

    method: str
    route: str
    status: str


class ApiCounts:
    """See the module's text."""

    def __init__(self, apps: Iterable[Klein], is_page: Callable[[bytes], bool]) -> None:
        """Take the applications whose routes are known, and what knows the dashboard's paths."""
        self.answered: Counter[Kind] = Counter()
        rules = [rule.rule for app in apps for rule in app.url_map.iter_rules()]
        self._is_page = is_page
        self._fixed = frozenset(rule for rule in rules if not _VARIABLE.search(rule))
        self._patterns = [
            (re.compile(_VARIABLE.sub("[^/]+", rule)), _VARIABLE.sub(r"{\1}", rule))
            for rule in dict.fromkeys(rules)
            if rule not in self._fixed
        ]

    def watch(self, request: Request) -> None:
        """Count a request when it is over."""
        request.notifyFinish().addBoth(lambda _: self._note(request))

    def route(self, raw_path: bytes) -> str:
        """The route that a path belongs to, in the spelling of admin.routing."""
        path = raw_path.decode("latin-1")
        if path in self._fixed:
            return path
        if self._is_page(raw_path):
            return PAGES
        found = (route for pattern, route in self._patterns if pattern.fullmatch(path))
        return next(found, OTHER)

    def _note(self, request: Request) -> None:
        method = request.method.decode("latin-1")
        status = str(int(request.code)) if request.startedWriting else GONE
        method = method if method in METHODS else OTHER
        self.answered[Kind(method, self.route(request.path), status)] += 1
