"""Dovecot 2.4: settings at the top level, and a section for each private key.

Source: Dovecot's documentation of the plugin ``mail_crypt`` for 2.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.dialects.dialect import CACHE_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.dialects.dialect import KeyFiles


class Dovecot24:
    """Renders the language of Dovecot 2.4."""

    def encryption(self, public_path: str) -> list[str]:
        """Return the lines that load the plugin and name the public key."""
        return [
            "mail_plugins {",
            "  mail_crypt = yes",
            "}",
            f"crypt_global_public_key_file = {public_path}",
            "crypt_write_algorithm = aes-256-gcm-sha256",
        ]

    def private_keys(self, keys: Sequence[KeyFiles]) -> list[str]:
        """Return the lines that name the private keys, each in a section of its own."""
        return [
            line
            for key in keys
            for line in (
                f"crypt_global_private_key {key.name} {{",
                f"  crypt_private_key_file = {key.private_path}",
                "}",
            )
        ]

    def index_cache(self) -> list[str]:
        """Return the lines that keep index caches in memory."""
        return [f"mail_cache_path = {CACHE_DIR}/%{{user}}"]
