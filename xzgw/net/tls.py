"""TLS for what listens: private key and certificates from PEM files that can be exchanged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import X509, PKey
from OpenSSL.SSL import (
    MODE_RELEASE_BUFFERS,
    OP_CIPHER_SERVER_PREFERENCE,
    OP_NO_COMPRESSION,
    OP_NO_RENEGOTIATION,
    OP_NO_TICKET,
    SESS_CACHE_OFF,
    TLS1_2_VERSION,
    TLS_METHOD,
    Connection,
    Context,
    Error,
    WantReadError,
)
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from xzgw.core.sayings import Saying, say
from xzgw.wire.certificates import CertificateError, read_certificates

# Of TLS 1.2: forward secrecy and authenticated encryption only, as in all of TLS 1.3. Firmware's
# mbedtls has these.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
LOOK_EVERY = 3600.0  # s
TELL_EVERY = 86_400.0  # s between warnings about the same certificate
LAST_DAYS = timedelta(days=14)  # of a certificate, or a sixth of its time if that is less
MAX_HANDSHAKE = 16 * 1024  # bytes of a client's; some two thousand are usual
_NO_NAMES = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    ValueError,
)
_OPTIONS = OP_NO_COMPRESSION | OP_NO_RENEGOTIATION | OP_NO_TICKET | OP_CIPHER_SERVER_PREFERENCE


class TlsError(Exception):
    """A key or certificate that cannot be used; str() is one complete line."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """TLS 1.2 and later with one certificate. Open connections keep what they began with."""

    _log = Logger()

    def __init__(
        self,
        private_key: str,
        certificate: str,
        chain: str | None,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        """
        Args:
            private_key, certificate: paths, of one file or two. Further certificates after the
                server's own go to clients too, up to the authority that these trust.
            chain: path of more of these, or None.
            now: unix time in seconds.
        Raises:
            TlsError: one of them cannot be used.
        """
        self._paths = private_key, certificate, chain
        self._clock = clock
        self._now = now
        self._told_at = float("-inf")  # unix time of the latest warning
        self._context: Context
        self._certificate: x509.Certificate  # the server's own
        self._load()

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Put TLS before a factory's connections."""
        return TLSMemoryBIOFactory(self, False, factory, self._clock)

    def reload(self) -> None:
        """Read the files again; if they cannot be used, what is there stays."""
        try:
            self._load()
        except TlsError as error:
            self._log.error("certificate not taken, the old one stays: {why}", why=error)

    def advice(self) -> list[Saying]:
        """What clients hold against the certificate, or will before long; none if all is well."""
        return drawbacks(self._paths[1], self._certificate, self._now())

    def look(self) -> None:
        """Tell of that again if a day has passed; to be called every LOOK_EVERY seconds."""
        if self._now() >= self._told_at + TELL_EVERY:
            self._warn()

    def serverConnectionForTLS(self, protocol: object) -> Connection:
        return _Bounded(self._context, None)

    def _load(self) -> None:
        self._context, self._certificate = load(*self._paths)
        own = self._certificate
        self._log.info(
            "certificate {path} for {names}, valid until {end:%Y-%m-%d %H:%M} UTC",
            path=self._paths[1],
            names=", ".join(_names(own)) or "nobody",
            end=own.not_valid_after_utc,
        )
        self._warn()

    def _warn(self) -> None:
        for line in self.advice():
            self._told_at = self._now()
            self._log.warn("{line}", line=line)


class _Bounded(Connection):
    """A connection whose client must come to the end of its handshake: OpenSSL would keep up to
    128 KiB of a hello from anybody."""

    _taken = 0  # bytes

    def bio_write(self, data: bytes | bytearray | memoryview) -> int:
        self._taken += len(data)
        return super().bio_write(data)

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except WantReadError:
            if self._taken > MAX_HANDSHAKE:
                raise Error([("SSL routines", "", "the handshake is too long")]) from None
            raise


def load(private_key: str, certificate: str, chain: str | None) -> tuple[Context, x509.Certificate]:
    """Read files for TLS; see ServerTls.

    Returns:
        What OpenSSL makes of them, and the server's own certificate.
    Raises:
        TlsError: one of them cannot be used.
    """
    key = _read_key(private_key)
    certificates = _read_certificates(certificate)
    own = certificates[0]
    if key.public_key() != _public_key(own):
        raise TlsError(f"{certificate}: its first certificate is not for the key in {private_key}")
    further = certificates[1:] + (_read_certificates(chain) if chain else [])
    return _make_context(key, own, further, certificate), own


def drawbacks(path: str, certificate: x509.Certificate, now: float) -> list[Saying]:
    """What clients hold against a certificate at a unix time, or will before long."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    moment = datetime.fromtimestamp(now, UTC)
    if moment > end:
        return [say("certificate_expired", path=path)]
    if moment < begin:
        return [say("certificate_too_new", path=path)]
    if end - moment < min(LAST_DAYS, (end - begin) / 6):
        return [say("certificate_expires", path=path, day=f"{end:%Y-%m-%d}")]
    return []


def _make_context(
    key: Any, own: x509.Certificate, further: list[x509.Certificate], path: str
) -> Context:
    """OpenSSL's context. It knows of no ALPN, so that clients may offer whatever they like."""
    context = Context(TLS_METHOD)
    context.set_min_proto_version(TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(MODE_RELEASE_BUFFERS)  # an idle connection has no buffers
    context.set_session_cache_mode(SESS_CACHE_OFF)
    try:
        context.use_certificate(X509.from_cryptography(own))
        context.use_privatekey(PKey.from_cryptography_key(key))
        for each in further:
            context.add_extra_chain_cert(X509.from_cryptography(each))
    except (Error, TypeError) as error:  # e.g. a key that is too short, or of a kind unfit for TLS
        raise TlsError(f"{path}: cannot be used for TLS: {_reason(error)}") from None
    context.set_cipher_list(CIPHERS)
    return context


def _read_key(path: str) -> Any:
    data = _read(path)
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise TlsError(
            f"{path}: the private key needs a passphrase, which is not asked for"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError(f"{path}: no private key in PEM form") from None


def _read_certificates(path: str) -> list[x509.Certificate]:
    data = _read(path)
    try:
        return read_certificates(data)
    except CertificateError as error:
        raise TlsError(f"{path}: {error}") from None


def _public_key(certificate: x509.Certificate) -> Any:
    """The key that it is for; None if that is of no known kind."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: cannot be read: {error.strerror}") from None


def _names(certificate: x509.Certificate) -> list[str]:
    """Host names and IP addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _NO_NAMES:
        return []
    return [str(n.value) for n in names if isinstance(n, x509.DNSName | x509.IPAddress)]


def _reason(error: Exception) -> str:
    reasons = error.args[0] if isinstance(error, Error) and error.args else [(str(error),)]
    return "; ".join(str(reason[-1]) for reason in reasons) or type(error).__name__
