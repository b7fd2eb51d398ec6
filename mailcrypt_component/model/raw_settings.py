"""Raw arguments, and the faults that were found in them.

The readers of single settings take values from here and report faults here, so that one
message can name all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from mailcrypt_component.model.errors import MailCryptError, SettingsError, SettingsErrors

_T = TypeVar("_T")
_D = TypeVar("_D")


class RawSettings:
    """The arguments by their ``snake_case`` names; collects faults instead of stopping.

    Args:
        args: The arguments by their ``snake_case`` or ``camelCase`` names.
        unresolved: Types of values that Pulumi resolves later; they are not checked.

    """

    def __init__(self, args: Mapping[str, Any], unresolved: tuple[type, ...] = ()) -> None:
        self._values = fields_of(args)
        self._unresolved = unresolved
        self._faults: list[SettingsError] = []

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value as the user gave it."""
        return self._values.get(name, default)

    def later(self, value: object) -> bool:
        """Tell whether Pulumi has not resolved a value yet."""
        return isinstance(value, self._unresolved)

    def fault(self, where: str, found: str, expected: str, hint: str = "") -> None:
        """Report a fault."""
        self._faults.append(SettingsError(found, where=where, expected=expected, hint=hint))

    def report(self, error: MailCryptError) -> None:
        """Report a fault that another module has found."""
        self.fault(error.where, error.found, error.expected, error.hint)

    def raise_faults(self) -> None:
        """Raise SettingsErrors if there was any fault."""
        if self._faults:
            raise SettingsErrors(self._faults)

    def refuse_unknown_settings(self, known: Sequence[str]) -> None:
        """Report each argument that is not a known setting."""
        self.refuse_unknown(self._values, known, "")

    def refuse_unknown(self, raw: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
        """Report each name that is not a known one."""
        names = ", ".join(camel(name) for name in known)
        for name in raw:
            if name not in known:
                self.fault(f"{prefix}{camel(name)}", "unknown setting", f"one of {names}")

    def refuse_duplicates(self, where: str, names: Sequence[str]) -> None:
        """Report each name that is given more than once."""
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.fault(where, f"{name} is given more than once", "each name once")

    def typed(self, name: str, kind: type[_T], default: _T) -> _T:
        """Return a value of a type; report a fault and return the default if it is of another."""
        value = self._values.get(name, default)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.fault(camel(name), shown(value), f"a {_WORDS[kind]}")
        return default

    def whole_number(self, name: str, default: int, most: int, unit: str) -> int:
        """Return a whole number from 1 to ``most``."""
        value = self.typed(name, int, default)
        if not 1 <= value <= most:
            self.fault(camel(name), shown(value), f"1 to {most} {unit}")
        return value

    def choice(self, where: str, value: Any, kind: type[_T], default: _D) -> _T | _D:
        """Return a member of an enumeration; the default if there is no value."""
        if value is None:
            return default
        try:
            return kind(value)  # type: ignore[call-arg]
        except ValueError:
            names = ", ".join(member.value for member in kind)  # type: ignore[attr-defined]
            self.fault(where, shown(value), f"one of {names}")
            return default

    def items(
        self, name: str, known: Sequence[str], default: Sequence[Any] = ()
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries of a list of objects, each with its name for errors."""
        items = []
        for index, item in enumerate(self.typed(name, list, list(default))):
            where = f"{camel(name)}[{index}]"
            if not isinstance(item, Mapping):
                self.fault(where, shown(item), "an object")
                continue
            fields = fields_of(item)
            self.refuse_unknown(fields, known, f"{where}.")
            items.append((where, fields))
        return items

    def host_path(self, where: str, path: Any) -> None:
        """Report a path that is not absolute."""
        if self.later(path):
            return
        if not isinstance(path, str) or not path.startswith("/") or ".." in path.split("/"):
            self.fault(where, shown(path), "an absolute path on the Docker host")


_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
HOSTNAME: Final = rf"(?:{_LABEL}\.)+{_LABEL}"
"""A full host name, as a regular expression in lower case."""

_WORDS: Final = {bool: "boolean", int: "whole number", str: "text", list: "list", dict: "map"}


def is_docker_host(value: object) -> bool:
    """Tell whether a value has the form of a Docker engine's address."""
    return isinstance(value, str) and re.match(r"(unix|tcp|ssh)://\S+", value) is not None


def fields_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values by their ``snake_case`` names, without those that are None."""
    return {_snake(name): value for name, value in raw.items() if value is not None}


def shown(value: object) -> str:
    """Return a value for a message; only texts and numbers are repeated."""
    if value is None or value == "":
        return "nothing"
    return repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found.group(1).lower()}", str(name))


def camel(name: str) -> str:
    """Return a setting's name as users write it."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)
