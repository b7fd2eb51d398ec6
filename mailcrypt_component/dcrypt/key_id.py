"""Key ids: the digest by which Dovecot names a public key."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def key_id(public_key: object) -> str:
    """Return the id that Dovecot writes into headers, as 64 lower-case hex digits.

    It is the SHA-256 of the key's SubjectPublicKeyInfo in DER, with an EC point
    compressed (Dovecot: ``dcrypt_openssl_public_key_id``).

    Args:
        public_key: An EC, X25519 or RSA public key of ``cryptography``.

    Raises:
        TypeError: Any other kind of key.

    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return hashlib.sha256(_compressed(public_key)).hexdigest()
    if isinstance(public_key, (x25519.X25519PublicKey, rsa.RSAPublicKey)):
        der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()
    raise TypeError(f"no key id for a {type(public_key).__name__}")


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo with the point compressed.

    ``cryptography`` writes it uncompressed only; the algorithm part is the same,
    so the bit string behind it is exchanged and the two lengths are set anew.
    """
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    full = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    start = 3 if der[1] & 0x80 else 2
    algorithm = der[start : start + 2 + der[start + 1]]
    if not der.endswith(full):
        raise TypeError("a SubjectPublicKeyInfo that does not end in its point")
    body = algorithm + _tlv(0x03, b"\x00" + point)
    return _tlv(0x30, body)


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])  # noqa: PLR2004  (X.690, 8.1.3)
    return bytes([tag]) + length + value
