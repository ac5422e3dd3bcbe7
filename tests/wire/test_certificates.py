"""Certificates in files: good ones, damaged ones, and files that are not written to their end."""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from xzgw.wire.certificates import CertificateError, read_certificates

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def in_pem(der: bytes) -> bytes:
    """Any bytes as if they were a certificate."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join([BEGIN, *lines, END, ""]).encode()


class ReadTests(SynchronousTestCase):
    """A server's certificate and its issuer's, as in a certbot's fullchain.pem."""

    def setUp(self) -> None:
        authority = Authority(self.mktemp())
        both = Path(authority.certificate("voice.example")).read_bytes()
        at = both.index(BEGIN.encode())
        self.key, self.own, self.issuer = both[:at], both[at:], authority.pem

    def assertBad(self, pem: bytes, words: str) -> None:
        error = self.assertRaises(CertificateError, read_certificates, pem)
        self.assertIn(words, str(error))

    def test_all(self) -> None:
        """In their order, whatever else stands in the file."""
        files = (self.own + self.issuer, b"# me\n" + self.own + self.key + b"\n" + self.issuer)
        for pem in files:
            found = [each.public_bytes(Encoding.PEM) for each in read_certificates(pem)]
            self.assertEqual(found, [self.own, self.issuer])
        other_name = self.own.replace(b" CERTIFICATE", b" X509 CERTIFICATE")
        self.assertEqual(len(read_certificates(other_name + self.issuer)), 2)

    def test_none(self) -> None:
        """Nothing, something else, or something that only looks like one."""
        for pem in (b"", b"hello", b"\0\xff", self.key, in_pem(b"junk"), in_pem(b"")):
            self.assertBad(pem, "no certificate in PEM form")

    def test_cut_short(self) -> None:
        """The rest of a file that is being written is missed, not done without."""
        for size in range(len(self.own) + len(BEGIN), len(self.own + self.issuer) - 1):
            self.assertBad((self.own + self.issuer)[:size], "a certificate is cut short")
        self.assertBad((self.own + self.issuer + self.own)[:-2], "a certificate is cut short")
        self.assertBad(self.own[:-2], "no certificate in PEM form")

    def test_damaged(self) -> None:
        """One wrong bit anywhere, in the first or a later one, raises nothing else."""
        der = read_certificates(self.own)[0].public_bytes(Encoding.DER)
        refused = 0
        for at in range(len(der)):
            for bit in (0, 5):
                damaged = bytearray(der)
                damaged[at] ^= 1 << bit
                pem = in_pem(bytes(damaged))
                for file in (pem, self.issuer + pem):
                    try:
                        read_certificates(file)
                    except CertificateError:
                        refused += 1
        self.assertGreater(refused, 100)

    def test_what_openssl_cannot_read(self) -> None:
        """What cryptography takes and OpenSSL does not is damaged as well."""
        der = read_certificates(self.own)[0].public_bytes(Encoding.DER)
        for what, instead in (
            (b"\x0c\x0btest server", b"\x0c\x0btest \xfferver"),  # no UTF-8
            (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"),  # version 4
        ):
            self.assertIn(what, der)
            self.assertBad(in_pem(der.replace(what, instead)), "or a damaged one")
