"""Private keys as they are read from a file."""

from __future__ import annotations

from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailcrypt_component.model.errors import KeyFault

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | rsa.RSAPrivateKey
"""The kinds of key that Dovecot can encrypt to."""


def load_private_key(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read one private key in PEM, of any encoding that ``openssl`` writes.

    Raises:
        KeyFault: It is no private key, needs another passphrase, or is of a kind
            that Dovecot cannot encrypt to.  The message holds nothing of it.

    """
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError:
        found = "an encrypted private key" if passphrase is None else "a key without a passphrase"
        raise KeyFault(found, expected="a passphrase exactly where the key has one") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "a wrong passphrase, or " if passphrase is not None else ""
        raise KeyFault(f"{wrong}not a private key", expected="a private key in PEM") from None
    if isinstance(key, PrivateKey):
        return key
    raise KeyFault(type(key).__name__, expected="an EC, X25519 or RSA key")
