"""Writes what the documentation takes from the code: settings, commands and edits.

A page has a pair of comments around what is generated::

    <!-- generated: settings -->
    <!-- end -->

``python docs/generate.py`` fills them anew, and the descriptions in ``Pulumi.yaml``.  A test
compares, so a page cannot say anything else than the code.
"""  # noqa: INP001

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click
import yaml

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mailcrypt_component import cli  # noqa: E402
from mailcrypt_component.dialects.dialect import Dialect  # noqa: E402
from mailcrypt_component.model import custody, key_ring, settings, swarm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from enum import StrEnum

    _Edit = tuple[Mapping[str, Any], set[str]]

PROJECT: Final = ROOT / "Pulumi.yaml"
_ARGS: Final = ROOT / "mailcrypt_component/args.py"
_PART: Final = re.compile(
    r"(?P<head><!-- generated: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
_WIDTH: Final = 88
_TITLES: Final = {
    "MailCryptServerArgs": "The server",
    "KeyArgs": "A key",
    "AccountArgs": "An account",
    "TlsArgs": "TLS",
    "BindArgs": "Binds",
    "MountArgs": "A mount",
}
"""The classes of ``args.py``, in the order of the page, with their headings."""
_WORDS: Final = {
    "str": "text",
    "int": "whole number",
    "bool": "true or false",
    "Any": "port, address:port or a list of them",
}
_ENUMS: Final[Mapping[str, type[StrEnum]]] = {
    "Curve": key_ring.Curve,
    "Custody": custody.Custody,
    "Dialect": Dialect,
    "IndexCache": custody.IndexCache,
    "Platform": swarm.Platform,
    "Queue": custody.Queue,
    "TlsMode": settings.TlsMode,
}


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each file that holds something generated, and its text as it should be."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if _PART.search(text):
            yield path, _PART.sub(_filled, text)
    yield PROJECT, described(PROJECT.read_text(encoding="utf-8"))


def _filled(found: re.Match[str]) -> str:
    return f"{found['head']}\n{_PARTS[found['name']]()}\n\n{found['end']}"


# --- settings


def arguments() -> dict[str, tuple[str, list[tuple[str, ast.expr, str]]]]:
    """Return each class of ``args.py``: its docstring, and name, type and docstring of a field."""
    tree = ast.parse(_ARGS.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {one.name: (ast.get_docstring(one) or "", list(_fields(one))) for one in classes}


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            documented = ast.literal_eval(text.value) if isinstance(text, ast.Expr) else ""
            yield field.target.id, field.annotation, " ".join(documented.split())


def _settings() -> str:
    found = arguments()
    defaults = yaml.safe_load(PROJECT.read_text(encoding="utf-8"))["config"]
    parts = []
    for name, title in _TITLES.items():
        text, fields = found[name]
        top = name == "MailCryptServerArgs"
        rows = [_row(field, defaults if top else {}) for field in fields]
        head = "| setting | value | default | meaning |\n| --- | --- | --- | --- |"
        if not top:
            head = "| setting | value | meaning |\n| --- | --- | --- |"
        parts.append(f"## {title}\n\n{text}\n\n{head}\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _row(field: tuple[str, ast.expr, str], defaults: Mapping[str, Any]) -> str:
    name, annotation, text = field
    required, value = _value(annotation)
    cells = [f"`{name}`" + (" (required)" if required else ""), value]
    if defaults:
        default = defaults[name].get("default")
        cells.append("" if default in (None, "", [], {}) else f"`{_inline(default)}`")
    return "| " + " | ".join([*cells, text.replace("``", "`")]) + " |"


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _value(node: ast.expr) -> tuple[bool, str]:
    """Return whether a setting is required, and its type in words."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "NotRequired":
        return False, _words(node.slice)
    return True, _words(node)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _generic(ast.unparse(node.value), node.slice)
    name = ast.unparse(node)
    if name in _ENUMS:
        return ", ".join(f"`{member.value}`" for member in _ENUMS[name])
    if name in _TITLES:
        title = _TITLES[name]
        shown = title.lower() if title.startswith("A") else title
        return f"[{shown}](#{title.lower().replace(' ', '-')})"
    return _WORDS[name]


def _generic(kind: str, inner: ast.expr) -> str:
    if kind == "pulumi.Input":
        return f"{_words(inner)} (input)"
    if kind == "list":
        words = _words(inner)
        return "list of texts" if words == "text" else f"list, each {words}"
    if isinstance(inner, ast.Tuple):
        return f"map to {_words(inner.elts[1])}"
    raise ValueError(f"{kind} in args.py is of a kind that this program does not know")


def described(project: str) -> str:
    """Return ``Pulumi.yaml`` with the descriptions of ``args.py``."""
    _, fields = arguments()["MailCryptServerArgs"]
    for name, _, text in fields:
        line = json.dumps(text.replace("``", ""), ensure_ascii=False)
        pattern = rf"(?m)(^  {name}:\n(?:    .*\n)*?    description: ).*$"
        project, times = re.subn(pattern, lambda found, line=line: found[1] + line, project)  # type: ignore[misc]
        if times != 1:
            raise ValueError(f"Pulumi.yaml: {times} descriptions of {name}, expected one")
    return project


# --- commands


def _commands() -> str:
    group = cli.main
    return "\n\n".join(f"## {name}\n\n```text\n{_help(group, name)}\n```" for name in cli.COMMANDS)


def _help(group: click.Command, name: str) -> str:
    assert isinstance(group, click.Group)  # noqa: S101
    command = group.get_command(click.Context(group), name)
    assert command is not None  # noqa: S101
    context = click.Context(
        command, info_name=f"mailcrypt {name}", terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    return command.get_help(context)


# --- edits

_ORDER: Final = ("ring", "tls", "memory", "preflight", "keeper", "unlock", "accounts", "server")


def _edits() -> str:
    from tests.edits import EDITS, FOREIGN  # noqa: PLC0415

    rows = ["| edit | for instance | changes exactly |", "| --- | --- | --- |"]
    for name, (edit, follow) in cast("Mapping[str, _Edit]", EDITS).items():
        example = _example(edit).replace("FOLDER", "/srv/mail").replace(FOREIGN, "office")
        resources = sorted((each.removeprefix("mailcrypt-") for each in follow), key=_place)
        listed = ", ".join(f"`{each}`" for each in resources) or "nothing; no gate runs"
        rows.append(f"| {_named(name)} | {example} | {listed} |")
    return "\n".join(rows)


def _named(edit: str) -> str:
    """Return the name of an edit, with the names of settings as code."""
    known = {name for name, _, _ in arguments()["MailCryptServerArgs"][1]}
    return re.sub(r"\w+", lambda word: f"`{word[0]}`" if word[0] in known else word[0], edit)


def _example(edit: Mapping[str, Any]) -> str:
    shown = (
        f"no `{name}`" if value is None else f"`{name}: {_inline(value)}`"
        for name, value in edit.items()
    )
    return ", ".join(shown)


def _place(resource: str) -> tuple[int, str]:
    kind = resource.partition("-")[0]
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), resource)


_PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": _settings,
    "commands": _commands,
    "edits": _edits,
}


def main() -> None:
    """Write every file anew that says something else than the code."""
    for path, text in pages():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
