"""Reads a compose file where Docker Compose itself is not installed.

The result has the shape of ``docker compose config --format json``.  The errors name whatever
only Docker Compose can resolve (interpolation, override files, ``extends``, ``include``, tags);
nothing is guessed.

Source: compose-go 2.9.1, the version in Docker Compose 2.40.3; the tests compare both.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt.compose_values import ComposeSource, ports, variables, volume
from mailcrypt_component.adopt.compose_yaml import (
    load,
    mapping,
    read,
    texts,
    without_doubled_dollars,
)
from mailcrypt_component.adopt.env_file import read_env_file
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""The names that Docker Compose looks for, in its order."""

_OVERRIDES: Final = tuple(
    f"{stem}.override.{suffix}"
    for stem in ("compose", "docker-compose")
    for suffix in ("yml", "yaml")
)


def compose_file_in(folder: Path) -> Path:
    """Return the compose file of a folder.

    Raises:
        SettingsError: There is none.

    """
    for name in COMPOSE_FILES:
        if (folder / name).is_file():
            return folder / name
    raise SettingsError(
        "no compose file",
        where=str(folder),
        expected=f"one of {', '.join(COMPOSE_FILES)}",
        hint="name the folder in which you run docker compose",
    )


def read_compose_file(folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the project in a folder as ``docker compose config --format json`` prints it.

    Args:
        folder: An absolute path.
        environment: The variables of the environment.

    Raises:
        SettingsError: It is no compose file, or only Docker Compose can resolve it.

    """
    path, dot_env = compose_file_in(folder), folder / ".env"
    own = _env_file(dot_env, environment) if dot_env.is_file() else {}
    source = ComposeSource(path, {**own, **environment})
    _refuse_other_files(source)
    model = _model(source)
    name = _project_name(source, model)
    services = {
        key: _service(source, key, mapping(each, source.where(key)))
        for key, each in mapping(model.get("services"), source.where("services")).items()
    }
    return {"name": name, "services": services, **_resources(source, model, name, services)}


def _refuse_other_files(source: ComposeSource) -> None:
    for name in _OVERRIDES:
        if (source.folder / name).exists():
            raise source.unresolved(name, "an override file")
    for variable in ("COMPOSE_FILE", "COMPOSE_ENV_FILES"):
        if source.environment.get(variable):
            raise source.unresolved(variable, "the variable names other files")


def _model(source: ComposeSource) -> dict[str, Any]:
    stated = load(source.path)
    for where, value in texts(stated, ""):
        if "$" in value.replace("$$", ""):
            raise source.unresolved(where, "a value with $, which is interpolated")
    model: dict[str, Any] = without_doubled_dollars(stated)
    if "include" in model:
        raise source.unresolved("include", "another compose file")
    return model


def _project_name(source: ComposeSource, model: Mapping[str, Any]) -> str:
    chosen = source.environment.get("COMPOSE_PROJECT_NAME") or model.get("name")
    if chosen:
        return str(chosen)
    letters = "".join(re.findall(r"[a-z0-9_-]", source.folder.name.lower()))
    return letters.lstrip("_-")


def _service(source: ComposeSource, name: str, service: dict[str, Any]) -> dict[str, Any]:
    if "extends" in service:
        raise source.unresolved(f"{name}.extends", "another service")
    stated = service.get("environment")
    found: dict[str, str | None] = {**_env_files(source, name, service.pop("env_file", None))}
    found |= dict(variables(source, stated, f"{name}.environment"))
    service["environment"] = {
        key: source.environment.get(key) if value is None else value for key, value in found.items()
    }
    service["ports"] = [
        port
        for entry in service.get("ports") or []
        for port in ports(source, f"{name}.ports", entry)
    ]
    service["volumes"] = [
        volume(source, f"{name}.volumes", entry) for entry in service.get("volumes") or []
    ]
    if "network_mode" not in service:
        networks = service.get("networks") or ["default"]
        listed = isinstance(networks, list)
        service["networks"] = dict.fromkeys(networks) if listed else networks
    return service


def _env_files(source: ComposeSource, name: str, entry: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in entry if isinstance(entry, list) else [entry] if entry else []:
        stated = each if isinstance(each, dict) else {"path": each}
        if stated.get("format"):
            raise source.unresolved(f"{name}.env_file", f"the format {stated['format']}")
        path = source.folder / str(stated.get("path"))
        if path.exists() or stated.get("required", True):
            found |= _env_file(path, {**source.environment, **found})
    return found


def _env_file(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    return read_env_file(read(path), str(path), environment)


def _resources(
    source: ComposeSource, model: Mapping[str, Any], project: str, services: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the networks, volumes, secrets and configs with their real names."""
    found: dict[str, Any] = {}
    for kind in ("networks", "volumes", "secrets", "configs"):
        where = source.where(kind)
        found[kind] = {
            key: _resource(source, key, mapping(each or {}, where), project)
            for key, each in mapping(model.get(kind) or {}, where).items()
        }
    if any("default" in (each.get("networks") or {}) for each in services.values()):
        found["networks"].setdefault("default", {"name": f"{project}_default"})
    for name, service in services.items():
        for kind, used in _used_by(service):
            if used not in found[kind]:
                raise source.fault(name, f"{kind}: {used} is not defined", f"{kind}.{used}")
    return found


def _resource(
    source: ComposeSource, key: str, stated: dict[str, Any], project: str
) -> dict[str, Any]:
    if "file" in stated:
        path = source.folder / Path(str(stated["file"])).expanduser()
        stated = {**stated, "file": os.path.normpath(path)}
    real = key if stated.get("external") else f"{project}_{key}"
    return {"name": real, **stated}


def _used_by(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each resource that a service uses, with its kind."""
    for mount in service["volumes"]:
        if mount.get("type") == "volume" and mount.get("source"):
            yield "volumes", str(mount["source"])
    for network in service.get("networks") or {}:
        yield "networks", str(network)
    for kind in ("secrets", "configs"):
        for entry in service.get(kind) or []:
            yield kind, str(entry["source"] if isinstance(entry, dict) else entry)
