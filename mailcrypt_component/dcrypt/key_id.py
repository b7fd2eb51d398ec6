"""Key ids: the digests by which Dovecot names a public key."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.der import BIT_STRING, sequence, tlv


def key_id(public_key: object) -> str:
    """Return the id that Dovecot writes into headers, as 64 lower-case hex digits.

    It is the SHA-256 of the key's SubjectPublicKeyInfo in DER, with an EC point
    compressed (Dovecot: ``dcrypt_openssl_public_key_id``).

    Args:
        public_key: An EC, X25519, X448 or RSA public key of ``cryptography``.

    Raises:
        TypeError: Any other kind of key.

    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return hashlib.sha256(_compressed(public_key)).hexdigest()
    if isinstance(public_key, (x25519.X25519PublicKey, x448.X448PublicKey, rsa.RSAPublicKey)):
        der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()
    raise TypeError(f"no key id for a {type(public_key).__name__}")


def version_1_id(public_key: object) -> str | None:
    """Return the id of an EC key in headers of format version 1; None for other keys.

    It is the SHA-256 of the compressed point *written as upper-case hex digits*
    (Dovecot: ``dcrypt_openssl_public_key_id_old``).  Version 1 can encrypt to EC keys only.
    """
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        return None
    point = public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return hashlib.sha256(point.hex().upper().encode()).hexdigest()


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo with the point compressed.

    ``cryptography`` writes it uncompressed only.  The algorithm part is the same,
    so this replaces the bit string behind it and sets the two lengths anew.
    """
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    full = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    start = 3 if der[1] & 0x80 else 2
    algorithm = der[start : start + 2 + der[start + 1]]
    if not der.endswith(full):
        raise TypeError("a SubjectPublicKeyInfo that does not end in its point")
    return sequence(algorithm, tlv(BIT_STRING, b"\x00" + point))
