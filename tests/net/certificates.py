"""Certificates for TLS servers, made on the spot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_MAY_SIGN = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
HOUR = timedelta(hours=1)
VALID = (-HOUR, HOUR)  # from now


class Authority:
    """Signs server certificates. Its own certificate is the file `path`."""

    def __init__(
        self,
        directory: str,
        name: str = "test authority",
        *,
        parent: Authority | None = None,
        valid: tuple[timedelta, timedelta] = VALID,
    ) -> None:
        """Write into a directory that does not exist yet; the parent signs, or it does itself."""
        self._directory = Path(directory)
        self._directory.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = parent or self
        certificate = (
            issuer._builder(self._name, self._key.public_key(), valid)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_MAY_SIGN, critical=True)
            .sign(issuer._key, hashes.SHA256())
        )
        self.path = str(self._directory / "authority.pem")
        Path(self.path).write_bytes(certificate.public_bytes(Encoding.PEM))

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return Path(self.path).read_bytes()

    def certificate(
        self, *names: str, valid: tuple[timedelta, timedelta] = VALID, common_name: str = ""
    ) -> str:
        """A file with a key and its certificate for host names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or "test server")])
        builder = self._builder(subject, key.public_key(), valid)
        if names:
            alternatives = x509.SubjectAlternativeName(map(_general_name, names))
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._directory / f"{names[0] if names else 'nobody'}.pem"
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        return str(path)

    def sign(self, key: CertificatePublicKeyTypes, subject: x509.Name) -> bytes:
        """A certificate for any key."""
        certificate = self._builder(subject, key, VALID).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(Encoding.PEM)

    def _builder(
        self,
        subject: x509.Name,
        key: CertificatePublicKeyTypes,
        valid: tuple[timedelta, timedelta],
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid[0])
            .not_valid_after(now + valid[1])
            # Without these, strict verifiers (Python 3.13's) refuse it.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(signer, critical=False)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
