"""The key ring as values: names, key ids and what Dovecot accepts as a key.

A ring is a list of named keys, newest first.  The first is current and encrypts
new mail; the others are retired and only decrypt.  A public key is derived from its
private key, so a pair can never mismatch; a ring of public keys has no private part
here.  Nothing here knows Pulumi.

More kinds of key can decrypt old mail than this program lets encrypt new mail: RSA, X448
and further curves are accepted as retired keys only.

Sources: Dovecot's ``mail_crypt`` documentation; the encodings and kinds that each
version loads were measured on 2.3.19 and on 2.4.1.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.key_id import key_id, version_1_id
from mailcrypt_component.dcrypt.keys import (
    PrivateKey,
    PublicKey,
    load_private_key,
    load_public_key,
    pem_blocks,
)
from mailcrypt_component.dialects.dialect import CryptModel, Dialect, KeyFiles
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.dms import CERTS_DIR
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC_KEY_PATH: Final = "/etc/mailcrypt/current.pub.pem"
"""It lies on the disk of the container, because a locked server needs it to encrypt."""
NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Names become file names and names of Dovecot's sections; both allow these letters."""


class Curve(StrEnum):
    """The curves that a current key can be on."""

    P256 = "P256"
    P384 = "P384"
    P521 = "P521"
    X25519 = "X25519"


X448: Final = "X448"
_RSA: Final = "RSA-"
_EC_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    Curve.P256.value: ec.SECP256R1(),
    Curve.P384.value: ec.SECP384R1(),
    Curve.P521.value: ec.SECP521R1(),
    "secp192r1": ec.SECP192R1(),
    "secp224r1": ec.SECP224R1(),
    "secp256k1": ec.SECP256K1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
    "brainpoolP384r1": ec.BrainpoolP384R1(),
    "brainpoolP512r1": ec.BrainpoolP512R1(),
}
_KIND_OF_EC: Final = {curve.name: kind for kind, curve in _EC_CURVES.items()}
_TO_PKCS8: Final = "openssl pkcs8 -topk8 -nocrypt -in old.pem -out new.pem"


@dataclass(frozen=True, slots=True)
class PublicRingKey:
    """The public half of one key of the ring.

    ``kind`` is a curve of ``Curve``, or a kind that only a retired key can have: ``X448``,
    ``RSA-4096`` or another size, ``secp256k1`` or another curve.  ``key_id`` is the id
    that Dovecot writes into each mail's header, as 64 lower-case hex digits;
    ``version_1_id`` is the one in headers of format version 1, which EC keys alone have.
    """

    name: str
    kind: str
    key_id: str
    version_1_id: str | None
    public_pem: str


@dataclass(frozen=True, slots=True)
class RingKey(PublicRingKey):
    """One key of the ring, ready to be laid out for Dovecot."""

    private_pem: str = field(repr=False)

    @property
    def private_path(self) -> str:
        """The private key's path in the container."""
        return private_path(self.name)


def private_path(name: str) -> str:
    """Return the path in the container of the private key with that name."""
    return f"{CERTS_DIR}/{name}.pem"


def model_of(
    names: Sequence[str],
    custody: Custody = Custody.MEMORY,
    index_cache: IndexCache = IndexCache.MEMORY,
) -> CryptModel:
    """Return the configuration model for a ring of these names, newest first."""
    files = tuple(KeyFiles(name, private_path(name)) for name in names)
    return CryptModel(files, PUBLIC_KEY_PATH, custody, index_cache)


def read_key(
    name: str, pem: str, dialect: Dialect | None = None, *, current: bool = True
) -> RingKey:
    """Read a private key and derive everything else from it.

    Args:
        name: The key's name in the ring; errors name it.
        pem: One unencrypted PKCS#8 private key.
        dialect: If known, a key that this Dovecot cannot use is refused.
        current: Whether the key shall encrypt new mail; a retired key may be of more kinds.

    Raises:
        KeyFault: The text is empty, encrypted, SEC1 or public only, or the key is of a
            kind that Dovecot cannot use.  The message never holds the key.

    """
    where = f"keys[{name}].pem"
    _refuse_wrong_encoding(pem, where)
    try:
        key = load_private_key(pem.encode())
    except KeyFault as fault:
        raise _fault(where, fault.found, fault.hint or "copy the whole file again") from None
    _refuse_parameters(pem, where)
    public = _public_ring_key(name, key.public_key(), dialect, where, current=current)
    return RingKey(**asdict(public), private_pem=pem.strip() + "\n")


def read_public_key(
    name: str, pem: str, dialect: Dialect | None = None, *, current: bool = True
) -> PublicRingKey:
    """Read the public key of a ring whose private keys are kept elsewhere.

    Args:
        name: The key's name in the ring; errors name it.
        pem: One public key (``BEGIN PUBLIC KEY``).
        dialect: If known, a key that this Dovecot cannot use is refused.
        current: Whether the key shall encrypt new mail.

    Raises:
        KeyFault: The text is empty, a private key or no public key, or the key is of a
            kind that Dovecot cannot use.  The message never holds the text.

    """
    where = f"keys[{name}].publicPem"
    _refuse_anything_but_public(pem, where)
    try:
        key = load_public_key(pem.encode())
    except KeyFault as fault:
        raise _public_fault(where, fault.found, fault.hint or _TO_PUBLIC) from None
    return _public_ring_key(name, key, dialect, where, current=current)


def _public_ring_key(
    name: str, key: PublicKey, dialect: Dialect | None, where: str, *, current: bool
) -> PublicRingKey:
    kind = _kind_of(key, where)
    refuse_kind(kind, dialect, where, current=current)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return PublicRingKey(name, kind, key_id(key), version_1_id(key), pem)


def refuse_kind(kind: str, dialect: Dialect | None, where: str, *, current: bool = True) -> None:
    """Raise KeyFault if a Dovecot of this dialect cannot use a key of this kind in this role."""
    if kind in {Curve.X25519, X448} and dialect is Dialect.V2_3:
        raise KeyFault(
            f"an {kind} key, which makes Dovecot 2.3 crash",
            where=where,
            expected="P256, P384 or P521 with Dovecot 2.3",
            hint="use curve P256, or an image with Dovecot 2.4",
        )
    if current and kind not in set(Curve):
        raise KeyFault(
            f"a current key of the kind {kind}",
            where=where,
            expected=f"{_CURVES}; other kinds are accepted for retired keys only",
            hint="put a new key first in keys, and keep this one behind it to open its mail: "
            "keys: [{name: new}, {name: this one, pem: …}]",
        )


def make_key(kind: str) -> PrivateKey:
    """Generate a key of a kind that ``RingKey.kind`` names, for use in a throw-away container."""
    if kind in _EC_CURVES:
        return ec.generate_private_key(_EC_CURVES[kind])
    if kind.startswith(_RSA):
        return rsa.generate_private_key(65537, int(kind.removeprefix(_RSA)))
    return x448.X448PrivateKey.generate() if kind == X448 else x25519.X25519PrivateKey.generate()


_CURVES: Final = "P256, P384, P521 or X25519"
_ENCODINGS: Final = {
    "ENCRYPTED PRIVATE KEY": ("an encrypted key", "openssl pkcs8 -in old.pem -out new.pem"),
    "EC PRIVATE KEY": ("a SEC1 key (BEGIN EC PRIVATE KEY)", _TO_PKCS8),
    "RSA PRIVATE KEY": ("a PKCS#1 key (BEGIN RSA PRIVATE KEY)", _TO_PKCS8),
}
_TO_PUBLIC: Final = "openssl pkey -in key.pem -pubout"


def _refuse_wrong_encoding(pem: str, where: str) -> None:
    if not pem.strip():
        raise _fault(where, "an empty text", "paste the key, or omit pem to have one made")
    if "Proc-Type: 4,ENCRYPTED" in pem:
        raise _fault(where, "an encrypted SEC1 or PKCS#1 key", _TO_PKCS8)
    labels = [label for label, _ in pem_blocks(pem)]
    for label in labels:
        if label in _ENCODINGS:
            raise _fault(where, *_ENCODINGS[label])
    if "PRIVATE KEY" not in labels:
        found = "only a public key" if "PUBLIC KEY" in labels else "a text without a whole PEM key"
        raise _fault(where, found, "give the private key; the public key is derived from it")
    if len(labels) > 1:
        raise _fault(where, "more than one PEM block", "keep the BEGIN PRIVATE KEY block only")


def _refuse_parameters(pem: str, where: str) -> None:
    """Refuse a key that ``cryptography`` accepts as an ordinary key and Dovecot does not."""
    (_, block), *_ = pem_blocks(pem)
    der = b64decode("".join(block.splitlines()[1:-1]))
    if _EXPLICIT_CURVE in der:
        to_named = "openssl pkey -ec_param_enc named_curve -in old.pem -out new.pem"
        raise _fault(where, "a key that spells out its curve, which Dovecot 2.4 rejects", to_named)
    if _RSA_PSS in der:
        raise _fault(where, "an RSA-PSS key, which makes Dovecot crash", "make a key on P-256")


_EXPLICIT_CURVE: Final = bytes.fromhex("06072a8648ce3d0101")
"""prime-field (RFC 3279, 2.3.5); a key that names its curve does not hold it."""
_RSA_PSS: Final = bytes.fromhex("06092a864886f70d01010a")


def _refuse_anything_but_public(pem: str, where: str) -> None:
    labels = [label for label, _ in pem_blocks(pem)]
    if "PRIVATE KEY" in pem:
        raise _public_fault(
            where,
            "a private key",
            "give it as pem, which is secret, or derive the public key: "
            f"{_TO_PUBLIC}. publicPem is not secret: replace the key if others could read it",
        )
    if not pem.strip():
        raise _public_fault(where, "an empty text", _TO_PUBLIC)
    if labels != ["PUBLIC KEY"]:
        found = f"BEGIN {labels[0]}" if labels else "a text without a whole PEM key"
        found = "more than one PEM block" if len(labels) > 1 else found
        raise _public_fault(where, found, _TO_PUBLIC)


def _fault(where: str, found: str, hint: str) -> KeyFault:
    expected = f"one unencrypted PKCS#8 key (BEGIN PRIVATE KEY) of {_CURVES}"
    return KeyFault(found, where=where, expected=expected, hint=hint)


def _public_fault(where: str, found: str, hint: str) -> KeyFault:
    expected = f"one public key (BEGIN PUBLIC KEY) of {_CURVES}"
    return KeyFault(found, where=where, expected=expected, hint=hint)


def _kind_of(key: PublicKey, where: str) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"{_RSA}{key.key_size}"
    if isinstance(key, x25519.X25519PublicKey):
        return Curve.X25519.value
    if isinstance(key, x448.X448PublicKey):
        return X448
    if key.curve.name in _KIND_OF_EC:
        return _KIND_OF_EC[key.curve.name]
    raise _fault(where, f"a key on the curve {key.curve.name}", "make a key on P-256")
