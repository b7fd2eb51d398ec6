"""Parse the header of a file that Dovecot's lib-dcrypt wrote.

All numbers are big-endian::

    magic       9  CRYPTED 03 07
    version     1  2 (1 exists and is told as such)
    flags       4  1 HMAC, 2 AEAD, 4 no integrity, 8 version 1, 16 same cipher
    length      4  of the whole header, from the magic on
    cipher         an object identifier in DER
    mac            an object identifier in DER
    rounds      4  of PBKDF2
    key data    4  its length, then
      count     1  number of recipients, for each
        type    1  1 RSA, 2 EC (X25519 too)
        digest 32  the key id
        4 + n      ephemeral public key
        4 + n      encrypted key
      4 + n        hash of the key

Source: Dovecot, ``src/lib-dcrypt/ostream-encrypt.c`` and ``istream-decrypt.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from mailcrypt_component.model.errors import FormatError

MAGIC: Final = b"CRYPTED\x03\x07"
HEADER_LIMIT: Final = 8192
"""No header that Dovecot writes is nearly as long; a longer one is refused."""

_FIXED: Final = len(MAGIC) + 9
_DIGEST: Final = 32
_NAMES: Final = {
    bytes.fromhex("60864801650304012e"): "aes-256-gcm",
    bytes.fromhex("60864801650304011a"): "aes-192-gcm",
    bytes.fromhex("608648016503040106"): "aes-128-gcm",
    bytes.fromhex("60864801650304012a"): "aes-256-cbc",
    bytes.fromhex("608648016503040116"): "aes-192-cbc",
    bytes.fromhex("608648016503040102"): "aes-128-cbc",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
    bytes.fromhex("2b0e03021a"): "sha1",
}


class NotEncrypted(FormatError):  # noqa: N818  (a finding, named after what it finds)
    """The file has no magic: it lies there in clear."""


class Damaged(FormatError):  # noqa: N818
    """The magic is there, but what follows is not a header."""


class Unsupported(FormatError):  # noqa: N818
    """Dovecot could have written it, but it is of a kind that is not read here."""


class Truncated(FormatError):  # noqa: N818
    """The bytes end inside the header; ``needed`` is how many would do."""

    def __init__(self, needed: int, found: int) -> None:
        self.needed = needed
        super().__init__(f"{found} bytes", expected=f"a header of at least {needed} bytes")


class KeyType(IntEnum):
    """What kind of public key a recipient has."""

    RSA = 1
    EC = 2


class Flags(IntFlag):
    """How the file's integrity is kept."""

    HMAC = 1
    AEAD = 2
    NO_INTEGRITY = 4
    VERSION_1 = 8
    SAME_CIPHER = 16


_INTEGRITY: Final = Flags.HMAC | Flags.AEAD | Flags.NO_INTEGRITY


@dataclass(frozen=True, slots=True)
class Recipient:
    """One key that can open the file; ``key_id`` is 64 lower-case hex digits."""

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
        """Whether each change to the content would be noticed on opening it."""
        return bool(self.flags & Flags.AEAD)


def parse_header(prefix: bytes) -> Header:
    """Parse the first bytes of a file.

    Args:
        prefix: From the first byte on; more than the header is fine.

    Raises:
        NotEncrypted: The magic is not there.
        Truncated: More bytes are needed; it says how many.
        Unsupported: The header is of version 1.
        Damaged: The header contradicts itself or is of an unknown version.

    """
    if not prefix.startswith(MAGIC):
        if MAGIC.startswith(prefix) and prefix:
            raise Truncated(_FIXED, len(prefix))
        raise NotEncrypted("no magic at the start", expected=f"{MAGIC!r}")
    if len(prefix) < _FIXED:
        raise Truncated(_FIXED, len(prefix))
    version = prefix[9]
    if version != 2:  # noqa: PLR2004  (the version this module reads)
        kind = Unsupported if version == 1 else Damaged
        raise kind(f"format version {version}", expected="version 2")
    length = int.from_bytes(prefix[14:18])
    if not _FIXED < length <= HEADER_LIMIT:
        raise Damaged(f"a header length of {length} bytes", expected=f"at most {HEADER_LIMIT}")
    if len(prefix) < length:
        raise Truncated(length, len(prefix))
    return _Parser(prefix[_FIXED:length]).header(version, prefix[10:14], length)


class _Parser:
    """Takes a header's fields off its bytes, front to back."""

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    def header(self, version: int, flags: bytes, length: int) -> Header:
        cipher, mac = self._name(), self._name()
        rounds, size = self._number(), self._number()
        if size != len(self._rest):
            raise Damaged(f"key data of {size} bytes", expected=f"{len(self._rest)} bytes")
        recipients = tuple(self._recipient() for _ in range(self._take(1)[0]))
        key_hash = self._block()
        if self._rest or not recipients:
            raise Damaged("key data that does not end where it says")
        known = Flags(int.from_bytes(flags) & sum(Flags))
        if (known & _INTEGRITY).bit_count() > 1:
            raise Damaged(f"flags {known!r} that exclude each other")
        return Header(version, known, length, cipher, mac, rounds, recipients, key_hash)

    def _take(self, size: int) -> bytes:
        if size > len(self._rest):
            raise Damaged(f"a field of {size} bytes where {len(self._rest)} are left")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _number(self) -> int:
        return int.from_bytes(self._take(4))

    def _block(self) -> bytes:
        return self._take(self._number())

    def _name(self) -> str:
        tag, size = self._take(2)
        if tag != 0x06 or size > 0x7F:  # noqa: PLR2004  (X.690: OBJECT IDENTIFIER, short form)
            raise Damaged(f"tag {tag:#04x} where an object identifier belongs")
        identifier = self._take(size)
        return _NAMES.get(identifier, f"oid:{identifier.hex()}")

    def _recipient(self) -> Recipient:
        number = self._take(1)[0]
        if number not in set(KeyType):
            raise Damaged(f"key type {number}", expected="1 (RSA) or 2 (EC)")
        digest = self._take(_DIGEST).hex()
        return Recipient(digest, KeyType(number), self._block(), self._block())
