"""Answers questions about a store: the program that runs in a container of a Docker host.

Each question is the name of a method of ``Writer`` with its arguments.  Files are only moved and
read here; mail is decrypted and encrypted by the process that asks, so no key comes here.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mailcrypt_component.store.agent.reader import packed, reason_of, receive
from mailcrypt_component.store.agent.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

_ITERATORS: Final = frozenset({"listings", "mails"})
_METHODS: Final = frozenset(
    {
        "lock",
        "holds_mail",
        "number_of_files",
        "look",
        "read",
        "write",
        "link",
        "settle",
        "discard",
        "renamed",
        "clean",
    }
)


class Server:
    """Answers one client's questions about a store."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._items: Iterator[object] = iter(())

    def run(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Answer questions until the input ends."""
        while True:
            try:
                name, *words = receive(source)
            except EOFError:
                return
            try:
                reply = ["answer", self.answer(name, words)]
            except OSError as error:
                reply = ["error", error.errno or 0, reason_of(error)]
            sink.write(packed(reply))
            sink.flush()

    def answer(self, name: str, words: list[Any]) -> object:
        """Call a method.

        An iterator is asked for item by item: its name gives the first one and ``next`` each
        further one, None at the end.
        """
        if name in _ITERATORS:
            self._items = getattr(self._writer, name)()
            name = "next"
        if name == "next":
            return next(self._items, None)
        if name not in _METHODS:
            raise OSError(errno.EINVAL, f"unknown question {name}")
        return getattr(self._writer, name)(*words)


def main(root: str, mark: str) -> None:
    """Serve a directory on standard input and output."""
    writer = Writer(os.fsencode(root), mark.encode())
    try:
        Server(writer).run(sys.stdin.buffer, sys.stdout.buffer)
    finally:
        keeps_container = writer.is_locked
        writer.close()
        if keeps_container:  # Its client is gone, so nobody needs the container any more.
            os.kill(1, signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
