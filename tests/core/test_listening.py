"""What `ssl:` endpoint strings say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.listening import FORM, TlsListener, is_handed_over, parse_tls, tls_of


class ParseTests(SynchronousTestCase):
    """The part after `ssl:`."""

    def test_good(self) -> None:
        """Fields in any order, defaults, escapes, and what is below TLS."""
        for text, expected in (
            ("8883:privateKey=/k.pem", ("/k.pem", "/k.pem", None, "tcp:8883")),
            ("privateKey=/k.pem:port=0", ("/k.pem", "/k.pem", None, "tcp:0")),
            (
                "65535:privateKey=k:certKey=c:extraCertChain=x:backlog=500:interface=127.0.0.1",
                ("k", "c", "x", "tcp:65535:interface=127.0.0.1:backlog=500"),
            ),
            (
                r"1:privateKey=C\:\\my\=key:interface=\:\:1",
                ("C:\\my=key", "C:\\my=key", None, r"tcp:1:interface=\:\:1"),
            ),
            ("1:privateKey=/a=b", ("/a=b", "/a=b", None, "tcp:1")),
            (
                r"over=systemd\:domain=INET\:index=0:privateKey=k",
                ("k", "k", None, "systemd:domain=INET:index=0"),
            ),
        ):
            self.assertEqual(parse_tls(text), TlsListener(*expected), text)

    def test_bad(self) -> None:
        """Everything else, with the form to use."""
        for text in (
            "",
            "8883",
            "8883:certKey=/c.pem",
            "8883:privateKey=",
            "privateKey=k",
            "x:privateKey=k",
            "65536:privateKey=k",
            "123456:privateKey=k",
            "-1:privateKey=k",
            "1:2:privateKey=k",
            "1:port=2:privateKey=k",
            "1:privateKey=k:privateKey=l",
            "1:privateKey=k:backlog=many",
            "1:privateKey=k:sslmethod=TLSv1_METHOD",
            "1:privateKey=k:colour=red",
            r"1:over=fd\:3:privateKey=k",
            r"over=fd\:3:privateKey=k:interface=127.0.0.1",
        ):
            error = self.assertRaises(ValueError, parse_tls, text)
            self.assertEqual(str(error), FORM, text)


class TlsOfTests(SynchronousTestCase):
    """What TLS there is in a whole endpoint string."""

    def test_each(self) -> None:
        """None, one, or one inside the other, with PROXY headers before or between."""
        for endpoint, keys in (
            ("tcp:1883", []),
            ("haproxy:fd:3", []),
            ("ssl:1:privateKey=a", ["a"]),
            ("haproxy:ssl:1:privateKey=a", ["a"]),
            (r"ssl:over=haproxy\:tcp\:1:privateKey=a", ["a"]),
            (r"ssl:over=ssl\:1\:privateKey=b:privateKey=a", ["a", "b"]),
        ):
            self.assertEqual([each.private_key for each in tls_of(endpoint)], keys, endpoint)
        self.assertRaises(ValueError, tls_of, "haproxy:ssl:1")


class HandedOverTests(SynchronousTestCase):
    """Whose socket it is."""

    def test_others(self) -> None:
        """One that was passed, whatever stands on top of it."""
        for endpoint in (
            "fd:3",
            "systemd:domain=INET6:index=0",
            "haproxy:fd:3",
            r"ssl:over=systemd\:domain=INET6\:name=mqtt:privateKey=k",
            r"haproxy:ssl:privateKey=k:over=fd\:3",
            r"ssl:over=haproxy\:fd\:3:privateKey=k",
        ):
            self.assertTrue(is_handed_over(endpoint), endpoint)

    def test_ours(self) -> None:
        """One that we open ourselves."""
        for endpoint in (
            "tcp:1883",
            "tcp6:1883:interface=fd00\\:3",
            "unix:fd",
            "unix:/run/systemd",
            "haproxy:tcp:1883",
            "ssl:8883:privateKey=fd",
            "haproxy:ssl:8883:privateKey=k",
        ):
            self.assertFalse(is_handed_over(endpoint), endpoint)
