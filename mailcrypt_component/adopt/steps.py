"""The commands that follow an adoption, each with the reason for it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mailcrypt_component.adopt.old_server import DOVECOT_CF, OTHER_CONFIG, paths_in
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailcrypt_component.adopt.mounted import Location
    from mailcrypt_component.adopt.old_server import OldServer

Step = tuple[str, str]
"""A command for a shell, and why it is needed."""


def hand_over(server: OldServer) -> Iterator[Step]:
    """Yield the steps from the old server to the stack's.

    The old container is kept until the new server is proven, but no reboot starts it again.
    """
    container = _container_of(server)
    stop = f"docker update --restart=no {container} && docker stop {container}"
    yield stop, "the old server stops, and no reboot starts it again"
    yield from _edits(server, container)
    yield f"pulumi up --stack {server.stack}", "the stack's server starts on the same mail"
    reason = (
        f"when all is well; then remove {server.service.name} from {server.project.file}: docker "
        "compose up would start a second server on the same mail"
    )
    yield f"docker rm {container}", reason


def _container_of(server: OldServer) -> str:
    """Return the name that Docker Compose gives the service's container."""
    stated = server.service.text("container_name")
    return stated or f"{server.project.name}-{server.service.name}-1"


def _edits(server: OldServer, container: str) -> Iterator[Step]:
    """Yield the changes to the files of the configuration folder, which stays mounted."""
    conf, where = server.confs.get(DOVECOT_CF), server.files.locate(DOVECOT_CF)
    if conf and where and server.is_rewritten(DOVECOT_CF):
        numbers = ", ".join(map(str, conf.lines))
        reason = f"mail_crypt is set in it (line {numbers}), which would overrule the stack's"
        if not conf.uses_mail_crypt:
            reason = "it names files that have moved"
        rest = server.rest_path(DOVECOT_CF)
        remains = rest if rest in server.rest_files else None
        yield from _replace_file(DOVECOT_CF, where, remains, container, reason)
    for name in OTHER_CONFIG:
        path = f"{dms.CONFIG_DIR}/{name}"
        where, named = server.files.locate(path), paths_in(server.files.find(path) or "")
        if where:
            yield from (
                _rename_in(where, old, new) for old, new in server.moved.items() if old in named
            )


def _replace_file(
    path: str, where: Location, remains: Path | None, container: str, reason: str
) -> Iterator[Step]:
    """Yield the steps that replace a file of the configuration folder.

    Args:
        path: The file's path in the container.
        where: The file's place on this machine or in a volume.
        remains: The file that replaces it; None to leave it empty or out.
        container: The old container, which is stopped by then.
        reason: Why it is replaced.

    """
    if where.mount.kind == "bind":
        old = shlex.quote(str(where))
        yield f"mv {old} {old}.before-adopt", reason
        if remains:
            yield f"cp {shlex.quote(str(remains))} {old}", "what remains of it"
    else:
        source = shlex.quote(str(remains)) if remains else "/dev/null"
        yield f"docker cp -L {source} {container}:{path}", reason


def _rename_in(where: Location, old: str, new: str) -> Step:
    """Return the step that changes a path in a file of the configuration folder.

    Raises:
        SettingsError: The file lies in a volume.

    """
    if where.mount.kind != "bind":
        raise SettingsError(
            f"it names {old}, but the folder of the keys can no longer hold other files",
            where=str(where),
            expected=f"{new}, where the stack mounts it",
            hint=f"mount the file at {new} now, and name that path",
        )
    return f"sed -i 's#{old}#{new}#g' {shlex.quote(str(where))}", f"the stack mounts it at {new}"
