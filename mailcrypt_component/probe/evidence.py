"""What the proof is asked, and what it saw: values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mailcrypt_component.dialects import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Target:
    """A server to prove.

    ``container`` is an id or a name, ``key_ids`` the ring's (64 hex digits each),
    the current one first, ``account`` the probe's own mailbox, ``deadline`` seconds
    for it all.
    """

    docker_host: str | None
    container: str
    dialect: Dialect
    key_ids: tuple[str, ...]
    account: str
    deadline: float
    password: str = field(repr=False)

    @property
    def key_id(self) -> str:
        """The current key's id."""
        return self.key_ids[0]

    @property
    def mail_folder(self) -> str:
        """The mailbox's path below the mail volume: domain/user."""
        user, _, domain = self.account.partition("@")
        return f"{domain}/{user}"


def target_of(facts: Mapping[str, Any]) -> Target:
    """Make the proof's target from the ``verifyTarget`` output's fields."""
    return Target(
        docker_host=facts["dockerHost"],
        container=facts["container"],
        dialect=Dialect(facts["dialect"]),
        key_ids=tuple(facts["keyIds"]),
        account=facts["account"],
        deadline=float(facts["deadline"]),
        password=facts["password"],
    )


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
    """A proof that held; there is no Evidence of one that did not."""

    container: str
    key_id: str
    checks: tuple[Check, ...]

    @property
    def short(self) -> str:
        """One line for the diagnostics of an update."""
        return "proven: " + "; ".join(check.seen for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)
