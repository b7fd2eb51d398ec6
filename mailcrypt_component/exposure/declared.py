"""Lists the readable data on the disk by the settings alone; asks no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.exposure.finding import Exposed, Finding
from mailcrypt_component.model.custody import Custody, IndexCache, Queue

if TYPE_CHECKING:
    from mailcrypt_component.model.settings import Settings


def declared(settings: Settings) -> tuple[Finding, ...]:
    """Return the data on the Docker host's disk that is readable by declaration."""
    return (_key(settings), _index_cache(settings), _queue(settings), _metadata())


def _key(settings: Settings) -> Finding:
    if settings.key_custody is Custody.DISK:
        seen = "keyCustody: disk: in the container's layer, readable by root of the host"
        return Finding("private key", Exposed.KEY, seen, "keyCustody: memory")
    if settings.key_custody is Custody.SWARM:
        seen = (
            "keyCustody: swarm: on no disk of a node; on the managers' disks, encrypted, and "
            "readable without autolock ('mailcrypt exposure' looks)"
        )
        return Finding("private key", Exposed.UNKNOWN, seen, "docker swarm update --autolock=true")
    seen = "keyCustody: memory: on no disk of the host; locked after a reboot"
    return Finding("private key", Exposed.NOTHING, seen)


def _index_cache(settings: Settings) -> Finding:
    if settings.index_cache is IndexCache.DISK:
        seen = "indexCache: disk: subjects, addresses and snippets in clear"
        return Finding("index cache", Exposed.TEXT, seen, "indexCache: memory")
    return Finding("index cache", Exposed.NOTHING, "indexCache: memory")


def _queue(settings: Settings) -> Finding:
    if settings.queue is Queue.DISK:
        seen = "queue: disk: each mail in clear until it is delivered, its freed blocks longer"
        return Finding("Postfix's queue", Exposed.TEXT, seen, "queue: memory")
    seen = "queue: memory: a power cut loses mail that was taken and not delivered yet"
    return Finding("Postfix's queue", Exposed.NOTHING, seen)


def _metadata() -> Finding:
    seen = "addresses, folder names, sizes, times, flags, logs and sieve scripts"
    return Finding("metadata", Exposed.METADATA, seen)
