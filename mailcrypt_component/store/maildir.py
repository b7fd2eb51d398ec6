"""Whose mail a file is, told by its path alone.

A Maildir's mails lie in ``cur`` and ``new``; its further folders (Maildir++) are
directories ``.Name`` beside them.  A path is bytes: a mail's name need not be UTF-8.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

INBOX: Final = "INBOX"
_MAILS: Final = frozenset({b"cur", b"new"})
_DBOX: Final = re.compile(rb"[um]\.[0-9]+")


class Place(NamedTuple):
    """A user (``domain/user`` below DMS's mail directory) and a folder (``INBOX``, ``Sent``)."""

    user: str
    folder: str


class Mail(NamedTuple):
    """What is read of one file: its path, first bytes, size in bytes and time of arrival."""

    path: bytes
    prefix: bytes
    size: int
    arrived: int


def is_mail_folder(directory: bytes) -> bool:
    """Tell whether the files of a directory are mails."""
    return directory.rpartition(b"/")[2] in _MAILS


def is_dbox(name: bytes) -> bool:
    """Tell whether a file is one of Dovecot's own formats, sdbox or mdbox."""
    return _DBOX.fullmatch(name) is not None


def place_of(directory: bytes) -> Place:
    """Return the place of a directory of mails, relative to the store's root.

    >>> place_of(b"example.test/ann/.Sent/cur")
    Place(user='example.test/ann', folder='Sent')
    """
    parts = directory.split(b"/")
    if parts[-1] in _MAILS:
        parts.pop()
    folder = INBOX
    if parts and parts[-1].startswith(b".") and len(parts[-1]) > 1:
        folder = shown(parts.pop()[1:])
    return Place(shown(b"/".join(parts)) or ".", folder)


def shown(name: bytes) -> str:
    """Return a name as text that is safe to print: one line, nothing lost."""
    text = name.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
