"""Compile what is wanted into Dovecot's own words, one renderer per dialect.

Dovecot 2.4 changed the configuration language in ways that 2.3 refuses, and
the other way round.  A :class:`CryptModel` says what is wanted; ``render``
writes the ``10-custom.conf`` of one dialect.  Nothing here knows a server.

Sources: Dovecot's ``mail_crypt`` plugin documentation for 2.3 and for 2.4; the
golden files under ``tests/unit/golden`` are loaded by the real Dovecot of each
version in the tests.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from mailcrypt_component.model.errors import SettingsError


class Dialect(StrEnum):
    """A Dovecot configuration language, named by the version that speaks it."""

    V2_3 = "2.3"
    V2_4 = "2.4"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """One key of the ring as Dovecot sees it: a name and a private key file."""

    name: str
    private_path: str


@dataclass(frozen=True, slots=True)
class CryptModel:
    """What is wanted, in no dialect: every key, and where the current public one is.

    ``keys`` is newest first; its first entry is the current key.
    """

    keys: tuple[KeyFiles, ...]
    public_path: str


def render(model: CryptModel, dialect: Dialect) -> str:
    """Write the ``10-custom.conf`` text for one dialect, ending in a newline.

    Args:
        model: At least one key.
        dialect: The language of the Dovecot that will read it.

    Returns:
        The text.  It holds paths, never a key.

    Raises:
        SettingsError: The model has no key.

    """
    if not model.keys:
        raise SettingsError(
            "the key ring is empty",
            where="keys",
            expected="at least one key",
            hint="name one key, for instance keys: [{name: k1}]",
        )
    body = _RENDERERS[dialect](model)
    return "\n".join([_HEAD.format(dialect=dialect.value), *body, ""])


_HEAD = "# mail_crypt for Dovecot {dialect}, compiled; edits are lost at the next update."


def _render_2_3(model: CryptModel) -> list[str]:
    names = ["mail_crypt_global_private_key"] + [
        f"mail_crypt_global_private_key{number}" for number in range(2, len(model.keys) + 1)
    ]
    return [
        "mail_plugins = $mail_plugins mail_crypt",
        "plugin {",
        f"  mail_crypt_global_public_key = <{model.public_path}",
        *(
            f"  {setting} = <{key.private_path}"
            for setting, key in zip(names, model.keys, strict=True)
        ),
        "  mail_crypt_save_version = 2",
        "}",
    ]


def _render_2_4(model: CryptModel) -> list[str]:
    lines = [
        "mail_plugins {",
        "  mail_crypt = yes",
        "}",
        f"crypt_global_public_key_file = {model.public_path}",
        "crypt_write_algorithm = aes-256-gcm-sha256",
    ]
    for key in model.keys:
        lines += [
            f"crypt_global_private_key {key.name} {{",
            f"  crypt_private_key_file = {key.private_path}",
            "}",
        ]
    return lines


_RENDERERS = {Dialect.V2_3: _render_2_3, Dialect.V2_4: _render_2_4}


def digest(text: str) -> str:
    """Return the SHA-256 of a configuration text, as 64 lower-case hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_version(version: str) -> Dialect:
    """Tell which dialect a Dovecot speaks from what ``dovecot --version`` prints.

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
