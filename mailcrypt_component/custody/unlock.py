"""Unlocks a server: writes the private keys into the keeper's memory and reloads Dovecot.

The keys travel as standard input of a command in the keeper.  They never become an argument, an
environment variable, an upload or a file on a disk.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailcrypt_component.custody.index_cache import start_filling
from mailcrypt_component.custody.keeper import (
    find_keeper,
    find_server,
    require_memory,
    require_server,
    ring_of,
)
from mailcrypt_component.custody.plan import UnlockPlan
from mailcrypt_component.custody.reload import reload_dovecot
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import CustodyError
from mailcrypt_component.model.key_ring import private_path
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker.models.containers import Container

    from mailcrypt_component.dcrypt.keys import PrivateKey
    from mailcrypt_component.model.docker_host import DockerHost

_SECONDS: Final = 30.0
_WRITE: Final = """
set -eu
umask 077
new=$0/.new
rm -rf "$new"
mkdir "$new"
tar -xpf - --no-same-owner -C "$new"
mv -f "$new"/*.pem "$0/"
mv -f "$new"/*.conf "$0/"
rmdir "$new"
"""


def unlock(plan: UnlockPlan) -> str:
    """Write the keys to the path where the server reads them; return one line about the result.

    If the server runs and reads this configuration, Dovecot is reloaded, and the newest mails of
    each mailbox are put back into its index cache in the background.

    Raises:
        CustodyError: The keeper is missing, belongs to another server, or its volume is no memory.
        UnreachableError: The engine or the keeper did not answer.

    """
    client = connect(plan.docker_host)
    keeper = find_keeper(client, plan.server)
    require_memory(keeper)
    argv = ["sh", "-c", _WRITE, dms.CERTS_DIR]
    execute(keeper, argv, stdin=_archive(plan), timeout=_SECONDS).checked(
        where=f"sh in container {keeper.name}"
    )
    written = f"{counted(len(plan.keys), 'private key')} written to memory"
    server = find_server(client, plan.server)
    if server is None or not _reads(server, plan.configuration_path):
        return written
    reload_dovecot(server)
    start_filling(server)
    return f"{written}; {plan.server} is unlocked"


def unlock_running(
    docker_host: DockerHost, server: str, private_keys: Mapping[str, PrivateKey]
) -> str:
    """Unlock a running server with given keys; return one line about the result.

    The ring file of the server names the keys of its ring and holds the configuration for
    Dovecot, so neither a stack nor Pulumi is needed.

    Args:
        docker_host: The engine that runs it.
        server: The container's name.
        private_keys: Private keys by key id, at least those of the ring.

    Raises:
        CustodyError: The server is not in memory custody, or keys of its ring are missing.
        UnreachableError: The engine, the server or the keeper did not answer.

    """
    ring = ring_of(require_server(connect(docker_host), server))
    missing = [(name, key_id) for name, key_id in ring.keys if key_id not in private_keys]
    if missing:
        raise CustodyError(
            f"no private key for {', '.join(f'{name} ({key_id})' for name, key_id in missing)}",
            where=f"the keys given for {server}; nothing was changed",
            expected="every key of the server's ring",
            hint="use the escrow that was written after the last change of the ring",
        )
    keys = tuple((private_path(name), _pem(private_keys[key_id])) for name, key_id in ring.keys)
    return unlock(
        UnlockPlan(docker_host, server, keys, ring.configuration, ring.configuration_path)
    )


def _pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _archive(plan: UnlockPlan) -> bytes:
    """Return the keys and the configuration as a tar archive."""
    texts = dict(plan.keys)
    texts[plan.configuration_path] = plan.configuration
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in texts.items():
            entry = tarfile.TarInfo(PurePosixPath(path).name)
            entry.size, entry.mode = len(text.encode()), 0o600
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _reads(server: Container, configuration_path: str) -> bool:
    """Tell whether the running server's Dovecot includes this configuration."""
    found = execute(server, ["grep", "-qF", configuration_path, dms.STORAGE_CONF], timeout=_SECONDS)
    return found.exit_code == 0
