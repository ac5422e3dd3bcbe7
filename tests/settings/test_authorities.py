"""The file of authorities."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from xzgw.settings.authorities import read_authorities
from xzgw.settings.files import Unreadable


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
        for path, problem in (
            ("nowhere.pem", "nowhere.pem: there is no such file"),
            (".", ".: cannot be read: Is a directory"),
            ("empty.pem", "empty.pem: no certificate in PEM form"),
            ("junk.pem", "junk.pem: no certificate in PEM form"),
            ("der.pem", "der.pem: byte 1 is not UTF-8"),
        ):
            error = self.assertRaises(Unreadable, read_authorities, self.directory, path)
            self.assertEqual(str(error), problem)
