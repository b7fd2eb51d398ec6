"""``mailcrypt escrow``: put the ring away."""

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
@click.option("--passphrase-file", help="Where the passphrase stands; else it is asked for.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
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
                "there is a file already", where=out, hint="choose another name, or --force"
            )
        state = read_state(stack)
        keys = private_keys(state, state.server(server))
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
    click.echo(f"written to {out}; prove it: mailcrypt drill --escrow {out} --stack {stack}")


def _write(path: Path, text: str) -> None:
    """Write it whole or not at all, readable by its owner alone."""
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
