"""Declares the mail server's container on one machine: its mounts, uploads and variables."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_docker as docker

from mailcrypt_component.component.custody import Memory
from mailcrypt_component.component.parts import (
    TMPFS,
    ContainerParts,
    ServerFile,
    environment,
    server_files,
)
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.component.stores import Stores
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.ports import in_order_of
from mailcrypt_component.model.settings import BIND_TARGETS, Settings


def declare_container(
    scope: Scope, parts: ContainerParts, memory: Memory, needs: Sequence[pulumi.Resource]
) -> docker.Container:
    """Declare the container, which depends on everything that it needs."""
    settings = scope.settings
    # The provider reports changes of these as updates in place but changes nothing, or starts a
    # stopped server as the same one, which no gate would check.  Replace the server instead.
    replacing = pulumi.ResourceOptions(
        replace_on_changes=["tmpfs", "healthcheck.tests", "mustRun"],
        delete_before_replace=True,
    )
    return docker.Container(
        f"{scope.name}-server",
        name=scope.full_name,
        image=parts.image,
        hostname=settings.hostname,
        envs=_environment(settings, parts),
        labels=[
            docker.ContainerLabelArgs(label=SERVER_LABEL, value=scope.full_name),
            docker.ContainerLabelArgs(label=STACK_LABEL, value=parts.stores.identity),
        ],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=parts.network, aliases=[settings.hostname])
        ],
        ports=_ports(scope),
        volumes=_mounts(settings, parts.stores, memory),
        tmpfs=TMPFS,
        uploads=_uploads(server_files(settings, parts)),
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=[*dms.HEALTH_CHECK, parts.config.files.apply(lambda files: files.private_path)],
            interval="30s",
            timeout="10s",
            retries=3,
            start_period="1m0s",
        ),
        capabilities=_capabilities(settings),
        restart="unless-stopped",
        destroy_grace_seconds=settings.stop_grace,
        stop_timeout=settings.stop_grace,
        must_run=True,
        opts=pulumi.ResourceOptions.merge(scope.on_engine(depends_on=needs), replacing),
    )


def _ports(scope: Scope) -> pulumi.Output[list[Any]]:
    """Return the ports; several bindings of one port are in the engine's order.

    Docker lists them in another order than they were declared in, and the provider would
    replace the container at each update.
    """
    wanted = scope.value(lambda settings: settings.ports)
    asked = pulumi.Output.all(scope.bindings(), wanted)
    return asked.apply(
        lambda both: [
            {"internal": port.internal, "external": port.external, "ip": port.address}
            for port in in_order_of(both[0], both[1])
        ]
    )


def _capabilities(settings: Settings) -> docker.ContainerCapabilitiesArgs | None:
    """Return NET_ADMIN with Fail2ban, which cannot ban without it and does not report that."""
    if settings.environment.get("ENABLE_FAIL2BAN") != "1":
        return None
    return docker.ContainerCapabilitiesArgs(adds=["CAP_NET_ADMIN"])


def _environment(settings: Settings, parts: ContainerParts) -> list[pulumi.Input[str]]:
    chosen = environment(settings, parts)
    return [
        f"{name}={value}" if isinstance(value, str) else pulumi.Output.concat(name, "=", value)
        for name, value in sorted(chosen.items())
    ]


def _mounts(
    settings: Settings, stores: Stores, memory: Memory
) -> Sequence[docker.ContainerVolumeArgs]:
    sources: dict[str, pulumi.Input[str]] = {**stores.sources, **settings.binds}
    mounts = [_volume(source, BIND_TARGETS[store]) for store, source in sources.items()]
    mounts += [
        _volume(made.name, volume.target, read_only=volume.read_only)
        for volume, made in memory.volumes.values()
    ]
    mounts += [
        _volume(mount.source, mount.target, read_only=mount.read_only) for mount in settings.mounts
    ]
    return mounts


def _uploads(files: Sequence[ServerFile]) -> list[docker.ContainerUploadArgs]:
    return [
        docker.ContainerUploadArgs(
            file=one.path, content=one.content, permissions=f"{one.mode:04o}"
        )
        for one in files
    ]


def _volume(
    source: pulumi.Input[str], target: str, *, read_only: bool = False
) -> docker.ContainerVolumeArgs:
    """Return the mount of a path if the source begins with a slash, else of a volume."""
    found = pulumi.Output.from_input(source)
    return docker.ContainerVolumeArgs(
        host_path=found.apply(lambda name: name if name.startswith("/") else None),
        volume_name=found.apply(lambda name: None if name.startswith("/") else name),
        container_path=target,
        read_only=read_only,
    )
