"""Decrypts a file with a private key, in a stream or at once.

The content key, its IV and, where the integrity is protected, 16 bytes (AEAD: the
associated data, HMAC: its key) are encrypted to each recipient.  For RSA by OAEP; for
EC, X25519 and X448 by AES-256-CBC (or the content's own cipher, flag 16) under a key that
PBKDF2 derives from the ECDH secret, with the ephemeral public key as its salt.  The
content follows the header; a tag (16 bytes) or HMAC ends the file.

In format version 1 the content key alone is encrypted, by AES-256-CTR under the SHA-256
of the ECDH secret.  All IVs are zero, and nothing ends the file: a change to the content,
or a missing end, cannot be noticed.

Source: Dovecot, ``src/lib-dcrypt/istream-decrypt.c``.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from mailcrypt_component.dcrypt.ciphers import DIGESTS, GCM_NAMES, SUITES, TAG, Suite
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
from mailcrypt_component.dcrypt.key_id import version_1_id
from mailcrypt_component.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey

ROUNDS_LIMIT: Final = 100_000
"""Dovecot writes 2,048; a header that asks for more than this is refused."""

_CHUNK: Final = 1 << 16
_LARGE: Final = 1 << 17
_FIRST_READ: Final = 512
_VERSION_1_KEY: Final = 32


class NoKey(FormatError):  # noqa: N818  (a finding, named after what it finds)
    """None of the given keys is a recipient; ``wanted`` are the key ids that are."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        super().__init__(f"encrypted to {', '.join(wanted)}", expected="a key that was given")


def decrypt(source: BinaryIO, keys: Mapping[str, PrivateKey]) -> Iterator[bytes]:
    """Yield the content in chunks of at most 64 KiB, in constant memory.

    The tag is at the end: what was yielded is good only once the iterator has
    ended without an error.

    Args:
        source: The file, from its first byte on.
        keys: Private keys by key id.

    Raises:
        NotEncrypted: The file is in clear.
        NoKey: It is encrypted to other keys.
        Unsupported: Its cipher or kind of key cannot be read here; the message says
            what can still read it.
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
    if content.is_gcm:
        return content.at_once(data)
    return b"".join(content.chunks(bytes(data[header.length :]), None))


def decrypt_into(
    data: memoryview, keys: Mapping[str, PrivateKey], buffer: memoryview
) -> bytes | memoryview:
    """Return the content as ``decrypt_bytes`` does; for a large file, as a part of the buffer.

    A program that decrypts many large mails saves the time of allocating memory for each.

    Args:
        data: The whole file.
        keys: Private keys by key id.
        buffer: At least as long as the file and 16 bytes more.

    """
    if len(data) < _LARGE:
        return decrypt_bytes(data, keys)
    header = _parse(data)
    content = _Content(header, _content_secret(header, keys))
    if content.is_gcm:
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
        self._suite = _suite(header)
        self._header = header
        self._key, self._iv, self._extra = self._suite.split(secret)
        self.is_gcm = header.is_aead and header.cipher in GCM_NAMES

    def at_once(self, data: bytes | memoryview) -> bytes:
        """Decrypt AES-GCM in one call."""
        if len(data) < self._header.length + TAG:
            raise Truncated(self._header.length + TAG, len(data))
        try:
            encrypted = memoryview(data)[self._header.length :]
            return AESGCM(self._key).decrypt(self._iv, encrypted, self._extra)
        except InvalidTag:
            raise _altered() from None

    def into(self, data: memoryview, buffer: memoryview) -> memoryview:
        """Decrypt AES-GCM into a buffer; return nothing before the tag was checked."""
        if len(data) < self._header.length + TAG:
            raise Truncated(self._header.length + TAG, len(data))
        decryptor = Cipher(AES(self._key), GCM(self._iv, bytes(data[-TAG:]))).decryptor()
        decryptor.authenticate_additional_data(self._extra)
        size = decryptor.update_into(data[self._header.length : -TAG], buffer)
        try:
            decryptor.finalize()
        except InvalidTag:
            raise _altered() from None
        return buffer[:size]

    def chunks(self, first: bytes, source: BinaryIO | None) -> Iterator[bytes]:
        """Yield the content, and check what ends it."""
        aead = self._header.is_aead
        mac = self._hmac()
        footer = mac.digest_size if mac else TAG if aead else 0
        stream = self._suite.open(self._key, self._iv, self._extra if aead else None)
        held = b""
        for piece in _pieces(first, source):
            ready, held = _all_but(held + piece, footer)
            if mac:
                mac.update(ready)
            yield stream.update(ready)
        if len(held) < footer:
            raise Truncated(self._header.length + footer, self._header.length + len(held))
        try:
            if mac and not hmac.compare_digest(mac.digest(), held):
                raise _altered()
            yield stream.end(held if aead else None)
        except (InvalidTag, ValueError):
            raise _altered() from None

    def _hmac(self) -> hmac.HMAC | None:
        if not self._header.flags & Flags.HMAC:
            return None
        return hmac.new(self._extra, digestmod=self._header.mac)


def _pieces(first: bytes, source: BinaryIO | None) -> Iterator[bytes]:
    yield first
    while source and (piece := source.read(_CHUNK)):
        yield piece


def _all_but(data: bytes, size: int) -> tuple[bytes, bytes]:
    cut = max(len(data) - size, 0)
    return data[:cut], data[cut:]


def _altered() -> Damaged:
    return Damaged("the content does not fit its tag", expected="what Dovecot wrote")


def _suite(header: Header) -> Suite:
    suite = SUITES.get(header.cipher)
    if suite is None or header.mac not in DIGESTS:
        raise Unsupported(
            f"encrypted with {header.cipher} and {header.mac}",
            expected=f"one of {', '.join(SUITES)} and of {', '.join(DIGESTS)}",
            hint="the Dovecot that wrote it reads it: doveadm fetch text",
        )
    return suite


def _content_secret(header: Header, keys: Mapping[str, PrivateKey]) -> bytes:
    """Return content key, IV and what keeps the integrity, in this order."""
    suite = _suite(header)
    size = suite.key_size + suite.iv_size + (TAG if header.is_protected else 0)
    for recipient in header.recipients:
        key = _key_of(recipient, header, keys)
        if key is None:
            continue
        secret = _EncryptedKey(header, recipient).open(key)
        if len(secret) != size:
            raise Damaged(f"a content key of {len(secret)} bytes", expected=f"{size} bytes")
        # An AEAD's tag proves the key, too; an HMAC proves the encrypted content alone.
        if not header.is_aead and _hash_of(secret, header) != header.key_hash:
            raise Damaged("the content key does not fit its hash")
        return secret
    raise NoKey(tuple(recipient.key_id for recipient in header.recipients))


def _key_of(
    recipient: Recipient, header: Header, keys: Mapping[str, PrivateKey]
) -> PrivateKey | None:
    if header.version != 1:
        return keys.get(recipient.key_id)
    fitting = (key for key in keys.values() if version_1_id(key.public_key()) == recipient.key_id)
    return next(fitting, None)


@dataclass(frozen=True, slots=True)
class _EncryptedKey:
    """A content key as it is encrypted to one recipient."""

    header: Header
    recipient: Recipient

    def open(self, key: PrivateKey) -> bytes:
        if self.recipient.kind is KeyType.KEM:
            raise Unsupported(
                "encrypted to an ML-KEM key",
                expected="an EC, X25519, X448 or RSA key",
                hint="the Dovecot that wrote it reads it: doveadm fetch text",
            )
        try:
            if isinstance(key, rsa.RSAPrivateKey):
                return self._by_rsa(key)
            shared = self._agree(key)
            return self._version_1(shared) if self.header.version == 1 else self._version_2(shared)
        except (ValueError, InvalidTag):
            raise Damaged("the content key cannot be decrypted with its recipient's key") from None

    def _by_rsa(self, key: rsa.RSAPrivateKey) -> bytes:
        if self.recipient.kind is not KeyType.RSA:
            raise Damaged("an EC recipient with the key id of an RSA key")
        # OpenSSL's default for OAEP, which Dovecot takes.
        digest = hashes.SHA1()  # noqa: S303
        return key.decrypt(self.recipient.encrypted_key, OAEP(MGF1(digest), digest, None))

    def _agree(
        self, key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | x448.X448PrivateKey
    ) -> bytes:
        ephemeral = self.recipient.ephemeral
        if isinstance(key, x25519.X25519PrivateKey):
            return key.exchange(x25519.X25519PublicKey.from_public_bytes(ephemeral))
        if isinstance(key, x448.X448PrivateKey):
            return key.exchange(x448.X448PublicKey.from_public_bytes(ephemeral))
        point = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, ephemeral)
        return key.exchange(ec.ECDH(), point)

    def _version_1(self, shared: bytes) -> bytes:
        """Return the content key with the zero IV that version 1 has everywhere."""
        suite = SUITES["aes-256-ctr"]
        iv = bytes(suite.iv_size)
        key = hashlib.sha256(shared).digest()
        return suite.at_once(key + iv, self.recipient.encrypted_key, aead=False) + iv

    def _version_2(self, shared: bytes) -> bytes:
        header = self.header
        if not 1 <= header.rounds <= ROUNDS_LIMIT:
            raise Damaged(f"{header.rounds} rounds", expected=f"1 to {ROUNDS_LIMIT}")
        same = bool(header.flags & Flags.SAME_CIPHER)
        suite = SUITES[header.cipher if same else "aes-256-cbc"]
        aead = same and header.is_aead
        size = suite.key_size + suite.iv_size + (TAG if aead else 0)
        digest, salt = DIGESTS[header.mac](), self.recipient.ephemeral
        made = PBKDF2HMAC(digest, size, salt, header.rounds).derive(shared)
        return suite.at_once(made, self.recipient.encrypted_key, aead=aead)


def _hash_of(secret: bytes, header: Header) -> bytes:
    """Return the hash by which Dovecot recognises a content key; in version 2, 2,049 rounds."""
    if header.version == 1:
        return hashlib.sha256(secret[:_VERSION_1_KEY]).digest()
    digest = hashlib.new(header.mac, secret).digest()
    for number in range(1, 2049):
        digest = hashlib.new(header.mac, digest + number.to_bytes(4)).digest()
    return digest
