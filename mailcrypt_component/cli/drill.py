"""``mailcrypt drill`` proves that the keys in escrow open the stored mail."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mailcrypt_component.cli.keys import keys_from
from mailcrypt_component.cli.options import require_one, stack_option
from mailcrypt_component.cli.progress import Progress
from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.store.drill import Drill
from mailcrypt_component.store.drill import drill as try_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_PROVEN, NOT_KNOWN = 1, 2
_DAY = 86_400.0


@click.command()
@click.argument("store", required=False)
@stack_option("Take the sample from the mail of this Pulumi stack's server.")
@click.option("--escrow", required=True, help="The escrow file to prove.")
@click.option("--passphrase-file", help="A file with its passphrase; prompts by default.")
@click.option("--sample", default=20, show_default=True, help="Mails of each key id, at random.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def drill(
    store: str | None,
    stack: str | None,
    server: str | None,
    escrow: str,
    passphrase_file: str | None,
    sample: int,
    as_json: bool,
) -> None:
    """Prove that the escrow file opens the stored mail.

    Every header of the STORE (or of the stack's volume) is read.  For each key id in use,
    the newest mail of each user and a random sample are decrypted to their ends.  No mail
    is shown or written.

    Exit codes: 0 mail of each key id in use was opened; 1 some was not; 2 not known: there is
    no Maildir, no encrypted mail in it, or something could not be looked at.
    """
    require_one("STORE", store, stack, server)
    try:
        keys = keys_from((), escrow, passphrase_file)
        with _mails(store, stack, server) as (mails, fetch), Progress("mails") as progress:
            found = try_sample(progress.over(mails), fetch, keys, sample=sample)
    except MailCryptError as error:
        click.echo(f"could not find out: {error}", err=True)
        sys.exit(NOT_KNOWN)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else _told(found))
    if not found.proven:
        sys.exit(NOT_PROVEN if found.failed else NOT_KNOWN)


@contextlib.contextmanager
def _mails(store: str | None, stack: str | None, name: str | None) -> Iterator[tuple[Any, Any]]:
    """Yield every mail of a directory or a volume, and a function that fetches one."""
    if store:
        from mailcrypt_component.store.local.walk import fetch_from, mails_of  # noqa: PLC0415

        yield mails_of(store), fetch_from(store)
        return
    from mailcrypt_component.cli.stack_state import read_state  # noqa: PLC0415
    from mailcrypt_component.docker_api.connect import connect  # noqa: PLC0415
    from mailcrypt_component.store.volume.census import opened_volume  # noqa: PLC0415

    server = read_state(str(stack)).with_engine(name)
    client = connect(server.docker_host)
    with opened_volume(client, server.image, server.mail, _DAY) as volume:
        yield volume


def _told(found: Drill) -> str:
    lines = []
    for key, result in found.keys.items():
        verdict = "proven" if result.proven else "NOT PROVEN"
        lines.append(
            f"{verdict}  {key}: {result.opened} of {result.tried} opened, {result.mails} stored"
        )
        lines += [f"    {fault}" for fault in result.faults]
    if found.not_encrypted:
        lines.append(f"not encrypted to any key: {found.not_encrypted}")
    if found.not_looked_at:
        lines.append(f"not looked at (mailcrypt audit lists them): {found.not_looked_at}")
    if not found.keys:
        lines.append("NOT KNOWN  no encrypted mail is stored")
    return "\n".join(lines)
