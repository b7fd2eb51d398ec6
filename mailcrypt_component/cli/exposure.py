"""``mailcrypt exposure``: what whoever takes the server's disk can read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.exposure.finding import Exposed, Finding, Grade, grade_of
from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.cli.stack_state import DeployedServer

EXPOSED, NOT_KNOWN = 1, 2
_SECONDS = 120.0


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option(
    "--fail-on",
    type=click.Choice(["open", "leaking"]),
    default="open",
    show_default=True,
    help="The mildest grade that exits with 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def exposure(stack: str, server: str | None, fail_on: str, as_json: bool) -> None:
    """Show what whoever takes the disk of the server's host can read.

    The running server is looked at as it is, and so is the Pulumi state where it lies on this
    host.  Grades: closed (neither mail nor key; metadata may be readable), leaking (text of some
    mail), open (a private key, and so all mail), not known (something could not be looked at).

    Exit codes: 0 below --fail-on; 1 at or above it; 2 not known.
    """
    from mailcrypt_component.cli.stack_state import deployed_server  # noqa: PLC0415

    try:
        found = findings_of(deployed_server(stack, server))
    except MailCryptError as error:
        click.echo(f"could not find out: {error}", err=True)
        sys.exit(NOT_KNOWN)
    grade = grade_of(found)
    if as_json:
        facts = {"grade": grade.value, "findings": [finding.as_json() for finding in found]}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(_table(found, grade))
    if grade is Grade.UNKNOWN:
        sys.exit(NOT_KNOWN)
    if grade is Grade.OPEN or (grade is Grade.LEAKING and fail_on == "leaking"):
        sys.exit(EXPOSED)


def findings_of(server: DeployedServer) -> tuple[Finding, ...]:
    """Look at a deployed server and at the stack's state.

    Raises:
        UnreachableError: The engine or the server did not answer.

    """
    from mailcrypt_component.checks.server_state import require_running  # noqa: PLC0415
    from mailcrypt_component.docker_api.address import is_local  # noqa: PLC0415
    from mailcrypt_component.exposure.findings import judge  # noqa: PLC0415
    from mailcrypt_component.exposure.managers import judge_managers  # noqa: PLC0415
    from mailcrypt_component.exposure.pulumi_state import judge_state  # noqa: PLC0415
    from mailcrypt_component.exposure.survey import survey  # noqa: PLC0415

    container = require_running(server.target, hint=server.command("repair")).container
    found = judge(survey(container, timeout=_SECONDS), server.target.public_pems)
    state = judge_state(
        on_this_host=is_local(server.docker_host), public_only=not server.target.private
    )
    swarm = server.target.swarm
    managers = (judge_managers(swarm),) if swarm else ()
    return (*found, *managers, state)


def _table(findings: Sequence[Finding], grade: Grade) -> str:
    order = list(Exposed)
    lines = []
    for finding in sorted(findings, key=lambda one: -order.index(one.exposed)):
        lines.append(f"{finding.exposed.value:<10} {finding.part:<18} {finding.seen}")
        if finding.change and finding.exposed not in {Exposed.NOTHING, Exposed.METADATA}:
            lines.append(f"{'':<29} change: {finding.change}")
    return "\n".join([*lines, "", f"grade: {grade.value}"])
