"""Dovecot's encrypted-file format (lib-dcrypt): values only, no server.

The header of a sealed file names its recipients, so whom a mail is sealed to
can be told without any private key.  With it, the mail is opened without Dovecot.
"""

from mailcrypt_component.cryptfile.header import (
    HEADER_LIMIT,
    MAGIC,
    Damaged,
    Header,
    NotSealed,
    Recipient,
    Truncated,
    Unsupported,
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
    "Unsupported",
    "key_id",
    "parse_header",
]
