"""Words of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN: Final = 10


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "mail"), counted(2, "mail")
    ('1 mail', '2 mails')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mails_are(number: int) -> str:
    """Return ``1 mail is`` or ``2 mails are``."""
    return "1 mail is" if number == 1 else f"{number} mails are"


def encrypted_to(key: str, users: Mapping[str, int]) -> str:
    """Return how many mails, of which users, are encrypted to a key."""
    per_user = ", ".join(f"{user} {number}" for user, number in sorted(users.items())[:_SHOWN])
    more = f", and {counted(len(users) - _SHOWN, 'more user')}" if len(users) > _SHOWN else ""
    return f"{mails_are(sum(users.values()))} encrypted to key {key} ({per_user}{more})"
