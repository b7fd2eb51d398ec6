"""Count the mails below a directory of this machine, on every core, while a server runs.

Each worker walks the whole tree, which is cheap, and reads the files whose inode
number falls to it: nothing is passed between them but the result, and each file is
counted once however the tree changes meanwhile.  Symbolic links are not followed, and
nothing but regular files is opened.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dcrypt.header import HEADER_LIMIT
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.maildir import Mail, is_dbox, is_mail_folder, place_of, shown
from mailcrypt_component.store.tally import (
    DBOX,
    EXAMPLES,
    MBOX,
    UNREADABLE,
    Counts,
    Shapes,
    Tally,
    state_of,
)
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ: Final = 512
"""Bytes read of each file first; a header has 255 for P-256, 325 for P-521."""

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
BATCH: Final = 2000
"""How many names are handed on at a time."""


def count(
    root: str,
    *,
    years: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Count every mail below a directory.

    Args:
        root: The store, for instance a copy of DMS's ``/var/mail``.
        years: Whether to look at each mail's time of arrival, too.
        workers: How many processes; default one for each core.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        UnreachableError: The directory cannot be read.

    """
    base = directory_of(root)

    def job(index: int, number: int, tell: Callable[[int], None]) -> Tally:
        return _Counter(base, years=years).run(share(base, index, number), tell)

    total = Tally()
    for tally in in_processes(job, workers or cores(), progress):
        total.merge(tally)
    return total


def number_of_files(root: str) -> int:
    """Return how many files lie below a directory, by their names alone.

    Raises:
        UnreachableError: The directory cannot be read.

    """
    return sum(len(names or ()) for _, names in share(directory_of(root), 0, 1))


def directory_of(root: str) -> bytes:
    """Return the absolute path of a directory that can be read.

    Raises:
        UnreachableError: It cannot.

    """
    base = os.fsencode(os.path.abspath(root))
    try:
        os.scandir(base).close()
    except OSError as error:
        raise UnreachableError(
            error.strerror or "cannot be read",
            where=shown(base),
            expected="a directory with mail",
            hint="name a Maildir, or the directory of all of them, such as a copy of /var/mail",
        ) from None
    return base


def share(
    root: bytes,
    index: int,
    number: int,
) -> Iterator[tuple[bytes, list[bytes] | None]]:
    """Yield each directory with the names of those files whose inode falls to an index.

    The names come in batches; None for a directory that cannot be read.
    """
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        names: list[bytes] = []
        try:
            for entry in _entries(directory, waiting):
                if entry.inode() % number == index:
                    names.append(entry.name)
                    if len(names) == BATCH:
                        yield directory, names
                        names = []
        except FileNotFoundError:
            continue
        except OSError:
            if index == 0:
                yield directory, None
            continue
        if names:
            yield directory, names


def mails_of(root: str) -> Iterator[Mail]:
    """Yield every mail below a directory, its path relative to it.

    Raises:
        UnreachableError: The directory cannot be read.

    """
    base = directory_of(root)
    for directory, names in share(base, 0, 1):
        relative = directory[len(base) + 1 :]
        for name in names or () if is_mail_folder(directory) else ():
            try:
                file = os.open(directory + b"/" + name, _OPEN)
            except OSError:
                continue
            try:
                facts = os.fstat(file)
                prefix = os.read(file, HEADER_LIMIT)
                path = (relative + b"/" + name).lstrip(b"/")
                yield Mail(path, prefix, facts.st_size, int(facts.st_mtime))
            finally:
                os.close(file)


def fetch_from(root: str) -> Callable[[bytes], bytes]:
    """Return a function that returns a whole file by its path relative to a directory."""
    base = directory_of(root)

    def fetch(path: bytes) -> bytes:
        with os.fdopen(os.open(base + b"/" + path, _OPEN), "rb") as file:
            return file.read()

    return fetch


def _entries(directory: bytes, waiting: list[bytes]) -> Iterator[os.DirEntry[bytes]]:
    """Yield a directory's regular files; put its directories on the list to walk."""
    mails = is_mail_folder(directory)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry
            elif not mails and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


class _Counter:
    """Counts the files that it is told of."""

    def __init__(self, root: bytes, *, years: bool) -> None:
        self._root, self._years = root, years
        self._shapes = Shapes()
        self._tally = Tally()

    def run(
        self,
        directories: Iterator[tuple[bytes, list[bytes] | None]],
        tell: Callable[[int], None],
    ) -> Tally:
        done = 0
        for directory, names in directories:
            relative = directory[len(self._root) + 1 :]
            if names is None:
                self._tally.add(place_of(relative), {UNREADABLE: 1})
                self._tally.add_example(UNREADABLE, shown(relative) + "/")
                continue
            try:
                counts = (self._mails if is_mail_folder(directory) else self._others)(
                    directory, names
                )
            except FileNotFoundError:
                continue
            if counts:
                self._tally.add(place_of(relative), counts)
            done += len(names)
            tell(done)
        return self._tally

    def _mails(self, directory: bytes, names: list[bytes]) -> Counts:
        counts: Counts = {}
        shapes = self._shapes
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in names:
                file = -1
                try:
                    file = os.open(name, _OPEN, dir_fd=folder)
                    prefix = os.read(file, READ)
                    found = shapes.match(prefix)
                    state = shapes.state(found) if found else self._parse(file, prefix)
                except FileNotFoundError:  # It was moved or removed meanwhile.
                    continue
                except OSError:
                    state = UNREADABLE
                number = counts.get(state, 0)
                counts[state] = number + 1
                if number < EXAMPLES:
                    self._keep(state, directory, name)
                if file < 0:
                    continue
                if self._years:
                    self._note_year(file, state)
                os.close(file)
        finally:
            os.close(folder)
        return counts

    def _parse(self, file: int, prefix: bytes) -> str:
        size = os.fstat(file).st_size
        if len(prefix) == READ and size > READ:
            prefix += os.read(file, HEADER_LIMIT - READ)
        self._shapes.learn(prefix)
        return state_of(prefix, size)

    def _note_year(self, file: int, state: str) -> None:
        year = time.gmtime(os.fstat(file).st_mtime).tm_year
        self._tally.add_year(year, {state: 1})

    def _keep(self, state: str, directory: bytes, name: bytes) -> None:
        relative = directory[len(self._root) + 1 :] + b"/" + name
        self._tally.add_example(state, shown(relative))

    def _others(self, directory: bytes, names: list[bytes]) -> Counts:
        """Count what holds mail in another format than Maildir."""
        counts: Counts = {}
        for name in names:
            state = DBOX if is_dbox(name) else self._mbox(directory + b"/" + name)
            if state:
                counts[state] = counts.get(state, 0) + 1
                self._keep(state, directory, name)
        return counts

    def _mbox(self, path: bytes) -> str | None:
        try:
            file = os.open(path, _OPEN)
        except OSError:
            return None
        try:
            return MBOX if os.read(file, 5) == b"From " else None
        except OSError:
            return None
        finally:
            os.close(file)
