"""The ciphers of a file's content, each in a stream that ends with a check.

A suite says how long key and IV are and makes the stream.  A stream decrypts piece by
piece; ``end`` takes the tag, if there is one, and raises where it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, GCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

if TYPE_CHECKING:
    from collections.abc import Callable

TAG: Final = 16
"""Bytes of an AEAD's tag, and of the secret that keeps the integrity."""

_BLOCK: Final = 16


class Stream(Protocol):
    """Decrypts one content, piece by piece."""

    def update(self, data: bytes, /) -> bytes:
        """Return what has become plain."""

    def end(self, tag: bytes | None, /) -> bytes:
        """Return the rest, or raise InvalidTag or ValueError where the content was altered."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher with its key and IV length in bytes.

    ``open`` takes key, IV and, where the cipher shall authenticate the content, the
    associated data.
    """

    key_size: int
    iv_size: int
    open: Callable[[bytes, bytes, bytes | None], Stream]

    def at_once(self, secret: bytes, data: bytes, *, aead: bool) -> bytes:
        """Decrypt data whose key, IV and associated data follow each other in the secret.

        Raises:
            InvalidTag: The data were altered.
            ValueError: They were altered, or are too short.

        """
        key, iv, extra = self.split(secret)
        stream = self.open(key, iv, extra if aead else None)
        body, tag = (data[:-TAG], data[-TAG:]) if aead else (data, None)
        return stream.update(body) + stream.end(tag)

    def split(self, secret: bytes) -> tuple[bytes, bytes, bytes]:
        """Return key, IV and the rest of a secret."""
        iv_at, rest_at = self.key_size, self.key_size + self.iv_size
        return secret[:iv_at], secret[iv_at:rest_at], secret[rest_at:]


class _Gcm:
    def __init__(self, key: bytes, iv: bytes, extra: bytes | None) -> None:
        self._decryptor = Cipher(AES(key), GCM(iv)).decryptor()
        if extra is not None:
            self._decryptor.authenticate_additional_data(extra)

    def update(self, data: bytes, /) -> bytes:
        return self._decryptor.update(data)

    def end(self, tag: bytes | None, /) -> bytes:
        return b"" if tag is None else self._decryptor.finalize_with_tag(tag)


class _Cbc:
    def __init__(self, key: bytes, iv: bytes, _: bytes | None) -> None:
        self._decryptor = Cipher(AES(key), CBC(iv)).decryptor()
        self._unpadder = padding.PKCS7(8 * _BLOCK).unpadder()

    def update(self, data: bytes, /) -> bytes:
        return self._unpadder.update(self._decryptor.update(data))

    def end(self, _: bytes | None, /) -> bytes:
        self._decryptor.finalize()
        return self._unpadder.finalize()


class _Ctr:
    def __init__(self, key: bytes, iv: bytes, _: bytes | None) -> None:
        self._decryptor = Cipher(AES(key), CTR(iv)).decryptor()

    def update(self, data: bytes, /) -> bytes:
        return self._decryptor.update(data)

    def end(self, _: bytes | None, /) -> bytes:
        return self._decryptor.finalize()


class _ChaCha:
    """ChaCha20-Poly1305 (RFC 8439) in a stream; ``cryptography`` has it at once only.

    Dovecot 2.4.1 means to write it as an AEAD, but writes it with an HMAC instead.
    """

    def __init__(self, key: bytes, iv: bytes, extra: bytes | None) -> None:
        self._cipher = Cipher(ChaCha20(key, bytes([1, 0, 0, 0]) + iv), None).decryptor()
        self._mac = None if extra is None else Poly1305(self._key_of_mac(key, iv))
        self._extra, self._size = extra or b"", 0
        self._authenticate(self._extra + _fill(len(self._extra)))

    @staticmethod
    def _key_of_mac(key: bytes, iv: bytes) -> bytes:
        return Cipher(ChaCha20(key, bytes(4) + iv), None).encryptor().update(bytes(32))

    def _authenticate(self, data: bytes) -> None:
        if self._mac:
            self._mac.update(data)

    def update(self, data: bytes, /) -> bytes:
        self._authenticate(data)
        self._size += len(data)
        return self._cipher.update(data)

    def end(self, tag: bytes | None, /) -> bytes:
        sizes = len(self._extra).to_bytes(8, "little") + self._size.to_bytes(8, "little")
        self._authenticate(_fill(self._size) + sizes)
        if self._mac:
            try:
                self._mac.verify(tag or b"")
            except InvalidSignature:
                raise InvalidTag from None
        return b""


def _fill(size: int) -> bytes:
    return bytes(-size % _BLOCK)


GCM_NAMES: Final = ("aes-128-gcm", "aes-192-gcm", "aes-256-gcm")
SUITES: Final = {
    "aes-128-gcm": Suite(16, 12, _Gcm),
    "aes-192-gcm": Suite(24, 12, _Gcm),
    "aes-256-gcm": Suite(32, 12, _Gcm),
    "aes-128-cbc": Suite(16, 16, _Cbc),
    "aes-192-cbc": Suite(24, 16, _Cbc),
    "aes-256-cbc": Suite(32, 16, _Cbc),
    "aes-256-ctr": Suite(32, 16, _Ctr),
    "chacha20-poly1305": Suite(32, 12, _ChaCha),
}
"""By the names in ``Header.cipher``."""
DIGESTS: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
"""By the names in ``Header.mac``."""
