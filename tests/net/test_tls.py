"""Listening with TLS: files, their exchange, versions and ciphers. Handshakes are in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL.SSL import (
    TLS1_1_VERSION,
    TLS1_2_VERSION,
    TLS1_3_VERSION,
    TLS_CLIENT_METHOD,
    Connection,
    Context,
    Error,
    WantReadError,
)
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.net.test_trust import pump
from tests.wire.test_certificates import in_pem
from xzgw.net.tls import MAX_HANDSHAKE, ServerTls, TlsError
from xzgw.net.trust import Trust
from xzgw.wire.certificates import read_certificates

DAY = 86_400  # s
PKCS8 = PrivateFormat.PKCS8
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def any_client(version: int = TLS1_3_VERSION, ciphers: bytes = b"ALL:@SECLEVEL=0") -> Connection:
    """A client that verifies nothing, with TLS up to a version."""
    context = Context(TLS_CLIENT_METHOD)
    context.set_min_proto_version(0)
    context.set_max_proto_version(version)
    context.set_cipher_list(ciphers)
    return Connection(context, None)


def shake(tls: ServerTls, client: Connection) -> tuple[Connection, str]:
    """Both ends talk: the server's end, and why either failed, or nothing."""
    theirs = tls.serverConnectionForTLS(object())
    theirs.set_accept_state()
    client.set_connect_state()
    for _ in range(10):
        for this, other in ((client, theirs), (theirs, client)):
            try:
                this.do_handshake()
            except WantReadError:
                pass
            except Error as error:
                return theirs, "; ".join(reason for _, _, reason in error.args[0])
            pump(this, other)
    return theirs, ""


class TlsTestCase(SynchronousTestCase):
    """An authority, and a server's key and certificate in one file."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.file = self.authority.certificate("voice.example", "192.0.2.1")
        self.now = datetime.now(UTC).timestamp()

    def tls(
        self, private_key: str = "", certificate: str = "", chain: str | None = None
    ) -> ServerTls:
        clock = Clock()
        private_key = private_key or self.file
        return ServerTls(
            private_key, certificate or self.file, chain, clock=clock, now=lambda: self.now
        )

    def trusted(self, tls: ServerTls, host: str = "voice.example") -> str:
        """Why a client that trusts the authority alone would not connect, or nothing."""
        client = Trust(self.authority.pem)(host).clientConnectionForTLS(None)  # type: ignore[arg-type]
        return shake(tls, client)[1]

    def write(self, data: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(data)
        return str(path)

    def logged(self, call: Callable[[], object]) -> list[tuple[LogLevel, str]]:
        with capturedLogs() as logs:
            call()
        return [(event["log_level"], str(formatEvent(event))) for event in logs]


class FileTests(TlsTestCase):
    """What is read, and how."""

    def test_one_file(self) -> None:
        """Key and certificate in one file, in either order, or in two."""
        data = Path(self.file).read_bytes()
        at = data.index(b"-----BEGIN CERTIFICATE")
        key, certificate = data[:at], data[at:]
        for text in (key + certificate, certificate + key, EC_PARAMETERS + key + certificate):
            path = self.write(text)
            self.assertEqual(self.trusted(self.tls(path, path)), "")
        self.assertEqual(self.trusted(self.tls(self.write(key), self.write(certificate))), "")

    def test_chain(self) -> None:
        """Certificates in between are sent, be they after the own one or in a file apart."""
        between = Authority(self.mktemp(), "between", parent=self.authority)
        self.file = between.certificate("voice.example")
        self.assertIn("in between is missing", self.trusted(self.tls()))
        self.assertEqual(self.trusted(self.tls(chain=between.path)), "")
        full = self.write(Path(self.file).read_bytes() + between.pem)
        self.assertEqual(self.trusted(self.tls(self.file, full)), "")

    def test_told(self) -> None:
        """The log says which certificate it is, whom it is for and until when."""
        ((level, line),) = self.logged(self.tls)
        self.assertIs(level, LogLevel.info)
        self.assertIn(f"certificate {self.file} for voice.example, 192.0.2.1, valid until ", line)

    def assertBad(self, words: str, *files: str) -> None:
        """These files cannot be used, and one line says why; it names the file."""
        error = self.assertRaises(TlsError, self.tls, *files)
        line = str(error)
        self.assertIn(words, line)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith(files[-1] or files[0]), line)

    def test_missing(self) -> None:
        """A file that is not there, or none that can be read."""
        self.assertBad("cannot be read: No such file", "/nonexistent/key.pem")
        self.assertBad("cannot be read: No such file", self.file, "/nonexistent/cert.pem")
        self.assertBad("cannot be read: No such file", self.file, self.file, "/nonexistent")
        self.assertBad("cannot be read: Is a directory", ".")

    def test_not_pem(self) -> None:
        """Files that hold something else."""
        junk = "-----BEGIN {0}-----\njunk\n-----END {0}-----\n"
        for text in ("", "hello", "\0\xff", junk.format("PRIVATE KEY"), junk.format("CERTIFICATE")):
            path = self.write(text.encode("latin-1"))
            self.assertBad("no private key in PEM form", path)
            self.assertBad("no certificate in PEM form", self.file, path)
            self.assertBad("no certificate in PEM form", self.file, self.file, path)
        self.assertBad("no private key in PEM form", self.authority.path)

    def test_encrypted(self) -> None:
        """A key with a passphrase, for which nobody is asked."""
        key = load_pem_private_key(Path(self.file).read_bytes(), None)
        data = key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret"))
        self.assertBad("needs a passphrase", self.write(data))

    def test_mismatch(self) -> None:
        """Somebody else's key, of the same kind or another."""
        for key in (
            ec.generate_private_key(ec.SECP256R1()),
            rsa.generate_private_key(65537, 2048),
        ):
            path = self.write(key.private_bytes(Encoding.PEM, PKCS8, NoEncryption()))
            words = f"its first certificate is not for the key in {path}"
            self.assertBad(words, path, self.file)

    def test_damaged(self) -> None:
        """A certificate with one wrong bit, wherever: one line, or it can be used all the same."""
        der = read_certificates(Path(self.file).read_bytes())[0].public_bytes(Encoding.DER)
        refused = 0
        for at in range(len(der)):
            damaged = bytearray(der)
            damaged[at] ^= 0x10
            try:
                self.tls(self.file, self.write(in_pem(bytes(damaged))))
            except TlsError as error:
                self.assertNotIn("\n", str(error))
                refused += 1
        self.assertGreater(refused, 100)

    def test_unknown_key(self) -> None:
        """A certificate for a key of a kind that nobody knows is for another key than ours."""
        der = read_certificates(Path(self.file).read_bytes())[0].public_bytes(Encoding.DER)
        ec_key = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1
        self.assertIn(ec_key, der)
        path = self.write(in_pem(der.replace(ec_key, ec_key[:-1] + b"\x09")))
        self.assertBad("its first certificate is not for the key in ", self.file, path)

    def test_strange_names(self) -> None:
        """One whose names cannot be read is told as nobody's; it can be used."""
        der = read_certificates(Path(self.file).read_bytes())[0].public_bytes(Encoding.DER)
        ours, others = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")
        self.assertIn(ours, der)
        path = self.write(in_pem(der.replace(ours, others)))  # an extension that is there twice
        ((_, line),) = self.logged(lambda: self.tls(self.file, path))
        self.assertIn("for nobody, valid until", line)

    def test_unfit(self) -> None:
        """A key that signs nothing."""
        key = x25519.X25519PrivateKey.generate()
        issued = x509.load_pem_x509_certificate(self.authority.pem)
        path = self.write(
            key.private_bytes(Encoding.PEM, PKCS8, NoEncryption())
            + self.authority.sign(key.public_key(), issued.subject)
        )
        self.assertBad("cannot be used for TLS: ", path, path)


class ReloadTests(TlsTestCase):
    """Files are exchanged while it runs."""

    def replace(self, path: str) -> None:
        shutil.copy(path, self.file)

    def test_new(self) -> None:
        """New connections get the new certificate; old ones go on with theirs."""
        tls = self.tls()
        client = any_client()
        old, _ = shake(tls, client)
        self.replace(self.authority.certificate("new.example"))
        self.assertEqual(self.trusted(tls, "voice.example"), "")
        ((_, line),) = self.logged(tls.reload)
        self.assertIn("for new.example, valid until", line)
        self.assertEqual(self.trusted(tls, "new.example"), "")
        self.assertNotEqual(self.trusted(tls, "voice.example"), "")
        client.send(b"still here")
        pump(client, old)
        self.assertEqual(old.recv(100), b"still here")

    def test_broken(self) -> None:
        """Files that cannot be used change nothing, and one line says why, until they can."""
        tls = self.tls()
        Path(self.file).write_text("half a file")
        for _ in range(2):
            ((level, line),) = self.logged(tls.reload)
            self.assertIs(level, LogLevel.error)
            self.assertIn(
                f"certificate not taken, the old one stays: {self.file}: no private key", line
            )
            self.assertEqual(self.trusted(tls), "")
        self.replace(self.authority.certificate("new.example"))
        tls.reload()
        self.assertEqual(self.trusted(tls, "new.example"), "")

    def test_half_written(self) -> None:
        """A file that does not have all of its chain yet is not taken."""
        between = Authority(self.mktemp(), "between", parent=self.authority)
        key, full = between.certificate("voice.example"), self.write(b"")
        whole = Path(key).read_bytes() + between.pem
        Path(full).write_bytes(whole)
        tls = self.tls(key, full)
        Path(full).write_bytes(whole[:-100])
        ((_, line),) = self.logged(tls.reload)
        self.assertIn(f"the old one stays: {full}: a certificate is cut short", line)
        self.assertEqual(self.trusted(tls), "")

    def test_wrong_time(self) -> None:
        """A certificate whose time is over or to come is used, for clients without a clock, and a
        warning says what others will do."""
        valid = x509.load_pem_x509_certificate(Path(self.file).read_bytes())
        begin, end = valid.not_valid_before_utc, valid.not_valid_after_utc
        for moment, words in (
            (end.timestamp() + 1, "has expired: clients will refuse it"),
            (begin.timestamp() - 1, "is not valid yet: clients will refuse it"),
        ):
            self.now = moment
            _, (level, line) = self.logged(self.tls)
            self.assertIs(level, LogLevel.warn)
            self.assertIn(f"certificate {self.file} {words}", line)
        self.now = begin.timestamp()
        self.assertEqual(len(self.logged(self.tls)), 1)
        self.assertEqual(self.trusted(self.tls()), "")

    def test_nearly_over(self) -> None:
        """In the last sixth of its time, or the last two weeks, a warning comes each day."""
        for days, left in ((6, 1), (90, 14), (365, 14)):
            valid = (timedelta(days=1 - days), timedelta(days=1))
            self.file = self.authority.certificate("voice.example", valid=valid)
            end = x509.load_pem_x509_certificate(Path(self.file).read_bytes()).not_valid_after_utc
            self.now = end.timestamp() - left * DAY - 1
            tls = self.tls()
            self.assertEqual((tls.advice(), self.logged(tls.look)), ([], []))
            self.now += 2
            words = f"certificate {self.file} expires on {end:%Y-%m-%d}: exchange it"
            self.assertEqual(tls.advice(), [words])
            self.assertEqual(self.logged(tls.look), [(LogLevel.warn, words)])
            self.now += DAY - 1
            self.assertEqual(self.logged(tls.look), [])
            self.now += 1
            self.assertEqual(len(self.logged(tls.look)), 1)
            self.assertIn(LogLevel.warn, [level for level, _ in self.logged(tls.reload)])
            self.assertEqual(self.logged(tls.look), [])
            self.now = end.timestamp() + 1
            self.assertIn("has expired", tls.advice()[0])

    def test_nameless(self) -> None:
        """A certificate without names is told as such."""
        self.file = self.authority.certificate()
        self.assertIn("for nobody, valid until", self.logged(self.tls)[0][1])


class HandshakeTests(TlsTestCase):
    """What is spoken."""

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3, nothing older."""
        for version, name in ((TLS1_2_VERSION, "TLSv1.2"), (TLS1_3_VERSION, "TLSv1.3")):
            server, problem = shake(self.tls(), any_client(version))
            self.assertEqual((problem, server.get_protocol_version_name()), ("", name))
        _, problem = shake(self.tls(), any_client(TLS1_1_VERSION))
        self.assertEqual(problem, "unsupported protocol")

    def test_ciphers(self) -> None:
        """Of TLS 1.2 only what has forward secrecy and authenticates: what firmware offers, too."""
        for ciphers in (
            b"ECDHE-ECDSA-AES128-GCM-SHA256",
            b"ECDHE-ECDSA-AES256-GCM-SHA384",
            b"ECDHE-ECDSA-CHACHA20-POLY1305",
        ):
            server, problem = shake(self.tls(), any_client(TLS1_2_VERSION, ciphers))
            self.assertEqual((problem, server.get_cipher_name()), ("", ciphers.decode()))
        for ciphers in (
            b"ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA",
            b"AES128-GCM-SHA256:AES256-SHA",
            b"AECDH-AES128-SHA:@SECLEVEL=0",
        ):
            _, problem = shake(self.tls(), any_client(TLS1_2_VERSION, ciphers))
            self.assertEqual(problem, "no shared cipher", ciphers)

    def test_rsa(self) -> None:
        """An RSA key works as well as one on a curve."""
        key = rsa.generate_private_key(65537, 2048)
        name = x509.load_pem_x509_certificate(self.authority.pem).subject
        path = self.write(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            + self.authority.sign(key.public_key(), name)
        )
        client = any_client(TLS1_2_VERSION)
        server, problem = shake(self.tls(path, path), client)
        self.assertEqual(problem, "")
        self.assertTrue(str(server.get_cipher_name()).startswith("ECDHE-RSA-"))


class Inside(Protocol):
    """Notes what comes through TLS, and the end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class HandshakeSizeTests(TlsTestCase):
    """How much a client may send before there is a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.inside = Inside()
        factory = Factory.forProtocol(lambda: self.inside)
        self.protocol = self.tls().wrap(factory).buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
        self.transport = StringTransport()
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)

    def hello(self, size: int) -> bytes:
        """So many bytes of a ClientHello that is longer, in one record or several."""
        start = b"\x01" + (120_000).to_bytes(3, "big") + b"\x03\x03"
        message = start.ljust(size, b"\0")
        pieces = [message[at : at + 4096] for at in range(0, size, 4096)]
        return b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in pieces)

    def assertOver(self) -> None:
        assert self.protocol is not None
        self.assertTrue(self.transport.disconnecting)
        self.protocol.connectionLost(Failure(connectionDone.value))
        assert self.inside.lost is not None
        self.assertIn("the handshake is too long", str(self.inside.lost.value))

    def test_too_long(self) -> None:
        """A hello without end is cut off, in whatever pieces it comes."""
        assert self.protocol is not None
        whole = self.hello(MAX_HANDSHAKE + 1)
        for at in range(0, MAX_HANDSHAKE, 1024):
            self.protocol.dataReceived(whole[at : at + 1024])
        self.assertFalse(self.transport.disconnecting)
        self.protocol.dataReceived(whole[MAX_HANDSHAKE:])
        self.assertOver()

    def test_at_once(self) -> None:
        """Nor does it help to send all of it at once."""
        assert self.protocol is not None
        self.protocol.dataReceived(self.hello(60_000))
        self.assertOver()

    def test_words_after_it(self) -> None:
        """What a client says together with the end of its handshake may be long."""
        assert self.protocol is not None
        client = any_client()
        client.set_connect_state()
        words = bytes(50_000)
        self.assertRaises(WantReadError, client.do_handshake)
        self.protocol.dataReceived(client.bio_read(1 << 16))
        client.bio_write(self.transport.value())
        client.do_handshake()
        for at in range(0, len(words), 10_000):
            client.send(words[at : at + 10_000])
        self.protocol.dataReceived(client.bio_read(1 << 16))
        self.assertEqual(self.inside.received, words)
        self.assertFalse(self.transport.disconnecting)
