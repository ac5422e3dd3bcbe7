"""Whom to believe to be a chat server: TLS for wss://, with words for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from cryptography import x509
from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection, Context, Error
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

# openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_CHAIN = {
    2: "the issuer's certificate is missing",
    18: "it is signed by itself",
    19: "its root is not among those trusted",
    20: "its issuer is not among those trusted, or a certificate in between is missing",
    21: "its issuer is not among those trusted, or a certificate in between is missing",
    23: "it was revoked",
    24: "one of its issuers is no authority",
}


class Trust:
    """Makes TLS for connections to servers."""

    def __init__(self, bundle: bytes | None) -> None:
        """Like `load`."""
        self._context: Context
        self.load(bundle)

    def load(self, bundle: bytes | None) -> None:
        """Read the authorities, for connections to come.

        Args:
            bundle: certificates of authorities in PEM form, which alone are trusted then; None to
                trust those that this system trusts.
        Raises:
            ValueError: no certificates.
        """
        root = platformTrust()
        if bundle is not None:
            root = trustRootFromCertificates(
                [
                    Certificate(X509.from_cryptography(each))
                    for each in x509.load_pem_x509_certificates(bundle)
                ]
            )
        options = CertificateOptions(trustRoot=root, raiseMinimumTo=TLSVersion.TLSv1_2)
        self._context = options.getContext()

    def __call__(self, host: str) -> IOpenSSLClientConnectionCreator:
        """TLS to a server whose certificate must be for this host name or IP address."""
        return _Creator(self._context, host)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    def __init__(self, context: Context, host: str) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, protocol: object) -> Connection:
        connection = Connection(self._context, None)
        identity: ServiceID
        try:
            ip_address(self._host)
            identity = IPAddress_ID(self._host)
        except ValueError:
            identity = DNS_ID(self._host)
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, _verifier(identity))
        return connection


def _verifier(identity: ServiceID) -> Callable[[Connection, X509, int, int, int], bool]:
    """OpenSSL's callback, called for each certificate, the server's own (depth 0) last.

    What it raises comes out of the handshake, which fails by it.
    """

    def verify(_: Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
        if not good:
            raise _failure(_problem(certificate, error))
        if depth == 0:
            try:
                verify_service_identity(extract_patterns(certificate), [identity], [])
            except (VerificationError, CertificateError):
                raise _failure("certificate is not valid for this host name") from None
        return True

    return verify


def _problem(certificate: X509, error: int) -> str:
    whose = certificate.get_subject().CN or "?"
    if error == _EXPIRED:
        end = certificate.to_cryptography().not_valid_after_utc
        return f"certificate of {whose!r} has expired on {end:%Y-%m-%d}"
    if error == _NOT_YET_VALID:
        begin = certificate.to_cryptography().not_valid_before_utc
        return f"certificate of {whose!r} is not valid before {begin:%Y-%m-%d}"
    reason = _CHAIN.get(error, f"OpenSSL's verify error {error}")
    return f"certificate chain of {whose!r} cannot be verified: {reason}"


def _failure(text: str) -> Error:
    """An error like OpenSSL's own: Twisted then ends the connection with it as the reason."""
    return Error([("SSL routines", "", text)])
