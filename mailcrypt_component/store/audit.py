"""Interprets the counts of a store: which mail the key ring opens, and which is in clear."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mailcrypt_component.store.tally import (
    NOT_ENCRYPTED,
    UNKNOWN_CONTENT,
    Counts,
    Tally,
    is_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class State(StrEnum):
    """The state of a mail with regard to a key ring."""

    CURRENT = "current"
    RETIRED = "retired"
    UNKNOWN = "unknown"
    ENCRYPTED = "encrypted"
    """No ring was given to compare with."""
    CLEAR = "clear"
    MBOX = "mbox"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"
    UNREADABLE_FOLDER = "unreadable_folder"
    DBOX = "dbox"
    LINK = "link"


MEANINGS = {
    State.CURRENT: "encrypted to the current key",
    State.RETIRED: "encrypted to a retired key of the ring",
    State.UNKNOWN: "encrypted to a key that is not in the ring",
    State.ENCRYPTED: "encrypted (no key ids were given to compare with)",
    State.CLEAR: "in clear",
    State.MBOX: "in mbox files, which mail_crypt does not encrypt: in clear",
    State.DAMAGED: "damaged: empty, cut off, or not what Dovecot writes",
    **{State(state): f"not looked at: {what}" for state, what in UNKNOWN_CONTENT.items()},
}
NOT_LOOKED_AT = tuple(State(state) for state in UNKNOWN_CONTENT)
"""Whether these are encrypted is not known."""

_NOT_MAILS = (State.UNREADABLE_FOLDER, State.LINK)


@dataclass(frozen=True, slots=True)
class Audit:
    """The counts of a store with a key ring.

    ``key_ids`` is newest first and may be empty.  ``version_1_ids`` has the key ids by the
    ids that mail of format version 1 carries.
    """

    store: str
    tally: Tally
    key_ids: tuple[str, ...]
    version_1_ids: Mapping[str, str] = field(default_factory=dict)

    def state(self, raw: str) -> State:
        """Return what a tally's state means."""
        if raw in NOT_ENCRYPTED:
            return State(raw)
        if not self.key_ids:
            return State.ENCRYPTED
        raw = self.version_1_ids.get(raw, raw)
        if is_unknown(raw, self.key_ids):
            return State.UNKNOWN
        return State.CURRENT if raw == self.key_ids[0] else State.RETIRED

    def by_state(self, counts: Counts) -> dict[State, int]:
        """Return counts by what they mean, in the order of ``State``; zeros are left out."""
        found: dict[State, int] = {}
        for raw, number in counts.items():
            state = self.state(raw)
            found[state] = found.get(state, 0) + number
        return {state: found[state] for state in State if found.get(state)}

    @property
    def total(self) -> int:
        """Return how many mails were counted; files of other formats count as one each."""
        states = self.tally.states()
        return sum(states.values()) - sum(states.get(state, 0) for state in _NOT_MAILS)

    def by_key(self) -> Counts:
        """Return the encrypted mails by key id, most first."""
        encrypted: Counts = {}
        for raw, number in self.tally.states().items():
            if raw not in NOT_ENCRYPTED:
                key = self.version_1_ids.get(raw, raw)
                encrypted[key] = encrypted.get(key, 0) + number
        return dict(sorted(encrypted.items(), key=lambda item: -item[1]))

    def faults(self, fail_on: Sequence[str]) -> dict[State, int]:
        """Return the counts of the states that are not accepted."""
        wanted = {State(name) for name in fail_on}
        if State.CLEAR in wanted:
            wanted.add(State.MBOX)
        states = self.by_state(self.tally.states())
        return {state: number for state, number in states.items() if state in wanted}

    def not_looked_at(self) -> dict[State, int]:
        """Return the counts of what could not be looked at."""
        states = self.by_state(self.tally.states())
        return {state: number for state, number in states.items() if state in NOT_LOOKED_AT}

    def examples(self) -> dict[State, list[str]]:
        """Return a few paths of each state."""
        found: dict[State, list[str]] = {}
        for raw, paths in self.tally.examples.items():
            found.setdefault(self.state(raw), []).extend(paths)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return it all, as ``schemas/audit.schema.json`` describes it."""
        mailboxes = sorted(self.tally.mailboxes.items())
        bad = (State.UNKNOWN, State.CLEAR, State.MBOX, State.DAMAGED, *NOT_LOOKED_AT)
        examples = self.examples()
        return {
            "store": self.store,
            "total": self.total,
            "states": _named(self.by_state(self.tally.states())),
            "keys": self.by_key(),
            "ring": list(self.key_ids),
            "folders": [
                {"user": box.user, "folder": box.folder, **_named(self.by_state(counts))}
                for box, counts in mailboxes
            ],
            "years": {
                str(year): _named(self.by_state(counts))
                for year, counts in sorted(self.tally.years.items())
            },
            "examples": {state.value: examples[state] for state in bad if state in examples},
        }


def _named(counts: dict[State, int]) -> dict[str, int]:
    return {state.value: number for state, number in counts.items()}
