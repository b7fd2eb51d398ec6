"""Words of messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "mail"), counted(2, "mail")
    ('1 mail', '2 mails')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mails_are(number: int) -> str:
    """Return ``1 mail is`` or ``2 mails are``."""
    return "1 mail is" if number == 1 else f"{number} mails are"
