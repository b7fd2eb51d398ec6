"""Reads a compose file where Docker Compose itself is not installed.

The result has the shape of ``docker compose config --format json``.  What only Docker
Compose can resolve (interpolation, override files, ``extends``, ``include``, tags) is
refused by name; nothing is guessed.

Source: compose-go 2.9.1, the version in Docker Compose 2.40.3; the tests compare both.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, Any, Final

import yaml

from mailcrypt_component.adopt.env_file import USE_COMPOSE, read_env_file
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""The names that Docker Compose looks for, in its order."""

_OVERRIDES: Final = tuple(
    f"{stem}.override.{suffix}"
    for stem in ("compose", "docker-compose")
    for suffix in ("yml", "yaml")
)
_PROPAGATION: Final = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
_PORT: Final = re.compile(r"\d{1,5}")
_PORTS: Final = frozenset(range(1, 65536))
_OTHER_NUMBER: Final = (
    r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+|0[oxb][0-9a-fA-F_]+|[0-9.]+[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF|nan|NaN|NAN))"
)
"""Numbers that Docker Compose prints in another form, such as 010 as 8."""
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})


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
    return _Reader(compose_file_in(folder), environment).read()


class _Reader:
    """Reads one compose file and the env files that it names."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path, self._folder = path, path.parent
        dot_env = self._folder / ".env"
        own = self._env_file(dot_env, environment) if dot_env.is_file() else {}
        self._environment = {**own, **environment}

    def read(self) -> dict[str, Any]:
        self._refuse_other_files()
        model = _load(self._path)
        for where, value in _texts(model, ""):
            if "$" in value.replace("$$", ""):
                raise self._unresolved(where, "a value with $, which is interpolated")
        model = _without_doubled_dollars(model)
        if "include" in model:
            raise self._unresolved("include", "another compose file")
        name = self._project_name(model)
        services = {
            key: self._service(key, _mapping(each, self._where(key)))
            for key, each in _mapping(model.get("services"), self._where("services")).items()
        }
        return {"name": name, "services": services, **self._resources(model, name, services)}

    def _where(self, part: str) -> str:
        return f"{self._path}: {part}"

    def _unresolved(self, where: str, found: str) -> SettingsError:
        return SettingsError(
            found,
            where=self._where(where),
            expected="a file that can be read without Docker Compose",
            hint=USE_COMPOSE,
        )

    def _fault(self, where: str, found: object, expected: str) -> SettingsError:
        return SettingsError(str(found), where=self._where(where), expected=expected)

    def _refuse_other_files(self) -> None:
        for name in _OVERRIDES:
            if (self._folder / name).exists():
                raise self._unresolved(name, "an override file")
        for variable in ("COMPOSE_FILE", "COMPOSE_ENV_FILES"):
            if self._environment.get(variable):
                raise self._unresolved(variable, "the variable names other files")

    def _project_name(self, model: Mapping[str, Any]) -> str:
        chosen = self._environment.get("COMPOSE_PROJECT_NAME") or model.get("name")
        if chosen:
            return str(chosen)
        letters = "".join(re.findall(r"[a-z0-9_-]", self._folder.name.lower()))
        return letters.lstrip("_-")

    def _service(self, name: str, service: dict[str, Any]) -> dict[str, Any]:
        if "extends" in service:
            raise self._unresolved(f"{name}.extends", "another service")
        where = f"{name}.environment"
        found: dict[str, str | None] = {**self._env_files(name, service.pop("env_file", None))}
        found |= dict(self._variables(service.get("environment"), where))
        service["environment"] = {
            key: self._environment.get(key) if value is None else value
            for key, value in found.items()
        }
        service["ports"] = [
            port
            for entry in service.get("ports") or []
            for port in self._ports(f"{name}.ports", entry)
        ]
        service["volumes"] = [
            self._volume(f"{name}.volumes", entry) for entry in service.get("volumes") or []
        ]
        if "network_mode" not in service:
            networks = service.get("networks") or ["default"]
            listed = isinstance(networks, list)
            service["networks"] = dict.fromkeys(networks) if listed else networks
        return service

    def _env_files(self, name: str, entry: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in entry if isinstance(entry, list) else [entry] if entry else []:
            stated = each if isinstance(each, dict) else {"path": each}
            if stated.get("format"):
                raise self._unresolved(f"{name}.env_file", f"the format {stated['format']}")
            path = self._folder / str(stated.get("path"))
            if path.exists() or stated.get("required", True):
                found |= self._env_file(path, {**self._environment, **found})
        return found

    def _env_file(self, path: Path, environment: Mapping[str, str]) -> dict[str, str]:
        return read_env_file(_read(path), str(path), environment)

    def _variables(self, stated: Any, where: str) -> Iterator[tuple[str, str | None]]:
        if isinstance(stated, dict):
            for name, value in stated.items():
                yield str(name), None if value is None else _scalar(value)
        elif isinstance(stated, list) and all(isinstance(each, str) for each in stated):
            for each in stated:
                name, sign, value = each.partition("=")
                yield name, value if sign else None
        elif stated is not None:
            raise self._fault(where, type(stated).__name__, "a map, or a list of NAME=value")

    def _ports(self, where: str, entry: Any) -> Iterator[dict[str, Any]]:
        if isinstance(entry, dict):
            stated = {"mode": "ingress", "protocol": "tcp", **entry}
            if "published" in stated:
                stated["published"] = str(stated["published"])
            yield stated
            return
        text, _, protocol = str(entry).partition("/")
        outer, _, inner = text.rpartition(":")
        address, _, published = outer.rpartition(":")
        inside, outside = (_range(part) for part in (inner, published))
        protocol = protocol.lower() or "tcp"
        refused = protocol not in _PROTOCOLS or not {*inside, *outside} <= _PORTS
        if refused or not inside or (published and not outside):
            raise self._fault(where, repr(entry), "[address:][published:]port[/protocol]")
        common = {"mode": "ingress", "protocol": protocol}
        if address:
            common["host_ip"] = address.strip("[]")
        if len(inside) == 1 < len(outside):
            yield {**common, "target": inside[0], "published": published}
        elif outside and len(inside) != len(outside):
            raise self._fault(where, repr(entry), "two ranges of the same length")
        else:
            for number, target in enumerate(inside):
                host = {"published": str(outside[number])} if outside else {}
                yield {**common, "target": target, **host}

    def _volume(self, where: str, entry: Any) -> dict[str, Any]:
        stated = dict(entry) if isinstance(entry, dict) else self._short_volume(where, str(entry))
        stated["target"] = normpath(str(stated.get("target")))
        source = str(stated.get("source") or "")
        if stated.get("type") == "bind":
            stated["source"] = os.path.normpath(self._folder / Path(source).expanduser())
        return stated

    def _short_volume(self, where: str, entry: str) -> dict[str, Any]:
        source, sign, rest = entry.partition(":")
        if not sign:
            return {"type": "volume", "target": source}
        target, _, options = rest.partition(":")
        drive = len(source) == 1 and source.isalpha()
        if not source or drive or not target.startswith("/") or ":" in options:
            raise self._fault(where, repr(entry), "source:target[:options]")
        kind = "bind" if source.startswith((".", "/", "~")) else "volume"
        found: dict[str, Any] = {"type": kind, "source": source, "target": target, kind: {}}
        for option in options.split(","):
            if option == "ro":
                found["read_only"] = True
            elif option == "nocopy":
                found["volume"] = {"nocopy": True}
            elif option in _PROPAGATION:
                found.setdefault("bind", {})["propagation"] = option
            elif option in {"z", "Z"}:
                found.setdefault("bind", {})["selinux"] = option
        return found

    def _resources(
        self, model: Mapping[str, Any], project: str, services: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the networks, volumes, secrets and configs with their real names."""
        found: dict[str, Any] = {}
        for kind in ("networks", "volumes", "secrets", "configs"):
            stated = _mapping(model.get(kind) or {}, self._where(kind))
            found[kind] = {
                key: self._resource(key, _mapping(each or {}, self._where(kind)), project)
                for key, each in stated.items()
            }
        if any("default" in (each.get("networks") or {}) for each in services.values()):
            found["networks"].setdefault("default", {"name": f"{project}_default"})
        for name, service in services.items():
            for kind, used in _used_by(service):
                if used not in found[kind]:
                    raise self._fault(name, f"{kind}: {used} is not defined", f"{kind}.{used}")
        return found

    def _resource(self, key: str, stated: dict[str, Any], project: str) -> dict[str, Any]:
        if "file" in stated:
            path = self._folder / Path(str(stated["file"])).expanduser()
            stated = {**stated, "file": os.path.normpath(path)}
        real = key if stated.get("external") else f"{project}_{key}"
        return {"name": real, **stated}


def _used_by(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each resource that a service uses, with its kind."""
    for volume in service["volumes"]:
        if volume.get("type") == "volume" and volume.get("source"):
            yield "volumes", str(volume["source"])
    for network in service.get("networks") or {}:
        yield "networks", str(network)
    for kind in ("secrets", "configs"):
        for entry in service.get(kind) or []:
            yield kind, str(entry["source"] if isinstance(entry, dict) else entry)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types.
    """YAML as Docker Compose reads it: numbers with colons, yes, no and dates are texts."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (  # The first one that fits decides.
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,14})", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]{0,7})?\.[0-9]{1,7}", "-+.0123456789"),
    ("merge", r"<<", "<"),
    (
        "other-number",
        _OTHER_NUMBER,
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first
    )


def _refuse_tag(_: yaml.SafeLoader, suffix: str, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(None, None, f"the tag !{suffix}", node.start_mark)


def _mapping_once(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    """Refuse a key that is stated twice, as Docker Compose does."""
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for key in {key for key in keys if keys.count(key) > 1 and key != "<<"}:
        raise yaml.constructor.ConstructorError(
            None, None, f"{key} is stated twice", node.start_mark
        )
    loader.flatten_mapping(node)
    found: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return found


def _refuse_number(_: yaml.SafeLoader, node: yaml.ScalarNode) -> None:
    """Refuse what Docker Compose would print as another number, such as 010 as 8."""
    raise yaml.constructor.ConstructorError(
        None, None, f"the number {node.value}, which has to be quoted", node.start_mark
    )


_Loader.add_constructor("tag:yaml.org,2002:other-number", _refuse_number)
_Loader.add_multi_constructor("!", _refuse_tag)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_once)


def _load(path: Path) -> dict[str, Any]:
    try:
        found = yaml.load(_read(path), Loader=_Loader)  # noqa: S506  (it derives from SafeLoader)
    except yaml.constructor.ConstructorError as error:
        line = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else str(path)
        raise SettingsError(
            str(error.problem), where=line, expected="plain YAML", hint=USE_COMPOSE
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(
            "not a compose file", where=str(path), expected="YAML with services"
        ) from None
    return _mapping(found, str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "not a text"
        raise SettingsError(found, where=str(path), expected="a text file to read") from None


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return dict(value)
    raise SettingsError(
        "not a compose file", where=where, expected="a map", hint="services: {mailserver: …}"
    )


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text below a value, with its place; a key is never interpolated."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{where}.{key}".removeprefix(".services").lstrip("."))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, f"{where}[{number}]")


def _without_doubled_dollars(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _without_doubled_dollars(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_doubled_dollars(each) for each in value]
    return value


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _range(text: str) -> list[int]:
    """Return the ports of ``25`` or ``25-27``; none if it is neither."""
    first, sign, last = text.partition("-")
    if not _PORT.fullmatch(first) or (sign and not _PORT.fullmatch(last)):
        return []
    return list(range(int(first), int(last or first) + 1))
