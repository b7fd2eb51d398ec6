"""Reads a server's own logs for the cause of a fault."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import docker.errors
import tenacity

from mailcrypt_component.docker_api.connect import moment
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from docker.models.containers import Container

_READ: Final = 60
_SHOWN: Final = 6
_SECONDS: Final = 2.0


def printed(container: Container) -> list[str]:
    """Return the last lines that the container has printed since it was started."""
    try:
        since = moment(container.attrs["State"]["StartedAt"])
        return container.logs(tail=_READ, since=since).decode(errors="replace").splitlines()
    except (docker.errors.DockerException, OSError):  # A container that never ran has no log.
        return []


def has_started(container: Container) -> bool:
    """Return whether docker-mailserver has written every file and started every service."""
    return any(dms.STARTED in line for line in printed(container))


def last_lines(container: Container, *, patience: float = 1.0) -> str:
    """Return the log lines that explain a fault, ready to be added to a message.

    Lines with an error come first; without any, the last lines of all.  They may be written a
    moment later than the fault is seen, hence the patience in seconds.
    """
    waiting = tenacity.Retrying(
        stop=tenacity.stop_after_delay(patience),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_result(lambda lines: not lines),
        retry_error_callback=lambda _: [],
    )

    def faults() -> list[str]:
        lines = printed(container) + _of_dovecot(container)
        return [line for line in lines if re.search(r"(?i)fatal|error|panic", line)]

    lines: list[str] = waiting(faults) or printed(container)
    return "; its last log lines:\n    " + "\n    ".join(lines[-_SHOWN:]) if lines else ""


def _of_dovecot(container: Container) -> list[str]:
    """Return what Dovecot has told the supervisor since the start."""
    try:
        since = container.attrs["State"]["StartedAt"]
        argv = ["find", dms.DOVECOT_LOG, "-newermt", since, "-exec", "tail", "-n", "20", "{}", "+"]
        result = execute(container, argv, timeout=_SECONDS)
    except (docker.errors.DockerException, OSError, MailCryptError):  # It does not run any more.
        return []
    return result.stdout.decode(errors="replace").splitlines()
