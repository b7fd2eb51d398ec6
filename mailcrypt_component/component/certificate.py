"""Declares the certificate for IMAP and SMTP."""

from typing import Final, NamedTuple

import pulumi
import pulumi_tls as tls

from mailcrypt_component.component.scope import Scope
from mailcrypt_component.model.settings import TlsMode

_TEN_YEARS: Final = 10 * 365 * 24
"""Hours."""


class Certificate(NamedTuple):
    """The certificate for IMAP and SMTP, as PEM; the private key is secret."""

    chain: pulumi.Output[str]
    private_key: pulumi.Output[str]


def declare_certificate(scope: Scope) -> Certificate | None:
    """Return the certificate, or None if DMS's own settings decide."""
    chosen = scope.settings.tls
    if chosen.mode is TlsMode.DMS:
        return None
    if chosen.mode is TlsMode.PROVIDED:
        chain = pulumi.Output.from_input(chosen.certificate)
        return Certificate(chain, pulumi.Output.secret(chosen.private_key))
    return _self_signed(scope)


def _self_signed(scope: Scope) -> Certificate:
    key = tls.PrivateKey(
        f"{scope.name}-tls-key", algorithm="ECDSA", ecdsa_curve="P256", opts=scope.child()
    )
    private: pulumi.Output[str] = pulumi.Output.secret(key.private_key_pem_pkcs8)
    hostname = scope.settings.hostname
    certificate = tls.SelfSignedCert(
        f"{scope.name}-tls",
        private_key_pem=private,
        allowed_uses=["digital_signature", "server_auth"],
        dns_names=[hostname],
        subject={"common_name": hostname},
        validity_period_hours=_TEN_YEARS,
        opts=scope.child(),
    )
    return Certificate(certificate.cert_pem, private)
