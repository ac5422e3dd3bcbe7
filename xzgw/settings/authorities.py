"""The file of authorities that sign the certificates of chat servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from xzgw.settings.files import Unreadable, read_text
from xzgw.wire.certificates import CertificateError, read_certificates


@dataclass(frozen=True, slots=True)
class Authorities:
    """A file's content, as it was when the configuration was read.

    Attributes:
        path: as given.
        pem: at least one certificate.
    """

    path: str
    pem: bytes = field(repr=False)


def read_authorities(directory: Path, path: str) -> Authorities:
    """Read a file.

    Args:
        directory: where a relative path starts.
    Raises:
        Unreadable: it is not there, holds no certificate, or not all of one.
    """
    text = read_text(directory / path, path)
    if text is None:
        raise Unreadable(f"{path}: there is no such file")
    pem = text.encode()
    try:
        read_certificates(pem)
    except CertificateError as error:
        raise Unreadable(f"{path}: {error}") from None
    return Authorities(path, pem)
