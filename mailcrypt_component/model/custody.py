"""Where the private key and what lies beside the mail are kept: the choices."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Custody(StrEnum):
    """Where the private keys lie while the server runs."""

    MEMORY = "memory"
    """In a tmpfs volume that a keeper container holds; a reboot locks the server."""
    DISK = "disk"
    """In the container's layer, readable by root alone; the server unlocks by itself."""


class IndexCache(StrEnum):
    """Where Dovecot's index caches lie, which hold subjects, addresses and snippets."""

    MEMORY = "memory"
    DISK = "disk"


class Queue(StrEnum):
    """Where Postfix's queue lies, which holds each mail in clear until it is delivered."""

    DISK = "disk"
    MEMORY = "memory"


SERVER_LABEL: Final = "mailcrypt.server"
"""On every server's container; its value is the server's name."""

KEEPER_LABEL: Final = "mailcrypt.keeper"
"""On every keeper; its value is the name of the server that it keeps the keys of."""
