"""Removes the files of a former ring or former settings, once the new server is proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.custody.keeper import declared_name, find_keeper, ring_of
from mailcrypt_component.checks.server_state import find_container
from mailcrypt_component.docker_api.connect import client_of
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.key_ring import private_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target

_SECONDS: Final = 300.0
_REMOVE_CACHES: Final = f"""
set -eu
find {dms.MAIL_DIR} -mindepth 3 -xdev \\( -name cur -o -name new -o -name tmp \\) -prune \\
  -o -type f -name dovecot.index.cache -print -exec rm -f -- {{}} +
"""
"""The search skips the folders of mails, which may be huge, three levels down."""


def tidy(target: Target) -> str:
    """Remove former keys from memory and former index caches from the disk.

    Args:
        target: The server, which was proven.  Custody in memory removes the keys that its ring
            file does not name; an index cache in memory removes the caches on the mail volume.

    Returns:
        One line about what was removed; empty if there was nothing.

    Raises:
        CustodyError: The keeper is missing.
        UnreachableError: The engine did not answer, or something could not be removed.

    """
    running = find_container(target)
    removed = []
    if target.custody is Custody.MEMORY:
        keys = _remove_keys(find_keeper(client_of(running), declared_name(running)), running)
        removed += _counted(keys, "file of a former ring", "files of a former ring")
    if target.index_cache is IndexCache.MEMORY:
        caches = _run(running, ["sh", "-c", _REMOVE_CACHES])
        removed += _counted(caches, "former index cache", "former index caches")
    return f"removed {' and '.join(removed)}" if removed else ""


def _remove_keys(keeper: Container, server: Container) -> Sequence[str]:
    """Remove every key and configuration that the server's ring file does not name."""
    ring = ring_of(server)
    kept = [ring.configuration_path, *(private_path(name) for name, _ in ring.keys)]
    others = [word for path in kept for word in ("!", "-path", path)]
    kinds = ["(", "-name", "*.pem", "-o", "-name", "*.conf", ")"]
    argv = ["find", dms.CERTS_DIR, "-maxdepth", "1", "-type", "f", *kinds, *others]
    return _run(keeper, [*argv, "-print", "-delete"])


def _run(container: Container, argv: Sequence[str]) -> Sequence[str]:
    done = execute(container, argv, timeout=_SECONDS)
    if done.exit_code:
        raise UnreachableError(
            done.complaint,
            where=f"{argv[0]} in container {container.name}",
            expected="former keys and index caches removed",
        )
    return done.stdout.decode(errors="replace").splitlines()


def _counted(found: Sequence[str], one: str, many: str) -> list[str]:
    if not found:
        return []
    return [f"{len(found)} {one if len(found) == 1 else many}"]
