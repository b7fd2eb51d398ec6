"""One finding for each kind of data that a disk may expose, and the grade of all findings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Exposed(StrEnum):
    """The content that one kind of data exposes, from nothing to everything."""

    NOTHING = "nothing"
    METADATA = "metadata"
    """Addresses, times, sizes, folder names: no subject and no text."""
    UNKNOWN = "not known"
    TEXT = "text"
    """Subjects, text or attachments of mail, in clear."""
    KEY = "key"
    """A private key, and so every mail."""


class Grade(StrEnum):
    """The verdict on all findings in a word."""

    CLOSED = "closed"
    """Neither mail nor key can be read; metadata may be."""
    UNKNOWN = "not known"
    """Something could not be checked, and nothing worse was found."""
    LEAKING = "leaking"
    """The text of some mail can be read."""
    OPEN = "open"
    """A private key can be read, and so every mail."""


_GRADES = {
    Exposed.NOTHING: Grade.CLOSED,
    Exposed.METADATA: Grade.CLOSED,
    Exposed.UNKNOWN: Grade.UNKNOWN,
    Exposed.TEXT: Grade.LEAKING,
    Exposed.KEY: Grade.OPEN,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of data with what it exposes, the evidence, and the change that helps."""

    part: str
    exposed: Exposed
    seen: str
    change: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def grade_of(findings: Iterable[Finding]) -> Grade:
    """Return the grade of the worst finding."""
    order = list(Exposed)
    worst = max((finding.exposed for finding in findings), key=order.index, default=Exposed.UNKNOWN)
    return _GRADES[worst]
