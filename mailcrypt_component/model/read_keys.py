"""Reads the settings of the key ring and of its custody."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.custody import Custody
from mailcrypt_component.model.errors import KeyFault
from mailcrypt_component.model.key_ring import (
    NAME_PATTERN,
    Curve,
    read_key,
    read_public_key,
    refuse_kind,
)
from mailcrypt_component.model.raw_settings import shown
from mailcrypt_component.model.settings import KeySettings
from mailcrypt_component.model.swarm import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailcrypt_component.dialects.dialect import Dialect
    from mailcrypt_component.model.raw_settings import RawSettings

_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")


def read_keys(raw: RawSettings, dialect: Dialect | None) -> tuple[KeySettings, ...]:
    """Read the ring, newest key first."""
    entries = raw.items("keys", ("name", "curve", "pem", "public_pem"), [{"name": "k1"}])
    keys = tuple(_read_key(raw, where, fields, dialect) for where, fields in entries)
    if not keys:
        raw.fault("keys", "an empty ring", "at least one key", "keys: [{name: k1}]")
    raw.refuse_duplicates("keys", [key.name for key in keys])
    _refuse_mixed(raw, keys)
    return keys


def read_given_up(raw: RawSettings) -> tuple[str, ...]:
    """Read the ids of lost keys whose mail is given up."""
    stated = raw.typed("give_up_keys", list, default=[])
    for value in stated:
        if not isinstance(value, str) or not _KEY_ID.fullmatch(value):
            raw.fault(
                "giveUpKeys",
                shown(value),
                "whole key ids of 64 hex digits each",
                "copy them from the preflight message",
            )
    return tuple(stated)


def read_custody(raw: RawSettings, keys: Sequence[KeySettings], target: Platform) -> Custody:
    """Read the place of the private keys; a ring of public keys has none to put there."""
    on_swarm = target is Platform.SWARM
    default = Custody.SWARM if on_swarm else Custody.MEMORY
    custody = raw.choice("keyCustody", raw.get("key_custody"), Custody, default)
    if on_swarm != (custody is Custody.SWARM):
        raw.fault(
            "keyCustody",
            f"{custody.value} with target {target.value}",
            "swarm with target swarm, memory or disk with target machine",
            "remove keyCustody; its default follows target",
        )
    if on_swarm and any(key.public_pem is not None for key in keys):
        raw.fault(
            "keys",
            "public keys alone with target swarm",
            "private keys: a task that moves to another node would stay locked there",
            "remove publicPem, or choose target: machine",
        )
    if custody is Custody.DISK and any(key.public_pem is not None for key in keys):
        raw.fault(
            "keyCustody",
            "disk with a ring of public keys",
            "memory: a key on the host's disk would have to be in the stack",
            "remove keyCustody, and unlock the server with mailcrypt unlock --escrow FILE",
        )
    return custody


def _read_key(
    raw: RawSettings, where: str, fields: Mapping[str, Any], dialect: Dialect | None
) -> KeySettings:
    name = fields.get("name")
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raw.fault(
            f"{where}.name", shown(name), "a letter, then a-z, 0-9 and _, at most 32 characters"
        )
        name = where
    curve = raw.choice(f"{where}.curve", fields.get("curve"), Curve, Curve.P256)
    key = KeySettings(name, curve, fields.get("pem"), fields.get("public_pem"))
    try:
        _check_key(raw, where, key, dialect)
    except KeyFault as fault:
        raw.report(fault)
    return key


def _check_key(raw: RawSettings, where: str, key: KeySettings, dialect: Dialect | None) -> None:
    current = where == "keys[0]"
    if key.pem is not None and key.public_pem is not None:
        raw.fault(where, "both pem and publicPem", "one of them: pem contains the public key")
    elif isinstance(key.pem, str):
        read_key(key.name, key.pem, dialect, current=current)
    elif isinstance(key.public_pem, str):
        read_public_key(key.name, key.public_pem, dialect, current=current)
    elif key.pem is None and key.public_pem is None and key.curve is Curve.X25519:
        raw.fault(
            f"{where}.curve",
            "X25519 without a PEM",
            "P256, P384 or P521 for a key that is made",
            "openssl genpkey -algorithm X25519 makes one; set it as pem",
        )
    else:
        refuse_kind(key.curve, dialect, f"{where}.curve")


def _refuse_mixed(raw: RawSettings, keys: Sequence[KeySettings]) -> None:
    """Report a ring whose private keys are only partly in the stack.

    Unlocking from the stack would then open only a part of the mail.
    """
    public = [key.name for key in keys if key.public_pem is not None]
    private = [key.name for key in keys if key.public_pem is None]
    if public and private:
        raw.fault(
            "keys",
            f"publicPem for {', '.join(public)}, but not for {', '.join(private)}",
            "publicPem for every key of the ring, or for none",
            "mailcrypt escrow saves the private keys; `openssl pkey -pubout` prints a public key",
        )
