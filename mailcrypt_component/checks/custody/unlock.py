"""Unlocks a server: writes the private keys into the keeper's memory and reloads Dovecot.

The keys travel as standard input of a command in the keeper.  They are never an argument, an
environment variable, an upload or a file on any disk.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.custody.keeper import find_keeper, find_server, require_memory
from mailcrypt_component.checks.custody.reload import reload_dovecot
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.checks.custody.plan import UnlockPlan

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
    """Write the keys where the server reads them; return what was done, in one line.

    A server that runs already and reads this very configuration is reloaded.

    Raises:
        CustodyError: The keeper is missing, belongs to another server, or holds a disk.
        UnreachableError: The engine or the keeper did not answer.

    """
    client = connect(plan.docker_host)
    keeper = find_keeper(client, plan.server)
    require_memory(keeper)
    _run(keeper, ["sh", "-c", _WRITE, dms.CERTS_DIR], stdin=_archive(plan))
    number = len(plan.keys)
    written = f"{number} private key{'s' if number != 1 else ''} written to memory"
    server = find_server(client, plan.server)
    if server is None or not _reads(server, plan.configuration_path):
        return written
    reload_dovecot(server)
    return f"{written}; {plan.server} is unlocked"


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


def _run(container: Container, argv: list[str], stdin: bytes = b"") -> None:
    done = execute(container, argv, stdin=stdin, timeout=_SECONDS)
    if done.exit_code:
        raise UnreachableError(
            done.stderr.decode(errors="replace").strip() or f"exit code {done.exit_code}",
            where=f"{argv[0]} in container {container.name}",
        )
