"""Reads the keys of mail from PEM, in one place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from mailcrypt_component.dcrypt.key_id import key_id, version_1_id
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | x448.X448PrivateKey | rsa.RSAPrivateKey
)
"""The kinds of private key that Dovecot can decrypt with."""
PublicKey: TypeAlias = (
    ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey | rsa.RSAPublicKey
)
"""The kinds of public key that Dovecot can encrypt to."""

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_EXPECTED: Final = "an EC, X25519, X448 or RSA key"


def pem_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield label and whole text of each PEM block, such as ``PRIVATE KEY``."""
    for block in _BLOCK.finditer(text.replace("\r\n", "\n")):
        yield block.group(1), block.group()


def is_encrypted(text: str) -> bool:
    """Report whether a passphrase is needed to read the private keys in a text."""
    return "BEGIN ENCRYPTED PRIVATE KEY" in text or "Proc-Type: 4,ENCRYPTED" in text


def load_private_key(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read one private key in PEM, in any encoding that ``openssl`` writes.

    Raises:
        KeyFault: It is no private key, needs another passphrase, or is of a kind
            that Dovecot or this program cannot use.  The message holds nothing of it.

    """
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError:
        found = "an encrypted private key" if passphrase is None else "a key without a passphrase"
        raise KeyFault(found, expected="a passphrase if, and only if, the key has one") from None
    except UnsupportedAlgorithm as error:
        raise _unsupported(error) from None
    except ValueError:
        wrong = "a wrong passphrase, or " if passphrase is not None else ""
        raise KeyFault(f"{wrong}not a private key", expected="a private key in PEM") from None
    if isinstance(key, PrivateKey):
        return key
    raise KeyFault(_kind_of(key), expected=_EXPECTED)


def load_public_key(pem: bytes) -> PublicKey:
    """Read one public key in PEM (``BEGIN PUBLIC KEY``).

    Raises:
        KeyFault: It is no public key, or of a kind that cannot be used.

    """
    try:
        key = load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise _unsupported(error) from None
    except ValueError:
        raise KeyFault("not a public key", expected="a public key in PEM") from None
    if isinstance(key, PublicKey):
        return key
    raise KeyFault(_kind_of(key), expected=_EXPECTED)


def load_keys(
    text: str, passphrase: bytes | None = None, *, where: str = "escrow"
) -> dict[str, PrivateKey]:
    """Return by key id every private key of a text with PEM blocks, such as an escrow file.

    Raises:
        KeyFault: The text holds no private key, or one that does not open.

    """
    found = {}
    for label, block in pem_blocks(text):
        if not label.endswith("PRIVATE KEY"):
            continue
        secret = passphrase if is_encrypted(block) else None
        try:
            key = load_private_key(block.encode(), secret)
        except KeyFault as fault:
            raise KeyFault(
                fault.found, where=where, expected=fault.expected, hint=fault.hint
            ) from None
        found[key_id(key.public_key())] = key
    if not found:
        raise KeyFault("no private key", where=where, expected="private keys in PEM")
    return found


def version_1_ids(public_pems: Iterable[str]) -> dict[str, str]:
    """Return key ids by the ids that headers of format version 1 have for the same keys.

    Keys that version 1 cannot encrypt to are left out.

    Raises:
        KeyFault: One of the texts is no public key.

    """
    keys = [load_public_key(pem.encode()) for pem in public_pems]
    old = {key_id(key): version_1_id(key) for key in keys}
    return {version_1: new for new, version_1 in old.items() if version_1 is not None}


def _unsupported(error: UnsupportedAlgorithm) -> KeyFault:
    """Return the fault of a key that OpenSSL reads and ``cryptography`` does not."""
    return KeyFault(
        f"a kind of key that this program cannot read ({error})",
        expected=f"{_EXPECTED}; of curves: NIST P-192 to P-521, secp256k1, brainpoolP*r1",
        hint="Dovecot itself may open mail of this key: configure the key there, and let doveadm "
        "move the mail to a server whose current key is P-256 (doveadm backup)",
    )


def _kind_of(key: object) -> str:
    return f"a key of the kind {type(key).__name__.strip('_').removesuffix('PrivateKey')}"
