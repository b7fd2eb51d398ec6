"""What a proof has seen: values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was seen, and when (seconds from the start)."""

    name: str
    seen: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {self.seen}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A proof that held; there is no Evidence of one that did not.

    ``locked`` means that the private keys were missing: mail is taken and encrypted, and it was
    not proven that it can be read.
    """

    container: str
    key_id: str
    locked: bool
    checks: tuple[Check, ...]

    @property
    def short(self) -> str:
        """One line for the diagnostics of an update."""
        return f"{self.verdict}: " + "; ".join(check.seen for check in self.checks)

    @property
    def verdict(self) -> str:
        """What was proven, in a word or three."""
        return "proven, except reading" if self.locked else "proven"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)
