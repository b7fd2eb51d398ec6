"""Tells by a file's path whose mail it is, and in which folder.

The mails of a Maildir are in ``cur`` and ``new``; its other folders (Maildir++) are directories
``.Name`` beside them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mailcrypt_component.dcrypt.header import Unsupported
from mailcrypt_component.model.errors import FormatError, UnreachableError
from mailcrypt_component.store.agent.reader import MAIL_FOLDERS, Mail

INBOX: Final = "INBOX"


class Mailbox(NamedTuple):
    """A user (``domain/user`` below DMS's mail directory) and a folder (``INBOX``, ``Sent``)."""

    user: str
    folder: str


class NoMaildir(UnreachableError):  # noqa: N818  (a finding, named after what was not found)
    """There is no Maildir, so that nothing was found out."""

    def __init__(self, where: str) -> None:
        super().__init__(
            "no Maildir below this path",
            where=where,
            expected="a Maildir (with cur, new and tmp), or a directory of many, such as a copy "
            "of /var/mail",
            hint="check the path; docker-mailserver keeps the mail of ann@example.test in "
            "example.test/ann",
        )


def is_mail_folder(directory: bytes) -> bool:
    """Tell whether a directory is called as one whose files are mails."""
    return directory.rpartition(b"/")[2] in MAIL_FOLDERS


def mailbox_of(directory: bytes, *, has_mails: bool = True) -> Mailbox:
    """Return the mailbox that a directory belongs to.

    Args:
        directory: Relative to the store's root.
        has_mails: Whether it can be the ``cur`` or ``new`` of a Maildir: an account may be
            called ``cur``, too.

    >>> mailbox_of(b"example.test/ann/.Sent/cur")
    Mailbox(user='example.test/ann', folder='Sent')

    """
    parts = directory.split(b"/")
    if has_mails and parts[-1] in MAIL_FOLDERS:
        parts.pop()
    folder = INBOX
    if parts and parts[-1].startswith(b".") and len(parts[-1]) > 1:
        folder = shown(parts.pop()[1:])
    return Mailbox(shown(b"/".join(parts)) or ".", folder)


def described(error: FormatError) -> str:
    """Return why a mail cannot be decrypted, its kind first, as in ``damaged: 12 bytes``."""
    kind = "not supported" if isinstance(error, Unsupported) else "damaged"
    return f"{kind}: {error.found}"


def shown(name: bytes) -> str:
    """Return a name as text that is safe to print: one line, nothing lost."""
    text = name.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


__all__ = [
    "INBOX",
    "Mail",
    "Mailbox",
    "NoMaildir",
    "described",
    "is_mail_folder",
    "mailbox_of",
    "shown",
]
