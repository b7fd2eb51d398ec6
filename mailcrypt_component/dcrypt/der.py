"""The few pieces of DER (X.690) that ``cryptography`` neither reads nor writes for us."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

OBJECT_IDENTIFIER: Final = 0x06
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
INTEGER: Final = 0x02
_SEQUENCE: Final = 0x30


def tlv(tag: int, value: bytes) -> bytes:
    """Return a value with its tag and length."""
    size = len(value)
    if size < 0x80:  # noqa: PLR2004  (X.690, 8.1.3: the short form)
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + value


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded values."""
    return tlv(_SEQUENCE, b"".join(parts))


@lru_cache(maxsize=64)
def dotted(identifier: bytes) -> str:
    """Return an object identifier's content in dotted form, such as ``1.2.840.113549``.

    Args:
        identifier: The content without tag and length; any bytes.

    """
    numbers, number = [], 0
    for byte in identifier:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]] if numbers else []))
