"""What lies in memory: tmpfs volumes, and the keeper container that holds them.

Docker keeps a tmpfs volume as long as one container mounts it.  The keeper does nothing else,
so that the server can be restarted or replaced without losing what lies there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from mailcrypt_component.model.custody import KEEPER_LABEL, Custody, IndexCache, Queue
from mailcrypt_component.model.dialects import CACHE_DIR
from mailcrypt_component.model.dms import CERTS_DIR, QUEUE_DIR
from mailcrypt_component.model.settings import Settings


@dataclass(frozen=True)
class MemoryVolume:
    """A tmpfs volume: its size in MiB, its root's mode, and where it is mounted."""

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


def declare_volume(
    name: str, full_name: str, volume: MemoryVolume, opts: pulumi.ResourceOptions
) -> docker.Volume:
    """Declare a tmpfs volume that is never swapped out.

    The size is a part of its name: Docker does not change an existing volume's options, and
    an update could not remove the old one while it is in use.
    """
    return docker.Volume(
        name,
        name=f"{full_name}-{volume.size}m",
        driver="local",
        driver_opts={
            "type": "tmpfs",
            "device": "tmpfs",
            "o": f"size={volume.size}m,mode={volume.mode},noswap",
        },
        opts=opts,
    )


def declare_keeper(
    name: str,
    full_name: str,
    image: pulumi.Output[str],
    volumes: Mapping[str, tuple[MemoryVolume, docker.Volume]],
    opts: pulumi.ResourceOptions,
) -> docker.Container:
    """Declare the container that holds the volumes; it has no network and runs nothing."""
    replacing = pulumi.ResourceOptions(replace_on_changes=["mustRun"], delete_before_replace=True)
    return docker.Container(
        name,
        name=f"{full_name}-keeper",
        image=image,
        entrypoints=["sleep", "infinity"],
        init=True,
        network_mode="none",
        labels=[docker.ContainerLabelArgs(label=KEEPER_LABEL, value=full_name)],
        volumes=[
            docker.ContainerVolumeArgs(volume_name=made.name, container_path=volume.target)
            for volume, made in volumes.values()
        ],
        healthcheck=docker.ContainerHealthcheckArgs(tests=["NONE"]),
        restart="unless-stopped",
        destroy_grace_seconds=5,
        must_run=True,
        opts=pulumi.ResourceOptions.merge(opts, replacing),
    )
