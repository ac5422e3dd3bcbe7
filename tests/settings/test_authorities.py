"""The file of authorities."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.wire.test_certificates import in_pem
from xzgw.settings.authorities import read_authorities
from xzgw.settings.files import Unreadable
from xzgw.wire.certificates import read_certificates


class AuthoritiesTests(SynchronousTestCase):
    """Good ones and others."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.directory = Path(self.authority.path).parent.absolute()

    def test_good(self) -> None:
        """One certificate or more, at a relative or an absolute path, and what stands between."""
        for pem in (self.authority.pem, b"# 1\n" + self.authority.pem + b"\n" + self.authority.pem):
            (self.directory / "ca.pem").write_bytes(pem)
            for path in ("ca.pem", str(self.directory / "ca.pem")):
                found = read_authorities(self.directory, path)
                self.assertEqual((found.path, found.pem), (path, pem))
                self.assertNotIn("BEGIN", repr(found))

    def test_bad(self) -> None:
        """Each mistake is one line."""
        (self.directory / "empty.pem").write_bytes(b"")
        (self.directory / "junk.pem").write_bytes(self.authority.pem[:100])
        (self.directory / "der.pem").write_bytes(b"\x30\x82\xff")
        (self.directory / "half.pem").write_bytes((2 * self.authority.pem)[:-100])
        der = read_certificates(self.authority.pem)[0].public_bytes(Encoding.DER)
        (self.directory / "odd.pem").write_bytes(in_pem(der.replace(b"test", b"t\xffst")))
        for path, problem in (
            ("nowhere.pem", "nowhere.pem: there is no such file"),
            (".", ".: cannot be read: Is a directory"),
            ("empty.pem", "empty.pem: no certificate in PEM form, or a damaged one"),
            ("junk.pem", "junk.pem: no certificate in PEM form, or a damaged one"),
            ("der.pem", "der.pem: byte 1 is not UTF-8"),
            ("half.pem", "half.pem: a certificate is cut short"),
            ("odd.pem", "odd.pem: no certificate in PEM form, or a damaged one"),
        ):
            error = self.assertRaises(Unreadable, read_authorities, self.directory, path)
            self.assertEqual(str(error), problem)
