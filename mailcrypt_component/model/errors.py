"""Every error that this package raises on purpose.

Pulumi and the command line show only ``str(error)``, so the message alone has to be enough: it
states what was found, where, what was expected, and what to do next.  This module knows no
server and no resource.
"""

from __future__ import annotations

from typing import final


class MailCryptError(Exception):
    """A fault that a person can fix; the message says what, where and how.

    Args:
        found: What was found, as a sentence without a final full stop.
        where: The setting, file, container or path that it was found in.
        expected: What would have been right.
        hint: The next step, preferably a command.

    """

    def __init__(self, found: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        self.found = found
        self.where = where
        self.expected = expected
        self.hint = hint
        super().__init__(self._message())

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.__dict__, self.args)

    def _message(self) -> str:
        head = f"{self.where}: {self.found}" if self.where else self.found
        lines = [head]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


def _restored(
    kind: type[MailCryptError], state: dict[str, object], args: tuple[object, ...]
) -> MailCryptError:
    """Make an error again that came from another process."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SettingsError(MailCryptError):
    """One setting is wrong."""


@final
class SettingsErrors(MailCryptError):  # noqa: N818  (the plural of SettingsError)
    """Several settings are wrong; the message lists every one of them."""

    def __init__(self, faults: list[SettingsError]) -> None:
        self.faults = tuple(faults)
        noun = "setting is" if len(faults) == 1 else "settings are"
        body = "\n".join(f"- {fault}" for fault in faults)
        super().__init__(f"{len(faults)} {noun} wrong; nothing was changed\n{body}")


class KeyFault(MailCryptError):  # noqa: N818  (KeyError is taken)
    """A key cannot be used by Dovecot's mail_crypt."""


class FormatError(MailCryptError):
    """A file is not what Dovecot's lib-dcrypt writes."""


class UnreachableError(MailCryptError):
    """The Docker host, the image or the server did not answer."""


class PreflightError(MailCryptError):
    """The new configuration, image or ring would not work; nothing was touched."""


class ProofError(MailCryptError):
    """The running server does not store mail encrypted to the current key."""


class CustodyError(MailCryptError):
    """The private keys cannot be kept in memory as declared."""


class UnsafeError(ProofError):
    """The running server would store new mail in clear, or unreadable for ever."""
