"""Reads private keys and passphrases for commands that open mail; never from an argument."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailcrypt_component.dcrypt.keys import is_encrypted, load_keys
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from mailcrypt_component.dcrypt.keys import PrivateKey


def keys_from(
    key_files: tuple[str, ...], escrow: str | None, passphrase_file: str | None
) -> dict[str, PrivateKey]:
    """Return the keys of all these files by key id; ask for a passphrase if one is needed.

    Raises:
        KeyFault: A file cannot be read, or holds no key.

    """
    found: dict[str, PrivateKey] = {}
    for path in (*key_files, *filter(None, [escrow])):
        text = read_text(path)
        passphrase = None
        if is_encrypted(text):
            passphrase = read_passphrase(passphrase_file, f"Passphrase of {path}")
        found |= load_keys(text, passphrase, where=path)
    return found


def read_text(path: str) -> str:
    """Return a key file's text.

    Raises:
        KeyFault: It cannot be read.

    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise KeyFault(error.strerror or "cannot be read", where=path) from None
    except UnicodeDecodeError:
        raise KeyFault("not a text", where=path, expected="keys in PEM") from None


def read_passphrase(path: str | None, prompt: str, *, twice: bool = False) -> bytes:
    """Return a passphrase from the first line of a file, or from the terminal.

    Raises:
        KeyFault: The file cannot be read, or there is neither file nor terminal.

    """
    if path:
        lines = read_text(path).splitlines()
        return (lines[0] if lines else "").encode()
    if not sys.stdin.isatty():
        raise KeyFault(
            "no terminal to ask for the passphrase",
            where="passphrase",
            expected="a terminal or --passphrase-file",
            hint="--passphrase-file /dev/stdin reads it from a pipe",
        )
    typed: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return typed.encode()
