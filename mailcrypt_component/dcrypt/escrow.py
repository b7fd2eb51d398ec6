"""Writes the key ring to one passphrase-protected text file that ``openssl`` can open.

Each key is a PEM block ``ENCRYPTED PRIVATE KEY``: PKCS#8 (RFC 5958) under PBES2
(RFC 8018) with PBKDF2-HMAC-SHA256 and AES-256-CBC.  Names, ids and
the way to open it are in clear.
"""

from __future__ import annotations

import hashlib
import os
import textwrap
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailcrypt_component.dcrypt.der import INTEGER, OCTET_STRING, sequence, tlv
from mailcrypt_component.dcrypt.keys import PrivateKey, load_keys
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS: Final = 600_000
LEAST_PASSPHRASE: Final = 12
"""Bytes; a shorter passphrase is refused."""

_HEAD: Final = """\
mailcrypt escrow of the stack {stack}, written {date}

With this file and its passphrase, all mail that was encrypted to these keys can be
read, without the server and with standard tools.  Keep it apart from
the mail, and the passphrase apart from this file.

To read a whole store:     mailcrypt recover STORE --escrow FILE --out DIR
To take a key out by hand: copy its block, from BEGIN to END, into key.pem, then
                           openssl pkey -in key.pem -out plain.pem
(PKCS#8, PBES2, PBKDF2 with HMAC-SHA-256 and {rounds} rounds, AES-256-CBC.)
"""


@dataclass(frozen=True, slots=True)
class EscrowKey:
    """A private key with the name and id that the escrow file gives it."""

    name: str
    key_id: str
    key: PrivateKey


def write_escrow(keys: Sequence[EscrowKey], passphrase: bytes, stack: str, now: float) -> str:
    """Return the file's text, after reading it back and comparing the keys.

    Args:
        keys: The ring, current key first.
        passphrase: At least 12 bytes.
        stack: The stack's name, for people.
        now: Seconds since 1970, for the date in the text.

    Raises:
        KeyFault: The ring is empty, the passphrase is too short, or the text does not
            open to the same keys.

    """
    if not keys:
        raise KeyFault("an empty ring", where="escrow", expected="at least one key")
    if len(passphrase) < LEAST_PASSPHRASE:
        raise KeyFault(
            f"a passphrase of {len(passphrase)} bytes",
            where="passphrase",
            expected=f"at least {LEAST_PASSPHRASE}",
            hint="five words that do not belong together are easy to remember",
        )
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    parts = [_HEAD.format(stack=stack, date=date, rounds=f"{ROUNDS:,}")]
    for number, key in enumerate(keys):
        use = "current" if not number else "retired"
        der = key.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        parts.append(f"key {key.name} ({use})\nid  {key.key_id}\n{_encrypted(der, passphrase)}")
    text = "\n".join(parts)
    if set(load_keys(text, passphrase)) != {key.key_id for key in keys}:
        raise KeyFault("the file does not open to the same keys", where="escrow")
    return text


def _encrypted(der: bytes, passphrase: bytes) -> str:
    salt, iv = os.urandom(16), os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, 32)
    fill = 16 - len(der) % 16
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    encrypted = encryptor.update(der + bytes([fill]) * fill) + encryptor.finalize()
    rounds = tlv(INTEGER, ROUNDS.to_bytes(3))
    kdf = sequence(
        _PBKDF2, sequence(tlv(OCTET_STRING, salt), rounds, sequence(_HMAC_SHA256, _NULL))
    )
    cipher = sequence(_AES_256_CBC, tlv(OCTET_STRING, iv))
    whole = sequence(sequence(_PBES2, sequence(kdf, cipher)), tlv(OCTET_STRING, encrypted))
    body = "\n".join(textwrap.wrap(b64encode(whole).decode(), 64))
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n"


_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
_NULL: Final = bytes.fromhex("0500")
