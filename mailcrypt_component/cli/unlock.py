"""``mailcrypt unlock``: bring the private keys to a locked server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mailcrypt_component.cli.keys import keys_from
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.where import container_option, find_container_name
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import CustodyError, MailCryptError

if TYPE_CHECKING:
    from mailcrypt_component.dcrypt.keys import PrivateKey

REFUSED, FAILED = 1, 2


@click.command()
@stack_option("The stack that runs the server; its key ring is used unless keys are given.")
@click.option("--escrow", help="An escrow file (mailcrypt escrow): the whole ring.")
@click.option("--key", "key_files", multiple=True, help="A private key in PEM; repeatable.")
@click.option("--passphrase-file", help="The file with the passphrase; else you are asked.")
@container_option
def unlock(
    stack: str | None,
    server: str | None,
    escrow: str | None,
    key_files: tuple[str, ...],
    passphrase_file: str | None,
    docker_host: str | None,
    container: str | None,
) -> None:
    """Unlock a server whose private keys are not there, as after a reboot of its host.

    The keys go straight into the server's memory and onto no disk.  With --stack they come from
    the stack's state, or from --escrow if its ring holds public keys only.  Without --stack
    nothing but the Docker engine is needed: --escrow, and --docker-host for another machine.

    Exit codes: 0 unlocked; 1 refused, and nothing was unlocked: other keys, no running server or
    keeper, or a server whose keys are on disk; 2 it could not be done.
    """
    from mailcrypt_component.custody.unlock import unlock_running  # noqa: PLC0415

    try:
        keys = keys_from(key_files, escrow, passphrase_file)
        if stack is None:
            if not keys:
                raise click.UsageError("give --stack, or the keys by --escrow or --key")
            host = DockerHost(docker_host)
            name = find_container_name(host, container)
        else:
            host, name, ring = _of_stack(stack, server, wanted=not keys)
            keys = keys or ring
        click.echo(unlock_running(host, name, keys))
    except CustodyError as error:
        click.echo(f"refused: {error}", err=True)
        sys.exit(REFUSED)
    except MailCryptError as error:
        click.echo(f"not unlocked: {error}", err=True)
        sys.exit(FAILED)


def _of_stack(
    stack: str, server: str | None, *, wanted: bool
) -> tuple[DockerHost, str, dict[str, PrivateKey]]:
    """Return a stack's engine, container and, if they are wanted, private keys by id."""
    from mailcrypt_component.cli.ring import private_keys  # noqa: PLC0415
    from mailcrypt_component.cli.stack_state import read_state  # noqa: PLC0415

    state = read_state(stack)
    deployed = state.running(server)
    ring = private_keys(state, deployed) if wanted else []
    keys = {key.key_id: key.key for key in ring}
    return deployed.docker_host, deployed.container_name, keys
