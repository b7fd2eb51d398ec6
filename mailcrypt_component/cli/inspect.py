"""``mailcrypt inspect`` shows how single files are encrypted."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any

import click

from mailcrypt_component.cli.keys import keys_from
from mailcrypt_component.dcrypt.compression import method_of
from mailcrypt_component.dcrypt.decrypt import decrypt
from mailcrypt_component.dcrypt.header import HEADER_LIMIT, Header, NotEncrypted, parse_header
from mailcrypt_component.model.errors import FormatError, MailCryptError
from mailcrypt_component.store.maildir import shown

NOT_ENCRYPTED, NOT_READ = 1, 2


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--key",
    "key_files",
    multiple=True,
    help="A file with private keys in PEM to try; may be repeated.",
)
@click.option("--escrow", help="An escrow file with keys to try.")
@click.option(
    "--passphrase-file",
    help="Read the passphrase from this file's first line; otherwise you are asked for it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def inspect(
    files: tuple[str, ...],
    key_files: tuple[str, ...],
    escrow: str | None,
    passphrase_file: str | None,
    as_json: bool,
) -> None:
    """Show whether FILES are encrypted, how, and to which keys.

    With --key or --escrow each file is decrypted completely, which checks its tag, and the
    compression inside is shown.  No mail is shown or written.

    Exit codes: 0 all files are encrypted (and the given keys open them); 1 one is in clear,
    is damaged or does not open; 2 one could not be read.
    """
    try:
        keys = keys_from(key_files, escrow, passphrase_file)
    except MailCryptError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_READ)
    found = [_inspect(file, keys) for file in files]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for facts in found:
            click.echo(_told(facts))
    states = {facts["state"] for facts in found} | {facts.get("opens", True) for facts in found}
    if "unreadable" in states:
        sys.exit(NOT_READ)
    if states - {"encrypted", True}:
        sys.exit(NOT_ENCRYPTED)


def _inspect(path: str, keys: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": shown(os.fsencode(path))}
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            return {**facts, "state": "unreadable", "found": "not a regular file"}
        with os.fdopen(file, "rb") as source:
            return {**facts, "size": status.st_size, **_look(source, status.st_size, keys)}
    except OSError as error:
        return {**facts, "state": "unreadable", "found": error.strerror}


def _look(source: Any, size: int, keys: dict[str, Any]) -> dict[str, Any]:
    try:
        header = parse_header(source.read(HEADER_LIMIT))
    except NotEncrypted:
        return {"state": "clear" if size else "damaged", "found": "no magic at the start"}
    except FormatError as error:
        return {"state": "damaged", "found": error.found}
    facts = {"state": "encrypted", **_facts(header), "content_size": size - header.length}
    if keys:
        source.seek(0)
        facts |= _opened(source, keys)
    return facts


def _facts(header: Header) -> dict[str, Any]:
    return {
        "version": header.version,
        "integrity": (header.flags & ~16).name or "none",
        "cipher": header.cipher,
        "mac": header.mac,
        "rounds": header.rounds,
        "header_size": header.length,
        "key_ids": [recipient.key_id for recipient in header.recipients],
    }


def _opened(source: Any, keys: dict[str, Any]) -> dict[str, Any]:
    start, size = b"", 0
    try:
        for chunk in decrypt(source, keys):
            start, size = start or chunk[:32], size + len(chunk)
    except FormatError as error:
        return {"opens": False, "found": error.found}
    return {"opens": True, "plain_size": size, "compression": method_of(start) or "none"}


def _told(facts: dict[str, Any]) -> str:
    rest = ((name, value) for name, value in facts.items() if name not in {"file", "state"})
    lines = [f"{facts['file']}: {facts['state']}"]
    lines += [f"  {name.replace('_', ' '):<13} {_text(value)}" for name, value in rest]
    return "\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
