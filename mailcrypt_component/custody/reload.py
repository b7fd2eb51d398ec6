"""Reloads a running server's Dovecot without disturbing a delivery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailcrypt_component.docker_api.run import execute

if TYPE_CHECKING:
    from docker.models.containers import Container

_SECONDS: Final = 40.0
_PROGRAM: Final = Path(__file__).with_name("quiet_reload.py")


def reload_dovecot(server: Container, *, end_sessions: bool = False) -> None:
    """Reload Dovecot; ``end_sessions`` also ends every session.

    Raises:
        UnreachableError: Dovecot did not come back, or the container does not answer.

    """
    argv = ["python3", "-I", "-", *(["kick"] if end_sessions else [])]
    done = execute(server, argv, stdin=_PROGRAM.read_bytes(), timeout=_SECONDS)
    done.checked(
        where=f"reload of Dovecot in container {server.name}",
        hint=f"docker logs --tail 50 {server.name}",
    )
