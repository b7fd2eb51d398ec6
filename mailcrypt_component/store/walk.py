"""Count the mails below a directory of this machine, on every core, while a server runs.

Each worker walks the whole tree, which is cheap, and reads the files whose inode
number falls to it: nothing is passed between them but the result, and each file is
counted once however the tree changes meanwhile.  Symbolic links are not followed, and
nothing but regular files is opened.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from mailcrypt_component.cryptfile.header import HEADER_LIMIT
from mailcrypt_component.errors import UnreachableError
from mailcrypt_component.store.maildir import is_dbox, is_mail_folder, place_of, shown
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ: Final = 512
"""Bytes read of each file first; a header has 255 for P-256, 325 for P-521."""

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TICK: Final = 0.1


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
    base = os.fsencode(os.path.abspath(root))  # noqa: PTH100  (links in it stay as they are)
    try:
        os.scandir(base).close()
    except OSError as error:
        raise UnreachableError(
            error.strerror or "cannot be read",
            where=shown(base),
            expected="a directory with mail",
            hint="name a Maildir, or the directory of all of them, such as a copy of /var/mail",
        ) from None
    number = workers or len(os.sched_getaffinity(0))
    seen = mmap.mmap(-1, 8 * number)
    if number == 1 and progress is None:
        return _Counter(base, 0, 1, seen, years=years).run()
    running = [_start(_Counter(base, index, number, seen, years=years)) for index in range(number)]
    total = Tally()
    for pipe, child in running:
        if progress:
            _watch(pipe, seen, number, progress)
        with os.fdopen(pipe, "rb") as result:
            data = result.read()
        if os.waitpid(child, 0)[1] or not data:
            raise UnreachableError("a worker process died", where=shown(base))
        total.merge(pickle.loads(data))  # noqa: S301  (our own worker wrote it)
    return total


def _start(counter: _Counter) -> tuple[int, int]:
    """Run a counter in a process of its own; return where its result comes and its id."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        return ours, child
    status = 1
    try:
        os.close(ours)
        with os.fdopen(theirs, "wb") as result:
            result.write(pickle.dumps(counter.run()))
        status = 0
    except KeyboardInterrupt:
        pass
    finally:
        sys.stderr.flush()
        os._exit(status)


def _watch(pipe: int, seen: mmap.mmap, number: int, progress: Callable[[int], None]) -> None:
    import select  # noqa: PLC0415  (only where somebody looks on)

    while not select.select([pipe], [], [], _TICK)[0]:
        progress(sum(struct.unpack(f"{number}q", seen[:])))
    progress(sum(struct.unpack(f"{number}q", seen[:])))


class _Counter:
    """One worker's share: the files whose inode number leaves its index as remainder."""

    def __init__(
        self, root: bytes, index: int, number: int, seen: mmap.mmap, *, years: bool
    ) -> None:
        self._root, self._index, self._number = root, index, number
        self._seen, self._years = seen, years
        self._shapes = Shapes()
        self._tally = Tally()
        self._done = 0

    def run(self) -> Tally:
        for directory, names in self._directories():
            if not names:
                continue
            relative = directory[len(self._root) + 1 :]
            count = self._mails if is_mail_folder(directory) else self._others
            self._tally.add(place_of(relative), count(directory, names))
            self._done += len(names)
            struct.pack_into("q", self._seen, 8 * self._index, self._done)
        return self._tally

    def _directories(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Yield each directory with the names of its files that fall to this worker."""
        waiting = [self._root]
        index, number = self._index, self._number
        while waiting:
            directory = waiting.pop()
            names = []
            mails = is_mail_folder(directory)
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            if entry.inode() % number == index:
                                names.append(entry.name)
                                if len(names) == _BATCH:
                                    yield directory, names
                                    names = []
                        elif not mails and entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
            except FileNotFoundError:
                continue
            except OSError:
                if index == 0:
                    self._count_unreadable(directory)
                continue
            yield directory, names

    def _count_unreadable(self, directory: bytes) -> None:
        relative = directory[len(self._root) + 1 :]
        self._tally.add(place_of(relative), {UNREADABLE: 1})
        self._tally.add_example(UNREADABLE, shown(relative) + "/")

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


_BATCH: Final = 2000
