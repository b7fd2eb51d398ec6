"""``mailcrypt recover`` writes stored mail in the clear, without Dovecot."""

from __future__ import annotations

import json
import sys

import click

from mailcrypt_component.cli.keys import keys_from
from mailcrypt_component.cli.progress import Progress
from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.store.local.walk import number_of_files
from mailcrypt_component.store.recover import Layout, Recovery
from mailcrypt_component.store.recover import recover as bring_back

SOME_MISSING, FAILED = 1, 2


@click.command()
@click.argument("store", type=click.Path())
@click.option("--key", "key_files", multiple=True, help="A private key in PEM; repeatable.")
@click.option("--escrow", help="An escrow file (mailcrypt escrow).")
@click.option("--passphrase-file", help="A file with the passphrase; prompts by default.")
@click.option("--out", required=True, type=click.Path(), help="The directory to write to.")
@click.option(
    "--format",
    "layout",
    type=click.Choice([layout.value for layout in Layout]),
    default=Layout.MAILDIR.value,
    show_default=True,
    help="maildir keeps names, flags and times; eml is one file a mail, mbox one a folder.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Number of processes; one for each core by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def recover(
    store: str,
    key_files: tuple[str, ...],
    escrow: str | None,
    passphrase_file: str | None,
    out: str,
    layout: str,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Write the mail of STORE in the clear to a directory.

    STORE is a Maildir or a directory of many, such as a copy of /var/mail; it is not
    changed.  A run that was stopped continues where it stopped when it is repeated.
    Mail that was in clear is copied, compressed mail is decompressed.

    Exit codes: 0 every mail was recovered (an empty Maildir has none); 1 some was not (it is
    listed, with the key id that it needs); 2 it could not run, or there is no Maildir.
    """
    try:
        keys = keys_from(key_files, escrow, passphrase_file)
        if not keys:
            raise click.UsageError("name a --key or an --escrow")
        with Progress("mails") as progress:
            progress.expect(lambda: number_of_files(store))
            found = bring_back(
                store,
                out,
                keys,
                layout=Layout(layout),
                workers=jobs,
                progress=progress.callback,
            )
    except MailCryptError as error:
        click.echo(f"could not recover: {error}", err=True)
        sys.exit(FAILED)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else _told(found, out))
    if found.lost:
        sys.exit(SOME_MISSING)


def _told(found: Recovery, out: str) -> str:
    lines = [f"mails recovered to {out}: {found.recovered}"]
    if found.copied_clear:
        lines.append(f"of these in clear before: {found.copied_clear}")
    if found.there_already:
        lines.append(f"recovered by an earlier run: {found.there_already}")
    lines += [f"not recovered, key {key} is needed: {n}" for key, n in found.missing.items()]
    lines += [f"not recovered, {why}: {number}" for why, number in found.failed.items()]
    lines += [f"  {path}: {why}" for path, why in found.examples]
    return "\n".join(lines)
