"""Certificates in PEM files: all of them, or words for why not.

A file may be looked at while somebody writes it. What is missing at its end is easily overlooked:
a chain without its last certificate looks like a shorter chain, which clients refuse.
"""

from __future__ import annotations

import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_BEGIN = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")


class CertificateError(Exception):
    """No certificates, or not all of them; str() says what is there, in a few words."""


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates in a file, in their order; other things in it are passed over.

    Raises:
        CertificateError: there is none, or one is damaged or cut short.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
        _let_openssl_read(found)
    except (ValueError, x509.InvalidVersion, ssl.SSLError):
        raise CertificateError("no certificate in PEM form, or a damaged one") from None
    if len(found) < len(_BEGIN.findall(pem)):
        raise CertificateError("a certificate is cut short")
    return found


def _let_openssl_read(certificates: list[x509.Certificate]) -> None:
    """OpenSSL, which is going to use them, refuses some that cryptography takes."""
    together = b"".join(each.public_bytes(Encoding.DER) for each in certificates)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=together)
