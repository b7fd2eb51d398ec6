"""What a person wants to know after ``make up``: ``python -m … STACK``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailcrypt_component.checks.verdict import Verdict
from mailcrypt_component.cli.exposure import findings_of
from mailcrypt_component.cli.stack_state import read_state
from mailcrypt_component.cli.status import look
from mailcrypt_component.exposure.finding import Exposed, grade_of
from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.cli.stack_state import DeployedServer


def summary(stack: str) -> str:
    """Return the summary of a stack whose server runs now and was proven; it shows no secret.

    Raises:
        MailCryptError: The server does not run, or was not proven since its start.

    """
    server = read_state(stack).server(None)
    judgement = look(server, count=False).judge()
    if judgement.verdict is not Verdict.PROVEN:
        raise UnreachableError(
            f"the update is done, but {judgement.why}",
            where=f"container {server.container_name}",
            expected="a server that runs and was proven since its start",
            hint=f"make {judgement.next[0]} STACK={stack}",
        )
    return "\n".join(["", "A proven, encrypted mail server is up.", *_lines(server)])


def _lines(server: DeployedServer) -> list[str]:
    target, stack = server.target, server.stack
    lines = [
        f"  container   {server.container_name}, Dovecot {target.dialect.value}",
        f"  image       {server.image}",
        f"  key id      {target.key_id}",
        f"  mail lies   {server.mail}",
        *(f"  {name:<11} {address}" for name, address in sorted(server.endpoints.items())),
        *(f"  account     {address}" for address in server.made_passwords),
    ]
    if server.made_passwords:
        lines.append(f"  password    make password STACK={stack}")
    return [*lines, *_exposed(server), f"  status      make status STACK={stack}"]


def _exposed(server: DeployedServer) -> list[str]:
    """Return the grade of what the host's disk exposes, with what makes it no better."""
    found = findings_of(server)
    grade = grade_of(found)
    harmless = {Exposed.NOTHING, Exposed.METADATA}
    parts = ", ".join(one.part for one in found if one.exposed not in harmless)
    return [
        f"  exposure    {grade.value}"
        + (f" ({parts}): {server.command('exposure')}" if parts else "")
    ]


def main(stack: str) -> None:
    """Print the summary, or the error that stands in its way."""
    try:
        print(summary(stack))
    except MailCryptError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
