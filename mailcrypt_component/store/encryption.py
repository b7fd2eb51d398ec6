"""What ``encrypt_store`` takes and returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey

LISTED: Final = 20
"""How many examples are kept."""


@dataclass(frozen=True, slots=True)
class EncryptionJob:
    """What to encrypt, and how.

    Args:
        keys: Private keys by key id, the current one among them: what is written is decrypted
            and compared before it replaces the old mail.
        current: The id of the key to encrypt to.
        apply: Whether to change anything; without it, mails are only counted.
        users: Only these users (``domain/user``); empty means all.
        rate: The most mails a second; None means no limit.

    """

    keys: Mapping[str, PrivateKey] = field(repr=False)
    current: str
    apply: bool
    users: Collection[str] = ()
    rate: float | None = None


@dataclass(slots=True)
class Encryption:
    """What was done or, in a dry run, would be done."""

    encrypted: int = 0
    """Mails encrypted to the current key."""
    were_clear: int = 0
    """How many of them were in clear."""
    current: int = 0
    """Mails that were encrypted to the current key already."""
    gone: int = 0
    """Mails that were removed meanwhile."""
    left: dict[str, int] = field(default_factory=dict)
    """Mails left alone, by reason."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Paths left alone with the reason, the first ones."""

    def leave(self, path: str, reason: str) -> None:
        """Count a mail that is left alone."""
        kind = reason.partition(":")[0]
        self.left[kind] = self.left.get(kind, 0) + 1
        if len(self.examples) < LISTED:
            self.examples.append((path, reason))

    def merge(self, other: Encryption) -> None:
        """Add everything from another result."""
        self.encrypted += other.encrypted
        self.were_clear += other.were_clear
        self.current += other.current
        self.gone += other.gone
        for reason, number in other.left.items():
            self.left[reason] = self.left.get(reason, 0) + number
        self.examples = (self.examples + other.examples)[:LISTED]

    def follow(self, later: Encryption) -> None:
        """Add a later pass over the same store; it encrypted what had been moved meanwhile."""
        self.encrypted += later.encrypted
        self.were_clear += later.were_clear
        self.gone = max(0, self.gone - later.encrypted)
        self.left, self.examples = later.left, later.examples

    def as_json(self) -> dict[str, Any]:
        """Return it as ``schemas/encrypt.schema.json`` describes it."""
        return {
            "encrypted": self.encrypted,
            "were_in_clear": self.were_clear,
            "current": self.current,
            "gone": self.gone,
            "left_alone": self.left,
            "examples": [{"file": path, "reason": why} for path, why in self.examples],
        }
