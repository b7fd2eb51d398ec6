"""Read an existing docker-mailserver set-up with mail_crypt, made by hand.

A compose file names the folders; ``10-custom.conf`` names the keys, in the words of
Dovecot 2.3 or 2.4.  What is found comes back as settings of a stack that keeps mail,
keys, accounts and configuration where they lie.  Nothing is written, and no server or
Docker engine is asked.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import yaml
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import KeyFault, SettingsError
from mailcrypt_component.model.key_ring import RingKey, read_key
from mailcrypt_component.model.settings import PROBE_USER, STORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was found: settings of a stack, the ring newest first, and what to know."""

    settings: Mapping[str, Any]
    keys: tuple[RingKey, ...]
    notes: tuple[str, ...] = field(default=())


def read_setup(folder: Path) -> Adopted:
    """Read the set-up of a folder that has a compose file.

    Args:
        folder: Where ``docker compose`` is run.

    Raises:
        SettingsError: There is no such set-up, or a part of it cannot be taken over.
        KeyFault: A key is not there, is locked, or fits no public key.

    """
    return _Setup(folder.resolve()).read()


_READ_KEYS: Final = frozenset(
    {
        "image",
        "hostname",
        "domainname",
        "environment",
        "env_file",
        "volumes",
        "ports",
        "container_name",
        "restart",
        "healthcheck",
    }
)
"""Of a compose service: what is taken over, and what the component has of its own."""


class _Setup:
    """One compose service and the files that it mounts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._notes: list[str] = []
        self._file, self._service = _service_in(folder)
        self._mounts = dict(self._read_mounts())

    def read(self) -> Adopted:
        keys = self._ring()
        environment = self._environment()
        settings = {
            "image": self._text("image"),
            "hostname": self._hostname(environment),
            "probeAddress": self._probe_address(),
            "binds": self._binds(),
            "ports": dict(self._ports()),
            "environment": environment,
            "mounts": list(self._other_mounts()),
        }
        if not {"SSL_TYPE", "SSL_TYPE__FILE"} & set(environment):
            self._notes.append(
                "SSL_TYPE is not set, so the stack makes a certificate of its own; "
                "tls: {mode: dms} takes passwords in clear as before"
            )
        self._notes += [
            f"not taken over from {self._file.name}: {name}"
            for name in self._service
            if name not in _READ_KEYS
        ]
        return Adopted(settings, keys, tuple(self._notes))

    def _fault(self, where: str, found: str, expected: str, hint: str = "") -> SettingsError:
        return SettingsError(
            found, where=f"{self._file.name}: {where}", expected=expected, hint=hint
        )

    def _text(self, name: str) -> str:
        value = self._service.get(name)
        if not isinstance(value, str) or not value:
            raise self._fault(name, "not stated", f"the service's {name}")
        return value

    def _read_mounts(self) -> Iterator[tuple[str, tuple[str, bool]]]:
        """Yield each mount by its target: source on the host, and whether it is read-only."""
        for entry in self._service.get("volumes") or []:
            if isinstance(entry, dict):
                source, target = str(entry.get("source", "")), str(entry.get("target", ""))
                read_only = bool(entry.get("read_only"))
            else:
                source, _, rest = str(entry).partition(":")
                target, _, options = rest.partition(":")
                read_only = "ro" in options.split(",")
            if source.startswith((".", "~")):
                source = os.path.normpath(self._folder / Path(source).expanduser())
            yield target.rstrip("/") or source, (source, read_only)

    def _on_host(self, path: str) -> Path:
        """Return where a path of the container lies on the host."""
        for parent in (PurePosixPath(path), *PurePosixPath(path).parents):
            source, _ = self._mounts.get(str(parent), ("", False))
            if source.startswith("/"):
                return Path(source) / PurePosixPath(path).relative_to(parent)
        raise self._fault("volumes", f"nothing is mounted at {path}", "a folder of the host there")

    def _ring(self) -> tuple[RingKey, ...]:
        conf = self._read(self._on_host(dms.CUSTOM_CONF))
        for line in _unknown_lines(conf):
            self._notes.append(f"not taken over from 10-custom.conf: {line}")
        current = self._public_id(conf)
        found = [read_key("k1", self._pem(path), current=False) for path in _paths(conf, _PRIVATE)]
        if current not in {key.key_id for key in found}:
            raise KeyFault(
                f"the public key has the id {current}, the private ones have "
                f"{', '.join(key.key_id for key in found) or 'none'}",
                where=dms.CUSTOM_CONF,
                expected="the public key of one of the private keys",
                hint="mail that is encrypted to it is unreadable; look for its private key first",
            )
        found.sort(key=lambda key: key.key_id != current)
        return tuple(replace(key, name=f"k{len(found) - n}") for n, key in enumerate(found))

    def _public_id(self, conf: str) -> str:
        paths = _paths(conf, _PUBLIC)
        if len(paths) != 1:
            raise SettingsError(
                f"{len(paths)} public keys are named",
                where=dms.CUSTOM_CONF,
                expected="mail_crypt_global_public_key = </certs/… or crypt_global_public_key_file",
            )
        path = self._on_host(paths[0])
        try:
            key: Any = load_pem_public_key(self._read(path).encode())
            return key_id(key)
        except (ValueError, TypeError, AttributeError):
            raise KeyFault("not a public key", where=str(path), expected="one in PEM") from None

    def _pem(self, path: str) -> str:
        host = self._on_host(path)
        text = self._read(host)
        try:
            key = load_private_key(text.encode())
        except KeyFault as fault:
            hint = "openssl pkcs8 -topk8 -nocrypt -in old.pem -out new.pem"
            raise KeyFault(
                fault.found, where=str(host), expected=fault.expected, hint=hint
            ) from None
        if "BEGIN PRIVATE KEY" not in text:
            self._notes.append(f"{host} is not PKCS#8; the stack gets it converted")
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            found = getattr(error, "strerror", None) or "not a text"
            raise SettingsError(
                found, where=str(path), expected="a file that can be read"
            ) from None

    def _environment(self) -> dict[str, str]:
        files = self._service.get("env_file") or []
        found: dict[str, str] = {}
        for name in [files] if isinstance(files, str) else files:
            path = name["path"] if isinstance(name, dict) else name
            found |= _pairs(self._read(self._folder / path).splitlines())
        stated = self._service.get("environment") or {}
        found |= _pairs(stated) if isinstance(stated, list) else stated
        return {name: str(value) for name, value in found.items() if value not in (None, "")}

    def _hostname(self, environment: Mapping[str, str]) -> str:
        stated = environment.get("OVERRIDE_HOSTNAME") or self._text("hostname")
        domain = self._service.get("domainname")
        return f"{stated}.{domain}" if domain and not stated.endswith(str(domain)) else stated

    def _probe_address(self) -> str:
        path = self._on_host(dms.CONFIG_DIR) / dms.ACCOUNTS_FILE
        domains = re.findall(r"^[^#|\s]+@([^|\s]+)\|", self._read(path), re.MULTILINE)
        if not domains:
            raise SettingsError("no account", where=str(path), expected="address|hash in a line")
        return f"{PROBE_USER}@{domains[0]}"

    def _binds(self) -> dict[str, str]:
        binds = {}
        for name, target in STORES.items():
            source, _ = self._mounts.get(target, ("", False))
            if source and not source.startswith("/"):
                raise self._fault(
                    f"volumes, {target}",
                    f"the named volume {source}",
                    "a folder of the host",
                    "docker volume inspect tells its Mountpoint; name that folder instead",
                )
            if source:
                binds[name] = source
            elif name in {"mail", "config"}:
                raise self._fault("volumes", f"nothing is mounted at {target}", "mail and accounts")
        return binds

    def _ports(self) -> Iterator[tuple[str, str]]:
        names = {number: name for name, number in dms.PORTS.items()}
        for entry in self._service.get("ports") or []:
            if isinstance(entry, dict):
                outer, inner = str(entry.get("published")), str(entry.get("target"))
                outer = f"{entry['host_ip']}:{outer}" if "host_ip" in entry else outer
            else:
                outer, _, inner = str(entry).partition("/")[0].rpartition(":")
            number = int(inner) if inner.isdecimal() else 0
            yield names.get(number, inner), outer or inner

    def _other_mounts(self) -> Iterator[dict[str, Any]]:
        for target, (source, read_only) in self._mounts.items():
            if target == dms.CERTS_DIR:
                self._notes.append(f"{source} is not mounted at {target} any more: the ring is")
            elif target not in {*STORES.values(), dms.CUSTOM_CONF}:
                yield {"source": source, "target": target, "readOnly": read_only}


_PRIVATE: Final = r"(?:mail_crypt_global_private_key\d*|crypt_private_key_file)"
_PUBLIC: Final = r"(?:mail_crypt_global_public_key|crypt_global_public_key_file)"
_KNOWN: Final = re.compile(
    rf"#.*|[{{}}]|plugin\s*\{{|mail_plugins\s*\{{|crypt_global_private_key\s+\S+\s*\{{"
    rf"|mail_plugins\s*=\s*\$mail_plugins\s+mail_crypt|mail_crypt\s*=\s*yes"
    rf"|mail_crypt_save_version\s*=\s*2|crypt_write_algorithm\s*=\s*aes-256-gcm-sha256"
    rf"|(?:{_PRIVATE}|{_PUBLIC})\s*=.*"
)


def _paths(conf: str, name: str) -> list[str]:
    return re.findall(rf"^\s*{name}\s*=\s*<?\s*(/\S+)", conf, re.MULTILINE)


def _unknown_lines(conf: str) -> list[str]:
    lines = (line.strip() for line in conf.splitlines())
    return [line for line in lines if line and not _KNOWN.fullmatch(line)]


def _pairs(lines: Sequence[Any]) -> dict[str, str]:
    """Return ``NAME=value`` lines as a mapping; comments are left out."""
    pairs = (str(line).strip().partition("=") for line in lines)
    return {name: value for name, sign, value in pairs if sign and not name.startswith("#")}


def _service_in(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the compose file and its service that mounts ``10-custom.conf``."""
    for name in COMPOSE_FILES:
        path = folder / name
        if path.is_file():
            return path, _service(path)
    raise SettingsError(
        "no compose file",
        where=str(folder),
        expected=f"one of {', '.join(COMPOSE_FILES)}",
        hint="name the folder in which you run docker compose",
    )


def _service(path: Path) -> Mapping[str, Any]:
    try:
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        found = [each for each in services.values() if dms.CUSTOM_CONF in str(each.get("volumes"))]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        raise SettingsError(
            "not a compose file", where=str(path), expected="services with volumes"
        ) from None
    if len(found) != 1:
        raise SettingsError(
            f"{len(found)} services mount {dms.CUSTOM_CONF}",
            where=str(path),
            expected="one docker-mailserver with mail_crypt",
            hint="without mail_crypt there is no key to take over: start a stack of your own",
        )
    return dict(found[0])
