"""The configuration without its secrets."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import ip_network
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xzgw.config import Config
from xzgw.masked import masked
from xzgw.settings.authorities import Authorities
from xzgw.settings.sections import McpClientConfig, WebhookConfig

URL = "ws://host/?from=mqtt_gateway"
FULL = Config(
    production_servers=(URL, "ws://host/?api_key=hidden1&from=mqtt_gateway"),
    development_macs=frozenset(["bb:bb:bb:bb:bb:bb", "aa:aa:aa:aa:aa:aa"]),
    server_weights={"ws://host/?token=hidden2": 3},
    trusted_proxies=(ip_network("10.0.0.0/8"),),
    mqtt=("ssl:8883:privateKey=/etc/key.pem:certKey=/etc/chain.pem",),
    mcp_client=McpClientConfig({"vision": {"token": "hidden3", "url": "http://a/"}}),
    signature_key="hidden4",
    server_secret="hidden5",
    metrics_token="hidden0",
    backend_ca=Authorities("ca.pem", b"hidden6"),
    webhooks=(WebhookConfig("https://hook.example:1/hidden7?hidden8=1", "hidden9"),),
    source=Path("/etc/xzgw.json"),
)


class MaskedTests(SynchronousTestCase):
    """From a Config to what may be shown."""

    def test_nothing_secret(self) -> None:
        """No secret is left anywhere, and it is JSON."""
        self.assertNotIn("hidden", json.dumps(masked(FULL)))

    def test_masks(self) -> None:
        """Where something secret is, it shows that it is set."""
        shown = masked(FULL)
        self.assertEqual((shown["signature_key"], shown["server_secret"]), ("***", "***"))
        hook = {"url": "https://hook.example:1", "secret": "***", "events": []}
        self.assertEqual(shown["webhooks"], [hook])
        self.assertEqual(shown["backend_ca"], {"path": "ca.pem", "pem": "***"})
        self.assertEqual(
            shown["production_servers"], [URL, "ws://host/?api_key=***&from=mqtt_gateway"]
        )
        self.assertEqual(shown["server_weights"], {"ws://host/?token=***": 3})
        vision = {"token": "***", "url": "http://a/"}
        self.assertEqual(shown["mcp_client"]["capabilities"], {"vision": vision})

    def test_the_rest(self) -> None:
        """Everything else is as it is, in an order that does not change."""
        shown = masked(FULL)
        self.assertEqual(list(shown), [field.name for field in fields(Config)])
        self.assertEqual(shown["mqtt"], list(FULL.mqtt))
        self.assertEqual(shown["development_macs"], ["aa:aa:aa:aa:aa:aa", "bb:bb:bb:bb:bb:bb"])
        self.assertEqual(shown["trusted_proxies"], ["10.0.0.0/8"])
        self.assertEqual((shown["source"], shown["debug"]), ("/etc/xzgw.json", False))
        self.assertEqual(shown["udp_port"], FULL.udp_port)

    def test_not_set(self) -> None:
        """What is not set shows as null."""
        shown = masked(replace(FULL, signature_key="", server_secret=None, backend_ca=None))
        for name in ("signature_key", "server_secret", "backend_ca"):
            self.assertIsNone(shown[name])
