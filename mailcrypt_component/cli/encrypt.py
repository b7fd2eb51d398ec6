"""``mailcrypt encrypt`` encrypts stored mail to the current key."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mailcrypt_component.cli.keys import keys_from
from mailcrypt_component.cli.options import require_one, stack_option
from mailcrypt_component.cli.progress import Progress
from mailcrypt_component.model.errors import KeyFault, MailCryptError
from mailcrypt_component.store.encrypt import Encryption, EncryptionJob, encrypt_store
from mailcrypt_component.store.local.files import local_files

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mailcrypt_component.cli.stack_state import DeployedServer
    from mailcrypt_component.dcrypt.keys import PrivateKey
    from mailcrypt_component.store.files import OpenFiles

NOT_ALL, FAILED = 1, 2


@click.command()
@click.argument("store", required=False, type=click.Path())
@stack_option("Encrypt the mail of this Pulumi stack's server, with the server's own keys.")
@click.option("--key", "key_files", multiple=True, help="A private key in PEM; repeatable.")
@click.option("--escrow", help="An escrow file (mailcrypt escrow): the whole ring.")
@click.option("--passphrase-file", help="A file with the passphrase; prompts by default.")
@click.option(
    "--to", "current", help="The id of the current key; needed if several keys are given."
)
@click.option("--user", "users", multiple=True, help="Only this user, as domain/user; repeatable.")
@click.option("--apply", is_flag=True, help="Encrypt; without it nothing is changed.")
@click.option("--rate", type=click.FloatRange(min=0.1), help="The most mails a second.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Number of processes; one for each core by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def encrypt(
    store: str | None,
    stack: str | None,
    server: str | None,
    key_files: tuple[str, ...],
    escrow: str | None,
    passphrase_file: str | None,
    current: str | None,
    users: tuple[str, ...],
    apply: bool,
    rate: float | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Encrypt the mail in STORE that is in clear or under a retired key to the current key.

    STORE is a Maildir or a directory of many on this machine.  With --stack it is the stack's
    mail volume, through the Docker API, and the keys are the stack's and those of --key and
    --escrow, from which all come if its ring holds public keys only.  The mail server may go on
    running.  Each mail is replaced in one step by a file with the same name, owner and time,
    after that file was decrypted and compared.  A run that was stopped loses nothing, and
    continues when it is repeated.  Mail that cannot be encrypted is left alone and listed.

    Exit codes: 0 all mail is encrypted to the current key (an empty Maildir has none); 1 some
    is not (in a dry run: there is something to encrypt); 2 it could not run, or there is no
    Maildir.
    """
    require_one("STORE", store, stack, server)
    try:
        keys = keys_from(key_files, escrow, passphrase_file)
        deployed, ring = _deployed(stack, server) if stack else (None, {})
        keys |= ring
        if deployed:
            current = current or deployed.target.key_id
        if not keys:
            raise click.UsageError("name a --key or an --escrow")
        job = EncryptionJob(keys, current or _only(list(keys)), apply=apply, users=users, rate=rate)
        with _files_of(deployed) if deployed else local_files(str(store)) as opened:
            found = _encrypt(opened, job, jobs)
    except MailCryptError as error:
        click.echo(f"stopped: {error}", err=True)
        sys.exit(FAILED)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else _told(found, apply=apply))
    if found.left or (found.encrypted and not apply):
        sys.exit(NOT_ALL)


def _encrypt(opened: OpenFiles, job: EncryptionJob, jobs: int | None) -> Encryption:
    def number() -> int:
        with opened() as files:
            return files.number_of_files()

    with Progress("mails") as progress:
        progress.expect(number)
        return encrypt_store(opened, job, workers=jobs, progress=progress.callback)


def _deployed(stack: str, name: str | None) -> tuple[DeployedServer, dict[str, PrivateKey]]:
    """Return a stack's server and its private keys by id; a ring of public keys has none."""
    from mailcrypt_component.cli.ring import private_keys  # noqa: PLC0415
    from mailcrypt_component.cli.stack_state import read_state  # noqa: PLC0415

    state = read_state(stack)
    server = state.with_engine(name)
    ring = private_keys(state, server) if server.target.private else []
    return server, {one.key_id: one.key for one in ring}


def _files_of(server: DeployedServer) -> AbstractContextManager[OpenFiles]:
    from mailcrypt_component.store.volume.files import volume_files  # noqa: PLC0415

    return volume_files(server.docker_host, server.image, server.mail)


def _only(ids: list[str]) -> str:
    if len(ids) == 1:
        return ids[0]
    raise KeyFault(f"{len(ids)} keys are given", where="--to", expected=f"one of {', '.join(ids)}")


def _told(found: Encryption, *, apply: bool) -> str:
    verb = "encrypted" if apply else "to encrypt (this is a dry run: repeat it with --apply)"
    lines = [
        f"{found.encrypted:>10}  {verb}, of these in clear before: {found.were_clear}",
        f"{found.current:>10}  encrypted to the current key already",
    ]
    if found.gone:
        lines.append(f"{found.gone:>10}  removed meanwhile")
    lines += [f"{number:>10}  left alone: {why}" for why, number in found.left.items()]
    lines += [f"            {path}: {why}" for path, why in found.examples]
    return "\n".join(lines)
