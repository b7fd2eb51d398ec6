"""Writes recovered mail: as Maildirs, as one file a mail, or as one mbox a folder.

Each mail is written under a temporary name and renamed when it is complete, so that a killed run
leaves whole mails only.  An mbox appears under its name when it is complete.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from time import asctime, gmtime
from typing import TYPE_CHECKING, Final, Protocol

from mailcrypt_component.store.agent.writer import base_of
from mailcrypt_component.store.maildir import mailbox_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import FileIO

_TEMPORARY: Final = b".mailcrypt-"
_UNFINISHED: Final = b".unfinished"
_EML: Final = b".eml"
_SIZE: Final = re.compile(rb",S=([0-9]+)")


class Layout(StrEnum):
    """How to store the recovered mail."""

    MAILDIR = "maildir"
    """As in the store: names, flags, times, subscriptions and UIDs are kept."""
    EML = "eml"
    """``user/folder/name.eml``."""
    MBOX = "mbox"
    """One file a folder (mboxrd), ``user/folder.mbox``; each run writes it again."""


class Folder(Protocol):
    """Where the mails of one folder go."""

    def has(self, name: bytes) -> bool:
        """Tell whether an earlier run wrote the whole of a mail."""

    def write(self, name: bytes, plain: Iterable[bytes | memoryview], stat: os.stat_result) -> None:
        """Write a mail with the times of its source."""


class Output:
    """The directory that recovered mail is written to."""

    def __init__(self, target: bytes, layout: Layout) -> None:
        self._target, self._layout = target, layout
        self._mboxes: dict[bytes, _Mbox] = {}

    def folder(self, directory: bytes) -> Folder:
        """Return where the mails of a directory of the store go."""
        if self._layout is Layout.MAILDIR:
            path = self._target + b"/" + directory
            for name in (b"cur", b"new", b"tmp"):
                os.makedirs(os.path.dirname(path) + b"/" + name, exist_ok=True)
            return _Files(path, b"")
        mailbox = mailbox_of(directory)
        user = b"/".join(part for part in os.fsencode(mailbox.user).split(b"/") if part != b"..")
        path = b"/".join((self._target, user, os.fsencode(mailbox.folder).replace(b"/", b"_")))
        if self._layout is Layout.EML:
            return _Files(path, _EML)
        return self._mboxes.setdefault(path, _Mbox(path + b".mbox"))

    def copy(self, path: bytes, plain: Iterable[bytes], stat: os.stat_result) -> None:
        """Write a file that is not a mail, unless it exists."""
        final = self._target + b"/" + path
        if not os.path.lexists(final):
            os.makedirs(os.path.dirname(final), exist_ok=True)
            _write_file(final, plain, stat)

    def finish(self) -> None:
        """Give the mbox files their names."""
        for mbox in self._mboxes.values():
            mbox.finish()


class _Files:
    """A folder with one file a mail."""

    def __init__(self, path: bytes, suffix: bytes) -> None:
        self._path, self._suffix = path, suffix
        os.makedirs(path, exist_ok=True)
        with os.scandir(path) as entries:
            self._sizes = {
                base_of(entry.name.removesuffix(suffix)): entry.stat().st_size
                for entry in entries
                if not entry.name.startswith(_TEMPORARY)
            }

    def has(self, name: bytes) -> bool:
        """Compare with the size in the name (``S=``): a power failure may leave a short file."""
        said = _SIZE.search(name)
        return said is not None and self._sizes.get(base_of(name)) == int(said.group(1))

    def write(self, name: bytes, plain: Iterable[bytes | memoryview], stat: os.stat_result) -> None:
        """Write a file of its own."""
        _write_file(self._path + b"/" + name + self._suffix, plain, stat)


class _Mbox:
    """A folder that becomes one file."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._is_begun = False

    def has(self, _: bytes) -> bool:
        """Return False: each run writes the file again."""
        return False

    def write(self, _: bytes, plain: Iterable[bytes | memoryview], stat: os.stat_result) -> None:
        """Append a mail, in the variant mboxrd: ``From`` lines are quoted."""
        quoted = re.sub(rb"(?m)^(>*From )", rb">\1", b"".join(plain))
        head = f"From MAILER-DAEMON {asctime(gmtime(stat.st_mtime))}\n".encode()
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        with open(self._path + _UNFINISHED, "ab" if self._is_begun else "wb") as sink:
            sink.write(head + quoted + (b"\n" if quoted.endswith(b"\n") else b"\n\n"))
        self._is_begun = True

    def finish(self) -> None:
        """Give the file its name."""
        if self._is_begun:
            os.rename(self._path + _UNFINISHED, self._path)


def _write_file(final: bytes, plain: Iterable[bytes | memoryview], stat: os.stat_result) -> None:
    temporary = os.path.dirname(final) + b"/%s%d" % (_TEMPORARY, os.getpid())
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb", buffering=0) as sink:
            for chunk in plain:
                _write_all(sink, chunk)
            os.utime(sink.fileno(), ns=(stat.st_atime_ns, stat.st_mtime_ns))
        os.rename(temporary, final)
    except BaseException:
        os.unlink(temporary)
        raise


def _write_all(sink: FileIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[sink.write(rest) :]
