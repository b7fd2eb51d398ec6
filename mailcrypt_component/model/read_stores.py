"""Reads the places of the server's data: binds, further mounts, and stores in memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dialects.dialect import CACHE_DIR
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache, Queue
from mailcrypt_component.model.identity import is_identity
from mailcrypt_component.model.raw_settings import shown
from mailcrypt_component.model.settings import (
    BIND_TARGETS,
    DEFAULT_MEMORY_SIZE,
    STORES,
    UNMARKED,
    MountSettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.model.raw_settings import RawSettings

_VOLUME_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MAX_SIZE: Final = 65536
_MIB: Final = 1024 * 1024


def read_binds(raw: RawSettings, custody: Custody) -> Mapping[str, Any]:
    """Read the stores that are a directory of the Docker host, or an existing volume."""
    binds = raw.typed("binds", dict, default={})
    raw.refuse_unknown(binds, tuple(BIND_TARGETS), "binds.")
    for name, path in binds.items():
        is_volume = isinstance(path, str) and _VOLUME_NAME.fullmatch(path)
        if name not in STORES or not is_volume:
            raw.host_path(f"binds.{name}", path)
    if "certs" in binds and custody is not Custody.DISK:
        raw.fault(
            "binds.certs",
            f"a directory for private keys with keyCustody {custody.value}",
            "no such directory: the private keys are kept in memory only",
            "remove binds.certs, or set keyCustody: disk",
        )
    return binds


_OWN_PATHS: Final = {
    dms.CUSTOM_CONF: "the compiled Dovecot configuration",
    dms.STORAGE_CONF: "the compiled Dovecot configuration",
    dms.TLS_DIR: "the folder of the TLS certificate",
    dms.DOVECOT_RUN_DIR: "memory",
    CACHE_DIR: "the index cache in memory",
    "/tmp": "memory",  # noqa: S108
    "/var/tmp": "memory",  # noqa: S108
}


def read_mounts(raw: RawSettings, custody: Custody) -> tuple[MountSettings, ...]:
    """Read the further mounts; refuse one that hides a path which the component mounts."""
    used = {path: f"the {name} volume" for name, path in BIND_TARGETS.items()} | _OWN_PATHS
    mounts = []
    for where, fields in raw.items("mounts", ("source", "target", "read_only")):
        mount = _read_mount(raw, where, fields)
        if custody is Custody.MEMORY and mount.target.startswith(f"{dms.CERTS_DIR}/"):
            raw.fault(
                f"{where}.target",
                f"{mount.target} is below {dms.CERTS_DIR}, which is memory and read-only",
                "another path",
                "choose a target outside of it, or set keyCustody: disk",
            )
        if mount.target in used:
            raw.fault(
                f"{where}.target",
                f"{mount.target} is already {used[mount.target]}",
                "another path",
                "binds puts mail, state, logs, config or certs in a directory of the Docker host",
            )
        used[mount.target] = f"the target of {where}"
        mounts.append(mount)
    return tuple(mounts)


def _read_mount(raw: RawSettings, where: str, fields: Mapping[str, Any]) -> MountSettings:
    source, target = fields.get("source", ""), fields.get("target", "")
    if not raw.later(source) and not _is_source(source):
        raw.fault(f"{where}.source", shown(source), "an absolute path or a volume's name")
    raw.host_path(f"{where}.target", target)
    read_only = fields.get("read_only", False)
    if not isinstance(read_only, bool):
        raw.fault(f"{where}.readOnly", shown(read_only), "a boolean")
    return MountSettings(source, str(target).rstrip("/"), read_only)


def _is_source(source: Any) -> bool:
    return isinstance(source, str) and (
        source.startswith("/") or _VOLUME_NAME.fullmatch(source) is not None
    )


def read_index_cache(raw: RawSettings) -> tuple[IndexCache, int]:
    """Read the place of Dovecot's index cache, and its size in MiB."""
    where = raw.choice("indexCache", raw.get("index_cache"), IndexCache, IndexCache.MEMORY)
    return where, _read_size(raw, "index_cache_size")


def read_queue(raw: RawSettings, environment: Mapping[str, Any]) -> tuple[Queue, int]:
    """Read the place of Postfix's queue, and its size in MiB.

    Postfix refuses every mail unless 1.5 times its largest size is free (smtpd(8)).
    """
    where = raw.choice("queue", raw.get("queue"), Queue, Queue.DISK)
    size = _read_size(raw, "queue_size")
    stated = str(environment.get("POSTFIX_MESSAGE_SIZE_LIMIT") or dms.MESSAGE_SIZE_LIMIT)
    least = int(stated) * 2 if stated.isdecimal() else 0
    if where is Queue.MEMORY and size * _MIB < least:
        raw.fault(
            "queueSize",
            f"{size} MiB with mails of up to {stated} bytes",
            f"at least {-(-least // _MIB)} MiB, else Postfix refuses every mail",
            "raise queueSize, or lower environment.POSTFIX_MESSAGE_SIZE_LIMIT",
        )
    return where, size


def _read_size(raw: RawSettings, name: str) -> int:
    return raw.whole_number(name, DEFAULT_MEMORY_SIZE, _MAX_SIZE, "MiB")


def read_adopt_mail(raw: RawSettings) -> str | None:
    """Read the mark of another stack's mail store that this stack takes over."""
    value = raw.get("adopt_mail")
    if value is None:
        return None
    if value != UNMARKED and not is_identity(value):
        raw.fault(
            "adoptMail",
            shown(value),
            f"the mark of a mail store (16 hex digits), or {UNMARKED}",
            "copy it from the preflight message",
        )
    return str(value)
