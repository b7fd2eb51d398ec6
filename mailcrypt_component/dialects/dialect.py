"""Names Dovecot's configuration languages, and what is wanted in any of them: values only."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import SettingsError

CACHE_DIR: Final = "/run/mailcrypt-cache"
"""The folder of index caches that are kept in memory."""

LOCKED_SERVICE: Final = "mailcrypt-locked-"
"""Together with a protocol's name: the service that refuses logins to a locked server."""

LOCKED_SCRIPT: Final = "/etc/mailcrypt/locked"
"""Tells a client of a locked server why it cannot log in; takes imap or pop3."""


class Dialect(StrEnum):
    """A Dovecot configuration language, named by the version that speaks it."""

    V2_3 = "2.3"
    V2_4 = "2.4"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """One key of the ring as Dovecot reads it: a name and a private key file."""

    name: str
    private_path: str


@dataclass(frozen=True, slots=True)
class CryptModel:
    """The desired encryption in no dialect: the keys, their places, and what is kept in memory.

    ``keys`` is newest first; its first entry is the current key.  With custody in memory a file of
    its own, which exists only while the server is unlocked, configures the private keys.
    """

    keys: tuple[KeyFiles, ...]
    public_path: str
    custody: Custody = Custody.DISK
    index_cache: IndexCache = IndexCache.DISK


@dataclass(frozen=True, slots=True)
class DovecotFiles:
    """The compiled configuration; every text holds paths, never a key."""

    crypt: str
    """``10-custom.conf``, read before DMS's own files, which add their plugins to ours."""
    storage: str
    """``99-mailcrypt.conf``, read after DMS's own files, which set the place of mail."""
    private: str
    """Names the private keys; ``storage`` includes it.  Empty with custody on disk."""

    private_path: str = ""
    """The path of ``private`` while the server is unlocked.

    Its name is a hash of its content, so the file of a new server never changes the one that the
    running server reads.
    """

    @property
    def digest(self) -> str:
        """The SHA-256 of all three texts, as 64 lower-case hex digits."""
        texts = f"{self.crypt}\0{self.storage}\0{self.private}"
        return hashlib.sha256(texts.encode()).hexdigest()


def of_version(version: str) -> Dialect:
    """Return the dialect of a Dovecot by what its ``dovecot --version`` prints.

    Raises:
        SettingsError: The version is neither 2.3 nor 2.4.

    """
    found = re.match(r"(2\.[34])\.", version.strip())
    if found is None:
        raise SettingsError(
            f"Dovecot {version.strip() or '(no version)'} is not supported",
            where="image",
            expected="Dovecot 2.3.x or 2.4.x",
            hint="choose a docker-mailserver image from 15.0 on",
        )
    return Dialect(found.group(1))
