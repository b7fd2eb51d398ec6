"""The mail server's service as Docker Compose sees it, in typed values.

``docker compose config`` resolves the files where Docker Compose is installed; else
``compose_file`` reads them, and refuses what it cannot resolve.  No Docker engine is
asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt.compose_file import compose_file_in, read_compose_file
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIG: Final = ("docker", "compose", "--profile", "*", "config", "--format", "json")
_SECONDS: Final = 60
_WARNING: Final = re.compile(r'level=warning msg="(.*)"\s*$', re.MULTILINE)
_IMAGE: Final = "docker-mailserver"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the service.

    ``kind`` is ``bind`` (``source`` is an absolute path of the Docker host), ``volume``
    (``source`` is the volume's name on the engine, empty for an anonymous one), or another
    kind of Compose's such as ``tmpfs``.  ``options`` names what else is stated.
    """

    kind: str
    source: str
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A container port; ``published`` is empty for a random port of the host, or a range."""

    target: int
    published: str
    address: str
    protocol: str
    mode: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the service by its name on the engine, with the options stated there."""

    name: str
    external: bool
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One service; ``stated`` is all of it as Compose prints it."""

    name: str
    stated: Mapping[str, Any]
    environment: Mapping[str, str | None] = field(repr=False)
    mounts: tuple[Mount, ...]
    ports: tuple[Port, ...]
    networks: tuple[Network, ...]

    def text(self, key: str) -> str:
        """Return a value as text; empty if it is not stated."""
        return str(self.stated.get(key) or "")


@dataclass(frozen=True, slots=True)
class Project:
    """A Compose project: its name, its services, and what Docker Compose warned of."""

    name: str
    file: str
    services: Mapping[str, Service]
    warnings: tuple[str, ...] = ()


def read_project(folder: Path) -> Project:
    """Return the project of a folder, read by Docker Compose where that is installed.

    Raises:
        SettingsError: There is no project, or it cannot be resolved.

    """
    path = compose_file_in(folder)
    try:
        if _compose_is_installed():
            model, warnings = _asked(folder)
        else:
            model, warnings = read_compose_file(folder, os.environ), ()
        return _project(model, str(path), warnings)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"not a compose file ({type(error).__name__}: {error})",
            where=str(path),
            expected="services as Docker Compose documents them",
            hint="docker compose config --quiet",
        ) from None


def mail_service(project: Project, wanted: str | None = None) -> Service:
    """Return the service that runs docker-mailserver.

    Args:
        project: The project.
        wanted: The service's name, if a user has named one.

    Raises:
        SettingsError: There is none, or more than one.

    """
    found = [each for each in project.services.values() if _is_mail_server(each)]
    if wanted is not None:
        found = [each for each in project.services.values() if each.name == wanted]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in found) or f"none of {', '.join(project.services)}"
    raise SettingsError(
        f"{len(found)} services run docker-mailserver ({names})",
        where=project.file,
        expected=f"one service with a mount at {dms.CONFIG_DIR}",
        hint="name it with --service",
    )


def _is_mail_server(service: Service) -> bool:
    targets = {mount.target for mount in service.mounts}
    return bool(targets & {dms.CONFIG_DIR, dms.CUSTOM_CONF}) or _IMAGE in service.text("image")


def _compose_is_installed() -> bool:
    if shutil.which("docker") is None:
        return False
    version = ["docker", "compose", "version"]
    return subprocess.run(version, capture_output=True, check=False).returncode == 0  # noqa: S603


def _asked(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    try:
        done = subprocess.run(  # noqa: S603
            _CONFIG, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"docker compose config did not end in {_SECONDS} seconds", where=str(folder)
        ) from None
    if done.returncode:
        raise SettingsError(
            done.stderr.strip() or f"exit code {done.returncode}",
            where=str(folder),
            expected="a project that docker compose config accepts",
            hint=f"cd {folder} && docker compose config --quiet",
        )
    # It doubles each dollar sign, so that its output is a compose file again.
    model: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))
    return model, tuple(_WARNING.findall(done.stderr))


def _project(model: Mapping[str, Any], file: str, warnings: tuple[str, ...]) -> Project:
    services = {name: _service(name, stated, model) for name, stated in model["services"].items()}
    return Project(str(model["name"]), file, services, warnings)


def _service(name: str, stated: Mapping[str, Any], model: Mapping[str, Any]) -> Service:
    return Service(
        name=name,
        stated=stated,
        environment=dict(stated.get("environment") or {}),
        mounts=(*_mounts(stated, model), *_files(stated, model)),
        ports=tuple(_port(each) for each in stated.get("ports") or []),
        networks=tuple(_networks(stated, model)),
    )


def _mounts(stated: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[Mount]:
    for entry in stated.get("volumes") or []:
        kind, source = str(entry["type"]), str(entry.get("source") or "")
        volumes = model.get("volumes") or {}
        if kind == "volume" and source:
            source = str((volumes.get(source) or {}).get("name") or source)
        elif kind == "bind":
            source = normpath(source)
        options = [
            f"{name}={value}"
            for each in ("bind", "volume")
            for name, value in (entry.get(each) or {}).items()
            if name != "create_host_path"
        ]
        target = str(entry["target"]).rstrip("/")
        yield Mount(kind, source, target, bool(entry.get("read_only")), tuple(options))
    tmpfs = stated.get("tmpfs") or []
    for each in [tmpfs] if isinstance(tmpfs, str) else tmpfs:
        yield Mount("tmpfs", "", str(each).partition(":")[0].rstrip("/"))


def _files(stated: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[Mount]:
    """Yield the secrets and configs, which Docker Compose mounts as files."""
    for kind, folder in (("secrets", "/run/secrets/"), ("configs", "/")):
        for entry in stated.get(kind) or []:
            use = entry if isinstance(entry, Mapping) else {"source": entry}
            name = str(use["source"])
            target = str(use.get("target") or name)
            path = target if target.startswith("/") else folder + target
            source = (model.get(kind) or {}).get(name) or {}
            if source.get("file"):
                yield Mount("bind", str(source["file"]), path, read_only=True)
            else:
                yield Mount(kind, name, path, read_only=True)


def _port(entry: Mapping[str, Any]) -> Port:
    return Port(
        target=int(entry["target"]),
        published=str(entry.get("published") or ""),
        address=str(entry.get("host_ip") or ""),
        protocol=str(entry.get("protocol") or "tcp"),
        mode=str(entry.get("mode") or "ingress"),
    )


def _networks(stated: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[Network]:
    for key, use in sorted((stated.get("networks") or {}).items()):
        known = (model.get("networks") or {}).get(key) or {}
        options = [f"{name}: {_listed(value)}" for name, value in (use or {}).items() if value]
        yield Network(str(known.get("name") or key), bool(known.get("external")), tuple(options))


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
