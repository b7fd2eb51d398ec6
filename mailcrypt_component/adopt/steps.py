"""The commands that follow an adoption, each with the reason for it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailcrypt_component.adopt.compose import Project, Service
    from mailcrypt_component.adopt.mounted import Location

Step = tuple[str, str]
"""A command for a shell, and why it is needed."""


def container_of(project: Project, service: Service) -> str:
    """Return the name that Docker Compose gives the service's container."""
    return service.text("container_name") or f"{project.name}-{service.name}-1"


def hand_over(
    project: Project, service: Service, stack: str, edits: Sequence[Step]
) -> Iterator[Step]:
    """Yield the steps from the old server to the stack's.

    The old container is kept until the new server is proven, but no reboot starts it again.
    """
    container = container_of(project, service)
    stop = f"docker update --restart=no {container} && docker stop {container}"
    yield stop, "the old server stops, and no reboot starts it again"
    yield from edits
    yield f"pulumi up --stack {stack}", "the stack's server starts on the same mail"
    reason = (
        f"when all is well; then remove {service.name} from {project.file}: docker compose up "
        "would start a second server on the same mail"
    )
    yield f"docker rm {container}", reason


def replace_file(
    path: str, where: Location, remains: Path | None, container: str, reason: str
) -> Iterator[Step]:
    """Yield the steps that replace a file of the configuration folder.

    Args:
        path: The file's path in the container.
        where: Where that is.
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


def rename_in(where: Location, old: str, new: str) -> Step:
    """Return the step that changes a path in a file of the configuration folder.

    Raises:
        SettingsError: The file lies in a volume.

    """
    if where.mount.kind != "bind":
        raise SettingsError(
            f"it names {old}, which cannot lie beside the keys any more",
            where=str(where),
            expected=f"{new}, where the stack mounts it",
            hint=f"mount the file at {new} now, and name that path",
        )
    return f"sed -i 's#{old}#{new}#g' {shlex.quote(str(where))}", f"the stack mounts it at {new}"
