"""``mailcrypt repair``: bring back what was removed or damaged behind Pulumi's back."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import click

from mailcrypt_component.checks.server_state import (
    NotRunningError,
    ServerGoneError,
    require_running,
)
from mailcrypt_component.checks.verdict import prove
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.stack_state import read_state
from mailcrypt_component.model.errors import MailCryptError, ProofError, UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.cli.stack_state import DeployedServer, StackState

FAILED: Final = 2
_CONTAINER: Final = "docker:index/container:Container"


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--config-file", help="The stack's configuration, where 'pulumi up' is given one.")
def repair(stack: str, server: str | None, yes: bool, config_file: str | None) -> None:
    """Bring back a server that was removed, stopped or damaged.

    Proves the server first.  Then runs 'pulumi up --refresh', which makes anew what is
    gone; a container whose proof fails is replaced by a new one of the same image, with its
    configuration and keys.  Volumes, and the mail in them, are left as they are.

    Exit codes: 0 repaired and proven; 1 the update failed; 2 could not find out what is
    wrong, nothing was changed.
    """
    try:
        state = read_state(stack)
        options = _replacing(state, state.server(server))
    except MailCryptError as error:
        click.echo(f"nothing was changed: {error}", err=True)
        sys.exit(FAILED)
    if yes:
        options += ["--yes", "--skip-preview"]
    if config_file:
        options += ["--config-file", config_file]
    command = ["pulumi", "up", "--refresh", "--stack", stack, *options]
    sys.exit(1 if subprocess.run(command, check=False).returncode else 0)  # noqa: S603


def _replacing(state: StackState, server: DeployedServer) -> list[str]:
    """Return the options that replace a damaged container; none where a refresh is enough.

    Raises:
        UnreachableError: It could not be found out what is wrong.

    """
    click.echo(f"looking at {server.title}", err=True)
    try:
        require_running(server.target)
        prove(server.target)
    except (ServerGoneError, NotRunningError) as error:
        click.echo(f"{error.where}: {error.found}; the update makes a new one", err=True)
        return []
    except ProofError as error:
        click.echo(f"{error}\nthe update replaces the container", err=True)
        return ["--replace", _urn(state, server)]
    click.echo("the server is proven; the update brings back what else is missing", err=True)
    return []


def _urn(state: StackState, server: DeployedServer) -> str:
    container = state.child(server, _CONTAINER)
    if container is None:
        raise UnreachableError(
            "the state holds no container",
            where=server.title,
            hint=f"pulumi up --stack {server.stack}",
        )
    return str(container["urn"])
