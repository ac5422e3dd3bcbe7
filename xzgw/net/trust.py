"""Whom to believe to be a chat server: TLS for wss://, with words for what is wrong."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID
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

from xzgw.wire.certificates import read_certificates

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
            CertificateError: no certificates.
        """
        root = platformTrust()
        if bundle is not None:
            root = trustRootFromCertificates(
                [Certificate(X509.from_cryptography(each)) for each in read_certificates(bundle)]
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
        return _Verifying(self._context, self._host)


class _Verifying(Connection):
    """A connection that fails with words when the other end is not who it should be."""

    def __init__(self, context: Context, host: str) -> None:
        super().__init__(context, None)
        self._identity: ServiceID
        self._problem = ""
        try:
            ip_address(host)
            self._identity = IPAddress_ID(host)
        except ValueError:
            self._identity = DNS_ID(host)
            self.set_tlsext_host_name(host.encode("ascii"))
        self.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, _verify)

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except Error:
            if self._problem:
                raise Error([("SSL routines", "", self._problem)]) from None
            raise

    def check(self, certificate: X509, error: int, depth: int, good: bool) -> bool:
        """Check one certificate of the chain, in which the server's own has depth 0."""
        if not good:
            self._problem = _explain(certificate.to_cryptography(), error)
        elif depth == 0:
            try:
                verify_service_identity(extract_patterns(certificate), [self._identity], [])
            except (VerificationError, CertificateError):
                self._problem = "certificate is not valid for this host name"
        return not self._problem


def _verify(connection: Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
    """What OpenSSL calls for each certificate. A method in its place would keep itself alive."""
    return isinstance(connection, _Verifying) and connection.check(
        certificate, error, depth, bool(good)
    )


def _explain(certificate: x509.Certificate, error: int) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    whose = repr(names[0].value) if names else "a nameless one"
    if error == _EXPIRED:
        return f"certificate of {whose} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if error == _NOT_YET_VALID:
        begin = certificate.not_valid_before_utc
        return f"certificate of {whose} is not valid before {begin:%Y-%m-%d}"
    reason = _CHAIN.get(error, f"OpenSSL's verify error {error}")
    return f"certificate chain of {whose} cannot be verified: {reason}"
