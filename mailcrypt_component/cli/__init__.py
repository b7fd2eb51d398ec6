"""The command ``mailcrypt``."""

import click

from mailcrypt_component.cli.verify import verify


@click.group()
def main() -> None:
    """Look after a mail server whose stored mail is encrypted."""


main.add_command(verify)
