"""The modes that no Dovecot of our images writes.

HMAC with AES-CBC (2.4.1 crashes on it, later ones write it), ChaCha20-Poly1305 as an AEAD
(2.4.1 writes it with an HMAC), no integrity at all, and the content's cipher for the key.
They are encrypted here as the format's description says, with ``cryptography`` alone.
"""

import hashlib
import hmac
import io
import os

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.decrypt import decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.header import MAGIC, Damaged
from mailcrypt_component.dcrypt.key_id import key_id

KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = {key_id(KEY.public_key()): KEY}
SHA256 = bytes.fromhex("0609608648016503040201")
CBC_OID = bytes.fromhex("060960864801650304012a")
GCM_OID = bytes.fromhex("060960864801650304012e")
CHACHA_OID = bytes.fromhex("060b2a864886f70d0109100312")


def by_cbc(key, iv, plain):
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def block(value):
    return len(value).to_bytes(4) + value


def wrap(flags, cipher, secret, *, same=False):
    """Return a header that encrypts the content's secret to KEY."""
    once = ec.generate_private_key(ec.SECP256R1())
    shared = once.exchange(ec.ECDH(), KEY.public_key())
    public = once.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    made = hashlib.pbkdf2_hmac("sha256", shared, public, 2048, 60 if same else 48)
    if same:
        encrypted = AESGCM(made[:32]).encrypt(made[32:44], secret, made[44:])
    else:
        encrypted = by_cbc(made[:32], made[32:], secret)
    digest = hashlib.sha256(secret).digest()
    for number in range(1, 2049):
        digest = hashlib.sha256(digest + number.to_bytes(4)).digest()
    recipient = bytes.fromhex(next(iter(KEYS))) + block(public) + block(encrypted)
    data = cipher + SHA256 + (2048).to_bytes(4) + block(b"\x01\x02" + recipient + block(digest))
    return MAGIC + b"\x02" + flags.to_bytes(4) + (18 + len(data)).to_bytes(4) + data


def by_hmac(plain):
    secret = os.urandom(32 + 16 + 16)
    encrypted = by_cbc(secret[:32], secret[32:48], plain)
    return wrap(1, CBC_OID, secret) + encrypted + hmac.digest(secret[48:], encrypted, "sha256")


def by_nothing(plain):
    secret = os.urandom(32 + 16)
    return wrap(4, CBC_OID, secret) + by_cbc(secret[:32], secret[32:], plain)


def by_same_cipher(plain):
    secret = os.urandom(32 + 12 + 16)
    encrypted = AESGCM(secret[:32]).encrypt(secret[32:44], plain, secret[44:])
    return wrap(2 | 16, GCM_OID, secret, same=True) + encrypted


def by_chacha(plain):
    secret = os.urandom(32 + 12 + 16)
    encrypted = ChaCha20Poly1305(secret[:32]).encrypt(secret[32:44], plain, secret[44:])
    return wrap(2, CHACHA_OID, secret) + encrypted


@pytest.mark.parametrize("make", [by_hmac, by_nothing, by_same_cipher, by_chacha])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65_535, 65_536, 200_001])
def test_it_is_decrypted(make, size):
    """Streaming and at-once decryption give the plaintext, for any size."""
    plain = os.urandom(size)
    assert decrypt_bytes(make(plain), KEYS) == plain
    assert b"".join(decrypt(io.BytesIO(make(plain)), KEYS)) == plain


@pytest.mark.parametrize("make", [by_hmac, by_same_cipher, by_chacha])
def test_an_altered_content_is_damaged(make):
    """A flipped bit in the content is noticed."""
    encrypted = bytearray(make(b"x" * 1000))
    encrypted[-100] ^= 1
    with pytest.raises(Damaged):
        decrypt_bytes(bytes(encrypted), KEYS)
    with pytest.raises(Damaged):
        list(decrypt(io.BytesIO(encrypted), KEYS))
