"""Reads the settings of the accounts and of the proof's own mailbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.raw_settings import HOSTNAME, shown
from mailcrypt_component.model.settings import PROBE_USER, AccountSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailcrypt_component.model.raw_settings import RawSettings

_ADDRESS: Final = re.compile(rf"[A-Za-z0-9_.+-]{{1,64}}@{HOSTNAME}", re.IGNORECASE)
_HASH: Final = re.compile(r"\{[A-Z0-9.-]+\}[^\s|:]+")
_MAX_PASSWORD: Final = 72  # The number of bytes that bcrypt takes.


def read_accounts(raw: RawSettings) -> tuple[AccountSettings, ...]:
    """Read the declared accounts."""
    entries = raw.items("accounts", ("address", "password", "password_hash"))
    accounts = tuple(_read_account(raw, where, fields) for where, fields in entries)
    raw.refuse_duplicates("accounts", [account.address for account in accounts])
    return accounts


def read_probe_address(raw: RawSettings, accounts: Sequence[AccountSettings]) -> str:
    """Read the probe's address, or derive it from the first account's domain."""
    stated = raw.get("probe_address")
    if stated is not None:
        address = _read_address(raw, "probeAddress", stated)
    elif accounts:
        address = f"{PROBE_USER}@{accounts[0].address.partition('@')[2]}"
    else:
        raw.fault(
            "accounts",
            "no account",
            "at least one account: docker-mailserver stops if it has none",
            "accounts: [{address: you@example.test, password: …}]",
        )
        return ""
    if address in {account.address for account in accounts}:
        raw.fault("probeAddress", address, "an address that no declared account has")
    return address


def _read_account(raw: RawSettings, where: str, fields: Mapping[str, Any]) -> AccountSettings:
    address = _read_address(raw, f"{where}.address", fields.get("address"))
    password, password_hash = fields.get("password"), fields.get("password_hash")
    if password is not None and password_hash is not None:
        raw.fault(where, "both password and passwordHash", "one of them, or neither")
    if isinstance(password, str) and not 1 <= len(password.encode()) <= _MAX_PASSWORD:
        raw.fault(
            f"{where}.password",
            f"a password of {len(password.encode())} bytes",
            f"1 to {_MAX_PASSWORD} bytes",
        )
    if isinstance(password_hash, str) and not _HASH.fullmatch(password_hash):
        raw.fault(
            f"{where}.passwordHash",
            "a text that is not a hash",
            "{SCHEME}hash",
            "doveadm pw -s SHA512-CRYPT prints one",
        )
    return AccountSettings(address, password, password_hash)


def _read_address(raw: RawSettings, where: str, value: Any) -> str:
    if isinstance(value, str) and _ADDRESS.fullmatch(value) and ".." not in value:
        return value.lower()
    raw.fault(where, shown(value), "an address such as user@example.test")
    return ""
