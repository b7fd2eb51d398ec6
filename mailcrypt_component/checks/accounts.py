"""Writes the declared accounts into a server's configuration folder.

This goes through the Docker API alone, in a throw-away container with the folder mounted, so a
remote host needs no path of the operator's machine.  A running docker-mailserver notices the
change by itself within seconds.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.files import File, put_files
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.accounts import RECORD_FILE, keep_to_itself, merge
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

    from mailcrypt_component.model.accounts import AccountsPlan

_SECONDS = 30.0
_TRIES = 5
_CHANGED = 9


def write_accounts(wanted: AccountsPlan) -> str:
    """Merge the accounts into the configuration folder, each file atomically.

    Returns:
        One line about what was written.

    Raises:
        UnreachableError: The engine, the image or the folder did not answer.

    """
    client = connect(wanted.docker_host)
    mount = as_mount(wanted.config, dms.CONFIG_DIR, read_only=False)
    with throwaway(client, wanted.image, mounts=[mount], purpose="accounts") as container:
        for _ in range(_TRIES):
            old = [_read(container, name) for name in _NAMES]
            merged = merge(old[0], old[1], old[2], wanted.declared, wanted.probe)
            aliases = keep_to_itself(old[3], old[2], wanted.probe)
            new = (merged.accounts, merged.receive_access, merged.record, aliases)
            if _write(container, old, new):
                number = len(wanted.declared)
                return f"wrote {counted(number, 'account')} and the probe account"
    raise UnreachableError(
        f"another program changed the accounts during each of {_TRIES} attempts",
        where=dms.CONFIG_DIR,
        expected="no other change of the accounts for a second",
        hint="pulumi up",
    )


_NAMES = (dms.ACCOUNTS_FILE, dms.RECEIVE_ACCESS_FILE, RECORD_FILE, dms.ALIASES_FILE)


def _read(container: Container, name: str) -> str:
    script = 'if [ -e "$0" ]; then cat -- "$0"; fi'
    result = execute(container, ["sh", "-c", script, _path(name)], timeout=_SECONDS)
    _check(result.exit_code, result.stderr, name)
    return result.stdout.decode(errors="surrogateescape")


def _write(container: Container, old: Sequence[str], new: Sequence[str]) -> bool:
    """Write the files with their owner and mode, unless ``setup`` has changed one of them."""
    files = [
        File(
            f"{_path(name)}.new",
            text.encode(errors="surrogateescape"),
            mode=0o644 if name == dms.ALIASES_FILE else 0o600,
        )
        for name, text in zip(_NAMES, new, strict=True)
    ]
    put_files(container, files)
    kept = " && ".join(
        f"{{ [ ! -s {path} ] || echo '{_digest(text)}  {path}' | sha256sum -c --status; }}"
        for path, text in zip(map(_path, _NAMES), old, strict=True)
    )
    moves = "; ".join(
        f"! [ -e {path} ] || {{ chown --reference={path} {path}.new && "
        f"chmod --reference={path} {path}.new; }}; mv -f {path}.new {path}"
        for path in map(_path, _NAMES)
    )
    script = f"set -e; {{ {kept}; }} || exit {_CHANGED}; {moves}"
    result = execute(container, ["sh", "-c", script], timeout=_SECONDS)
    if result.exit_code == _CHANGED:
        return False
    _check(result.exit_code, result.stderr, dms.CONFIG_DIR)
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _path(name: str) -> str:
    return f"{dms.CONFIG_DIR}/{name}"


def _check(exit_code: int, stderr: bytes, where: str) -> None:
    if exit_code:
        raise UnreachableError(
            stderr.decode(errors="replace").strip() or f"exit code {exit_code}",
            where=where,
            expected="a configuration folder that root can read and write",
            hint="check binds.config and the file system behind it, then pulumi up",
        )
