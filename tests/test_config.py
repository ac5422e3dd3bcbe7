"""Loading the whole configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from xzgw.config import Config, ConfigError, key_weakness, load
from xzgw.settings.authorities import Authorities
from xzgw.settings.families import everywhere
from xzgw.settings.sections import McpClientConfig, WebhookConfig

KEY = "Sesame-0pen"
URL = "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway"
OTHER_URL = "wss://192.0.2.9/xiaozhi/v1/?from=mqtt_gateway"
MINIMAL = {"production": {"chat_servers": [URL]}}
# The file of the gateway that this one replaces.
EXISTING = {
    "production": {"chat_servers": [URL]},
    "development": {"chat_servers": [OTHER_URL], "mac_addresss": ["AA:bb:cc:dd:ee:ff"]},
    "debug": False,
    "max_mqtt_payload_size": 8192,
    "mcp_client": {
        "capabilities": {"roots": {}},
        "client_info": {"name": "xiaozhi-mqtt-client", "version": "1.0.0"},
        "max_tools_count": 64,
    },
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


class LoadTestCase(SynchronousTestCase):
    """A working directory, and loading in it."""

    def setUp(self) -> None:
        """An empty directory."""
        self.directory = Path(self.mktemp())
        (self.directory / "etc").mkdir(parents=True)

    def load(
        self,
        document: object = None,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[Config, tuple[str, ...]]:
        """Load with this in etc/xzgw.json, if it is given, and a good signature key."""
        if document is not None:
            (self.directory / "etc" / "xzgw.json").write_text(json.dumps(document), "utf-8")
        return load(flags or {}, {"MQTT_SIGNATURE_KEY": KEY, **(environ or {})}, self.directory)

    def config(
        self,
        document: object = None,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Like `load`; there must be no warning."""
        config, warnings = self.load(document, flags, environ)
        self.assertEqual(warnings, ())
        return config

    def problems(
        self,
        document: object = None,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        """The mistakes found."""
        error = self.assertRaises(ConfigError, self.load, document, flags, environ)
        problems: tuple[str, ...] = error.problems
        return problems


class LoadTests(LoadTestCase):
    """What comes out."""

    def test_defaults(self) -> None:
        """One chat server and a key are enough; the rest is as documented."""
        config = self.config(MINIMAL)
        path = self.directory / "etc" / "xzgw.json"
        expected = Config(production_servers=(URL,), signature_key=KEY, source=path)
        self.assertEqual(config, expected)
        self.assertEqual(
            (config.mqtt, config.api, config.udp_host, config.udp_port),
            ((everywhere(1883),), everywhere(8007), "", 8884),
        )
        self.assertEqual((config.public_ip, config.public_udp_port), (None, None))
        self.assertEqual((config.debug, config.allow_unsigned), (False, False))
        self.assertEqual(config.max_mqtt_payload_size, 1024 * 1024)
        self.assertEqual((config.message_rate, config.message_burst), (100, 1000))
        self.assertEqual(config.webhooks, ())
        self.assertEqual(config.publish_topic, "device-server")
        info = {"name": "xiaozhi-mqtt-client", "version": "1.0.0"}
        self.assertEqual(config.mcp_client, McpClientConfig({}, info, 128))
        self.assertIsNone(config.server_secret)
        self.assertIsNone(config.metrics_token)

    def test_existing_files(self) -> None:
        """The existing gateway's file and .env load as they are, without a warning."""
        (self.directory / "config").mkdir()
        path = self.directory / "config" / "mqtt.json"
        path.write_text(json.dumps(EXISTING), "utf-8")
        (self.directory / ".env").write_text(
            f"PUBLIC_IP=192.0.2.1\nMQTT_PORT=1884\nUDP_PORT=8885\nAPI_PORT=8008\n"
            f"MQTT_SIGNATURE_KEY={KEY}\nSERVER_SECRET=hush\n"
        )
        config, warnings = load({}, {}, self.directory)
        self.assertEqual(warnings, ())
        expected = Config(
            production_servers=(URL,),
            development_servers=(OTHER_URL,),
            development_macs=frozenset({"aa:bb:cc:dd:ee:ff"}),
            max_mqtt_payload_size=8192,
            mcp_client=McpClientConfig({"roots": {}}, McpClientConfig().client_info, 64),
            public_ip="192.0.2.1",
            mqtt=(everywhere(1884),),
            api=everywhere(8008),
            udp_port=8885,
            signature_key=KEY,
            server_secret="hush",
            source=path,
        )
        self.assertEqual(config, expected)

    def test_every_key(self) -> None:
        """Every key of the file, and every variable, and every flag, gets where it belongs."""
        document = {
            **MINIMAL,
            "publish_topic": "t",
            "allow_unsigned": True,
            "public_ip": "a.example",
            "public_udp_port": 1,
            "debug": True,
            "max_mqtt_payload_size": 256,
            "message_rate": 20,
            "message_burst": 200,
            "mqtt": ["tcp:1", "tcp:2"],
            "api": "tcp:3",
            "udp": "[::1]:4",
        }
        environ = {
            "CHAT_SERVERS": URL,
            "XZGW_PUBLISH_TOPIC": "t",
            "XZGW_ALLOW_UNSIGNED": "yes",
            "PUBLIC_IP": "a.example",
            "PUBLIC_UDP_PORT": "1",
            "XZGW_DEBUG": "on",
            "XZGW_MAX_MQTT_PAYLOAD_SIZE": "256",
            "XZGW_MESSAGE_RATE": "20",
            "XZGW_MESSAGE_BURST": "200",
            "XZGW_MQTT": "tcp:1 tcp:2",
            "XZGW_API": "tcp:3",
            "XZGW_UDP": "[::1]:4",
        }
        flags = {
            "chat-server": [URL],
            "publish-topic": "t",
            "allow-unsigned": True,
            "public-ip": "a.example",
            "public-udp-port": "1",
            "debug": True,
            "max-mqtt-payload-size": "256",
            "message-rate": "20",
            "message-burst": "200",
            "mqtt": ["tcp:1", "tcp:2"],
            "api": "tcp:3",
            "udp": "[::1]:4",
        }
        expected = Config(
            production_servers=(URL,),
            publish_topic="t",
            allow_unsigned=True,
            public_ip="a.example",
            public_udp_port=1,
            debug=True,
            max_mqtt_payload_size=256,
            message_rate=20,
            message_burst=200,
            mqtt=("tcp:1", "tcp:2"),
            api="tcp:3",
            udp_host="::1",
            udp_port=4,
            signature_key=KEY,
        )
        self.assertEqual(self.config(None, {}, environ), expected)
        self.assertEqual(self.config(None, flags), expected)
        from_file = self.config(document)
        self.assertEqual(from_file.source, self.directory / "etc" / "xzgw.json")
        for name in expected.__slots__:
            if name != "source":
                self.assertEqual(getattr(from_file, name), getattr(expected, name), name)

    def test_probe_silent(self) -> None:
        """It has no flag: flags turn something on, and this is on unless told otherwise."""
        self.assertTrue(self.config(MINIMAL).probe_silent)
        self.assertFalse(self.config({**MINIMAL, "probe_silent": False}).probe_silent)
        self.assertFalse(self.config(MINIMAL, environ={"XZGW_PROBE_SILENT": "off"}).probe_silent)

    def test_diagnosis_alert(self) -> None:
        """Devices are left alone unless told otherwise."""
        self.assertFalse(self.config(MINIMAL).diagnosis_alert)
        self.assertTrue(self.config({**MINIMAL, "diagnosis_alert": True}).diagnosis_alert)
        self.assertTrue(self.config(MINIMAL, {}, {"XZGW_DIAGNOSIS_ALERT": "on"}).diagnosis_alert)

    def test_backend_ca(self) -> None:
        """A file of authorities, by each of its names; its content is part of the configuration."""
        self.assertIsNone(self.config(MINIMAL).backend_ca)
        pem = Authority(self.mktemp()).pem
        (self.directory / "ca.pem").write_bytes(pem)
        for config in (
            self.config({**MINIMAL, "backend_ca": "ca.pem"}),
            self.config(MINIMAL, environ={"XZGW_BACKEND_CA": "ca.pem"}),
            self.config(MINIMAL, {"backend-ca": "ca.pem"}),
        ):
            self.assertEqual(config.backend_ca, Authorities("ca.pem", pem))
        (problem,) = self.problems({**MINIMAL, "backend_ca": "no.pem"})
        self.assertEqual(problem, "etc/xzgw.json: backend_ca: no.pem: there is no such file")
        (problem,) = self.problems({**MINIMAL, "backend_ca": 5})
        self.assertIn("etc/xzgw.json: backend_ca: found 5, want the path of a PEM file", problem)

    def test_frozen(self) -> None:
        """Nothing can be changed afterwards."""
        config = self.config(MINIMAL)
        with self.assertRaises(FrozenInstanceError):
            config.debug = True  # type: ignore[misc]

    def test_secrets_hidden(self) -> None:
        """Secrets are not in the value's representation."""
        config = self.config(MINIMAL, environ={"SERVER_SECRET": "hush", "METRICS_TOKEN": "hush2"})
        self.assertEqual(config.metrics_token, "hush2")
        self.assertEqual((config.signature_key, config.server_secret), (KEY, "hush"))
        self.assertNotIn(KEY, repr(config))
        self.assertNotIn("hush", repr(config))

    def test_again(self) -> None:
        """Loading again sees what changed, and shares nothing with what was loaded before."""
        first = self.config(MINIMAL)
        second = self.config({**MINIMAL, "mcp_client": {"max_tools_count": 3}, "debug": True})
        self.assertEqual((first.debug, second.debug), (False, True))
        self.assertEqual(
            (first.mcp_client.max_tools_count, second.mcp_client.max_tools_count), (128, 3)
        )
        self.assertIsNot(first.mcp_client.client_info, second.mcp_client.client_info)

    def test_client_info(self) -> None:
        """What the file leaves out of client_info has its default; more of it is kept."""
        document = {**MINIMAL, "mcp_client": {"client_info": {"name": "me", "title": "Me"}}}
        info = self.config(document).mcp_client.client_info
        self.assertEqual(info, {"name": "me", "title": "Me", "version": "1.0.0"})

    @given(
        st.dictionaries(
            st.sampled_from([*EXISTING, "mqtt", "api", "udp", "public_ip", "webhooks"]), JSON_VALUES
        )
    )
    @settings(derandomize=True, deadline=None, max_examples=150)
    def test_junk(self, document: object) -> None:
        """Whatever JSON the file holds, there is a configuration or there are lines of mistakes."""
        try:
            config, _ = self.load(document, {}, {"CHAT_SERVERS": URL})
        except ConfigError as error:
            self.assertTrue(error.problems)
            self.assertEqual(len(str(error).splitlines()), len(error.problems))
        else:
            self.assertEqual(config.production_servers, (URL,))


class FileTests(LoadTestCase):
    """Which file is read."""

    def test_named(self) -> None:
        """The flag wins over the variable, and both over the default places."""
        for name, port in (("a.json", 1), ("b.json", 2), ("etc/xzgw.json", 3)):
            (self.directory / name).write_text(json.dumps({**MINIMAL, "mqtt_port": port}))
        environ = {"XZGW_CONFIG": "b.json"}
        for flags, variables, port in (
            ({"config": "a.json"}, environ, 1),
            ({}, environ, 2),
            ({}, {}, 3),
        ):
            self.assertEqual(self.config(None, flags, variables).mqtt, (everywhere(port),))

    def test_default_order(self) -> None:
        """etc/xzgw.json is read before config/mqtt.json."""
        (self.directory / "config").mkdir()
        (self.directory / "config" / "mqtt.json").write_text("{")
        self.assertEqual(self.config(MINIMAL).production_servers, (URL,))

    def test_named_missing(self) -> None:
        """A file that is named must exist; it is not replaced by a default one."""
        (self.directory / "etc" / "xzgw.json").write_text(json.dumps(MINIMAL))
        want = "found 'a.json', want a file that exists"
        self.assertIn(f"command line: --config: {want}", self.problems(None, {"config": "a.json"}))
        self.assertIn(
            f"environment: XZGW_CONFIG: {want}", self.problems(environ={"XZGW_CONFIG": "a.json"})
        )

    def test_broken(self) -> None:
        """A broken file is one mistake; what may be in it is not said to be missing."""
        (self.directory / "etc" / "xzgw.json").write_text("{\n  oops")
        (problem,) = self.problems()
        self.assertTrue(problem.startswith("etc/xzgw.json:2:3: not JSON: "), problem)

    def test_none(self) -> None:
        """No file is needed if a chat server is named elsewhere."""
        config = self.config(None, {}, {"CHAT_SERVERS": f"{URL} {OTHER_URL}"})
        self.assertEqual(config.production_servers, (URL, OTHER_URL))
        self.assertIsNone(config.source)


class ServersTests(LoadTestCase):
    """Chat servers."""

    def test_missing(self) -> None:
        """Without any, it is said where to put one."""
        expected = (
            "etc/xzgw.json: production.chat_servers: found nothing, "
            "want a chat server there, in --chat-server or in CHAT_SERVERS"
        )
        documents: tuple[object, ...] = (None, {}, {"production": None}, {"production": {}})
        for document in documents:
            self.assertEqual(self.problems(document), (expected,))

    def test_empty_or_bad(self) -> None:
        """An empty list or a bad address is one mistake, not two."""
        for urls in ([], ["http://host/"], ["ws://<ip>:8000/"], 1):
            self.assertEqual(len(self.problems({"production": {"chat_servers": urls}})), 1)

    def test_replaced(self) -> None:
        """Flag or variable replace the production servers only."""
        config = self.config(EXISTING, {"chat-server": [OTHER_URL]}, {"CHAT_SERVERS": "junk"})
        self.assertEqual(config.production_servers, (OTHER_URL,))
        self.assertEqual(config.development_servers, (OTHER_URL,))
        self.assertEqual(config.development_macs, {"aa:bb:cc:dd:ee:ff"})

    def test_suffix(self) -> None:
        """An address that does not turn on the audio header is warned of."""
        url = f"{URL}&x=1"
        config, warnings = self.load({"production": {"chat_servers": [URL, url]}})
        self.assertEqual(config.production_servers, (URL, url))
        self.assertEqual(
            warnings,
            (
                f"etc/xzgw.json: production.chat_servers: '{url}' does not end with "
                "?from=mqtt_gateway, so there may be no audio",
            ),
        )

    def test_mac_spellings(self) -> None:
        """Both spellings of the list count, together."""
        development = {
            "chat_servers": [URL],
            "mac_addresss": ["aa-bb-cc-dd-ee-f1"],
            "mac_addresses": ["AA_BB_CC_DD_EE_F2"],
        }
        config = self.config({**MINIMAL, "development": development})
        self.assertEqual(config.development_macs, {"aa:bb:cc:dd:ee:f1", "aa:bb:cc:dd:ee:f2"})

    def test_weights(self) -> None:
        """Servers with and without a weight side by side, in either list."""
        servers = [URL, {"url": OTHER_URL, "weight": 3}]
        others = [{"url": "ws://...", "weight": 2}, {"url": OTHER_URL, "weight": 3}]
        development = {"chat_servers": others}
        config = self.config({"production": {"chat_servers": servers}, "development": development})
        self.assertEqual(config.production_servers, (URL, OTHER_URL))
        self.assertEqual(config.development_servers, (OTHER_URL,))
        self.assertEqual(config.server_weights, {OTHER_URL: 3})

    def test_two_weights(self) -> None:
        """A server has one weight, in whatever lists it stands."""
        production = {"chat_servers": [URL, {"url": URL, "weight": 1}]}
        development = {"chat_servers": [{"url": URL, "weight": 5}]}
        document = {"production": production, "development": development}
        self.assertEqual(
            self.problems(document),
            (
                f"etc/xzgw.json: development.chat_servers: found weight 5 for '{URL}',"
                " want the same as elsewhere, 1",
            ),
        )

    def test_unknown_members(self) -> None:
        """A member of an entry that means nothing is warned of."""
        servers = [{"url": URL, "wieght": 3}]
        config, warnings = self.load({"production": {"chat_servers": servers}})
        self.assertEqual((config.production_servers, config.server_weights), ((URL,), {}))
        name = "'production.chat_servers: wieght'"
        self.assertEqual(
            warnings,
            (f"etc/xzgw.json: {name}: ignored, not a known name; did you mean weight?",),
        )

    def test_check(self) -> None:
        """Active checks are off unless asked for."""
        self.assertEqual(self.config(MINIMAL).backend_check_seconds, 0)
        environ = {"XZGW_BACKEND_CHECK_SECONDS": "30"}
        self.assertEqual(self.config(MINIMAL, environ=environ).backend_check_seconds, 30)

    def test_trusted_proxies(self) -> None:
        """Networks from the file or, separated by spaces, from the environment; none by default."""
        self.assertEqual(self.config(MINIMAL).trusted_proxies, ())
        config = self.config({**MINIMAL, "trusted_proxies": "10.0.0.0/8"})
        self.assertEqual(config.trusted_proxies, (ip_network("10.0.0.0/8"),))
        config = self.config(MINIMAL, environ={"XZGW_TRUSTED_PROXIES": "192.0.2.1 fd00::/8"})
        expected = ip_network("192.0.2.1"), ip_network("fd00::/8")
        self.assertEqual(config.trusted_proxies, expected)

    def test_development_without_servers(self) -> None:
        """Devices listed for no server use production, with a warning."""
        development = {"chat_servers": [], "mac_addresss": ["aa:bb:cc:dd:ee:ff"]}
        config, warnings = self.load({**MINIMAL, "development": development})
        self.assertEqual(config.development_servers, ())
        where = "etc/xzgw.json: development.chat_servers"
        self.assertEqual(warnings, (f"{where}: none, so all devices use production",))

    def test_development_placeholder(self) -> None:
        """A placeholder for development is left out, with a warning if anybody would use it."""
        development = {
            "chat_servers": ["ws://...", "ws://a/"],
            "mac_addresss": ["aa:bb:cc:dd:ee:ff"],
        }
        config, warnings = self.load({**MINIMAL, "development": development})
        self.assertEqual(config.development_servers, ("ws://a/",))
        where = "etc/xzgw.json: development.chat_servers"
        self.assertEqual(len(warnings), 2)
        self.assertIn("'ws://a/' does not end with", warnings[0])
        self.assertEqual(warnings[1], f"{where}: a placeholder is left out")
        development["mac_addresss"] = []
        self.assertEqual(
            self.config({**MINIMAL, "development": development}).development_macs, set()
        )

    def test_development_mistakes(self) -> None:
        """Other mistakes in it are mistakes."""
        development = {"chat_servers": ["http://a/"], "mac_addresss": ["x"], "mac_addresses": ["y"]}
        problems = self.problems({**MINIMAL, "development": development})
        places = [problem.split(": ")[1] for problem in problems]
        self.assertEqual(
            sorted(places),
            [
                "development.chat_servers[0]",
                "development.mac_addresses[0]",
                "development.mac_addresss[0]",
            ],
        )


class WebhookTests(LoadTestCase):
    """Receivers of events."""

    HOOK: ClassVar[dict[str, object]] = {"url": "https://a.example/x", "secret": "hush"}

    def test_good(self) -> None:
        """A list of objects; all but the address may be left out."""
        hooks = [{**self.HOOK, "events": ["call", "refused"]}, {"url": "http://192.0.2.1:80/"}]
        self.assertEqual(
            self.config({**MINIMAL, "webhooks": hooks}).webhooks,
            (
                WebhookConfig("https://a.example/x", "hush", frozenset({"call", "refused"})),
                WebhookConfig("http://192.0.2.1:80/", None, frozenset()),
            ),
        )

    def test_secret_hidden(self) -> None:
        """Secrets are not in the value's representation."""
        config = self.config({**MINIMAL, "webhooks": [self.HOOK]})
        self.assertEqual(config.webhooks[0].secret, "hush")
        self.assertNotIn("hush", repr(config))

    def test_mistakes(self) -> None:
        """Each mistake has its place and shows no secret."""
        hooks = [self.HOOK, {"url": "ws://a/hush", "secret": 7, "events": ["call", "cal"]}, 1]
        problems = self.problems({**MINIMAL, "webhooks": hooks})
        places = [problem.split(": ")[1] for problem in problems]
        where = "webhooks[1]"
        self.assertEqual(
            places, [f"{where}.url", f"{where}.secret", f"{where}.events[1]", "webhooks[2]"]
        )
        self.assertNotIn("hush", repr(problems))

    def test_unknown_members(self) -> None:
        """What means nothing is warned of, with its place and a guess."""
        hooks = [self.HOOK, {"url": "http://a/", "event": ["call"], "zzz": 1}]
        config, warnings = self.load({**MINIMAL, "webhooks": hooks})
        self.assertEqual(len(config.webhooks), 2)
        where = "etc/xzgw.json: 'webhooks[1]"
        unknown = "ignored, not a known name"
        self.assertEqual(
            warnings,
            (f"{where}.event': {unknown}; did you mean events?", f"{where}.zzz': {unknown}"),
        )


class ListenTests(LoadTestCase):
    """Ports against exact addresses."""

    def test_ports(self) -> None:
        """Plain ports, from any source."""
        ports = {"mqtt_port": 1, "api_port": 2, "udp_port": 3}
        environ = {"MQTT_PORT": "1", "API_PORT": "2", "UDP_PORT": "3"}
        flags = {"mqtt-port": "1", "api-port": "2", "udp-port": "3"}
        for config in (
            self.config({**MINIMAL, **ports}),
            self.config(MINIMAL, {}, environ),
            self.config(MINIMAL, flags),
        ):
            self.assertEqual((config.mqtt, config.api), ((everywhere(1),), everywhere(2)))
            self.assertEqual((config.udp_host, config.udp_port), ("", 3))

    def test_platform_port(self) -> None:
        """PORT is the admin API's, if API_PORT is set nowhere in the environment."""
        file = {**MINIMAL, "api_port": 3}
        self.assertEqual(self.config(file, {}, {"PORT": "1"}).api, everywhere(1))
        self.assertEqual(self.config(file, {}, {"PORT": "1", "API_PORT": "2"}).api, everywhere(2))
        (self.directory / ".env").write_text("API_PORT=4")
        self.assertEqual(self.config(file, {}, {"PORT": "1"}).api, everywhere(4))

    def test_exact_wins(self) -> None:
        """An exact address wins over a port of the same or a weaker source."""
        for config in (
            self.config({**MINIMAL, "udp": "192.0.2.1:1", "udp_port": 2}),
            self.config(MINIMAL, {}, {"XZGW_UDP": "192.0.2.1:1", "UDP_PORT": "2"}),
            self.config({**MINIMAL, "udp_port": 2}, {"udp": "192.0.2.1:1"}),
        ):
            self.assertEqual((config.udp_host, config.udp_port), ("192.0.2.1", 1))

    def test_stronger_port(self) -> None:
        """A port of a stronger source replaces the exact address whole, with a warning."""
        file = {**MINIMAL, "mqtt": "tcp:1:interface=127.0.0.1"}
        config, warnings = self.load(file, {}, {"MQTT_PORT": "2"})
        self.assertEqual(config.mqtt, (everywhere(2),))
        expected = "etc/xzgw.json: mqtt: not used, environment: MQTT_PORT takes its place"
        self.assertEqual(warnings, (expected,))

    def test_told_by_udp(self) -> None:
        """Without public_ip devices are told the only address that audio is received at."""
        config, warnings = self.load({**MINIMAL, "udp": "127.0.0.1:1"})
        self.assertIsNone(config.public_ip)
        [warning] = warnings
        self.assertIn("udp: '127.0.0.1' is the loopback address", warning)
        self.config({**MINIMAL, "udp": "127.0.0.1:1", "public_ip": "192.0.2.1"})

    def test_public_ip(self) -> None:
        """An address that devices elsewhere cannot reach is told of; the gateway starts with it."""
        config, warnings = self.load({**MINIMAL, "public_ip": "172.17.0.2"})
        self.assertEqual(config.public_ip, "172.17.0.2")
        (warning,) = warnings
        self.assertIn("public_ip: '172.17.0.2' is in Docker's own network", warning)

    def test_public_port(self) -> None:
        """Port 0 can be listened on, but not be told to devices."""
        config = self.config({**MINIMAL, "udp": "systemd:audio"}, {"udp": "fd:3"})
        self.assertEqual((config.udp_socket, config.udp_host, config.udp_port), ("fd:3", "", 0))
        config = self.config({**MINIMAL, "udp": 0, "mqtt_port": 0})
        self.assertEqual((config.udp_port, config.mqtt), (0, (everywhere(0),)))
        (problem,) = self.problems({**MINIMAL, "public_udp_port": 0})
        self.assertIn("public_udp_port: found 0, want a whole number from 1 to 65535", problem)


class KeyTests(LoadTestCase):
    """The signature key."""

    def test_strength(self) -> None:
        """Eight characters, both cases, none of the common words in any case."""
        for key, weakness in (
            ("Abcdefg8", None),
            ("", "not set"),
            ("Abcdef8", "less than 8"),
            ("abcdefg8", "lacks"),
            ("ABCDEFG8", "lacks"),
            *((f"Zz{word}zz", "one of") for word in ("teSt", "1234zz", "Admin", "passWord")),
            *((f"Zz{word}zz", "one of") for word in ("qWErty", "XIAOzhi")),
        ):
            found = key_weakness(key)
            self.assertEqual(found is None, weakness is None, key)
            self.assertIn(weakness or "", found or "")

    def test_weak(self) -> None:
        """A weak key works, with a warning that does not show it."""
        config, warnings = self.load(MINIMAL, {}, {"MQTT_SIGNATURE_KEY": "hushhush"})
        self.assertEqual(config.signature_key, "hushhush")
        self.assertEqual(config.weak_key, key_weakness("hushhush"))
        self.assertEqual(config.api_key, "")  # no token is good, after a reload, too
        (warning,) = warnings
        self.assertTrue(warning.startswith("environment: MQTT_SIGNATURE_KEY: the key lacks"))
        self.assertTrue(warning.endswith("the admin API will not be started"))
        self.assertNotIn("hush", warning)

    def test_missing(self) -> None:
        """Without a key nobody could connect, which is a mistake."""
        self.assertEqual(
            self.problems(MINIMAL, {}, {"MQTT_SIGNATURE_KEY": ""}),
            (
                "environment: MQTT_SIGNATURE_KEY: found nothing, "
                "want the key that the OTA server signs device passwords with",
            ),
        )

    def test_missing_unsigned(self) -> None:
        """Where unsigned devices are let in, a missing key closes the admin API only."""
        config, warnings = self.load(MINIMAL, {"allow-unsigned": True}, {"MQTT_SIGNATURE_KEY": ""})
        self.assertEqual((config.signature_key, config.weak_key), ("", "the key is not set"))
        self.assertEqual(len(warnings), 1)

    def test_not_text(self) -> None:
        """A key that is not UTF-8 is one mistake, and not shown."""
        (problem,) = self.problems(MINIMAL, {}, {"MQTT_SIGNATURE_KEY": "hush\udcff"})
        self.assertNotIn("hush", problem)

    def test_all_mistakes(self) -> None:
        """All mistakes of all sources come at once."""
        problems = self.problems(
            {"production": [], "debug": "no", "mcp_client": {"max_tools_count": 0}},
            {"mqtt": ["1883"]},
            {"MQTT_SIGNATURE_KEY": "", "UDP_PORT": "x"},
        )
        places = {": ".join(problem.split(": ")[:2]) for problem in problems}
        self.assertEqual(
            places,
            {
                "etc/xzgw.json: production",
                "etc/xzgw.json: production.chat_servers",
                "etc/xzgw.json: debug",
                "etc/xzgw.json: mcp_client.max_tools_count",
                "command line: --mqtt[0]",
                "environment: UDP_PORT",
                "environment: MQTT_SIGNATURE_KEY",
            },
        )
