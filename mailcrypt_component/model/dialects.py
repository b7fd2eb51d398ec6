"""Compiles Dovecot's configuration, with one renderer per dialect.

Dovecot 2.4 refuses the configuration language of 2.3, and the other way round.  A
:class:`CryptModel` describes the encryption independently of a dialect; ``render`` writes the
files of one dialect.  This module knows no server.

Sources: Dovecot's ``mail_crypt`` plugin documentation for 2.3 and for 2.4, and its post-login
scripting; the tests load the golden files under ``tests/unit/golden`` into the real Dovecot of
each version.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def render(model: CryptModel, dialect: Dialect) -> DovecotFiles:
    """Compile the configuration for one dialect; every text ends in a newline.

    Args:
        model: At least one key.
        dialect: The language of the Dovecot that will read it.

    Raises:
        SettingsError: The model has no key.

    """
    if not model.keys:
        raise SettingsError(
            "the key ring is empty",
            where="keys",
            expected="at least one key",
            hint="declare a key, for instance keys: [{name: k1}]",
        )
    plugin, private = _RENDERERS[dialect](model)
    if model.custody is Custody.DISK:
        return DovecotFiles(
            crypt=_text(dialect, [*plugin, *private]),
            storage=_text(dialect, _storage(model, dialect)),
            private="",
        )
    unlocked = _text(dialect, [*private, *_OPEN])
    folder = model.keys[0].private_path.rpartition("/")[0]
    path = f"{folder}/{hashlib.sha256(unlocked.encode()).hexdigest()[:12]}.conf"
    locked = [*_storage(model, dialect), *_LOCKED, f"!include_try {path}"]
    return DovecotFiles(_text(dialect, plugin), _text(dialect, locked), unlocked, path)


_HEAD = "# mail_crypt for Dovecot {dialect}, compiled; the next update overwrites any edit."


def _text(dialect: Dialect, lines: Sequence[str]) -> str:
    return "\n".join([_HEAD.format(dialect=dialect.value), *lines, ""])


def _render_2_3(model: CryptModel) -> tuple[list[str], list[str]]:
    """Return the plugin's settings and those of the private keys."""
    names = ["mail_crypt_global_private_key"] + [
        f"mail_crypt_global_private_key{number}" for number in range(2, len(model.keys) + 1)
    ]
    plugin = [
        "mail_plugins = $mail_plugins mail_crypt",
        "plugin {",
        f"  mail_crypt_global_public_key = <{model.public_path}",
        "  mail_crypt_save_version = 2",
        "}",
    ]
    private = [
        "plugin {",
        *(
            f"  {setting} = <{key.private_path}"
            for setting, key in zip(names, model.keys, strict=True)
        ),
        "}",
    ]
    return plugin, private


def _render_2_4(model: CryptModel) -> tuple[list[str], list[str]]:
    """Return the plugin's settings and those of the private keys."""
    plugin = [
        "mail_plugins {",
        "  mail_crypt = yes",
        "}",
        f"crypt_global_public_key_file = {model.public_path}",
        "crypt_write_algorithm = aes-256-gcm-sha256",
    ]
    private = [
        line
        for key in model.keys
        for line in (
            f"crypt_global_private_key {key.name} {{",
            f"  crypt_private_key_file = {key.private_path}",
            "}",
        )
    ]
    return plugin, private


_RENDERERS = {Dialect.V2_3: _render_2_3, Dialect.V2_4: _render_2_4}


def _storage(model: CryptModel, dialect: Dialect) -> list[str]:
    """Return the places of index caches and temporary files; /tmp is a tmpfs in our containers.

    Dovecot 2.3 cannot extend ``mail_location``, so DMS's own value is repeated here.
    """
    lines = ["mail_temp_dir = /tmp"]
    if model.index_cache is IndexCache.MEMORY:
        lines += {
            Dialect.V2_3: [f"mail_location = maildir:/var/mail/%d/%n:INDEXCACHE={CACHE_DIR}/%u"],
            Dialect.V2_4: [f"mail_cache_path = {CACHE_DIR}/%{{user}}"],
        }[dialect]
    return lines


CACHE_DIR: Final = "/run/mailcrypt-cache"
"""The folder of index caches that are kept in memory."""

LOCKED_SERVICE: Final = "mailcrypt-locked-"
"""Together with a protocol's name: the service that refuses logins to a locked server."""

LOCKED_SCRIPT: Final = "/etc/mailcrypt/locked"
"""Tells a client of a locked server why it cannot log in; takes imap or pop3."""


def _locked(protocol: str) -> list[str]:
    """Return services that hand each login to a script, which ends it with a message."""
    name = f"{LOCKED_SERVICE}{protocol}"
    return [
        f"service {protocol} {{",
        f"  executable = {protocol} {name}",
        "}",
        f"service {name} {{",
        f"  executable = script-login {LOCKED_SCRIPT} {protocol}",
        "  user = docker",
        f"  unix_listener {name} {{",
        "  }",
        "}",
    ]


_LOCKED: Final = (*_locked("imap"), *_locked("pop3"))
_OPEN: Final = tuple(
    line
    for protocol in ("imap", "pop3")
    for line in (f"service {protocol} {{", f"  executable = {protocol}", "}")
)


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
