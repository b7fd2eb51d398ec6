"""Removes the lock that a killed update has left on a file backend: ``python -m … STACK``.

Pulumi writes a lock as a file with the process id and host of its holder.  A lock is stale
where that process does not run any more on this very host.  Any other lock is left alone.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from mailcrypt_component.model.errors import MailCryptError, UnreachableError

_SCHEME: Final = "file://"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file and what it says of its holder."""

    path: Path
    pid: int
    user: str
    host: str
    since: str

    @property
    def holder(self) -> str:
        """The holder in words."""
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"

    def is_stale(self) -> bool:
        """Tell whether the holder was a process of this host that has ended."""
        return self.host == socket.gethostname() and not _is_pulumi(self.pid)


def remove_stale_locks(backend: str, project: str, stack: str) -> list[Lock]:
    """Remove a stack's stale locks; return those that were removed.

    Args:
        backend: The backend's address; one that is not of files has no such locks.
        project: The project's name.
        stack: The stack's name.

    Raises:
        UnreachableError: The stack is locked, and it is not known that the holder has ended.

    """
    removed = []
    for lock in _locks(backend, project, stack):
        if not lock.is_stale():
            raise UnreachableError(
                f"another update holds its lock: {lock.holder}",
                where=f"stack {stack}",
                expected="no other update of this stack",
                hint=f"wait for it; if it has ended: pulumi cancel --yes --stack {stack}",
            )
        lock.path.unlink(missing_ok=True)
        lock.path.with_name(f"{lock.path.name}.attrs").unlink(missing_ok=True)
        removed.append(lock)
    return removed


def _locks(backend: str, project: str, stack: str) -> list[Lock]:
    if not backend.startswith(_SCHEME):
        return []
    root = Path(backend.removeprefix(_SCHEME).partition("?")[0]).expanduser()
    folder = root / ".pulumi" / "locks" / "organization" / project / stack.rpartition("/")[2]
    return [lock for path in sorted(folder.glob("*.json")) if (lock := _read(path))]


def _read(path: Path) -> Lock | None:
    """Return a lock; None where its holder has just removed it."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return Lock(
            path, int(facts["pid"]), facts["username"], facts["hostname"], facts["timestamp"]
        )
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError):
        raise UnreachableError(
            "it is not a lock as Pulumi writes it",
            where=str(path),
            hint="if no update is running: pulumi cancel --yes",
        ) from None


def _is_pulumi(pid: int) -> bool:
    """Tell whether the process runs and, where that can be told, is a Pulumi."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "pulumi"
    except OSError:
        return True


def main(stack: str) -> None:
    """Remove the stale locks of a stack of the project in this folder, and say so."""
    project = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    try:
        for lock in remove_stale_locks(os.environ.get("PULUMI_BACKEND_URL", ""), project, stack):
            print(
                f"removed the stale lock of an update that was killed ({lock.holder})",
                file=sys.stderr,
            )
    except MailCryptError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
