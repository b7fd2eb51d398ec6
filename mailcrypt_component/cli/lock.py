"""``mailcrypt lock``: take the private keys away from a server."""

from __future__ import annotations

import sys

import click

from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.where import container_option, find_container_name
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import MailCryptError

FAILED = 2


@click.command()
@stack_option("The stack that runs the server.")
@container_option
def lock(
    stack: str | None, server: str | None, docker_host: str | None, container: str | None
) -> None:
    """Lock a server at once: nobody reads mail until the next unlock.

    The private keys are removed from the server's memory, and every IMAP and POP3 session ends.
    Mail is still taken and encrypted.  'mailcrypt unlock' or 'pulumi up' unlocks the server.

    Exit codes: 0 locked; 2 it could not be done.
    """
    from mailcrypt_component.custody.lock import lock as lock_server  # noqa: PLC0415

    try:
        if stack is None:
            host = DockerHost(docker_host)
            name = find_container_name(host, container)
        else:
            from mailcrypt_component.cli.stack_state import deployed_server  # noqa: PLC0415

            deployed = deployed_server(stack, server)
            host, name = deployed.docker_host, deployed.container_name
        click.echo(lock_server(host, name))
    except MailCryptError as error:
        click.echo(f"not locked: {error}", err=True)
        sys.exit(FAILED)
