"""Count mails by what they are, in constant memory.

A mail's state is ``clear``, ``damaged``, ``unreadable``, ``dbox``, ``mbox`` or, where it
is encrypted, its key ids joined by ``+``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dcrypt.header import Flags, NotEncrypted, parse_header
from mailcrypt_component.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailcrypt_component.dcrypt.header import Header
    from mailcrypt_component.store.maildir import Place

CLEAR: Final = "clear"
DAMAGED: Final = "damaged"
UNREADABLE: Final = "unreadable"
DBOX: Final = "dbox"
MBOX: Final = "mbox"
NOT_ENCRYPTED: Final = (CLEAR, DAMAGED, UNREADABLE, DBOX, MBOX)

EXAMPLES: Final = 5
"""How many paths are kept for each state."""

Counts = dict[str, int]
"""Mails by state."""


@dataclass(slots=True)
class Tally:
    """Mails by place and state, by year of arrival and state, and a few examples of each."""

    places: dict[Place, Counts] = field(default_factory=dict)
    years: dict[int, Counts] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: Place, counts: Counts) -> None:
        """Add what one directory holds."""
        _add(self.places.setdefault(place, {}), counts)

    def add_year(self, year: int, counts: Counts) -> None:
        """Add what arrived in one year."""
        _add(self.years.setdefault(year, {}), counts)

    def add_example(self, state: str, path: str) -> None:
        """Keep a path, unless there are enough of its state."""
        kept = self.examples.setdefault(state, [])
        if len(kept) < EXAMPLES:
            kept.append(path)

    def merge(self, other: Tally) -> None:
        """Add all of another one."""
        for place, counts in other.places.items():
            self.add(place, counts)
        for year, counts in other.years.items():
            self.add_year(year, counts)
        for state, paths in other.examples.items():
            for path in paths:
                self.add_example(state, path)

    def states(self) -> Counts:
        """Return all mails by state."""
        total: Counts = {}
        for counts in self.places.values():
            _add(total, counts)
        return total

    def by_user(self, state: str) -> Counts:
        """Return the mails of one state by user."""
        found: Counts = {}
        for place, counts in self.places.items():
            if state in counts:
                found[place.user] = found.get(place.user, 0) + counts[state]
        return found


def _add(total: Counts, more: Counts) -> None:
    for state, number in more.items():
        total[state] = total.get(state, 0) + number


def is_unknown(state: str, key_ids: Collection[str]) -> bool:
    """Tell whether mails of this state are encrypted, and to none of these keys."""
    return state not in NOT_ENCRYPTED and not any(key in key_ids for key in state.split("+"))


def state_of(prefix: bytes, size: int) -> str:
    """Tell a mail's state by its first bytes and its size in bytes."""
    try:
        header = parse_header(prefix)
    except NotEncrypted:
        return CLEAR if size else DAMAGED
    except FormatError:
        return DAMAGED
    return _state(header) if size >= _least(header) else DAMAGED


def _state(header: Header) -> str:
    return "+".join(recipient.key_id for recipient in header.recipients)


def _least(header: Header) -> int:
    return header.length + (16 if header.flags & (Flags.AEAD | Flags.HMAC) else 0)


class Shapes:
    """Headers met before, as one regular expression.

    Parsing each header of a store in full would cost more than reading it.  But the
    headers of one key differ in three random fields only: everything else, lengths
    included, is compared with a header that was parsed.
    """

    def __init__(self) -> None:
        self._patterns: list[bytes] = []
        self._states: list[str] = []
        self.match = _NEVER.match
        """Matches the first bytes of a file that is at least as long as a whole one."""

    def learn(self, prefix: bytes) -> None:
        """Take in a header with one recipient; any other is left to the parser."""
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
