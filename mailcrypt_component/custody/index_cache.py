"""Puts the newest mails of each mailbox back into a server's index cache, in the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dialects.dialect import CACHE_DIR
from mailcrypt_component.docker_api.run import start_detached

if TYPE_CHECKING:
    from docker.models.containers import Container

NEWEST: Final = 200
"""The number of mails that a mail program shows first in each mailbox."""
_PROGRAM: Final = Path(__file__).with_name("fill_cache.py")


def start_filling(server: Container) -> None:
    """Start to fill the cache in the background, if it lies in memory.

    Raises:
        UnreachableError: The program could not be started.

    """
    program = _PROGRAM.read_text(encoding="utf-8")
    start_detached(server, ["python3", "-I", "-c", program, CACHE_DIR, str(NEWEST)])
