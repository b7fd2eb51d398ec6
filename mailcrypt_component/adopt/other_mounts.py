"""Selects the mounts that the stack takes over besides the stores, without the keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt import notes
from mailcrypt_component.model import dms
from mailcrypt_component.model.settings import STORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailcrypt_component.adopt.compose import Mount
    from mailcrypt_component.adopt.old_server import OldServer

_REST_OF_CUSTOM: Final = "/etc/dovecot/conf.d/10-custom-adopted.conf"


def other_mounts(server: OldServer, note: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the setting ``mounts``.

    Raises:
        SettingsError: A volume holds both keys and files that other settings name.

    """
    _note_keys_in_stores(server, note)
    for mount in server.service.mounts:
        for text in notes.of_mount(mount):
            note(text)
        if mount.kind not in {"bind", "volume"} or mount.target in STORES.values():
            continue
        if mount.target in server.confs:
            yield from _configuration(server, mount, note)
        elif _holds(dms.CERTS_DIR, [mount.target]) or _holds(mount.target, server.key_paths):
            yield from _files_beside_keys(server, mount, note)
        elif mount.source:
            yield _mount(mount.source, mount.target, read_only=mount.read_only)
        else:
            note(f"anonymous volume at {mount.target}: not taken over; its files stay in it")


def _note_keys_in_stores(server: OldServer, note: Callable[[str], None]) -> None:
    for path in server.key_paths:
        where = server.files.locate(path)
        if where and where.mount.target in STORES.values():
            note(
                f"the key {where} lies in a store that stays mounted: delete the file once "
                "the stack is proven and mailcrypt escrow has made a copy"
            )


def _configuration(
    server: OldServer, mount: Mount, note: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    target = _REST_OF_CUSTOM if mount.target == dms.CUSTOM_CONF else mount.target
    rest = server.rest_path(mount.target)
    if not server.is_rewritten(mount.target):
        yield _mount(mount.source, target, read_only=True)
    elif rest in server.rest_files:
        note(
            f"{mount.source}: its settings besides mail_crypt and keys go to {rest}, which is "
            f"mounted at {target}"
        )
        yield _mount(str(rest), target, read_only=True)


def _files_beside_keys(
    server: OldServer, mount: Mount, note: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Yield a mount for each file in a folder of keys that other settings name."""
    used = [
        path
        for path in server.named_files
        if _holds(mount.target, [path]) and path not in {*server.key_paths, dms.CERTS_DIR}
    ]
    if used and mount.kind == "volume":
        raise server.fault(
            "volumes",
            f"in the volume {mount.source}, next to the keys: {', '.join(used)}",
            "a folder of the host: a single file of a volume cannot be mounted",
            f"copy the certificate into a folder, and mount that at {mount.target}",
        )
    for path in used:
        where = server.files.locate(path)
        yield _mount(str(where), server.moved.get(path, path), read_only=True)
    if used:
        moved = ", ".join(server.moved.get(path, path) for path in used)
        note(
            f"{', '.join(used)}: mounted file by file, as {moved}; after renewing a "
            f"certificate by replacing its file, docker restart {server.new_name}"
        )
    left = set(server.files.names_in(mount.target)) - {Path(path).name for path in used}
    note(
        f"{mount.source} is no longer mounted at {mount.target}; left there: "
        f"{', '.join(sorted(left)) or 'nothing'}. The keys are the stack's secrets now: delete "
        "their files once the stack is proven and mailcrypt escrow has made a copy"
    )


def _holds(target: str, paths: Sequence[str]) -> bool:
    """Tell whether a mount at target is, or holds, one of these paths."""
    return any(path == target or path.startswith(f"{target}/") for path in paths)


def _mount(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"source": source, "target": target, "readOnly": read_only}
