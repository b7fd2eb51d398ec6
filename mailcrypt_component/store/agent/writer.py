"""Replaces mail in a store, in batches: each may cost a way over a network.

Like ``reader`` this runs on this machine and in containers, needs the standard library of
Python 3.11 and nothing else, and never sees a key: it moves bytes and asks the file system.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from mailcrypt_component.store.agent.reader import MAIL_FOLDERS, Reader, join, prefix_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    Identity = tuple[int, int, int]

TEMPORARY: Final = b"mailcrypt-encrypt."
"""Start of the names of new files that wait in a Maildir's ``tmp``."""
TRIES: Final = 20
"""How often to look for a mail that Dovecot keeps renaming."""

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NUMBERS: Final = count()


class FileStat(NamedTuple):
    """What ``stat`` says of a file; times are nanoseconds since 1970."""

    inode: int
    size: int
    mtime: int
    atime: int
    links: int
    uid: int
    gid: int
    mode: int

    @property
    def identity(self) -> Identity:
        """Differs if the file was replaced or changed."""
        return self.inode, self.size, self.mtime


class MailHead(NamedTuple):
    """A mail's stat and its first bytes, enough for every header."""

    stat: FileStat
    prefix: bytes


class Replacement(NamedTuple):
    """A new file in ``tmp`` that will take the place of the mail it was made from."""

    temporary: bytes
    directory: bytes
    name: bytes
    old: Identity


class Writer(Reader):
    """A store whose mail can be replaced while Dovecot uses it."""

    def __init__(self, root: bytes, mark: bytes = TEMPORARY) -> None:
        super().__init__(root)
        self._mark = mark
        self._made: set[bytes] = set()
        self._locked = -1

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[MailHead | str | None]:
        """Return each mail's head, the reason why it cannot be read, or None if it is gone."""
        return [self._head(join(directory, name)) for name in names]

    def _head(self, path: bytes) -> MailHead | str | None:
        try:
            with self.open(path) as file:
                return MailHead(_stat_of(os.fstat(file.fileno())), prefix_of(file))
        except FileNotFoundError:
            return None
        except OSError as error:
            return reason_of(error)

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | str | None]:
        """Return whole mails, the reason why one cannot be read, or None for one that is gone."""
        return [self._whole(join(directory, name)) for name in names]

    def _whole(self, path: bytes) -> bytes | str | None:
        try:
            with self.open(path) as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            return reason_of(error)

    def write(
        self, directory: bytes, mails: Sequence[tuple[FileStat, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Write new files into ``tmp`` with these stats; return their paths and contents."""
        return [self._write(directory, FileStat(*stat), data) for stat, data in mails]

    def _write(self, directory: bytes, stat: FileStat, data: bytes) -> tuple[bytes, bytes]:
        temporary = self._temporary(directory)
        path = self.path(temporary)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._made.add(temporary)
        with os.fdopen(file, "r+b", buffering=0) as sink:
            rest = memoryview(data)
            while rest:
                rest = rest[sink.write(rest) :]
            made = os.fstat(file)
            if (made.st_uid, made.st_gid) != (stat.uid, stat.gid):
                os.fchown(file, stat.uid, stat.gid)
            os.fchmod(file, stat.mode)
            sink.seek(0)
            held = sink.read()
            os.utime(file, ns=(stat.atime, stat.mtime))
        return temporary, held

    def link(self, path: bytes, directory: bytes) -> bytes | None:
        """Give a file one more name, in ``tmp``; return it, or None if the file is gone."""
        temporary = self._temporary(directory)
        try:
            os.link(self.path(path), self.path(temporary))
        except FileNotFoundError:
            return None
        self._made.add(temporary)
        return temporary

    def settle(self, replacements: Sequence[Replacement]) -> list[bytes | None]:
        """Flush everything to the disk, then let each new file take its place.

        Returns:
            The path of each; None for a mail that is gone.

        """
        self._flush()
        return [self._settle(Replacement(*each)) for each in replacements]

    def _settle(self, replacement: Replacement) -> bytes | None:
        path = self._take_place(replacement)
        self.discard([replacement.temporary])
        return path

    def _take_place(self, new: Replacement) -> bytes | None:
        """Exchange a new file with the old one, wherever Dovecot has moved that to."""
        path: bytes | None = join(new.directory, new.name)
        for _ in range(TRIES):
            if path is None:
                return None
            with suppress(FileNotFoundError):
                if self._exchange(new.temporary, path, tuple(new.old)):
                    return path
            moved = self.renamed(new.directory, [new.name])
            path = join(moved[0][0], moved[0][1][0]) if moved else None
        return None

    def _exchange(self, temporary: bytes, path: bytes, old: tuple[int, ...]) -> bool:
        """Exchange a new file with the old one, if that is the file at the path."""
        if self._identity(path) != old:
            return False
        exchange(self.path(temporary), self.path(path))
        if self._identity(temporary) == old:
            return True
        try:  # Another file came to the path just before: put it back.
            exchange(self.path(temporary), self.path(path))
        except FileNotFoundError:
            os.link(self.path(temporary), self.path(path))
        return False

    def _identity(self, path: bytes) -> Identity:
        return _stat_of(os.stat(self.path(path), follow_symlinks=False)).identity

    def _flush(self) -> None:
        folder = os.open(self._root, _OPEN_FOLDER)
        try:
            if _LIBC.syncfs(folder):
                raise _libc_error()
        finally:
            os.close(folder)

    def discard(self, temporaries: Sequence[bytes]) -> None:
        """Remove files from ``tmp``."""
        for temporary in temporaries:
            with suppress(FileNotFoundError):
                os.unlink(self.path(temporary))
            self._made.discard(temporary)

    def renamed(self, directory: bytes, names: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        """Return, by directory, the present names of mails that had these names."""
        bases = {base_of(name) for name in names}
        found = []
        for folder in MAIL_FOLDERS:
            beside = _beside(directory, folder)
            with suppress(FileNotFoundError):
                if there := [n for n in os.listdir(self.path(beside)) if base_of(n) in bases]:
                    found.append((beside, there))
        return found

    def clean(self, directory: bytes) -> None:
        """Remove what a killed run left in the ``tmp`` of a mail folder."""
        folder = _beside(directory, b"tmp")
        with suppress(FileNotFoundError):
            left = [name for name in os.listdir(self.path(folder)) if name.startswith(TEMPORARY)]
            self.discard([join(folder, name) for name in left if not name.startswith(self._mark)])

    def lock(self) -> bool:
        """Keep other runs out until ``close``; return whether that succeeded."""
        self._locked = os.open(self._root, _OPEN_FOLDER)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._locked)
            self._locked = -1
        return self.is_locked

    @property
    def is_locked(self) -> bool:
        """Whether this object keeps other runs out."""
        return self._locked >= 0

    def close(self) -> None:
        """Remove new files that took no place, and let other runs in."""
        self.discard(sorted(self._made))
        if self.is_locked:
            os.close(self._locked)
            self._locked = -1

    def _temporary(self, directory: bytes) -> bytes:
        folder = _beside(directory, b"tmp")
        if not os.path.isdir(self.path(folder)):
            stat = os.stat(self.path(directory))
            os.mkdir(self.path(folder), stat.st_mode & 0o7777)
            os.chown(self.path(folder), stat.st_uid, stat.st_gid)
        return b"%s/%s%d.%d" % (folder, self._mark, os.getpid(), next(_NUMBERS))


def base_of(name: bytes) -> bytes:
    """Return the part of a mail's name that stays when its flags change."""
    return name.partition(b":2,")[0]


def exchange(one: bytes, other: bytes) -> None:
    """Let two files change places, in one step of the file system."""
    if _LIBC.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
        raise _libc_error()


def _libc_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _stat_of(found: os.stat_result) -> FileStat:
    return FileStat(
        inode=found.st_ino,
        size=found.st_size,
        mtime=found.st_mtime_ns,
        atime=found.st_atime_ns,
        links=found.st_nlink,
        uid=found.st_uid,
        gid=found.st_gid,
        mode=found.st_mode & 0o7777,
    )


def _beside(directory: bytes, folder: bytes) -> bytes:
    """Return another folder of the same Maildir."""
    return join(os.path.dirname(directory), folder)
