"""Judges a TLS certificate and its private key, as PEM texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from datetime import datetime


class CertificateFault(MailCryptError):  # noqa: N818  (named as KeyFault is)
    """A certificate that mail programs would refuse, or that does not fit its key."""


def check_pair(chain: str, key: str, *, where: str) -> x509.Certificate:
    """Return the first certificate of a chain, which belongs to a key.

    Args:
        chain: The certificate chain as PEM, the server's own certificate first.
        key: The private key, or its public key, as PEM.
        where: The setting or file, for messages.

    Raises:
        CertificateFault: One of them cannot be read, or they do not belong together.

    """
    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    except (ValueError, IndexError):
        raise _unreadable("the certificate", where) from None
    try:
        public = (
            load_pem_public_key(key.encode())
            if "BEGIN PUBLIC KEY" in key
            else load_pem_private_key(key.encode(), password=None).public_key()
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unreadable("the private key", where) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise CertificateFault(
            "the private key does not belong to the first certificate of the chain",
            where=where,
            expected="a pair, and the server's own certificate first in the chain",
            hint="compare: openssl x509 -pubkey -noout -in chain.pem; "
            "openssl pkey -pubout -in key.pem",
        )
    return certificate


def check_validity(certificate: x509.Certificate, now: datetime, *, where: str) -> None:
    """Raise CertificateFault if a certificate is not valid now."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        raise CertificateFault(
            f"a certificate that is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}",
            where=where,
            expected="a certificate that is valid today",
            hint="renew it, then pulumi up",
        )


def covers(certificate: x509.Certificate, hostname: str) -> bool:
    """Tell whether the certificate's DNS names (RFC 6125) contain the host name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    names = {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}
    return not names.isdisjoint({hostname.lower(), f"*.{hostname.lower().partition('.')[2]}"})


def _unreadable(what: str, where: str) -> CertificateFault:
    return CertificateFault(
        f"{what} cannot be read",
        where=where,
        expected="a certificate chain (BEGIN CERTIFICATE) and its unencrypted private key, as PEM",
        hint="openssl x509 -noout -text -in chain.pem; openssl pkey -noout -in key.pem",
    )
