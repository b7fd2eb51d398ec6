"""The files of a store, as encrypting them anew asks for it: on this machine.

``volume_files`` does the same in a volume of a Docker host.  Paths are bytes, relative to
the store's root.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from mailcrypt_component.dcrypt.header import HEADER_LIMIT
from mailcrypt_component.model.errors import MailCryptError, UnreachableError
from mailcrypt_component.store.local.walk import directory_of, share
from mailcrypt_component.store.maildir import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    Identity = tuple[int, int, int]

TEMPORARY: Final = b"mailcrypt-encrypt."
"""How the names of new files begin that wait in a Maildir's ``tmp`` for their place."""

TRIES: Final = 20
"""How often a mail is looked for that Dovecot renames again and again."""

_EXCHANGE: Final = 2
_HERE: Final = -100
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``stat`` says of a mail; times are nanoseconds since 1970."""

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
        """What is another where the file is another."""
        return self.inode, self.size, self.mtime


@dataclass(frozen=True, slots=True)
class Seen:
    """A mail's facts and its first bytes, enough for every header."""

    facts: Facts
    head: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """A new file that waits in ``tmp`` to change places with the mail it was made from."""

    temporary: bytes
    directory: bytes
    name: bytes
    old: Identity
    was_clear: bool


class Files(Protocol):
    """What encrypting asks of a store, in batches: each answer may cost a way over a network."""

    @property
    def where(self) -> str:
        """The store's place, for messages."""

    def folders(self) -> Iterator[tuple[bytes, list[bytes] | None]]:
        """Yield each directory with its files' names; None where it cannot be read."""

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[Seen | str | None]:
        """Look at mails: each a Seen, the reason why it cannot be read, or None: it is gone."""

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | None]:
        """Read whole mails; None for one that is gone."""

    def write(
        self, directory: bytes, mails: Sequence[tuple[Facts, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Write new files beside, with these facts; return each one's path and what it holds."""

    def link(self, path: bytes, directory: bytes) -> bytes | None:
        """Make one more name, beside, for a file; None where it is gone."""

    def settle(self, ready: Sequence[Ready]) -> list[bytes | None]:
        """Flush, then let each take its place; return where it is, None where the mail is gone."""

    def discard(self, temporaries: Sequence[bytes]) -> None:
        """Remove new files that will not take a place."""

    def renamed(self, directory: bytes, names: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        """Return where mails are now that had these names: names by directory."""

    def clean(self, directory: bytes) -> None:
        """Remove what another run, which was killed, has left beside a directory of mails."""


class LocalFiles:
    """A store in a directory of this machine."""

    def __init__(self, store: str) -> None:
        self._root = directory_of(store)
        self._mark = run_mark()
        self._numbers = count()
        self.where = shown(self._root)

    def folders(self) -> Iterator[tuple[bytes, list[bytes] | None]]:
        for directory, names in share(self._root, 0, 1):
            yield directory[len(self._root) + 1 :], names

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[Seen | str | None]:
        return [self._look(self._path(directory, name)) for name in names]

    def _look(self, path: bytes) -> Seen | str | None:
        try:
            file = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror or "cannot be read"
        try:
            return Seen(facts_of(os.fstat(file)), os.read(file, HEADER_LIMIT))
        except OSError as error:
            return error.strerror or "cannot be read"
        finally:
            os.close(file)

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | None]:
        return [self._read(self._path(directory, name)) for name in names]

    def _read(self, path: bytes) -> bytes | None:
        try:
            with os.fdopen(os.open(path, _READ), "rb", buffering=0) as source:
                return source.read()
        except FileNotFoundError:
            return None

    def write(
        self, directory: bytes, mails: Sequence[tuple[Facts, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        written: list[tuple[bytes, bytes]] = []
        try:
            for facts, data in mails:
                temporary = self._temporary(directory)
                written.append((temporary, self._write(temporary, facts, data)))
        except BaseException:
            self.discard([temporary for temporary, _ in written])
            raise
        return written

    def _write(self, temporary: bytes, facts: Facts, data: bytes) -> bytes:
        path = self._path(temporary)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "r+b", buffering=0) as sink:
                rest = memoryview(data)
                while rest:
                    rest = rest[sink.write(rest) :]
                made = os.fstat(sink.fileno())
                if (made.st_uid, made.st_gid) != (facts.uid, facts.gid):
                    os.fchown(sink.fileno(), facts.uid, facts.gid)
                os.fchmod(sink.fileno(), facts.mode)
                sink.seek(0)
                held = sink.read()
                os.utime(sink.fileno(), ns=(facts.atime, facts.mtime))
        except BaseException:
            os.unlink(path)
            raise
        return held

    def link(self, path: bytes, directory: bytes) -> bytes | None:
        temporary = self._temporary(directory)
        try:
            os.link(self._path(path), self._path(temporary))
        except FileNotFoundError:
            return None
        return temporary

    def settle(self, ready: Sequence[Ready]) -> list[bytes | None]:
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _LIBC.syncfs(folder):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(folder)
        settled: list[bytes | None] = []
        for each in ready:
            settled.append(self._take_place(each))
            os.unlink(self._path(each.temporary))
        return settled

    def _take_place(self, ready: Ready) -> bytes | None:
        """Put the new file in the old one's place, wherever Dovecot has moved that to."""
        path: bytes | None = ready.directory + b"/" + ready.name
        temporary = self._path(ready.temporary)
        for _ in range(TRIES):
            if path is None:
                return None
            try:
                if self._identity(path) == ready.old:
                    exchange(temporary, self._path(path))
                    if self._identity(ready.temporary) == ready.old:
                        return path
                    exchange(temporary, self._path(path))
            except FileNotFoundError:
                pass
            moved = self.renamed(ready.directory, [ready.name])
            path = moved[0][0] + b"/" + moved[0][1][0] if moved else None
        return None

    def _identity(self, path: bytes) -> Identity:
        return facts_of(os.stat(self._path(path), follow_symlinks=False)).identity

    def discard(self, temporaries: Sequence[bytes]) -> None:
        for temporary in temporaries:
            os.unlink(self._path(temporary))

    def renamed(self, directory: bytes, names: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        bases = {base_of(name) for name in names}
        found = []
        for folder in (b"cur", b"new"):
            beside = _beside(directory, folder)
            try:
                there = [n for n in os.listdir(self._path(beside)) if base_of(n) in bases]
            except FileNotFoundError:
                continue
            if there:
                found.append((beside, there))
        return found

    def clean(self, directory: bytes) -> None:
        folder = _beside(directory, b"tmp")
        try:
            names = os.listdir(self._path(folder))
        except FileNotFoundError:
            return
        left = [name for name in names if name.startswith(TEMPORARY)]
        self.discard([folder + b"/" + name for name in left if not name.startswith(self._mark)])

    def _temporary(self, directory: bytes) -> bytes:
        folder = _beside(directory, b"tmp")
        if not os.path.isdir(self._path(folder)):
            facts = os.stat(self._path(directory))
            os.mkdir(self._path(folder), facts.st_mode & 0o7777)
            os.chown(self._path(folder), facts.st_uid, facts.st_gid)
        return b"%s/%s%d.%d" % (folder, self._mark, os.getpid(), next(self._numbers))

    def _path(self, *parts: bytes) -> bytes:
        return b"/".join((self._root, *filter(None, parts)))


@contextmanager
def local_files(store: str) -> Iterator[Callable[[], AbstractContextManager[Files]]]:
    """Give what opens a directory's files, in any process; other runs are kept out.

    Raises:
        UnreachableError: It cannot be read, or another run is at work on it.

    """
    files = LocalFiles(store)
    folder = os.open(directory_of(store), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lambda: nullcontext(files)
    except BlockingIOError:
        raise at_work(files.where) from None
    finally:
        os.close(folder)


def run_mark() -> bytes:
    """Return how the names of one run's new files begin, in all its processes."""
    return TEMPORARY + secrets.token_hex(4).encode() + b"."


def facts_of(found: os.stat_result) -> Facts:
    """Return the facts of a file from what ``stat`` says."""
    return Facts(
        inode=found.st_ino,
        size=found.st_size,
        mtime=found.st_mtime_ns,
        atime=found.st_atime_ns,
        links=found.st_nlink,
        uid=found.st_uid,
        gid=found.st_gid,
        mode=found.st_mode & 0o7777,
    )


def base_of(name: bytes) -> bytes:
    """Return what stays of a mail's name when its flags change."""
    return name.partition(b":2,")[0]


def exchange(one: bytes, other: bytes) -> None:
    """Let two files change places, in one step."""
    if _LIBC.renameat2(_HERE, one, _HERE, other, _EXCHANGE):
        number = ctypes.get_errno()
        if number == errno.ENOENT:
            raise FileNotFoundError(number, os.strerror(number))
        raise OSError(number, os.strerror(number))


def at_work(where: str) -> UnreachableError:
    """Return the error for a store that another run is at work on."""
    return UnreachableError(
        "another run of encrypt is at work on it",
        where=where,
        expected="one at a time",
        hint="wait for it; it can be stopped at any moment without harm",
    )


def cannot_write(where: str, reason: str) -> MailCryptError:
    """Return the error for a store that could not be written."""
    return MailCryptError(
        reason,
        where=where,
        expected="a store that can be written, on ext4, xfs, btrfs or tmpfs",
        hint="nothing is lost; mend it and run it again: it goes on where it stopped",
    )


def _beside(directory: bytes, folder: bytes) -> bytes:
    """Return another folder of the same Maildir."""
    parent = os.path.dirname(directory)
    return parent + b"/" + folder if parent else folder
