"""``mailcrypt verify`` proves a server again, from any machine that reaches its engine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mailcrypt_component.checks.server_state import require_running
from mailcrypt_component.checks.verdict import Verdict, prove, verdict_of
from mailcrypt_component.cli.exposure import findings_of
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.stack_state import deployed_server
from mailcrypt_component.exposure.finding import grade_of
from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.evidence import Check

NOT_PROVEN, NOT_KNOWN = 1, 2


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the evidence as JSON.")
def verify(stack: str, server: str | None, as_json: bool) -> None:
    """Prove that the server encrypts mail to the current key and can read it.

    Sends one probe mail through Postfix and stores one through IMAP.  Both must be encrypted
    to the current key on disk, appear nowhere in clear, and be readable through IMAP.  The
    verdict is kept for 'mailcrypt status'.

    Exit codes: 0 proven; 1 not proven: stopped, not as declared, not encrypted or not readable; 2
    removed, or could not find out.
    """
    held: list[Check] = []
    try:
        deployed = deployed_server(stack, server)
        target = deployed.target
        require_running(target, hint=deployed.command("repair"))
        show = held.append if as_json else _show
        evidence = prove(target, show, unrecorded=_warn)
        exposed = findings_of(deployed) if as_json else ()
    except MailCryptError as error:
        _fail(error, held, as_json=as_json)
    if as_json:
        facts = {"verdict": "proven", **evidence.as_json()}
        findings = {"grade": grade_of(exposed), "findings": [one.as_json() for one in exposed]}
        click.echo(json.dumps({**facts, "exposure": findings}, indent=2))
    else:
        click.echo(f"{evidence.verdict}: mail is encrypted to key {evidence.key_id}")


def _show(check: Check) -> None:
    click.echo(f"{check.seconds:6.2f} s  {check}")


def _warn(error: MailCryptError) -> None:
    click.echo(f"warning: the verdict was not recorded for 'mailcrypt status': {error}", err=True)


def _fail(error: MailCryptError, held: list[Check], *, as_json: bool) -> None:
    verdict = verdict_of(error)
    if as_json:
        facts = {
            "verdict": verdict,
            "found": error.found,
            "where": error.where,
            "expected": error.expected,
            "hint": error.hint,
            "checks": [asdict(check) for check in held],
        }
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{verdict}: {error}", err=True)
    sys.exit(NOT_PROVEN if verdict is Verdict.NOT_PROVEN else NOT_KNOWN)
