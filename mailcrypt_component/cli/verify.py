"""``mailcrypt verify``: the proof, any time, from any machine that reaches the Docker host."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mailcrypt_component.checks.proof.run import coverage_of
from mailcrypt_component.checks.proof.run import verify as prove
from mailcrypt_component.checks.proof.target import Target, target_of
from mailcrypt_component.cli.stack_outputs import stack_outputs
from mailcrypt_component.model.errors import MailCryptError, ProofError

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.evidence import Check

NOT_PROVEN, NOT_KNOWN = 1, 2


@click.command()
@click.option("--stack", required=True, help="The Pulumi stack that runs the server.")
@click.option("--json", "as_json", is_flag=True, help="Print the evidence as JSON.")
def verify(stack: str, as_json: bool) -> None:
    """Prove that the server stores mail encrypted to the current key, and readable.

    One probe mail goes in through Postfix and one through IMAP; both must lie on
    disk encrypted to the current key, nowhere in clear, and come back.

    Exit codes: 0 proven; 1 not encrypted or not readable; 2 could not find out.
    """
    held: list[Check] = []
    try:
        target = _target(stack)
        evidence = prove(target, held.append if as_json else _show)
        covers = [cover.as_json() for cover in coverage_of(target)] if as_json else []
    except MailCryptError as error:
        code = NOT_PROVEN if isinstance(error, ProofError) else NOT_KNOWN
        _fail(error, code, held, as_json=as_json)
    if as_json:
        facts = {"verdict": "proven", **evidence.as_json()}
        click.echo(json.dumps({**facts, "coverage": covers}, indent=2))
    else:
        click.echo(f"proven: mail is encrypted to key {evidence.key_id}")


def _target(stack: str) -> Target:
    return target_of(json.loads(stack_outputs(stack)["verifyTarget"]))


def _show(check: Check) -> None:
    click.echo(f"{check.seconds:6.2f} s  {check}")


def _fail(error: MailCryptError, code: int, held: list[Check], *, as_json: bool) -> None:
    verdict = "not proven" if code == NOT_PROVEN else "could not find out"
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
    sys.exit(code)
