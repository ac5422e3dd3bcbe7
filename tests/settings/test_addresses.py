"""Checks of addresses and names in the configuration."""

from __future__ import annotations

from tests.settings.test_checks import ChecksTestCase
from xzgw.settings import addresses as addresses
from xzgw.settings.checks import Unfit


class WebAddressTests(ChecksTestCase):
    """HTTP URLs, of which only the origin may be shown."""

    def test_good(self) -> None:
        """URLs come back exactly as they were given."""
        for url in (
            "https://hooks.example.org/a/b?c=d/e",
            "http://127.0.0.1:8080",
            "HTTPS://[2001:db8::1]/",
            "http://localhost/xxx/your-own/...",
        ):
            self.assertEqual(addresses.web_address(url), url)

    def test_bad(self) -> None:
        """Mistakes, and what is shown of each."""
        for value, found in (
            (7, "7"),
            ("", "''"),
            ("hooks.example.org/hush", "'hooks.example.org'"),
            ("ws://host/hush", "'ws://host'"),
            ("http:///hush", "'http://'"),
            ("http://host:0/hush", "'http://host:0'"),
            ("http://host:/hush", "'http://host:'"),
            ("http://host:70000?hush", "'http://host:70000'"),
            ("http://host/hush hush", "'http://host'"),
            ("http://host/hüsh", "'http://host'"),
            ("http://me:hush@host/", "'http://***@host'"),
            ("http://host/#hush", "'http://host'"),
            ("http://192.0.2.300/", "'http://192.0.2.300'"),
        ):
            (fault,) = self.faults(addresses.web_address, value)
            self.assertEqual(fault.found, found)

    def test_placeholders(self) -> None:
        """What guides print for the reader to replace, in the host's place."""
        for url in ("https://your-server/x", "https://<host>/x", "https://.../", "http://主机/"):
            (fault,) = self.faults(addresses.web_address, url)
            self.assertIn("placeholder", fault.want)


class ChatServerTests(ChecksTestCase):
    """WebSocket URLs."""

    def test_good(self) -> None:
        """URLs come back exactly as they were given."""
        for url in (
            "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway",
            "wss://chat.example.org",
            "WS://xiaozhi_server:1/a%20b?x=1&y=/",
            "ws://[2001:db8::1]:65535/",
            "ws://localhost./",
        ):
            self.assertEqual(addresses.chat_server(url), url)

    def test_bad(self) -> None:
        """Other schemes, missing or impossible hosts and ports, and what WebSockets cannot do."""
        self.assert_refused(
            addresses.chat_server,
            (
                7,
                "",
                "127.0.0.1:8000",
                "http://127.0.0.1/",
                "ws:///x",
                "ws://:8000/",
                "ws://host:0/",
                "ws://host:/",
                "ws://host:65536/",
                "ws://host:x/",
                "ws://192.0.2.300/",
                "ws://-host/",
                "ws://a b/",
                "ws://host/\t",
                "ws://[::1/",
                "ws://me@host/",
                "ws://me:secret@host/",
                "ws://host/#part",
                "ws://host/#",
            ),
        )

    def test_placeholders(self) -> None:
        """What guides print for the reader to replace is called by its name."""
        for url in (
            "ws://你的服务器:8000/",
            "ws://<ip>:8000/",
            "ws://your-server/",
            "ws://YOUR_IP/",
            "ws://...",
            "ws://192.168.0.xxx:8000/",
        ):
            (fault,) = self.faults(addresses.chat_server, url)
            self.assertIn("placeholder", fault.want)


class AsciiTests(ChecksTestCase):
    """Names with other letters than those of ASCII."""

    def test_told(self) -> None:
        """They may be real, so it is said how to write them; all else is a placeholder at most."""
        for check, value in (
            (addresses.chat_server, "wss://bücher.example/?from=mqtt_gateway"),
            (addresses.web_address, "https://bücher.example/"),
            (addresses.public_host, "bücher.example"),
        ):
            (fault,) = self.faults(check, value)
            self.assertIn("in its ASCII form (xn--...)", fault.want)
        (fault,) = self.faults(addresses.chat_server, "ws://<ip>:8000/")
        self.assertNotIn("ASCII", fault.want)
        ours = "wss://xn--bcher-kva.example/?from=mqtt_gateway"
        self.assertEqual(addresses.chat_server(ours), ours)


class NetworkTests(ChecksTestCase):
    """Networks and single addresses, of either kind."""

    def test_good(self) -> None:
        """An address alone is a network of one."""
        for text, network in (
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ):
            self.assertEqual(str(addresses.network(text)), network)

    def test_bad(self) -> None:
        """No names, and nothing behind the prefix, which is likely a slip."""
        self.assert_refused(
            addresses.network, (7, "", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", None)
        )


class NameTests(ChecksTestCase):
    """Hosts, MACs, topics."""

    def test_public_host(self) -> None:
        """IP addresses and host names."""
        for host in ("192.0.2.1", "2001:db8::1", "voice.example.org", "a", "a.b.", "h" * 63, "1.a"):
            self.assertEqual(addresses.public_host(host), host)

    def test_not_public_host(self) -> None:
        """Nothing around the host, no listen-on-all address, no mistyped IP address."""
        self.assert_refused(
            addresses.public_host,
            (
                1,
                "",
                ".",
                "a..b",
                "0.0.0.0",
                "::",
                "[::1]",
                "192.0.2.1:8884",
                "udp://host",
                "192.0.2.256",
                "1.2.3",
                "a b",
                "a-",
                "h" * 64,
                ".".join(["h" * 49] * 6),
                "your-ip",
                "你的IP",
            ),
        )

    def test_mac(self) -> None:
        """Colons, dashes or underscores, any case."""
        for text in ("A0:85:e3:F4:49:34", "a0-85-e3-f4-49-34", "a0_85_e3_f4_49_34"):
            self.assertEqual(addresses.mac(text), "a0:85:e3:f4:49:34")
        self.assert_refused(
            addresses.mac,
            (1, "", "a0:85:e3:f4:49", "a0:85-e3:f4:49:34", "a085e3f44934", "g0:85:e3:f4:49:34"),
        )

    def test_topic(self) -> None:
        """Topic names of sane length."""
        for topic in ("device-server", "设备/服务器", "x" * 1024):
            self.assertEqual(addresses.topic(topic), topic)
        self.assert_refused(addresses.topic, (1, "", "a/+", "#", "a\0", "\ud800", "x" * 1025))


class ListenTests(ChecksTestCase):
    """Endpoint strings and UDP addresses."""

    def test_endpoint(self) -> None:
        """Endpoint strings come back as they are."""
        for text in (
            "tcp:1883",
            "tcp:0",
            "tcp:65535:interface=127.0.0.1",
            r"tcp:1883:interface=\:\:1",
            "tcp:interface=127.0.0.1:port=1883",
            "tcp6:1883",
            "ssl:8883:privateKey=/a/key.pem:certKey=/a/cert.pem",
            "unix:/run/xzgw.sock",
            "systemd:domain=INET:index=0",
            "haproxy:tcp:1883",
            "haproxy:ssl:8883:privateKey=/a/key.pem",
            r"ssl:over=systemd\:domain=INET\:index=0:privateKey=/a/key.pem",
        ):
            self.assertEqual(addresses.endpoint(text), text)

    def test_bad_fields(self) -> None:
        """What Twisted could not make an endpoint of is told here, not when it starts."""
        self.assert_refused(
            addresses.endpoint,
            (
                "tcp:1883:backlog=x",
                "tcp:1883:nonsense=1",
                "tcp6:1883:::",
                "tcp:1883:interface=::1",
                "tcp:1883:interface=x\\",
            ),
        )

    def test_layers(self) -> None:
        """What `haproxy:` stands before is checked, too, however often it is there."""
        for inner in ("tcp:x", "", "nonsense:1", "tcp:1:backlog=x"):
            for times in (1, 2, 5000):
                faults = self.faults(addresses.endpoint, "haproxy:" * times + inner)
                self.assertEqual(len(faults), 1, (inner, times))
        self.assertEqual(addresses.endpoint("haproxy:haproxy:tcp:1"), "haproxy:haproxy:tcp:1")

    def test_not_endpoint(self) -> None:
        """Bare ports, unknown prefixes, ports that are none."""
        self.assert_refused(
            addresses.endpoint,
            (
                1883,
                "",
                "1883",
                "tcp",
                "tcp:",
                "tpc:1883",
                "tcp:65536",
                "tcp:-1",
                "tcp:localhost:1883",
                "tcp:port=x",
                "tcp6:a",
                "ssl:a",
                "ssl:8883",
                "ssl:65536:privateKey=/a/key.pem",
                "ssl:8883:privateKey=/a/key.pem:colour=red",
                "haproxy:",
                "unix:/a\n",
            ),
        )

    def test_wrapped_endpoint(self) -> None:
        """What stands behind the PROXY protocol, or below TLS, is checked as well."""
        (fault,) = self.faults(addresses.endpoint, "haproxy:tcp:x")
        self.assertEqual(fault.found, "'tcp:x'")
        (fault,) = self.faults(addresses.endpoint, "haproxy:ssl:8883")
        self.assertEqual(fault.found, "'ssl:8883'")
        (fault,) = self.faults(addresses.endpoint, r"ssl:over=tpc\:1:privateKey=/a/key.pem")
        self.assertEqual(fault.found, "'tpc:1'")

    def test_udp(self) -> None:
        """A port, alone or after an IP address."""
        for value, expected in (
            (8884, ("", 8884)),
            ("0", ("", 0)),
            (":8884", ("", 8884)),
            ("*:8884", ("", 8884)),
            ("192.0.2.1:65535", ("192.0.2.1", 65535)),
            ("[::1]:8884", ("::1", 8884)),
        ):
            self.assertEqual(addresses.udp_address(value), expected)
            self.assertEqual(addresses.udp_place(value), expected)

    def test_udp_socket(self) -> None:
        """A socket that is handed over, by number or by name."""
        for value in ("fd:3", "fd:12345", "systemd", "systemd:audio", "systemd:xzgw.socket"):
            self.assertEqual(addresses.udp_place(value), value)

    def test_not_udp_socket(self) -> None:
        """Anything else is refused with all that would do."""
        self.assert_refused(
            addresses.udp_place,
            ("fd", "fd:", "fd:x", "fd:123456", "systemd:", "systemd:a:b", "systemd:ü", "x", 65536),
        )
        (fault,) = self.assertRaises(Unfit, addresses.udp_place, "fd:x").faults
        self.assertIn("ADDRESS:PORT", fault.want)
        self.assertTrue(fault.want.endswith("or fd:NUMBER, systemd or systemd:NAME"), fault.want)

    def test_not_udp(self) -> None:
        """Names, unbracketed IPv6 addresses, ports that are none."""
        self.assert_refused(
            addresses.udp_address,
            (
                -1,
                65536,
                "",
                "x",
                "host:1",
                "::1:8884",
                "[]:1",
                "[192.0.2.1]:1",
                "1.2.3.4:",
                True,
                [],
            ),
        )
