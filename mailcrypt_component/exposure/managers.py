"""Judges the disks of a Swarm's managers, which hold the secrets of every service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.docker_api.swarm import locks_managers
from mailcrypt_component.exposure.finding import Exposed, Finding

if TYPE_CHECKING:
    from mailcrypt_component.model.swarm import Swarm

PART = "Swarm managers"


def judge_managers(swarm: Swarm) -> Finding:
    """Return the finding about the private keys on the managers' disks.

    Raises:
        UnreachableError: The manager does not answer.

    """
    if locks_managers(swarm.manager):
        seen = "private keys encrypted on their disks; a manager that starts needs the unlock key"
        return Finding(PART, Exposed.NOTHING, seen)
    seen = "private keys encrypted on their disks, next to the key that opens them (no autolock)"
    return Finding(PART, Exposed.KEY, seen, "docker swarm update --autolock=true, on a manager")
