"""Encrypts a mail as Dovecot does: version 2, AES-256-GCM, AEAD, one recipient.

Source: Dovecot, ``src/lib-dcrypt/ostream-encrypt.c``.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.header import MAGIC, Flags, KeyType
from mailcrypt_component.dcrypt.key_id import key_id

ROUNDS: Final = 2048
_AES_256_GCM_OID: Final = bytes.fromhex("060960864801650304012e")
_SHA256_OID: Final = bytes.fromhex("0609608648016503040201")
_KEY, _IV, _TAG, _BLOCK = 32, 12, 16, 16


def encrypt(plain: bytes, recipient: ec.EllipticCurvePublicKey | x25519.X25519PublicKey) -> bytes:
    """Return the whole encrypted file, in the form that Dovecot writes by default."""
    secret = os.urandom(_KEY + _IV + _TAG)
    key, iv, associated = secret[:_KEY], secret[_KEY : _KEY + _IV], secret[_KEY + _IV :]
    ephemeral, shared = _agree(recipient)
    encrypted_key = _encrypt_key(secret, shared, ephemeral)
    key_data = b"".join(
        (
            bytes([1, KeyType.EC]),
            bytes.fromhex(key_id(recipient)),
            _block(ephemeral),
            _block(encrypted_key),
            _block(_hash_of(secret)),
        )
    )
    rest = _AES_256_GCM_OID + _SHA256_OID + ROUNDS.to_bytes(4) + _block(key_data)
    length = len(MAGIC) + 9 + len(rest)
    head = MAGIC + b"\x02" + int(Flags.AEAD).to_bytes(4) + length.to_bytes(4) + rest
    return head + AESGCM(key).encrypt(iv, plain, associated)


def _agree(recipient: ec.EllipticCurvePublicKey | x25519.X25519PublicKey) -> tuple[bytes, bytes]:
    """Return an ephemeral public key and its shared secret with the recipient."""
    if isinstance(recipient, x25519.X25519PublicKey):
        once = x25519.X25519PrivateKey.generate()
        return once.public_key().public_bytes_raw(), once.exchange(recipient)
    point = ec.generate_private_key(recipient.curve)
    public = point.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return public, point.exchange(ec.ECDH(), recipient)


def _encrypt_key(secret: bytes, shared: bytes, salt: bytes) -> bytes:
    made = PBKDF2HMAC(SHA256(), _KEY + _BLOCK, salt, ROUNDS).derive(shared)
    encryptor = Cipher(AES(made[:_KEY]), CBC(made[_KEY:])).encryptor()
    fill = _BLOCK - len(secret) % _BLOCK
    return encryptor.update(secret + bytes([fill]) * fill) + encryptor.finalize()


def _hash_of(secret: bytes) -> bytes:
    digest = hashlib.sha256(secret).digest()
    for number in range(1, 2049):
        digest = hashlib.sha256(digest + number.to_bytes(4)).digest()
    return digest


def _block(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value
