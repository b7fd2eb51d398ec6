"""Declares the tmpfs volumes, and the keeper container that holds them.

Docker keeps a tmpfs volume as long as one container mounts it.  The keeper does nothing else,
so the server can be restarted or replaced without losing the content of the volumes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.gates import GateRun, gate
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.custody.plan import UnlockPlan
from mailcrypt_component.dialects.dialect import CACHE_DIR
from mailcrypt_component.model.custody import KEEPER_LABEL, Custody, IndexCache, Queue
from mailcrypt_component.model.dms import CERTS_DIR, QUEUE_DIR
from mailcrypt_component.model.settings import Settings


@dataclass(frozen=True)
class MemoryVolume:
    """A tmpfs volume: its size in MiB, its root's mode, and its mount point."""

    size: int
    mode: str
    target: str
    read_only: bool = False
    """Whether the server may only read it."""


def memory_volumes(settings: Settings) -> Mapping[str, MemoryVolume]:
    """Return the volumes that these settings ask for, by their short name."""
    volumes = {}
    if settings.key_custody is Custody.MEMORY:
        volumes["keys"] = MemoryVolume(1, "0700", CERTS_DIR, read_only=True)
    if settings.index_cache is IndexCache.MEMORY:
        volumes["cache"] = MemoryVolume(settings.index_cache_size, "1777", CACHE_DIR)
    if settings.queue is Queue.MEMORY:
        volumes["queue"] = MemoryVolume(settings.queue_size, "0755", QUEUE_DIR)
    return volumes


@dataclass(frozen=True)
class Memory:
    """The declared tmpfs volumes by short name, and the keeper; no keeper without volumes."""

    volumes: Mapping[str, tuple[MemoryVolume, docker.Volume]]
    keeper: docker.Container | None


def declare_memory(
    scope: Scope, image: pulumi.Output[str], claim: pulumi.Resource, preflight: pulumi.Resource
) -> Memory:
    """Declare the tmpfs volumes and the container that holds them."""
    if scope.settings.is_swarm:  # A task's memory is its own: a service mounts it.
        return Memory({}, None)
    has_noswap = scope.has_noswap()
    volumes = {
        short: (volume, _declare_volume(scope, short, volume, has_noswap, claim))
        for short, volume in memory_volumes(scope.settings).items()
    }
    if not volumes:
        return Memory(volumes, None)
    return Memory(volumes, _declare_keeper(scope, image, volumes, preflight))


def declare_unlock(
    scope: Scope, ring: KeyRing, config: DovecotConfig, keeper: docker.Container | None
) -> list[pulumi.Resource]:
    """Declare the gate that brings the private keys into memory, if the ring holds them.

    Returns:
        The resources that the server has to wait for.

    """
    if keeper is None:
        return []
    if scope.settings.key_custody is not Custody.MEMORY or scope.settings.is_public_only:
        return [keeper]
    plan = pulumi.Output.all(scope.docker_host, ring.keys, config.files).apply(
        lambda found: UnlockPlan(
            docker_host=found[0],
            server=scope.full_name,
            keys=tuple((key.private_path, key.private_pem) for key in found[1]),
            configuration=found[2].private,
            configuration_path=found[2].private_path,
        )
    )
    facts = {"keeper": scope.now(keeper), "keyIds": ring.key_ids, "config": config.digest}
    opts = scope.child(depends_on=[keeper])
    return [keeper, gate(f"{scope.name}-unlock", facts, _unlock_server, plan, opts)]


def _declare_volume(
    scope: Scope,
    short: str,
    volume: MemoryVolume,
    has_noswap: pulumi.Output[bool],
    claim: pulumi.Resource,
) -> docker.Volume:
    """Declare a tmpfs volume, which is never swapped out if the host's kernel supports that.

    Its name contains a hash of its options: Docker does not change the options of an existing
    volume, and an update could not remove the old volume while it is in use.
    """
    name = f"{scope.full_name}-{short}-{volume.size}m"
    options = f"size={volume.size}m,mode={volume.mode}"
    return docker.Volume(
        f"{scope.name}-memory-{short}",
        name=has_noswap.apply(lambda has: name if has else f"{name}-swappable"),
        driver="local",
        driver_opts={
            "type": "tmpfs",
            "device": "tmpfs",
            "o": has_noswap.apply(lambda has: f"{options},noswap" if has else options),
        },
        opts=scope.on_engine(depends_on=[claim]),
    )


def _declare_keeper(
    scope: Scope,
    image: pulumi.Output[str],
    volumes: Mapping[str, tuple[MemoryVolume, docker.Volume]],
    preflight: pulumi.Resource,
) -> docker.Container:
    """Declare the container that holds the volumes; it has no network and runs nothing."""
    replacing = pulumi.ResourceOptions(replace_on_changes=["mustRun"], delete_before_replace=True)
    return docker.Container(
        f"{scope.name}-keeper",
        name=f"{scope.full_name}-keeper",
        image=image,
        entrypoints=["sleep", "infinity"],
        init=True,
        network_mode="none",
        labels=[docker.ContainerLabelArgs(label=KEEPER_LABEL, value=scope.full_name)],
        volumes=[
            docker.ContainerVolumeArgs(volume_name=made.name, container_path=volume.target)
            for volume, made in volumes.values()
        ],
        healthcheck=docker.ContainerHealthcheckArgs(tests=["NONE"]),
        restart="unless-stopped",
        destroy_grace_seconds=5,
        must_run=True,
        opts=pulumi.ResourceOptions.merge(scope.on_engine(depends_on=[preflight]), replacing),
    )


def _unlock_server(plan: UnlockPlan, _: GateRun) -> str:
    from mailcrypt_component.custody.unlock import unlock  # noqa: PLC0415

    return unlock(plan)
