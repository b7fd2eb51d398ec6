"""Reads an env file as Docker Compose does, where nothing has to be interpolated.

Source: the package ``dotenv`` of compose-go 2.9.1, the version in Docker Compose 2.40.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USE_COMPOSE: Final = "install Docker Compose (docker compose), which resolves it"
"""What to do about a file that only Docker Compose itself can resolve."""

_SKIPPED: Final = re.compile(r"(?:\s+|#[^\n]*)*")
_SPACE: Final = r"[ \t\v\f\r\x85\xa0]*"
_NAME: Final = re.compile(
    rf"(?:export\s+)?([\w.\-\[\]]+){_SPACE}(?:([=:]){_SPACE}|(?=\n|\Z))",
)
_VALUE: Final = re.compile(
    r"""'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>(?!['"])[^\n]*)""",
    re.DOTALL,
)
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}


def read_env_file(text: str, where: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an env file.

    Args:
        text: The file's content.
        where: The file's path, for errors.
        inherited: The variables of the environment; a name without a value takes its value
            from there, and is left out if it is not there.

    Raises:
        SettingsError: A line is not understood, or a value has to be interpolated.  The
            message holds no value.

    """
    found: dict[str, str] = {}
    for name, value in _statements(text, where):
        if value is not None:
            found[name] = value
        elif name in inherited:
            found[name] = inherited[name]
    return found


def _statements(text: str, where: str) -> Iterator[tuple[str, str | None]]:
    """Yield each name with its value; None for a name without a value."""
    position = _end_of_skipped(text, 0)
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        name = _NAME.match(text, position)
        if not name:
            raise _fault(where, line, "not NAME=value", "quote a value of several lines")
        if name.group(2) is None:
            yield name.group(1), None
            position = _end_of_skipped(text, name.end())
            continue
        value = _VALUE.match(text, name.end())
        if not value:
            raise _fault(where, line, f"{name.group(1)} has a quote that is not closed", "")
        yield name.group(1), _value(value, f"{where}, line {line}: {name.group(1)}")
        position = _end_of_skipped(text, value.end())


def _end_of_skipped(text: str, position: int) -> int:
    skipped = _SKIPPED.match(text, position)
    return skipped.end() if skipped else position


def _value(found: re.Match[str], where: str) -> str:
    single = found.group("single")
    if single is not None:
        return single.replace("\\'", "'")
    value = found.group("double")
    if value is None:
        value = found.group("plain").partition(" #")[0].rstrip()
    if "$" in value or "\\0" in value:
        raise SettingsError(
            "a value with $, which Docker Compose interpolates",
            where=where,
            expected="a plain value, or one in single quotes, which is taken literally",
            hint=USE_COMPOSE,
        )
    if found.group("double") is None:
        return value
    return re.sub(r'\\([abfnrtv\\"])', lambda each: _ESCAPES[each.group(1)], value)


def _fault(where: str, line: int, found: str, hint: str) -> SettingsError:
    return SettingsError(found, where=f"{where}, line {line}", expected="NAME=value", hint=hint)
