"""Translates the short forms of a compose file into the long forms that Docker Compose prints.

Source: compose-go 2.9.1, the version in Docker Compose 2.40.3.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt.env_file import USE_COMPOSE
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROPAGATION: Final = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
_PORT: Final = re.compile(r"\d{1,5}")
_PORTS: Final = frozenset(range(1, 65536))
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})


@dataclass(frozen=True, slots=True)
class ComposeSource:
    """A compose file and the variables that Docker Compose would read it with."""

    path: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    def where(self, part: str) -> str:
        """Return the name of a part of the file for a message."""
        return f"{self.path}: {part}"

    def fault(self, where: str, found: object, expected: str) -> SettingsError:
        """Return the error for a part that is not a valid compose file."""
        return SettingsError(str(found), where=self.where(where), expected=expected)

    def unresolved(self, where: str, found: str) -> SettingsError:
        """Return the error for a part that only Docker Compose can resolve."""
        return SettingsError(
            found,
            where=self.where(where),
            expected="a file that can be read without Docker Compose",
            hint=USE_COMPOSE,
        )


def variables(source: ComposeSource, stated: Any, where: str) -> Iterator[tuple[str, str | None]]:
    """Yield the variables of ``environment`` by name; None for one without a value."""
    if isinstance(stated, dict):
        for name, value in stated.items():
            yield str(name), None if value is None else _scalar(value)
    elif isinstance(stated, list) and all(isinstance(each, str) for each in stated):
        for each in stated:
            name, sign, value = each.partition("=")
            yield name, value if sign else None
    elif stated is not None:
        raise source.fault(where, type(stated).__name__, "a map, or a list of NAME=value")


def ports(source: ComposeSource, where: str, entry: Any) -> Iterator[dict[str, Any]]:
    """Yield the ports of one entry of ``ports``."""
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
        raise source.fault(where, repr(entry), "[address:][published:]port[/protocol]")
    common = {"mode": "ingress", "protocol": protocol}
    if address:
        common["host_ip"] = address.strip("[]")
    if len(inside) == 1 < len(outside):
        yield {**common, "target": inside[0], "published": published}
    elif outside and len(inside) != len(outside):
        raise source.fault(where, repr(entry), "two ranges of the same length")
    else:
        for number, target in enumerate(inside):
            host = {"published": str(outside[number])} if outside else {}
            yield {**common, "target": target, **host}


def volume(source: ComposeSource, where: str, entry: Any) -> dict[str, Any]:
    """Return one entry of ``volumes`` in the long form."""
    stated = dict(entry) if isinstance(entry, dict) else _short_volume(source, where, str(entry))
    stated["target"] = normpath(str(stated.get("target")))
    if stated.get("type") == "bind":
        path = Path(str(stated.get("source") or "")).expanduser()
        stated["source"] = os.path.normpath(source.folder / path)
    return stated


def _short_volume(compose: ComposeSource, where: str, entry: str) -> dict[str, Any]:
    source, sign, rest = entry.partition(":")
    if not sign:
        return {"type": "volume", "target": source}
    target, _, options = rest.partition(":")
    drive = len(source) == 1 and source.isalpha()
    if not source or drive or not target.startswith("/") or ":" in options:
        raise compose.fault(where, repr(entry), "source:target[:options]")
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
