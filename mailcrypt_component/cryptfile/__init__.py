"""Dovecot's encrypted-file format (lib-dcrypt): headers and key ids, values only.

The header of a sealed file names its recipients, so whom a mail is sealed to
can be told without any private key.
"""

from mailcrypt_component.cryptfile.header import (
    HEADER_LIMIT,
    MAGIC,
    Damaged,
    Header,
    NotSealed,
    Recipient,
    Truncated,
    parse_header,
)
from mailcrypt_component.cryptfile.key_id import key_id

__all__ = [
    "HEADER_LIMIT",
    "MAGIC",
    "Damaged",
    "Header",
    "NotSealed",
    "Recipient",
    "Truncated",
    "key_id",
    "parse_header",
]
