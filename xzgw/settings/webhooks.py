"""Checks of the `webhooks` in the JSON file. What may be secret in them is never shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xzgw.core.events import KINDS
from xzgw.settings import checks as checks
from xzgw.settings.addresses import WANT_WEB, origin, web_address
from xzgw.settings.checks import Fault, Unfit, shown, unfit

_WANT_SECRET = "a text of at least one character"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Webhook:
    """One entry.

    Attributes:
        secret: None if there is none.
        events: kinds of events; empty for all.
        unknown: names of further members, which mean nothing.
    """

    url: str
    secret: str | None = field(repr=False)
    events: frozenset[str]
    unknown: tuple[str, ...]


def webhooks(value: object) -> tuple[Webhook, ...]:
    """The whole list. No two entries have the same address: it tells one from the other."""
    if not isinstance(value, list):
        raise unfit(value, "a list")
    hooks: dict[str, Webhook] = {}
    faults: list[Fault] = []
    for index, item in enumerate(value):
        try:
            hook = _webhook(item)
        except Unfit as problem:
            faults += problem.inside(f"[{index}]")
            continue
        if hook.url in hooks:
            want = "each address once"
            faults.append(Fault(f"[{index}].url", f"another at {shown(origin(hook.url))}", want))
        hooks[hook.url] = hook
    if faults:
        raise Unfit(*faults)
    return tuple(hooks.values())


def _webhook(value: object) -> Webhook:
    given = checks.json_object(value)
    checked: dict[str, Any] = {"secret": None, "events": ()}
    faults: list[Fault] = []
    for name, check in _MEMBERS.items():
        # null is how JSON says that something is not set.
        if given.get(name) is None and name in checked:
            continue
        try:
            checked[name] = check(given.get(name))
        except Unfit as problem:
            faults += problem.inside(f".{name}")
    if faults:
        raise Unfit(*faults)
    unknown = tuple(name for name in given if name not in _MEMBERS)
    return Webhook(checked["url"], checked["secret"], frozenset(checked["events"]), unknown)


def _address(value: object) -> str:
    if value is None:
        raise Unfit(Fault("", "nothing", WANT_WEB))
    return web_address(value)


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Unfit(Fault("", "something else", _WANT_SECRET))
    return checks.secret(value)


def _kind(value: object) -> str:
    if value not in KINDS:
        raise unfit(value, f"one of {', '.join(KINDS)}")
    return str(value)


_MEMBERS: dict[str, checks.Check[object]] = {
    "url": _address,
    "secret": _secret,
    "events": checks.many(_kind),
}
MEMBERS = tuple(_MEMBERS)
