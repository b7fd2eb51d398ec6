"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")


def stack_option(text: str, *, required: bool = False) -> Callable[[_F], _F]:
    """Add --stack and --server to a command.

    Args:
        text: What the command does with the stack, for the help.
        required: Whether the command works on nothing but a stack.

    """
    stack = click.option("--stack", required=required, help=text)
    server = click.option("--server", help="The server, where the stack holds several.")
    return lambda command: stack(server(command))


def require_one(what: str, path: str | None, stack: str | None, server: str | None) -> None:
    """Refuse a command line that names neither or both of a path and a stack.

    Raises:
        click.UsageError: It does, or it names a server without a stack.

    """
    if (path is None) == (stack is None):
        raise click.UsageError(f"give either {what} or --stack")
    if server and not stack:
        raise click.UsageError("--server needs --stack")
