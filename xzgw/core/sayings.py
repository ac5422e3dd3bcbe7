"""Sentences for people that can be told in other languages than English, too.

A saying is its English text, for the log and for whoever reads English, and knows the parts that it
is made of: the name of each one's text in `english.TEXTS`, and the values in it. Whoever speaks
another language has texts by the same names, and puts the values into those.
"""

from __future__ import annotations

from xzgw.core.english import TEXTS, span
from xzgw.wire.messages import Json

SPAN = "seconds"  # how the names of values end that are times, and are shown with a unit


class Saying(str):
    """See the module's text.

    Attributes:
        parts: as JSON, `id` (the name of a text) and `values`; not to be changed.
    """

    __slots__ = ("parts",)

    parts: list[Json]


def say(text: str, **values: str | float) -> Saying:
    """A saying of one part; its numbers are rounded."""
    shown: dict[str, str | float] = {}
    for name, value in values.items():
        if not isinstance(value, str):
            whole = values[name] = round(value)
            shown[name] = span(whole) if name.endswith(SPAN) else whole
    saying = Saying(TEXTS[text].format_map({**values, **shown}))
    saying.parts = [{"id": text, "values": values}]
    return saying


def row(*sayings: Saying) -> Saying:
    """One after the other, with nothing in between."""
    saying = Saying("".join(sayings))
    saying.parts = [part for each in sayings for part in each.parts]
    return saying
