"""Reads the nodes of a Docker Swarm that may run the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailcrypt_component.model.raw_settings import is_docker_host, shown
from mailcrypt_component.model.swarm import SHARED_STORES, Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.model.raw_settings import RawSettings


def read_nodes(
    raw: RawSettings, target: Platform, binds: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Read the nodes' Docker hosts, and the constraints on the node that runs the server."""
    nodes: Mapping[str, Any] = raw.typed("nodes", dict, default={})
    placement = raw.typed("placement", list, default=[])
    for name, host in nodes.items():
        if not raw.later(host) and not is_docker_host(host):
            raw.fault(f"nodes.{name}", shown(host), "unix://…, tcp://… or ssh://user@host")
    for index, constraint in enumerate(placement):
        if not isinstance(constraint, str) or ("==" not in constraint and "!=" not in constraint):
            expected = "a constraint such as node.labels.mail==yes"
            raw.fault(f"placement[{index}]", shown(constraint), expected)
    if target is Platform.SWARM:
        _check_swarm(raw, nodes, binds)
    elif nodes or placement:
        raw.fault(
            "nodes" if nodes else "placement",
            "set, but target is machine",
            "target: swarm, or none of them",
            "pulumi config set mailcrypt:target swarm",
        )
    return nodes, tuple(placement)


def _check_swarm(raw: RawSettings, nodes: Mapping[str, Any], binds: Mapping[str, Any]) -> None:
    if not nodes:
        raw.fault(
            "nodes",
            "nothing",
            "the Docker host of each node that may run the server, by its host name",
            "docker node ls shows the names; nodes: {mail1: ssh://root@mail1}",
        )
    for store in SHARED_STORES:
        if store not in binds:
            raw.fault(
                f"binds.{store}",
                "nothing, with target swarm",
                "a path or a volume that leads to the same storage on every node",
                f"mount the storage on each node (NFS, Ceph …), and set binds.{store} to its path",
            )
