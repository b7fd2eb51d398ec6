"""``mailcrypt repair``: bring back what was removed or damaged behind Pulumi's back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from mailcrypt_component.checks.placed import placed
from mailcrypt_component.checks.server_state import (
    NotRunningError,
    ServerGoneError,
    ask_server_state,
    require_running,
)
from mailcrypt_component.checks.verdict import prove
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.stack_state import read_state
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model.custody import Custody
from mailcrypt_component.model.errors import (
    CustodyError,
    MailCryptError,
    ProofError,
    UnreachableError,
)
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, private_path

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target
    from mailcrypt_component.cli.stack_state import DeployedServer, StackState

FAILED: Final = 2
_SECONDS: Final = 20.0
_STUCK: Final = ("paused", "restarting")
_CONTAINER: Final = "docker:index/container:Container"
_SERVICE: Final = "docker:index/service:Service"


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option("--yes", is_flag=True, help="Update without asking.")
@click.option("--config-file", help="The stack's configuration file, as 'pulumi up' takes it.")
def repair(stack: str, server: str | None, yes: bool, config_file: str | None) -> None:
    """Bring back a server that was removed, stopped or damaged.

    Proves the server first, then runs 'pulumi up --refresh', which creates again whatever is
    missing.  If the proof fails, a key file is missing, or the container is paused or starts
    again and again, it replaces the container by a new one of the same image.  Volumes, and the
    mail in them, stay as they are.

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
    click.echo(f"proving {server.title}", err=True)
    try:
        server = replace(server, target=placed(server.target))
        container = require_running(server.target).container
        _require_key_files(container, server)
        evidence = prove(server.target)
    except NotRunningError as error:
        # A refresh sees no difference in a container that is paused or starts again and again.
        replaced = _is_stuck(server.target)
        verb = "replaces it" if replaced else "brings it back"
        click.echo(f"{error.where}: {error.found}; the update {verb}", err=True)
        return ["--replace", _urn(state, server)] if replaced else []
    except (ServerGoneError, CustodyError) as error:
        click.echo(f"{error.where}: {error.found}; the update brings it back", err=True)
        return []
    except ProofError as error:
        click.echo(f"{error}\nthe update replaces the container", err=True)
        return ["--replace", _urn(state, server)]
    click.echo("it is proven; the update brings back what else is missing", err=True)
    if evidence.locked:
        click.echo(f"it is locked; to unlock it: {server.command('unlock')}", err=True)
    return []


def _is_stuck(target: Target) -> bool:
    """Tell whether the container is there, and will not run again by itself."""
    try:
        return ask_server_state(target).status in _STUCK
    except ServerGoneError:
        return False


def _require_key_files(container: Container, server: DeployedServer) -> None:
    """Look for the key files in the container: Dovecot runs without them until it restarts.

    Raises:
        ProofError: One is not there.

    """
    private = () if server.target.custody is Custody.MEMORY else server.key_names
    paths = [PUBLIC_KEY_PATH, *map(private_path, private)]
    script = 'for file; do [ -s "$file" ] || echo "$file"; done'
    found = execute(container, ["sh", "-c", script, "sh", *paths], timeout=_SECONDS)
    if missing := found.stdout.decode().split():
        raise ProofError(f"missing: {', '.join(missing)}", where=f"container {container.name}")


def _urn(state: StackState, server: DeployedServer) -> str:
    for one in state.children(server, _SERVICE if server.target.swarm else _CONTAINER):
        if server.target.swarm or one.get("id") == server.target.container:
            return str(one["urn"])
    raise UnreachableError(
        "the state does not hold its container",
        where=server.title,
        hint=f"pulumi up --stack {server.stack}",
    )
