"""What encrypting asks of a store, wherever that is: a directory, or a volume of a Docker host.

All methods take batches, because each answer may cost a way over a network.  They are described
at ``Writer``, which is the store in a directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mailcrypt_component.store.agent.reader import Listing
    from mailcrypt_component.store.agent.writer import FileStat, MailHead, Replacement

    OpenFiles = Callable[[], AbstractContextManager["Files"]]
    """Opens the files of a store; each process calls it for itself."""


class Files(Protocol):
    """The files of a store; see ``Writer`` for what each method does."""

    @property
    def where(self) -> str:
        """The store's directory or volume, for messages."""

    def listings(self) -> Iterator[Listing]: ...

    def number_of_files(self) -> int: ...

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[MailHead | str | None]: ...

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | str | None]: ...

    def write(
        self, directory: bytes, mails: Sequence[tuple[FileStat, bytes]]
    ) -> list[tuple[bytes, bytes]]: ...

    def link(self, path: bytes, directory: bytes) -> bytes | None: ...

    def settle(self, replacements: Sequence[Replacement]) -> list[bytes | None]: ...

    def discard(self, temporaries: Sequence[bytes]) -> None: ...

    def renamed(
        self, directory: bytes, names: Sequence[bytes]
    ) -> list[tuple[bytes, list[bytes]]]: ...

    def clean(self, directory: bytes) -> None: ...


def already_encrypting(where: str) -> UnreachableError:
    """Return the error for a store that another run of encrypt is working on."""
    return UnreachableError(
        "another run of mailcrypt encrypt is working on this store",
        where=where,
        expected="one run at a time",
        hint="wait until it has finished, or stop it: that is safe at any moment",
    )


def cannot_write(where: str, reason: str) -> MailCryptError:
    """Return the error for a store that could not be written."""
    return MailCryptError(
        reason,
        where=where,
        expected="a store that can be written, on ext4, xfs, btrfs or tmpfs",
        hint="no mail is lost; remove the cause and run the command again, it continues where it "
        "stopped",
    )
