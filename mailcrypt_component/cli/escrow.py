"""``mailcrypt escrow`` writes the key ring into a file that a passphrase protects."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click

from mailcrypt_component.cli.keys import read_passphrase
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.ring import private_keys
from mailcrypt_component.cli.stack_state import read_state
from mailcrypt_component.dcrypt.escrow import write_escrow
from mailcrypt_component.model.errors import KeyFault, MailCryptError

FAILED = 2


@click.command()
@stack_option("The Pulumi stack whose server's keys are written.", required=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file to write.")
@click.option(
    "--passphrase-file",
    help="Read the passphrase from this file's first line; otherwise you are asked for it.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def escrow(
    stack: str,
    server: str | None,
    out: str,
    passphrase_file: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the stack's ring into one passphrase-protected file.

    The file is text: each key in PEM as openssl reads it, with its name and id in
    clear beside, and how to open it.  Keep it apart from the mail.  Prove it with
    'mailcrypt drill'.

    Exit codes: 0 written and read back; 2 nothing was written.
    """
    path = Path(out)
    try:
        if path.exists() and not force:
            raise KeyFault(
                "there is a file already", where=out, hint="choose another name, or give --force"
            )
        state = read_state(stack)
        deployed = state.server(server)
        keys = private_keys(state, deployed)
        passphrase = read_passphrase(passphrase_file, "Passphrase for the escrow", twice=True)
        text = write_escrow(keys, passphrase, stack, time.time())
        _write(path, text)
    except MailCryptError as error:
        click.echo(f"nothing was written: {error}", err=True)
        sys.exit(FAILED)
    facts = [{"name": key.name, "key_id": key.key_id} for key in keys]
    if as_json:
        click.echo(json.dumps({"file": out, "stack": stack, "keys": facts}, indent=2))
        return
    for key in keys:
        click.echo(f"key {key.name}  {key.key_id}")
    click.echo(f"written to {out}; to prove it: {deployed.command('drill')} --escrow {out}")


def _write(path: Path, text: str) -> None:
    """Write the file completely or not at all, readable by its owner alone."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.rename(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise KeyFault(error.strerror or "cannot be written", where=str(path)) from None
