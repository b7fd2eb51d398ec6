"""Counts mails by state, in constant memory.

The state of an encrypted mail is its key ids, joined by ``+``.  Every other state is one of
``NOT_ENCRYPTED``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dcrypt.header import Flags, NotEncrypted, Unsupported, parse_header
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.store.agent.reader import (
    DBOX,
    LINK,
    MAIL,
    MBOX,
    UNREADABLE,
    UNREADABLE_FOLDER,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailcrypt_component.dcrypt.header import Header
    from mailcrypt_component.store.maildir import Mail, Mailbox

CLEAR: Final = "clear"
DAMAGED: Final = "damaged"
UNSUPPORTED: Final = "unsupported"

UNKNOWN_CONTENT: Final = {
    UNREADABLE_FOLDER: "directories that cannot be read",
    UNREADABLE: "files that cannot be read",
    UNSUPPORTED: "mails encrypted in a format that is not supported",
    DBOX: "sdbox or mdbox files",
    LINK: "symbolic links that lead out of the store",
}
"""The states of what could not be looked at: whether it is encrypted is not known."""

NOT_ENCRYPTED: Final = (CLEAR, DAMAGED, MBOX, *UNKNOWN_CONTENT)
"""The states that are not key ids."""

EXAMPLES: Final = 5
"""How many paths are kept for each state."""

Counts = dict[str, int]
"""Mails by state."""


@dataclass(slots=True)
class Tally:
    """Mails by mailbox and state, by year of arrival and state, and a few examples of each."""

    mailboxes: dict[Mailbox, Counts] = field(default_factory=dict)
    years: dict[int, Counts] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, mailbox: Mailbox, counts: Counts) -> None:
        """Add counts of one mailbox."""
        _add(self.mailboxes.setdefault(mailbox, {}), counts)

    def add_year(self, year: int, counts: Counts) -> None:
        """Add counts of one year of arrival."""
        _add(self.years.setdefault(year, {}), counts)

    def add_example(self, state: str, path: str) -> None:
        """Keep a path, unless there are enough of its state."""
        kept = self.examples.setdefault(state, [])
        if len(kept) < EXAMPLES:
            kept.append(path)

    def merge(self, other: Tally) -> None:
        """Add everything from another tally."""
        for mailbox, counts in other.mailboxes.items():
            self.add(mailbox, counts)
        for year, counts in other.years.items():
            self.add_year(year, counts)
        for state, paths in other.examples.items():
            for path in paths:
                self.add_example(state, path)

    def states(self) -> Counts:
        """Return all mails by state."""
        total: Counts = {}
        for counts in self.mailboxes.values():
            _add(total, counts)
        return total

    def by_user(self, state: str) -> Counts:
        """Return the mails of one state by user."""
        found: Counts = {}
        for mailbox, counts in self.mailboxes.items():
            if state in counts:
                found[mailbox.user] = found.get(mailbox.user, 0) + counts[state]
        return found

    def not_looked_at(self) -> list[str]:
        """Return one line for each state of ``UNKNOWN_CONTENT`` that was met.

        For instance ``sdbox or mdbox files: 6 (example.test/ann/mailboxes/INBOX/u.1, ...)``.
        """
        states = self.states()
        return [
            f"{what}: {states[state]} ({self._some_paths(state, states[state])})"
            for state, what in UNKNOWN_CONTENT.items()
            if states.get(state)
        ]

    def _some_paths(self, state: str, number: int) -> str:
        paths = self.examples.get(state, [])
        return ", ".join([*paths, "..."] if number > len(paths) else paths)


def _add(total: Counts, more: Counts) -> None:
    for state, number in more.items():
        total[state] = total.get(state, 0) + number


def is_unknown(state: str, key_ids: Collection[str]) -> bool:
    """Tell whether mails in this state are encrypted, but to none of these keys."""
    return state not in NOT_ENCRYPTED and not any(key in key_ids for key in state.split("+"))


def state_of_mail(mail: Mail) -> str:
    """Return the state of something that a walk has met."""
    return state_of(mail.prefix, mail.size) if mail.kind == MAIL else mail.kind


def state_of(prefix: bytes, size: int) -> str:
    """Return a mail's state by its first bytes and its size in bytes."""
    try:
        header = parse_header(prefix)
    except NotEncrypted:
        return CLEAR if size else DAMAGED
    except Unsupported:
        return UNSUPPORTED
    except FormatError:
        return DAMAGED
    return _state(header) if size >= _least(header) else DAMAGED


def _state(header: Header) -> str:
    return "+".join(recipient.key_id for recipient in header.recipients)


def _least(header: Header) -> int:
    return header.length + (16 if header.flags & (Flags.AEAD | Flags.HMAC) else 0)


class Shapes:
    """Recognises headers like those met before, by one regular expression.

    To parse each header of a store in full takes longer than to read it.  The headers of
    one key differ in three random fields only, so everything else, lengths included, is
    compared with a header that was parsed.
    """

    def __init__(self) -> None:
        self._patterns: list[bytes] = []
        self._states: list[str] = []
        self.match = _NEVER.match
        """Matches the first bytes of a file if they hold the whole header and a tag."""

    def learn(self, prefix: bytes) -> None:
        """Remember a header with one recipient; any other is left to the parser."""
        try:
            header = parse_header(prefix)
        except FormatError:
            return
        if header.version == 1 or len(header.recipients) != 1 or len(self._patterns) >= _SHAPES:
            return
        pattern = _pattern(prefix, header)
        if pattern not in self._patterns:
            self._patterns.append(pattern)
            self._states.append(_state(header))
            self.match = re.compile(b"|".join(self._patterns), re.DOTALL).match

    def state(self, found: re.Match[bytes]) -> str:
        """Return the state of the mail that was matched."""
        return self._states[(found.lastindex or 1) - 1]


_NEVER: Final = re.compile(rb"(?!)")
_SHAPES: Final = 8


def _pattern(prefix: bytes, header: Header) -> bytes:
    only = header.recipients[0]
    hashed = header.length - len(header.key_hash) - 4
    encrypted = hashed - len(only.encrypted_key) - 4
    ephemeral = encrypted - len(only.ephemeral)
    rest = _least(header) - hashed - 4
    return b"".join(
        (
            b"(",
            re.escape(prefix[:ephemeral]),
            b".{%d}" % len(only.ephemeral),
            re.escape(prefix[encrypted : encrypted + 4]),
            b".{%d}" % len(only.encrypted_key),
            re.escape(prefix[hashed : hashed + 4]),
            b".{%d})" % rest,
        )
    )


__all__ = [
    "CLEAR",
    "DAMAGED",
    "DBOX",
    "LINK",
    "MBOX",
    "NOT_ENCRYPTED",
    "UNKNOWN_CONTENT",
    "UNREADABLE",
    "UNREADABLE_FOLDER",
    "UNSUPPORTED",
    "Counts",
    "Shapes",
    "Tally",
    "is_unknown",
    "state_of",
    "state_of_mail",
]
