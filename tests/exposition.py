"""What /metrics answers, read by prometheus_client's parsers, and judged as promtool does it.

Source: promtool check metrics; prometheus.io/docs/practices/naming
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

MOST_SERIES = 400  # of one gateway with one chat server, whatever happens
# Units that are not base units, and types, have no place in a name.
_BAD_WORDS = {"milliseconds", "ms", "minutes", "kilobytes", "kb", "percent", "counter", "gauge"}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
_NAME = re.compile("[a-z][a-z0-9_]*")

Labels = frozenset[tuple[str, str]]


class Scrape:
    """All samples of one answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)
        self.samples: dict[tuple[str, Labels], float] = {}
        for sample in (sample for family in self.families for sample in family.samples):
            key = sample.name, frozenset(sample.labels.items())
            assert key not in self.samples, f"{key} comes twice"
            self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """Of the sample with exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def by(self, label: str, name: str) -> dict[str, float]:
        """The samples of a name, by one label."""
        found = {}
        for (each, labels), value in self.samples.items():
            if each == name:
                found[dict(labels)[label]] = value
        return found

    @property
    def labels(self) -> Mapping[str, set[str]]:
        """Of each name of a sample, the names of its labels."""
        found: dict[str, set[str]] = {}
        for name, labels in self.samples:
            found.setdefault(name, set()).update(label for label, _ in labels)
        return found


def read(text: str) -> Scrape:
    """The plain format. Raises AssertionError if it is not as it should be."""
    scrape = Scrape(text_string_to_metric_families(text))
    for kind in ("HELP", "TYPE"):
        names = Counter(re.findall(f"^# {kind} (\\S+) \\S", text, re.MULTILINE))
        assert set(names.values()) == {1}, (kind, names.most_common(3))
        assert len(names) == len(scrape.families), kind
    for family in scrape.families:
        _lint(family)
    assert len(scrape.samples) <= MOST_SERIES, len(scrape.samples)
    return scrape


def read_openmetrics(text: str) -> Scrape:
    """The newer format, by the parser that is strict about it."""
    return Scrape(openmetrics.text_string_to_metric_families(text))


def _lint(family: Metric) -> None:
    name = family.name
    assert _NAME.fullmatch(name), name
    assert family.documentation.endswith(".") or not name.startswith("xzgw_"), name
    assert family.type in ("counter", "gauge", "histogram"), (name, family.type)
    assert not _BAD_WORDS & set(name.split("_")), name
    assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
    for sample in family.samples:
        suffix = sample.name.removeprefix(name)
        assert suffix in _SUFFIXES.get(family.type, ("",)), sample.name
        assert all(_NAME.fullmatch(label) for label in sample.labels), sample
        assert family.type == "gauge" or sample.value >= 0, sample
