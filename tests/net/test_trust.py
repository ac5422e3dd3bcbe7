"""Which servers are believed, and the words for why not. Handshakes take place in memory."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL.crypto import FILETYPE_PEM
from OpenSSL.SSL import TLS1_1_VERSION, TLS_METHOD, Connection, Context, Error, WantReadError
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import HOUR, Authority
from tests.support import environment
from xzgw.net.trust import Trust
from xzgw.wire.certificates import CertificateError

DAY = timedelta(days=1)


def server(path: str, *further: bytes) -> Connection:
    """The other end, with the key and certificate in a file, and further certificates."""
    chain = Path(path).with_suffix(".chain")
    chain.write_bytes(Path(path).read_bytes() + b"".join(further))
    context = Context(TLS_METHOD)
    context.use_privatekey_file(path, FILETYPE_PEM)
    context.use_certificate_chain_file(str(chain))
    return accepting(context)


def accepting(context: Context) -> Connection:
    connection = Connection(context, None)
    connection.set_accept_state()
    return connection


def handshake(trust: Trust, host: str, theirs: Connection) -> str:
    """Let both ends talk until they agree, or one of them fails: why, or nothing."""
    ours = trust(host).clientConnectionForTLS(None)  # type: ignore[arg-type]
    ours.set_connect_state()
    for _ in range(10):
        for this, other in ((ours, theirs), (theirs, ours)):
            try:
                this.do_handshake()
            except WantReadError:
                pass
            except Error as error:
                assert this is ours, error
                return "; ".join(reason for _, _, reason in error.args[0])
            pump(this, other)
    assert ours.get_state_string() == b"SSL negotiation finished successfully"
    return ""


def pump(source: Connection, sink: Connection) -> None:
    with contextlib.suppress(WantReadError):
        sink.bio_write(source.bio_read(1 << 16))


class TrustTests(SynchronousTestCase):
    """One authority, which is trusted, and what there is besides."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.trust = Trust(self.authority.pem)

    def outcome(self, host: str, path: str, *further: bytes) -> str:
        return handshake(self.trust, host, server(path, *further))

    def test_good(self) -> None:
        """Host names and IP addresses that the certificate has."""
        names = ("chat.example", "*.wild.example", "192.0.2.1", "2001:db8::1")
        path = self.authority.certificate(*names)
        for host in ("chat.example", "a.wild.example", "192.0.2.1", "2001:db8::1", "CHAT.example"):
            self.assertEqual(self.outcome(host, path), "", host)

    def test_host_name(self) -> None:
        """Everything else is refused, however near."""
        path = self.authority.certificate("chat.example", "*.wild.example", "192.0.2.1")
        for host in (
            "example",
            "a.chat.example",
            "wild.example",
            "a.b.wild.example",
            "192.0.2.2",
            "localhost",
        ):
            reason = self.outcome(host, path)
            self.assertEqual(reason, "certificate is not valid for this host name", host)

    def test_common_name(self) -> None:
        """The common name says nothing, with other names or without."""
        for names in ((), ("other.example",)):
            path = self.authority.certificate(*names, common_name="chat.example")
            reason = self.outcome("chat.example", path)
            self.assertEqual(reason, "certificate is not valid for this host name")

    def test_expired(self) -> None:
        """A certificate whose time is over, whosever it is; the day is said."""
        day = f"{datetime.now(UTC) - DAY:%Y-%m-%d}"
        path = self.authority.certificate("chat.example", valid=(-3 * DAY, -DAY))
        reason = self.outcome("chat.example", path)
        self.assertEqual(reason, f"certificate of 'test server' has expired on {day}")
        old = Authority(self.mktemp(), "old authority", valid=(-3 * DAY, -DAY))
        self.trust.load(old.pem)
        reason = self.outcome("chat.example", old.certificate("chat.example"))
        self.assertEqual(reason, f"certificate of 'old authority' has expired on {day}")

    def test_not_yet(self) -> None:
        """A certificate whose time is to come."""
        day = f"{datetime.now(UTC) + DAY:%Y-%m-%d}"
        path = self.authority.certificate("chat.example", valid=(DAY, 3 * DAY))
        reason = self.outcome("chat.example", path)
        self.assertEqual(reason, f"certificate of 'test server' is not valid before {day}")

    def assertChain(self, reason: str, whose: str, *words: str) -> None:
        self.assertTrue(reason.startswith(f"certificate chain of {whose!r} cannot be verified: "))
        for word in words:
            self.assertIn(word, reason)

    def test_chain(self) -> None:
        """A chain that does not end at an authority that is trusted, in each way."""
        stranger = Authority(self.mktemp(), "stranger")
        path = stranger.certificate("chat.example")
        self.assertChain(self.outcome("chat.example", path), "test server", "issuer is not among")
        reason = self.outcome("chat.example", path, stranger.pem)
        self.assertChain(reason, "stranger", "root is not among")
        between = Authority(self.mktemp(), "between", parent=self.authority)
        path = between.certificate("chat.example")
        self.assertChain(self.outcome("chat.example", path), "test server", "in between is missing")
        self.assertEqual(self.outcome("chat.example", path, between.pem), "")

    def test_forged_issuer(self) -> None:
        """An authority of the same name is not the same authority."""
        path = Authority(self.mktemp()).certificate("chat.example")
        reason = self.outcome("chat.example", path)
        self.assertChain(reason, "test server")

    def test_self_signed(self) -> None:
        """Whoever vouches for themselves has to be trusted by name; nor need they have one."""
        name = x509.Name([])
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY)
        ).sign(key, hashes.SHA256())
        path = Path(self.mktemp())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        reason = self.outcome("chat.example", str(path))
        self.assertIn("chain of a nameless one cannot be verified: it is signed by itself", reason)

    def test_load(self) -> None:
        """Other authorities replace those before, for connections to come."""
        other = Authority(self.mktemp(), "other")
        ours, theirs = (each.certificate("chat.example") for each in (self.authority, other))
        self.trust.load(other.pem)
        self.assertNotEqual(self.outcome("chat.example", ours), "")
        self.assertEqual(self.outcome("chat.example", theirs), "")
        self.trust.load(self.authority.pem + other.pem)
        self.assertEqual(self.outcome("chat.example", ours), "")
        self.assertEqual(self.outcome("chat.example", theirs), "")
        self.assertRaises(CertificateError, self.trust.load, b"nothing")
        self.assertEqual(self.outcome("chat.example", ours), "")

    def test_system(self) -> None:
        """Without a bundle the system's authorities count."""
        path = self.authority.certificate("chat.example")
        self.trust.load(None)
        self.assertNotEqual(self.outcome("chat.example", path), "")
        with environment("SSL_CERT_FILE", self.authority.path):
            self.trust.load(None)
        self.assertEqual(self.outcome("chat.example", path), "")

    def test_server_name(self) -> None:
        """The server is told the host name, but not an IP address."""
        told: list[bytes | None] = []
        context = Context(TLS_METHOD)
        path = self.authority.certificate("chat.example", "192.0.2.1")
        context.use_privatekey_file(path)
        context.use_certificate_file(path)
        context.set_tlsext_servername_callback(lambda c: told.append(c.get_servername()))
        for host in ("chat.example", "192.0.2.1"):
            self.assertEqual(handshake(self.trust, host, accepting(context)), "")
        self.assertEqual(told, [b"chat.example", None])

    def test_old_versions(self) -> None:
        """TLS 1.1 is not spoken."""
        context = Context(TLS_METHOD)
        path = self.authority.certificate("chat.example")
        context.use_privatekey_file(path)
        context.use_certificate_file(path)
        context.set_min_proto_version(0)
        context.set_max_proto_version(TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        theirs: Any = accepting(context)
        ours = self.trust("chat.example").clientConnectionForTLS(theirs)
        ours.set_connect_state()
        self.assertRaises(WantReadError, ours.do_handshake)
        pump(ours, theirs)
        error = self.assertRaises(Error, theirs.do_handshake)
        self.assertIn("unsupported protocol", str(error))

    def test_still_valid(self) -> None:
        """A certificate at the edges of its time is good."""
        path = self.authority.certificate("chat.example", valid=(-HOUR, HOUR / 60))
        self.assertEqual(self.outcome("chat.example", path), "")
