"""The key ring as values: names, key ids and what Dovecot accepts as a key.

A ring is a list of named keys, newest first.  The first is current and encrypts
new mail, the others are retired and only read.  A public key is always derived
from its private key, so a pair can never mismatch.  Nothing here knows Pulumi.

Sources: Dovecot's ``mail_crypt`` documentation; which encodings and curves each
version really loads was measured on 2.3.19 and on 2.4.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.dialects import CryptModel, Dialect, KeyFiles
from mailcrypt_component.model.dms import CERTS_DIR
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC_KEY_PATH: Final = "/etc/mailcrypt/current.pub.pem"
"""On disk in the container: a locked server needs it to encrypt."""
NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Names become file names and Dovecot section names; both take these letters."""


class Curve(StrEnum):
    """The curves of which a key of the ring may be."""

    P256 = "P256"
    P384 = "P384"
    P521 = "P521"
    X25519 = "X25519"


_CURVE_OF_EC: Final = {"secp256r1": Curve.P256, "secp384r1": Curve.P384, "secp521r1": Curve.P521}
_TO_PKCS8: Final = "openssl pkcs8 -topk8 -nocrypt -in old.pem -out new.pem"


@dataclass(frozen=True, slots=True)
class PublicRingKey:
    """The public half of one key of the ring.

    ``key_id`` is the SHA-256 that Dovecot writes into each mail's header, as 64
    lower-case hex digits.
    """

    name: str
    curve: Curve
    key_id: str
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
    """Return where the private key of that name lies in the container."""
    return f"{CERTS_DIR}/{name}.pem"


def model_of(
    names: Sequence[str],
    custody: Custody = Custody.MEMORY,
    index_cache: IndexCache = IndexCache.MEMORY,
) -> CryptModel:
    """Return what Dovecot shall do for a ring of these names, newest first."""
    files = tuple(KeyFiles(name, private_path(name)) for name in names)
    return CryptModel(files, PUBLIC_KEY_PATH, custody, index_cache)


def read_key(name: str, pem: str, dialect: Dialect | None = None) -> RingKey:
    """Read a private key and derive all the rest from it.

    Args:
        name: The key's name in the ring; it is named in errors.
        pem: One unencrypted PKCS#8 private key.
        dialect: Where known, a curve that this Dovecot cannot use is refused.

    Raises:
        KeyFault: The text is empty, encrypted, SEC1, public only, or of a curve
            that Dovecot cannot use.  The message never holds the key.

    """
    where = f"keys[{name}].pem"
    _refuse_wrong_encoding(pem, where)
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _fault(where, "a PEM that cannot be decoded", "copy the file again, whole") from None
    curve = _curve_of(key)
    if curve is None or not isinstance(key, ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey):
        raise _fault(where, f"a key of the kind {_kind_of(key)}", "make an EC key on P-256")
    refuse_curve(curve, dialect, where)
    public = key.public_key()
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return RingKey(name, curve, key_id(public), public_pem.decode(), pem.strip() + "\n")


def read_public_key(name: str, pem: str, dialect: Dialect | None = None) -> PublicRingKey:
    """Read the public key of a ring whose private keys are kept elsewhere.

    Args:
        name: The key's name in the ring; it is named in errors.
        pem: One public key (BEGIN PUBLIC KEY).
        dialect: Where known, a curve that this Dovecot cannot use is refused.

    Raises:
        KeyFault: The text is not one public key of a curve that Dovecot can use.  The
            message never holds the text, which may be a private key by mistake.

    """
    where = f"keys[{name}].publicPem"
    if "PRIVATE KEY" in pem:
        raise _public_fault(where, "a private key")
    if pem.count("-----BEGIN ") != 1:
        raise _public_fault(where, "a text that is not one PEM block")
    try:
        public = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _public_fault(where, "a PEM that cannot be decoded") from None
    curve = _curve_of(public)
    if curve is None or not isinstance(public, ec.EllipticCurvePublicKey | x25519.X25519PublicKey):
        raise _public_fault(where, f"a key of the kind {_kind_of(public)}")
    refuse_curve(curve, dialect, where)
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicRingKey(name, curve, key_id(public), public_pem.decode())


def _public_fault(where: str, found: str) -> KeyFault:
    expected = "one public key (BEGIN PUBLIC KEY) of P256, P384, P521 or X25519"
    hint = "openssl pkey -in private.pem -pubout -out public.pem"
    return KeyFault(found, where=where, expected=expected, hint=hint)


def refuse_curve(curve: Curve, dialect: Dialect | None, where: str) -> None:
    """Raise KeyFault where a Dovecot of this dialect cannot use the curve."""
    if curve is Curve.X25519 and dialect is Dialect.V2_3:
        raise KeyFault(
            "an X25519 key, which makes Dovecot 2.3 crash",
            where=where,
            expected="P256, P384 or P521 with Dovecot 2.3",
            hint="use curve P256, or an image with Dovecot 2.4",
        )


_ENCODINGS: Final = (
    ("BEGIN ENCRYPTED PRIVATE KEY", "an encrypted key", "openssl pkcs8 -in old.pem -out new.pem"),
    ("Proc-Type: 4,ENCRYPTED", "an encrypted SEC1 key", _TO_PKCS8),
    ("BEGIN EC PRIVATE KEY", "a SEC1 key (BEGIN EC PRIVATE KEY)", _TO_PKCS8),
    (
        "BEGIN RSA PRIVATE KEY",
        "a PKCS#1 RSA key",
        "use an EC key, or leave pem out to have one made",
    ),
)


def _refuse_wrong_encoding(pem: str, where: str) -> None:
    if not pem.strip():
        raise _fault(where, "an empty text", "paste the key, or leave pem out to have one made")
    for mark, found, hint in _ENCODINGS:
        if mark in pem:
            raise _fault(where, found, hint)
    if "BEGIN PRIVATE KEY" not in pem:
        found = "only a public key" if "BEGIN PUBLIC KEY" in pem else "a text that is no PEM key"
        raise _fault(where, found, "give the private key; the public key is derived from it")
    if pem.count("-----BEGIN ") > 1:
        raise _fault(where, "more than one PEM block", "keep the BEGIN PRIVATE KEY block only")


def _fault(where: str, found: str, hint: str) -> KeyFault:
    expected = "one unencrypted PKCS#8 key (BEGIN PRIVATE KEY) of P256, P384, P521 or X25519"
    return KeyFault(found, where=where, expected=expected, hint=hint)


def _curve_of(key: object) -> Curve | None:
    """Return the curve of a private or a public key; None if Dovecot cannot use it."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return _CURVE_OF_EC.get(key.curve.name)
    if isinstance(key, x25519.X25519PrivateKey | x25519.X25519PublicKey):
        return Curve.X25519
    return None


def _kind_of(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return key.curve.name
    return type(key).__name__.strip("_")
