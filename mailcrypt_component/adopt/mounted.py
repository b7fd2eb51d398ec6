"""Reads the files of a service by their path in the container.

A bind mount is read on this machine, a named volume through the Docker API.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import SettingsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.adopt.compose import Mount

_SECONDS: Final = 60
_AT: Final = "/mnt"
_ABSENT: Final = 44
"""The exit code for a file that does not exist; cat itself ends with 1."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a path of the container lies: in a mount, at a path relative to its source."""

    mount: Mount
    relative: PurePosixPath

    def __str__(self) -> str:
        if self.mount.kind == "bind":
            return str(self.host_path)
        return f"volume {self.mount.source}: {self.relative}"

    @property
    def host_path(self) -> Path:
        """The path on this machine; only for a bind mount."""
        return Path(self.mount.source) / self.relative


@dataclass(frozen=True, slots=True)
class MountedFiles:
    """The files that a service's mounts hold."""

    mounts: Sequence[Mount]
    image: str

    def locate(self, path: str) -> Location | None:
        """Return where a path of the container lies; None if nothing is mounted there."""
        inside = PurePosixPath(path)
        found = {PurePosixPath(mount.target): mount for mount in self.mounts}
        for parent in (inside, *inside.parents):
            if parent in found:
                return Location(found[parent], inside.relative_to(parent))
        return None

    def read(self, path: str) -> str:
        """Return the content of a file.

        Raises:
            SettingsError: It does not exist, is not mounted, or cannot be read.

        """
        found = self.find(path)
        if found is None:
            where = self.locate(path)
            raise SettingsError(
                "no such file" if where else "nothing is mounted there",
                where=f"{path} ({where})" if where else path,
                expected="a file of the host or of a volume",
            )
        return found

    def find(self, path: str) -> str | None:
        """Return the content of a file; None if it does not exist or is not mounted.

        Raises:
            SettingsError: It cannot be read.

        """
        where = self.locate(path)
        if where is None:
            return None
        if where.mount.kind == "bind":
            return _on_this_machine(where.host_path)
        if where.mount.kind == "volume" and where.mount.source:
            return self._in_volume(where)
        raise SettingsError(
            f"it lies in {_KINDS.get(where.mount.kind, where.mount.kind)}",
            where=path,
            expected="a folder of the host or a named volume",
            hint=f"mount a folder at {where.mount.target} and copy the files there first",
        )

    def names_in(self, path: str) -> list[str]:
        """Return the names in a folder of this machine; none for any other."""
        where = self.locate(path)
        if where is None or where.mount.kind != "bind" or not where.host_path.is_dir():
            return []
        return sorted(each.name for each in where.host_path.iterdir())

    def _in_volume(self, where: Location) -> str | None:
        mount = as_mount(where.mount.source, _AT, read_only=True)
        script = f'test -e "$1" || exit {_ABSENT}; exec cat "$1"'
        argv = ["sh", "-c", script, "sh", f"{_AT}/{where.relative}"]
        client = connect(DockerHost())
        with throwaway(client, self.image, mounts=[mount], purpose="adopt") as container:
            done = execute(container, argv, timeout=_SECONDS)
        if done.exit_code == _ABSENT:
            return None
        if done.exit_code:
            raise UnreachableError(done.stderr.decode(errors="replace").strip(), where=str(where))
        return _text(done.stdout, str(where))


_KINDS: Final = {
    "volume": "an anonymous volume",
    "secrets": "a secret that is no file",
    "configs": "a config that is no file",
}


def _on_this_machine(path: Path) -> str | None:
    try:
        return _text(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            error.strerror or "cannot be read",
            where=str(path),
            expected="a file that can be read",
            hint="run mailcrypt adopt as root" if isinstance(error, PermissionError) else "",
        ) from None


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SettingsError("not a text", where=where, expected="a text file in UTF-8") from None
