"""The configuration as a JSON object that may be shown: nothing secret is left in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from xzgw.settings.addresses import origin
from xzgw.settings.sections import WebhookConfig
from xzgw.wire.addresses import MASK, TELLING, shown_url


def masked(value: object) -> Any:
    """A value of the configuration as JSON has it.

    Secret are fields that repr() leaves out, members and parameters of addresses with a telling
    name, and all of a webhook's address behind its host. What is not set shows as null.
    """
    if is_dataclass(value):
        return {each.name: _field(value, each.name, each.repr) for each in fields(value)}
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return shown_url(value)
        case Mapping():
            return {masked(str(name)): _member(str(name), member) for name, member in value.items()}
        case frozenset():
            return sorted(map(masked, value))
        case tuple() | list():
            return [masked(each) for each in value]
    return str(value)  # paths, networks


def _field(owner: object, name: str, open_to_all: bool) -> Any:
    value = getattr(owner, name)
    if isinstance(owner, WebhookConfig) and name == "url":
        return origin(value)
    return masked(value) if open_to_all else (MASK if value else None)


def _member(name: str, value: object) -> Any:
    return MASK if isinstance(value, str) and TELLING.search(name) else masked(value)
