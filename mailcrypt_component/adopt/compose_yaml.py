"""Reads the YAML of a compose file as Docker Compose does, or refuses it.

Source: compose-go 2.9.1, the version in Docker Compose 2.40.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from mailcrypt_component.adopt.env_file import USE_COMPOSE
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

_OTHER_NUMBER: Final = (
    r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+|0[oxb][0-9a-fA-F_]+|[0-9.]+[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF|nan|NaN|NAN))"
)
"""Numbers that Docker Compose prints in another form, such as 010 as 8."""


def load(path: Path) -> dict[str, Any]:
    """Return the content of a compose file.

    Raises:
        SettingsError: It is no map in plain YAML, or cannot be read.

    """
    try:
        found = yaml.load(read(path), Loader=_Loader)  # noqa: S506  (it derives from SafeLoader)
    except yaml.constructor.ConstructorError as error:
        line = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else str(path)
        raise SettingsError(
            str(error.problem), where=line, expected="plain YAML", hint=USE_COMPOSE
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(
            "not a compose file", where=str(path), expected="YAML with services"
        ) from None
    return mapping(found, str(path))


def read(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        SettingsError: It cannot be read, or is not a text.

    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "not a text"
        raise SettingsError(found, where=str(path), expected="a text file to read") from None


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return a copy of a map.

    Raises:
        SettingsError: The value is no map.

    """
    if isinstance(value, dict):
        return dict(value)
    raise SettingsError(
        "not a compose file", where=where, expected="a map", hint="services: {mailserver: …}"
    )


def texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text below a value, with its path; Docker Compose does not interpolate keys."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts(each, f"{where}.{key}".removeprefix(".services").lstrip("."))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from texts(each, f"{where}[{number}]")


def without_doubled_dollars(value: Any) -> Any:
    """Return a value with ``$`` for each ``$$`` in the texts below it."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: without_doubled_dollars(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_doubled_dollars(each) for each in value]
    return value


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
