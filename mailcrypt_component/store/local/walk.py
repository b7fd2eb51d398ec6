"""Counts and reads the mail below a directory of this machine, while a server runs.

Each worker walks the whole tree, which is cheap, and reads the files whose inode number falls
to it: nothing is passed between workers but the result, and each file is counted once however
the tree changes meanwhile.  Symbolic links are not followed, and nothing but regular files is
opened.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.agent.reader import (
    LINK,
    LONGEST_HEADER,
    READ,
    UNREADABLE,
    UNREADABLE_FOLDER,
    Reader,
    join,
)
from mailcrypt_component.store.maildir import NoMaildir, mailbox_of, shown
from mailcrypt_component.store.tally import EXAMPLES, Counts, Shapes, Tally, state_of
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailcrypt_component.store.agent.reader import Listing
    from mailcrypt_component.store.maildir import Mail

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def count(
    root: str,
    *,
    years: bool = False,
    maildir_required: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Count every mail below a directory.

    Args:
        root: The store, for instance a copy of DMS's ``/var/mail``.
        years: Whether to count by year of arrival, too.
        maildir_required: Whether to refuse a directory without any Maildir.
        workers: How many processes; one for each core by default.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        UnreachableError: The directory cannot be read.
        NoMaildir: It has no Maildir below it.

    """
    base = directory_of(root)
    if maildir_required:
        require_maildir(base)

    def job(index: int, number: int, tell: Callable[[int], None]) -> Tally:
        return _Counter(base, years=years).run(Reader(base).listings(index, number), tell)

    total = Tally()
    for tally in in_processes(job, workers or cores(), progress):
        total.merge(tally)
    return total


def number_of_files(root: str) -> int:
    """Return how many files are below a directory, by their names alone.

    Raises:
        UnreachableError: The directory cannot be read.

    """
    return Reader(directory_of(root)).number_of_files()


def directory_of(root: str) -> bytes:
    """Return the absolute path of a directory that can be read.

    Raises:
        UnreachableError: It does not exist or cannot be read.

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


def require_maildir(root: bytes) -> None:
    """Refuse a directory with neither a Maildir nor any other mail below it.

    Raises:
        NoMaildir: There is none.

    """
    if not Reader(root).holds_mail():
        raise NoMaildir(shown(root))


def mails_of(root: str) -> Iterator[Mail]:
    """Yield everything below a directory that holds or could hold mail, paths relative to it.

    Raises:
        UnreachableError: The directory cannot be read, or has no Maildir below it.

    """
    base = directory_of(root)
    require_maildir(base)
    for batch in Reader(base).mails():
        yield from batch


def fetch_from(root: str) -> Callable[[bytes], bytes]:
    """Return a function that returns a whole file by its path relative to a directory."""
    reader = Reader(directory_of(root))

    def fetch(path: bytes) -> bytes:
        with reader.open(path) as file:
            return file.read()

    return fetch


class _Counter:
    """Counts the files of listings."""

    def __init__(self, root: bytes, *, years: bool) -> None:
        self._root, self._years = root, years
        self._reader = Reader(root)
        self._shapes = Shapes()
        self._tally = Tally()

    def run(self, listings: Iterable[Listing], tell: Callable[[int], None]) -> Tally:
        """Count, and tell how many files were looked at so far."""
        done = 0
        for listing in listings:
            with suppress(FileNotFoundError):  # The directory was removed meanwhile.
                self._add(listing.directory, self._mails(listing))
            self._add(listing.directory, self._others(listing), has_mails=False)
            done += len(listing.mails) + len(listing.others)
            tell(done)
        return self._tally

    def _add(self, directory: bytes, counts: Counts, *, has_mails: bool = True) -> None:
        if counts:
            self._tally.add(mailbox_of(directory, has_mails=has_mails), counts)

    def _mails(self, listing: Listing) -> Counts:
        """Count mails; this loop is what the speed of an audit depends on."""
        counts: Counts = {}
        if not listing.mails:
            return counts
        shapes = self._shapes
        folder = os.open(self._reader.path(listing.directory), os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in listing.mails:
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
                    self._keep(state, listing.directory, name)
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
            prefix += os.read(file, LONGEST_HEADER - READ)
        self._shapes.learn(prefix)
        return state_of(prefix, size)

    def _note_year(self, file: int, state: str) -> None:
        year = time.gmtime(os.fstat(file).st_mtime).tm_year
        self._tally.add_year(year, {state: 1})

    def _others(self, listing: Listing) -> Counts:
        """Count whatever else holds mail or could hold mail."""
        directory = listing.directory
        counts: Counts = {}
        for state, name in self._other_states(listing):
            counts[state] = counts.get(state, 0) + 1
            self._keep(state, directory, name)
        return counts

    def _other_states(self, listing: Listing) -> Iterator[tuple[str, bytes]]:
        if listing.fault:
            yield UNREADABLE_FOLDER, b""
        for name in listing.links:
            yield LINK, name
        for name in listing.others:
            if state := self._reader.foreign_kind(join(listing.directory, name)):
                yield state, name

    def _keep(self, state: str, directory: bytes, name: bytes) -> None:
        self._tally.add_example(state, shown(directory + b"/" + name if directory else name))
