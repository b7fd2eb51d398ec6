"""Parses the header of a file that Dovecot's lib-dcrypt wrote.

All numbers are big-endian.  Format version 2::

    magic       9  CRYPTED 03 07
    version     1  2
    flags       4  1 HMAC, 2 AEAD, 4 no integrity, 8 version 1, 16 same cipher
    length      4  of the whole header, from the magic on
    cipher         an object identifier in DER
    mac            an object identifier in DER
    rounds      4  of PBKDF2
    key data    4  its length, then
      count     1  number of recipients, for each
        type    1  1 RSA, 2 EC (X25519 and X448 too), 4 ML-KEM (after Dovecot 2.4.4)
        digest 32  the key id
        4 + n      ephemeral public key
        4 + n      encrypted key
      4 + n        hash of the key

Format version 1, which Dovecot 2.2 and 2.3 write with ``mail_crypt_save_version = 1``::

    magic       9  CRYPTED 03 07
    version     1  1
    key data    2  its length, then
      2 + n        ephemeral public key
      2 + 32       digest, another one than in version 2: see ``version_1_id``
      2 + 32       hash of the key
      2 + n        encrypted key

Its content is AES-256-CTR without any protection of its integrity.

Source: Dovecot, ``src/lib-dcrypt/ostream-encrypt.c`` and ``istream-decrypt.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from mailcrypt_component.dcrypt.der import OBJECT_IDENTIFIER, dotted
from mailcrypt_component.model.errors import FormatError

MAGIC: Final = b"CRYPTED\x03\x07"
HEADER_LIMIT: Final = 8192
"""No header that Dovecot writes is nearly as long; a longer one is refused."""

_VERSION_AT: Final = len(MAGIC)
_FIXED_1: Final = len(MAGIC) + 3
_FIXED_2: Final = len(MAGIC) + 9
_DIGEST: Final = 32
_NAMES: Final = {
    "2.16.840.1.101.3.4.1.46": "aes-256-gcm",
    "2.16.840.1.101.3.4.1.26": "aes-192-gcm",
    "2.16.840.1.101.3.4.1.6": "aes-128-gcm",
    "2.16.840.1.101.3.4.1.42": "aes-256-cbc",
    "2.16.840.1.101.3.4.1.22": "aes-192-cbc",
    "2.16.840.1.101.3.4.1.2": "aes-128-cbc",
    "1.2.840.113549.1.9.16.3.18": "chacha20-poly1305",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "1.3.14.3.2.26": "sha1",
    "1.2.840.113549.2.5": "md5",
    "1.2.410.200046.1.1.6": "aria-128-gcm",
    "1.2.410.200046.1.1.21": "aria-192-gcm",
    "1.2.410.200046.1.1.36": "aria-256-gcm",
}


class NotEncrypted(FormatError):  # noqa: N818  (a finding, named after what it finds)
    """The file has no magic: it is in clear."""


class Damaged(FormatError):  # noqa: N818
    """The magic is there, but the rest is not what Dovecot writes."""


class Unsupported(FormatError):  # noqa: N818
    """Dovecot can have written the file, but this program cannot read it."""


class Truncated(FormatError):  # noqa: N818
    """The bytes end inside the header; ``needed`` is how many to read at least."""

    def __init__(self, needed: int, found: int) -> None:
        self.needed = needed
        super().__init__(f"{found} bytes", expected=f"a header of at least {needed} bytes")


class KeyType(IntEnum):
    """What kind of public key a recipient has."""

    RSA = 1
    EC = 2
    KEM = 4


_KEY_TYPES: Final = frozenset(KeyType)


class Flags(IntFlag):
    """How the file's integrity is kept."""

    HMAC = 1
    AEAD = 2
    NO_INTEGRITY = 4
    VERSION_1 = 8
    SAME_CIPHER = 16


_ALL_FLAGS: Final = sum(Flags)
_INTEGRITY: Final = Flags.HMAC | Flags.AEAD | Flags.NO_INTEGRITY


@dataclass(frozen=True, slots=True)
class Recipient:
    """One key that can open the file.

    ``key_id`` is 64 lower-case hex digits: a key's ``key_id`` in version 2, its
    ``version_1_id`` in version 1.
    """

    key_id: str
    kind: KeyType
    ephemeral: bytes
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header; ``length`` is where the encrypted content begins, in bytes."""

    version: int
    flags: Flags
    length: int
    cipher: str
    mac: str
    rounds: int
    recipients: tuple[Recipient, ...]
    key_hash: bytes

    @property
    def is_aead(self) -> bool:
        """Whether the cipher itself authenticates the content."""
        return bool(self.flags & Flags.AEAD)

    @property
    def is_protected(self) -> bool:
        """Whether decrypting notices a change to the content, or a part that is missing."""
        return bool(self.flags & (Flags.AEAD | Flags.HMAC))


def parse_header(prefix: bytes) -> Header:
    """Parse the first bytes of a file.

    Args:
        prefix: From the first byte on; more than the header is fine.

    Raises:
        NotEncrypted: The magic is missing.
        Truncated: More bytes are needed; it says how many.
        Unsupported: The header is of an unknown version.
        Damaged: The header contradicts itself.

    """
    if not prefix.startswith(MAGIC):
        if MAGIC.startswith(prefix) and prefix:
            raise Truncated(_FIXED_1, len(prefix))
        raise NotEncrypted("no magic at the start", expected=f"{MAGIC!r}")
    if len(prefix) < _FIXED_1:
        raise Truncated(_FIXED_1, len(prefix))
    version = prefix[_VERSION_AT]
    parser = _VERSIONS.get(version)
    if parser is None:
        raise Unsupported(
            f"format version {version}",
            expected="version 1 or 2",
            hint="the file is damaged, or a Dovecot that is newer than this program wrote it; "
            "that Dovecot reads it: doveadm fetch text",
        )
    return parser(prefix)


def _version_1(prefix: bytes) -> Header:
    length = _FIXED_1 + int.from_bytes(prefix[_FIXED_1 - 2 : _FIXED_1])
    fields = _Fields(_whole(prefix, length, _FIXED_1))
    ephemeral, digest, key_hash, encrypted_key = (fields.block(2) for _ in range(4))
    fields.end()
    if not ephemeral or not encrypted_key or len(digest) != _DIGEST or len(key_hash) != _DIGEST:
        raise Damaged("a field of the wrong length", expected="a header of version 1")
    recipient = Recipient(digest.hex(), KeyType.EC, ephemeral, encrypted_key)
    flags = Flags.VERSION_1 | Flags.NO_INTEGRITY
    return Header(1, flags, length, "aes-256-ctr", "sha256", 0, (recipient,), key_hash)


def _version_2(prefix: bytes) -> Header:
    if len(prefix) < _FIXED_2:
        raise Truncated(_FIXED_2, len(prefix))
    length = int.from_bytes(prefix[14:18])
    fields = _Fields(_whole(prefix, length, _FIXED_2))
    flags = Flags(int.from_bytes(prefix[10:14]) & _ALL_FLAGS)
    if (flags & _INTEGRITY).bit_count() > 1:
        raise Damaged(f"flags {flags!r} that exclude each other")
    cipher, mac = fields.name(), fields.name()
    rounds, size = fields.number(), fields.number()
    if size != fields.left:
        raise Damaged(f"key data of {size} bytes", expected=f"{fields.left} bytes")
    recipients = tuple(_recipient(fields) for _ in range(fields.take(1)[0]))
    key_hash = fields.block(4)
    fields.end()
    if not recipients:
        raise Damaged("a header without recipients")
    return Header(2, flags, length, cipher, mac, rounds, recipients, key_hash)


_VERSIONS: Final = {1: _version_1, 2: _version_2}


def _whole(prefix: bytes, length: int, fixed: int) -> bytes:
    """Return what follows the fixed fields, up to the header's end."""
    if not fixed < length <= HEADER_LIMIT:
        raise Damaged(f"a header length of {length} bytes", expected=f"at most {HEADER_LIMIT}")
    if len(prefix) < length:
        raise Truncated(length, len(prefix))
    return prefix[fixed:length]


def _recipient(fields: _Fields) -> Recipient:
    number = fields.take(1)[0]
    if number not in _KEY_TYPES:
        raise Damaged(f"key type {number}", expected="1 (RSA), 2 (EC) or 4 (ML-KEM)")
    digest = fields.take(_DIGEST).hex()
    return Recipient(digest, KeyType(number), fields.block(4), fields.block(4))


class _Fields:
    """Takes fields off a header's bytes, front to back."""

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    @property
    def left(self) -> int:
        return len(self._rest)

    def take(self, size: int) -> bytes:
        if size > len(self._rest):
            raise Damaged(f"a field of {size} bytes where {len(self._rest)} are left")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(4))

    def block(self, width: int) -> bytes:
        """Take a length of so many bytes, and as many bytes as it says."""
        return self.take(int.from_bytes(self.take(width)))

    def name(self) -> str:
        """Take an object identifier; return its usual name, or its dotted form."""
        tag, size = self.take(2)
        if tag != OBJECT_IDENTIFIER or size > 0x7F:  # noqa: PLR2004  (X.690: the short form)
            raise Damaged(f"tag {tag:#04x} where an object identifier belongs")
        identifier = dotted(self.take(size))
        return _NAMES.get(identifier, identifier)

    def end(self) -> None:
        if self._rest:
            raise Damaged("key data that does not end where it says")
