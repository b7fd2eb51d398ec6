"""Dovecot 2.3: settings of the plugin ``mail_crypt`` in its ``plugin`` section.

Source: Dovecot's documentation of the plugin for 2.3, and of ``mail_location``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.dialects.dialect import CACHE_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.dialects.dialect import KeyFiles


class Dovecot23:
    """Renders the language of Dovecot 2.3."""

    def encryption(self, public_path: str) -> list[str]:
        """Return the lines that load the plugin and name the public key."""
        return [
            "mail_plugins = $mail_plugins mail_crypt",
            "plugin {",
            f"  mail_crypt_global_public_key = <{public_path}",
            "  mail_crypt_save_version = 2",
            "}",
        ]

    def private_keys(self, keys: Sequence[KeyFiles]) -> list[str]:
        """Return the lines that name the private keys; from the second on they are numbered."""
        names = ["mail_crypt_global_private_key"] + [
            f"mail_crypt_global_private_key{number}" for number in range(2, len(keys) + 1)
        ]
        named = zip(names, keys, strict=True)
        return ["plugin {", *(f"  {name} = <{key.private_path}" for name, key in named), "}"]

    def index_cache(self) -> list[str]:
        """Return the lines that keep index caches in memory.

        Nothing can extend ``mail_location``, so DMS's own value is repeated here.
        """
        return [f"mail_location = maildir:/var/mail/%d/%n:INDEXCACHE={CACHE_DIR}/%u"]
