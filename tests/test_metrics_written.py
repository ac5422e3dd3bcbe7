"""The dashboard for Grafana and the operators' guide name the metrics that there are."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support import ROOT
from tests.test_metrics_end_to_end import MetricsTestCase

_NAME = re.compile(r"\b(?:xzgw|process|python)_[a-z0-9_]+")
_LABELS = re.compile(r"(?:by|on) ?\(([a-z_, ]*)\)|\b([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"")
# Prometheus gives these to every series.
_TARGET = {"job", "instance"}


class WrittenTests(MetricsTestCase):
    """Names in the dashboard and in the guide are names that there are."""

    async def names(self) -> dict[str, set[str]]:
        """The labels of each series, of a gateway that has answered one request."""
        self.start()
        await self.scrape()
        return dict((await self.scrape()).labels)

    async def test_names(self) -> None:
        """Each expression of both asks for metrics and labels that exist; the guide knows all."""
        labels = await self.names()
        guide = (ROOT / "docs/metrics.md").read_text("utf-8")
        queries = [*dashboard_queries(), *re.findall(r"expr: (.*)", guide)]
        self.assertGreater(len(queries), 30)
        for query in queries:
            names = _NAME.findall(query)
            self.assertTrue(names, query)
            self.assertEqual(set(names) - set(labels), set(), query)
            known = {label for name in names for label in labels[name]} | _TARGET
            found = {
                name for pair in _LABELS.findall(query) for name in re.split(", *", "".join(pair))
            }
            self.assertEqual(found - known, set(), query)
        explained = set(re.findall(r"^\| `([a-z_]+)`", guide, re.MULTILINE))
        families = {re.sub("_(bucket|count|sum)$", "", name) for name in labels}
        ours = {name for name in families if name.startswith("xzgw_")}
        self.assertEqual({name for name in explained if name.startswith("xzgw_")}, ours)
        self.assertEqual(explained - families, set())


def dashboard_queries() -> list[str]:
    """Every PromQL expression in the dashboard."""
    panels = json.loads((ROOT / "etc/grafana-xzgw.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


class DashboardTests(SynchronousTestCase):
    """etc/grafana-xzgw.json, for Grafana to import."""

    def setUp(self) -> None:
        self.dashboard = json.loads((ROOT / "etc/grafana-xzgw.json").read_text("utf-8"))

    def test_importable(self) -> None:
        """It belongs to no installation: the data source is asked for, and there is no id."""
        self.assertIsNone(self.dashboard["id"])
        variables = {each["name"]: each for each in self.dashboard["templating"]["list"]}
        self.assertEqual(variables["source"]["query"], "prometheus")
        for panel in self.dashboard["panels"]:
            if panel["type"] != "row":
                self.assertEqual(panel["datasource"]["uid"], "${source}", panel["title"])

    def test_panels(self) -> None:
        """Each has an id, a title and a place of its own, within 24 columns."""
        panels = self.dashboard["panels"]
        for key in ("id", "title"):
            self.assertEqual(len({panel[key] for panel in panels}), len(panels), key)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells

    def test_chosen_instances(self) -> None:
        """Every expression keeps to the instances that are chosen."""
        for query in dashboard_queries():
            names = len(_NAME.findall(query))
            self.assertEqual(query.count('instance=~"$instance"'), names, query)
