"""Defines where the private keys, the index caches and the queue can be kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Custody(StrEnum):
    """The place of the private keys while the server runs."""

    MEMORY = "memory"
    """In a tmpfs volume that a keeper container holds; a reboot locks the server."""
    DISK = "disk"
    """In the container's layer, readable by root alone; the server unlocks by itself."""
    SWARM = "swarm"
    """In Swarm secrets, in memory on the node that runs the task; only with ``target: swarm``."""


class IndexCache(StrEnum):
    """The place of Dovecot's index caches, which hold subjects, addresses and snippets."""

    MEMORY = "memory"
    DISK = "disk"


class Queue(StrEnum):
    """The place of Postfix's queue, which holds each mail in clear until it is delivered."""

    DISK = "disk"
    MEMORY = "memory"


SERVER_LABEL: Final = "mailcrypt.server"
"""The label of every server's container; its value is the server's name."""

KEEPER_LABEL: Final = "mailcrypt.keeper"
"""The label of every keeper; its value is the name of the server whose keys it holds."""
