"""Compiles Dovecot's configuration, with one renderer for each dialect.

Dovecot 2.4 refuses the configuration language of 2.3, and the other way round.  A ``CryptModel``
describes the encryption independently of a dialect; ``render`` writes the files of one dialect.

The tests load the golden files under ``tests/unit/golden`` into the real Dovecot of each version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from mailcrypt_component.dialects.dialect import (
    LOCKED_SCRIPT,
    LOCKED_SERVICE,
    CryptModel,
    Dialect,
    DovecotFiles,
    KeyFiles,
)
from mailcrypt_component.dialects.v2_3 import Dovecot23
from mailcrypt_component.dialects.v2_4 import Dovecot24
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Renderer(Protocol):
    """What each dialect says in its own language; every method returns lines."""

    def encryption(self, public_path: str) -> list[str]:
        """Load the plugin and name the public key."""

    def private_keys(self, keys: Sequence[KeyFiles]) -> list[str]:
        """Name the private keys, the current one first."""

    def index_cache(self) -> list[str]:
        """Keep index caches in memory."""


_RENDERERS: Final[Mapping[Dialect, Renderer]] = {
    Dialect.V2_3: Dovecot23(),
    Dialect.V2_4: Dovecot24(),
}
_HEAD: Final = "# mail_crypt for Dovecot {dialect}, compiled; the next update overwrites any edit."


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
    renderer = _RENDERERS[dialect]
    plugin = renderer.encryption(model.public_path)
    private = renderer.private_keys(model.keys)
    storage = ["mail_temp_dir = /tmp"]  # A tmpfs in our containers.
    if model.index_cache is IndexCache.MEMORY:
        storage += renderer.index_cache()
    if model.custody is not Custody.MEMORY:
        return DovecotFiles(
            crypt=_text(dialect, [*plugin, *private]),
            storage=_text(dialect, storage),
            private="",
        )
    unlocked = _text(dialect, [*private, *_OPEN])
    folder = model.keys[0].private_path.rpartition("/")[0]
    path = f"{folder}/{hashlib.sha256(unlocked.encode()).hexdigest()[:12]}.conf"
    locked = [*storage, *_LOCKED, f"!include_try {path}"]
    return DovecotFiles(_text(dialect, plugin), _text(dialect, locked), unlocked, path)


def _text(dialect: Dialect, lines: Sequence[str]) -> str:
    return "\n".join([_HEAD.format(dialect=dialect.value), *lines, ""])


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
