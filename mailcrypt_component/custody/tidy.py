"""Removes the files of a former ring or former settings, once the new server is proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.custody.keeper import declared_name, find_keeper, ring_of
from mailcrypt_component.docker_api.connect import client_of
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.key_ring import private_path
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

_SECONDS: Final = 300.0
_REMOVE_CACHES: Final = f"""
set -eu
find {dms.MAIL_DIR} -mindepth 3 -xdev \\( -name cur -o -name new -o -name tmp \\) -prune \\
  -o -type f -name dovecot.index.cache -print -exec rm -f -- {{}} +
"""
"""The search skips the folders of mails, which may be huge, three levels down."""


def tidy(server: Container, custody: Custody, index_cache: IndexCache) -> str:
    """Remove former keys from memory and former index caches from the disk.

    Args:
        server: The running server, which was proven.
        custody: In memory, the keys that its ring file does not name are removed.
        index_cache: In memory, the caches on the mail volume are removed.

    Returns:
        One line about what was removed; empty if there was nothing.

    Raises:
        CustodyError: The keeper is missing.
        UnreachableError: The engine did not answer, or something could not be removed.

    """
    removed = []
    if custody is Custody.MEMORY:
        keys = _remove_keys(find_keeper(client_of(server), declared_name(server)), server)
        removed += [f"{counted(len(keys), 'file')} of a former ring"] if keys else []
    if index_cache is IndexCache.MEMORY:
        caches = _run(server, ["sh", "-c", _REMOVE_CACHES])
        removed += [counted(len(caches), "former index cache")] if caches else []
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
    printed = execute(container, argv, timeout=_SECONDS).checked(
        where=f"{argv[0]} in container {container.name}",
        expected="former keys and index caches removed",
    )
    return printed.decode(errors="replace").splitlines()
