"""``mailcrypt coverage``: what is encrypted, what is not, and what would change it."""

from __future__ import annotations

import json
import sys

import click

from mailcrypt_component.checks.proof.run import coverage_of
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.stack_state import deployed_server
from mailcrypt_component.model.errors import MailCryptError

NOT_ENCRYPTED, NOT_KNOWN = 1, 2


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def coverage(stack: str, server: str | None, as_json: bool) -> None:
    """Show what of the server's data is encrypted, as it is configured now.

    mail_crypt encrypts mails.  What lies beside them (index cache, full-text index, queue,
    sieve, logs) it does not; this looks at each, and names the setting that would
    change it.

    Exit codes: 0 mails and attachments are encrypted; 1 they are not; 2 could not find out.
    """
    try:
        found = coverage_of(deployed_server(stack, server).target)
    except MailCryptError as error:
        click.echo(f"could not find out: {error}", err=True)
        sys.exit(NOT_KNOWN)
    if as_json:
        click.echo(json.dumps({"coverage": [cover.as_json() for cover in found]}, indent=2))
    else:
        for cover in found:
            click.echo(
                f"{'encrypted' if cover.encrypted else 'NOT':<7} {cover.part:<16} {cover.seen}"
            )
            if cover.change:
                click.echo(f"{'':<24} change: {cover.change}")
    if not all(cover.encrypted for cover in found if cover.part in {"mails", "attachments"}):
        sys.exit(NOT_ENCRYPTED)
