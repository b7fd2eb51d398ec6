"""Open a encrypted file with a private key, in a stream or at once.

The content key, its IV and 16 bytes for integrity (AEAD: the associated data,
HMAC: its key) are encrypted to each recipient.  For RSA by OAEP; for EC and X25519 by
AES-256-CBC (or the content's own cipher, flag 16) under a key that PBKDF2 makes of
the ECDH secret, with the ephemeral public key as its salt.  The content follows the
header; a tag (16 bytes) or HMAC ends the file.

Source: Dovecot, ``src/lib-dcrypt/istream-decrypt.c``.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from mailcrypt_component.dcrypt.header import (
    HEADER_LIMIT,
    Damaged,
    Flags,
    Header,
    KeyType,
    Recipient,
    Truncated,
    Unsupported,
    parse_header,
)
from mailcrypt_component.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey

ROUNDS_LIMIT: Final = 100_000
"""Dovecot writes 2,048; a header that asks for more than this is refused."""

_CHUNK: Final = 1 << 16
_LARGE: Final = 1 << 17
_FIRST_READ: Final = 512
_TAG: Final = 16
_BLOCK: Final = 16
_SUITES: Final[dict[str, tuple[type[GCM | CBC], int, int]]] = {
    "aes-128-gcm": (GCM, 16, 12),
    "aes-192-gcm": (GCM, 24, 12),
    "aes-256-gcm": (GCM, 32, 12),
    "aes-128-cbc": (CBC, 16, 16),
    "aes-192-cbc": (CBC, 24, 16),
    "aes-256-cbc": (CBC, 32, 16),
}
"""Mode, key and IV length in bytes."""
_DIGESTS: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class NoKey(FormatError):  # noqa: N818  (a finding, named after what it finds)
    """None of the given keys is a recipient; ``wanted`` are the key ids that are."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        super().__init__(f"encrypted to {', '.join(wanted)}", expected="a key that was given")


def decrypt(source: BinaryIO, keys: Mapping[str, PrivateKey]) -> Iterator[bytes]:
    """Yield the content in chunks of at most 64 KiB, in constant memory.

    The tag stands at the end: what was yielded is good only once the iterator has
    ended without an error.

    Args:
        source: The file, from its first byte on.
        keys: Private keys by key id.

    Raises:
        NotEncrypted: It lies there in clear.
        NoKey: It is encrypted to other keys.
        Unsupported: A version or cipher that this module does not read.
        Truncated: It ends too early.
        Damaged: It is not what was encrypted.

    """
    header, rest = _read_header(source)
    content = _Content(header, _content_secret(header, keys))
    yield from content.chunks(rest, source)


def decrypt_bytes(data: bytes | memoryview, keys: Mapping[str, PrivateKey]) -> bytes:
    """Return the content of a whole file that is in memory; errors as ``decrypt``."""
    header = _parse(data)
    content = _Content(header, _content_secret(header, keys))
    if content.mode is GCM and header.is_aead:
        return content.at_once(data)
    return b"".join(content.chunks(bytes(data[header.length :]), None))


def decrypt_into(
    data: memoryview, keys: Mapping[str, PrivateKey], buffer: memoryview
) -> bytes | memoryview:
    """Return the content as ``decrypt_bytes`` does; of a large file, as a part of the buffer.

    A program that opens many large mails saves the time of making room for each.

    Args:
        data: The whole file.
        keys: Private keys by key id.
        buffer: At least as long as the file and 16 bytes more.

    """
    if len(data) < _LARGE:
        return decrypt_bytes(data, keys)
    header = _parse(data)
    content = _Content(header, _content_secret(header, keys))
    if content.mode is GCM and header.is_aead:
        return content.into(data, buffer)
    return b"".join(content.chunks(bytes(data[header.length :]), None))


def _parse(data: bytes | memoryview) -> Header:
    try:
        return parse_header(bytes(data[:_FIRST_READ]))
    except Truncated:
        return parse_header(bytes(data[:HEADER_LIMIT]))


def _read_header(source: BinaryIO) -> tuple[Header, bytes]:
    """Return the header and what was read behind it."""
    data = source.read(_FIRST_READ)
    try:
        header = parse_header(data)
    except Truncated as short:
        if len(data) < _FIRST_READ or short.needed > HEADER_LIMIT:
            raise
        data += source.read(short.needed - len(data))
        header = parse_header(data)
    return header, data[header.length :]


class _Content:
    """The content behind a header, once its key is known."""

    def __init__(self, header: Header, secret: bytes) -> None:
        self.mode, key_size, iv_size = _suite(header)
        self._header = header
        self._key = secret[:key_size]
        self._iv = secret[key_size : key_size + iv_size]
        self._extra = secret[key_size + iv_size :]

    def at_once(self, data: bytes | memoryview) -> bytes:
        """Open AES-GCM in one call."""
        if len(data) < self._header.length + _TAG:
            raise Truncated(self._header.length + _TAG, len(data))
        try:
            encrypted = memoryview(data)[self._header.length :]
            return AESGCM(self._key).decrypt(self._iv, encrypted, self._extra)
        except InvalidTag:
            raise _altered() from None

    def into(self, data: memoryview, buffer: memoryview) -> memoryview:
        """Open AES-GCM into a buffer; nothing is returned before the tag was checked."""
        if len(data) < self._header.length + _TAG:
            raise Truncated(self._header.length + _TAG, len(data))
        decryptor = Cipher(AES(self._key), GCM(self._iv, bytes(data[-_TAG:]))).decryptor()
        decryptor.authenticate_additional_data(self._extra)
        size = decryptor.update_into(data[self._header.length : -_TAG], buffer)
        try:
            decryptor.finalize()
        except InvalidTag:
            raise _altered() from None
        return buffer[:size]

    def chunks(self, first: bytes, source: BinaryIO | None) -> Iterator[bytes]:
        """Yield the content, and check what ends it."""
        mac = self._hmac()
        footer = mac.digest_size if mac else _TAG if self._header.is_aead else 0
        decryptor = Cipher(AES(self._key), self.mode(self._iv)).decryptor()
        if self.mode is GCM and self._header.is_aead:
            decryptor.authenticate_additional_data(self._extra)  # type: ignore[attr-defined]
        unpadder = padding.PKCS7(8 * _BLOCK).unpadder() if self.mode is CBC else None
        held = first
        while True:
            more = source.read(_CHUNK) if source else b""
            ready, held = (held, more) if not footer else _all_but(held + more, footer)
            if mac:
                mac.update(ready)
            plain = decryptor.update(ready)
            yield unpadder.update(plain) if unpadder else plain
            if not more:
                break
        if len(held) < footer:
            raise Truncated(self._header.length + footer, self._header.length + len(held))
        try:
            if mac and not hmac.compare_digest(mac.digest(), held):
                raise _altered()
            if self.mode is GCM:
                yield self._end_gcm(decryptor, held)
            else:
                decryptor.finalize()
            if unpadder:
                yield unpadder.finalize()
        except (InvalidTag, ValueError):
            raise _altered() from None

    def _end_gcm(self, decryptor: object, tag: bytes) -> bytes:
        if self._header.is_aead:
            return bytes(decryptor.finalize_with_tag(tag))  # type: ignore[attr-defined]
        return b""

    def _hmac(self) -> hmac.HMAC | None:
        if not self._header.flags & Flags.HMAC:
            return None
        return hmac.new(self._extra, digestmod=self._header.mac)


def _all_but(data: bytes, size: int) -> tuple[bytes, bytes]:
    cut = max(len(data) - size, 0)
    return data[:cut], data[cut:]


def _altered() -> Damaged:
    return Damaged("the content does not fit its tag", expected="what Dovecot wrote")


def _suite(header: Header) -> tuple[type[GCM | CBC], int, int]:
    suite = _SUITES.get(header.cipher)
    if suite is None or header.mac not in _DIGESTS:
        raise Unsupported(f"{header.cipher} with {header.mac}", expected="AES in GCM or CBC mode")
    return suite


def _content_secret(header: Header, keys: Mapping[str, PrivateKey]) -> bytes:
    """Return content key, IV and what keeps the integrity, in this order."""
    _, key_size, iv_size = _suite(header)
    protected = header.flags & (Flags.HMAC | Flags.AEAD)
    size = key_size + iv_size + (_TAG if protected else 0)
    for recipient in header.recipients:
        key = keys.get(recipient.key_id)
        if key is None:
            continue
        secret = _EncryptedKey(header, recipient).open(key)
        if len(secret) != size:
            raise Damaged(f"a content key of {len(secret)} bytes", expected=f"{size} bytes")
        if not protected and _hash_of(secret, header.mac) != header.key_hash:
            raise Damaged("the content key does not fit its hash")
        return secret
    raise NoKey(tuple(recipient.key_id for recipient in header.recipients))


@dataclass(frozen=True, slots=True)
class _EncryptedKey:
    """A content key as it is encrypted to one recipient."""

    header: Header
    recipient: Recipient

    def open(self, key: PrivateKey) -> bytes:
        try:
            if isinstance(key, rsa.RSAPrivateKey):
                return self._by_rsa(key)
            return self._by_secret(self._agree(key))
        except (ValueError, InvalidTag):
            raise Damaged("the content key cannot be opened with its recipient's key") from None

    def _by_rsa(self, key: rsa.RSAPrivateKey) -> bytes:
        if self.recipient.kind is not KeyType.RSA:
            raise Damaged("an EC recipient with the key id of an RSA key")
        # OpenSSL's default for OAEP, which Dovecot takes.
        digest = hashes.SHA1()  # noqa: S303
        return key.decrypt(self.recipient.encrypted_key, OAEP(MGF1(digest), digest, None))

    def _agree(self, key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey) -> bytes:
        ephemeral = self.recipient.ephemeral
        if isinstance(key, x25519.X25519PrivateKey):
            return key.exchange(x25519.X25519PublicKey.from_public_bytes(ephemeral))
        point = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, ephemeral)
        return key.exchange(ec.ECDH(), point)

    def _by_secret(self, shared: bytes) -> bytes:
        header, encrypted = self.header, self.recipient.encrypted_key
        if not 1 <= header.rounds <= ROUNDS_LIMIT:
            raise Damaged(f"{header.rounds} rounds", expected=f"1 to {ROUNDS_LIMIT}")
        same = bool(header.flags & Flags.SAME_CIPHER)
        mode, key_size, iv_size = _SUITES[header.cipher if same else "aes-256-cbc"]
        tag = _TAG if same and header.is_aead else 0
        size = key_size + iv_size + tag
        digest, salt = _DIGESTS[header.mac](), self.recipient.ephemeral
        made = PBKDF2HMAC(digest, size, salt, header.rounds).derive(shared)
        key, iv, aad = made[:key_size], made[key_size : key_size + iv_size], made[size - tag :]
        if tag:
            return AESGCM(key).decrypt(iv, encrypted, aad)
        decryptor = Cipher(AES(key), mode(iv)).decryptor()
        plain = decryptor.update(encrypted)
        if mode is CBC:
            decryptor.finalize()
            return plain[: -plain[-1]] if plain and _is_padded(plain) else b""
        return plain


def _is_padded(plain: bytes) -> bool:
    count = plain[-1]
    return 1 <= count <= _BLOCK and plain.endswith(bytes([count]) * count)


def _hash_of(secret: bytes, algorithm: str) -> bytes:
    """Return the hash by which Dovecot recognises a content key: 2,048 times itself."""
    digest = hashlib.new(algorithm, secret).digest()
    for number in range(1, 2049):
        digest = hashlib.new(algorithm, digest + number.to_bytes(4)).digest()
    return digest
