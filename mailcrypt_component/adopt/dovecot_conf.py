"""Separates mail_crypt's settings in Dovecot's configuration from the rest of the file.

Reads the language of Dovecot 2.3 (``plugin { mail_crypt_… }``) and of 2.4 (``crypt_…``).
Source: Dovecot's documentation of the mail_crypt plugin for both versions, and
``mail-crypt-global-key.c``, which takes a key in PEM or in base64 of PEM.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from typing import Final

_COMMENT: Final = re.compile(r"(?:^|\s)#.*$")
_OPENING: Final = re.compile(r"([\w./-]+)(?:\s+(\S+))?\s*\{")
_SETTING: Final = re.compile(r"([\w/]+)\s*=\s*(.*)")
_OURS: Final = re.compile(r"mail_crypt_\w+|crypt_\w+")
_PRIVATE_2_3: Final = re.compile(r"mail_crypt_global_private_key(\d*)")
_PASSWORD_2_3: Final = re.compile(r"mail_crypt_global_private_key(\d*)_password")
_PER_USER: Final = re.compile(
    r"mail_crypt_(?:curve|private_key|private_password|require_encrypted_user_key)"
    r"|crypt_user_key_\w+"
)
_COMPRESSION: Final = re.compile(r"\b(?:zlib|mail_compress)\w*")
_KEY_SECTION: Final = "crypt_global_private_key"


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key comes from: a file of the container, or the configuration itself."""

    name: str
    path: str = ""
    inline: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DovecotConf:
    """What one configuration file says about mail_crypt, and the rest of it.

    ``rest`` is the file without mail_crypt's settings; it is empty if nothing else is set.
    ``per_user`` names the settings of per-user keys, ``lines`` the numbers of the lines that
    belong to mail_crypt.
    """

    private: tuple[KeySource, ...]
    public: tuple[KeySource, ...]
    plugin: bool
    save_version: str | None
    per_user: tuple[str, ...]
    rest: str
    lines: tuple[int, ...]

    @property
    def uses_mail_crypt(self) -> bool:
        """Whether the file loads the plugin or sets anything of it."""
        return self.plugin or bool(self.lines)

    @property
    def compression(self) -> tuple[str, ...]:
        """The words of the rest that belong to the compression of mail."""
        return tuple(sorted(set(_COMPRESSION.findall(_without_comments(self.rest)))))


def read_dovecot_conf(text: str) -> DovecotConf:
    """Return what a configuration file says about mail_crypt."""
    return _Parser(text).parse()


@dataclass(slots=True)
class _Section:
    """An open section: its line, and whether content of it is dropped or kept."""

    name: str
    argument: str
    line: int
    dropped: bool = False
    kept: bool = False


class _Parser:
    """Reads the lines once; ``_kept`` holds what remains of each, None where nothing does."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._kept: list[str | None] = list(self._lines)
        self._open = [_Section("", "", 0)]
        self._private: dict[str, KeySource] = {}
        self._passwords: dict[str, str] = {}
        self._public: list[KeySource] = []
        self._plugin = False
        self._save_version: str | None = None
        self._per_user: list[str] = []

    def parse(self) -> DovecotConf:
        for number, line in enumerate(self._lines):
            self._line(number, _COMMENT.sub("", line).strip())
        rest = "\n".join(line for line in self._kept if line is not None).strip() + "\n"
        return DovecotConf(
            private=tuple(
                replace(key, password=self._passwords.get(name, ""))
                for name, key in self._private.items()
            ),
            public=tuple(self._public),
            plugin=self._plugin,
            save_version=self._save_version,
            per_user=tuple(self._per_user),
            rest=rest if _without_comments(rest).strip() else "",
            lines=tuple(
                number
                for number, line in enumerate(self._lines, start=1)
                if self._kept[number - 1] != line
            ),
        )

    def _line(self, number: int, text: str) -> None:
        opening = _OPENING.fullmatch(text)
        setting = _SETTING.fullmatch(text)
        if opening:
            self._open.append(_Section(opening.group(1), opening.group(2) or "", number))
        elif text == "}" and len(self._open) > 1:
            self._close(number)
        elif setting:
            self._setting(number, setting.group(1), setting.group(2).strip())
        elif text:
            self._open[-1].kept = True

    def _close(self, number: int) -> None:
        """Drop a section together with its comments if it held nothing but mail_crypt."""
        closed, around = self._open.pop(), self._open[-1]
        if closed.kept or not closed.dropped:
            around.kept = True
            return
        for each in range(closed.line, number + 1):
            self._kept[each] = None
        around.dropped = True

    def _setting(self, number: int, name: str, value: str) -> None:
        section = self._open[-1]
        if name == "mail_plugins" or name.startswith("mail_plugins/"):
            self._plugins(number, name, value)
        elif section.name == "mail_plugins" and name == "mail_crypt":
            self._plugin = self._plugin or value not in {"no", "0", "false"}
            self._drop(number)
        elif _OURS.fullmatch(name):
            self._take(name, value, section)
            self._drop(number)
        else:
            section.kept = True

    def _drop(self, number: int) -> None:
        self._kept[number] = None
        self._open[-1].dropped = True

    def _plugins(self, number: int, name: str, value: str) -> None:
        words = value.strip('"').split()
        others = [word for word in words if word != "mail_crypt"]
        if name == "mail_plugins/mail_crypt" or len(others) < len(words):
            self._plugin = True
        if name == "mail_plugins/mail_crypt" or set(others) <= {"$mail_plugins"} != set(words):
            self._drop(number)
            return
        if len(others) < len(words):
            indent = self._lines[number].partition("mail_plugins")[0]
            self._kept[number] = f"{indent}mail_plugins = {' '.join(others)}"
        self._open[-1].kept = True

    def _take(self, name: str, value: str, section: _Section) -> None:
        """Remember one of mail_crypt's settings; a later one replaces an earlier one."""
        if _PER_USER.fullmatch(name):
            self._per_user.append(name)
        elif found := _PASSWORD_2_3.fullmatch(name):
            self._passwords[found.group(1)] = value
        elif found := _PRIVATE_2_3.fullmatch(name):
            self._private[found.group(1)] = _source(name, value)
        elif name == "crypt_private_key_file" and section.name == _KEY_SECTION:
            self._private[section.argument] = KeySource(name, path=value.lstrip("< "))
        elif name == "crypt_private_key_password" and section.name == _KEY_SECTION:
            self._passwords[section.argument] = value
        elif name == "mail_crypt_global_public_key":
            self._public.append(_source(name, value))
        elif name == "crypt_global_public_key_file":
            self._public.append(KeySource(name, path=value.lstrip("< ")))
        elif name == "mail_crypt_save_version":
            self._save_version = value
        elif name == "crypt_write_algorithm" and not value.strip('"'):
            self._save_version = "0"


def _source(name: str, value: str) -> KeySource:
    """Return the source of a key in the words of 2.3: ``<path``, or base64 of PEM."""
    text = value.strip('"')
    if text.startswith("<"):
        return KeySource(name, path=text.lstrip("< "))
    try:
        return KeySource(name, inline=base64.b64decode(text, validate=True).decode())
    except ValueError:
        return KeySource(name, path=text)


def _without_comments(text: str) -> str:
    return "\n".join(_COMMENT.sub("", line) for line in text.splitlines())
