"""The command ``mailcrypt``.

A command is imported when it is called: one that only reads files starts
without the libraries of one that talks to a Docker host.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = (
    "status",
    "verify",
    "repair",
    "unlock",
    "lock",
    "exposure",
    "inspect",
    "audit",
    "escrow",
    "drill",
    "recover",
    "encrypt",
    "adopt",
)
"""In the order of the help; each is a module of this package and a function of its name."""


class _Commands(click.Group):
    """Finds each command in the module of its name."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), name)
        return command


@click.command(cls=_Commands)
@click.version_option(package_name="mailcrypt-component")
def main() -> None:
    """Look after a mail server whose stored mail is encrypted."""
