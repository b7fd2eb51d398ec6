"""Merges declared mail accounts into docker-mailserver's account file.

Writes the declared accounts, removes those that are no longer declared, and keeps every line
that someone added with DMS's own ``setup email add``.  Values only; ``checks/accounts.py``
carries the texts into the configuration folder.

Source of the format: docker-mailserver's documentation on accounts
(``user@domain|{SCHEME}hash``, further fields after another ``|`` are kept).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mailcrypt_component.model.docker_host import DockerHost

RECORD_FILE: Final = "mailcrypt-accounts.list"
"""The file next to the account file that lists the addresses that this program has written."""

_BCRYPT: Final = "{BLF-CRYPT}"


@dataclass(frozen=True, slots=True)
class Account:
    """A declared account with its password, or a hash that is ready to be written."""

    address: str
    password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AccountsPlan:
    """The accounts of a server, and the folder that they are written to.

    ``image`` is an image with a shell.  ``config`` is the configuration folder: a volume's name
    or a path on the Docker host.
    """

    docker_host: DockerHost
    image: str
    config: str
    declared: tuple[Account, ...]
    probe: Account


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """The new texts of the account file, the receive-access file and the record."""

    accounts: str = field(repr=False)
    receive_access: str
    record: str


def merge(
    accounts: str,
    receive_access: str,
    record: str,
    declared: Sequence[Account],
    probe: Account,
) -> AccountFiles:
    """Return the three texts with the declared accounts and the probe's in them.

    Args:
        accounts: The account file as it is; empty if there is none.
        receive_access: The receive-access file as it is.
        record: The record of what was written before.
        declared: The declared accounts.
        probe: The account of the proof, which takes no mail from outside.

    """
    lines = _by_address(accounts.splitlines(), "|")
    wanted = [*declared, probe]
    for address in set(record.split()) - {account.address for account in wanted}:
        lines.pop(address, None)
    for account in wanted:
        lines[account.address] = _line(account, lines.get(account.address, ""))
    access = _by_address(receive_access.splitlines(), None)
    for address in _probes(record, probe):
        access.pop(address, None)
    access[probe.address] = f"{probe.address} REJECT"
    written = sorted(account.address for account in wanted)
    return AccountFiles(_text(lines.values()), _text(access.values()), _text(written))


def keep_to_itself(aliases: str, record: str, probe: Account) -> str:
    """Return the alias file with the probe as its own alias, which a catch-all cannot take.

    Args:
        aliases: The alias file as it is; every other line stays.
        record: The record of what was written before.
        probe: The account of the proof.

    """
    ours = {probe.address, *_probes(record, probe)}
    kept = [line for line in aliases.splitlines() if (line.split() or [""])[0] not in ours]
    return _text([*kept, f"{probe.address} {probe.address}"])


def _probes(record: str, probe: Account) -> set[str]:
    """Return the addresses that the probe had before."""
    user = probe.address.partition("@")[0]
    return {address for address in record.split() if address.startswith(f"{user}@")}


def _by_address(lines: Iterable[str], separator: str | None) -> dict[str, str]:
    """Index lines by the address at their beginning, and comments by their own text."""
    indexed: Mapping[str, str] = {
        (line if line.startswith("#") else line.split(separator)[0].strip().lower()): line
        for line in lines
        if line.strip()
    }
    return dict(indexed)


def _line(account: Account, old: str) -> str:
    _, _, rest = old.partition("|")
    old_hash, separator, further = rest.partition("|")
    return f"{account.address}|{_hash(account, old_hash.strip())}{separator}{further}"


def _hash(account: Account, old_hash: str) -> str:
    """Hash the password, or keep the hash that already fits it."""
    if account.password is None:
        return account.password_hash or ""
    if _fits(account.password, old_hash):
        return old_hash
    return _BCRYPT + bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(rounds=10)).decode()


def _fits(password: str, old_hash: str) -> bool:
    if not old_hash.startswith(_BCRYPT):
        return False
    try:
        return bcrypt.checkpw(password.encode(), old_hash.removeprefix(_BCRYPT).encode())
    except ValueError:
        # Someone has edited the hash into something else, so it is written again.
        return False


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
