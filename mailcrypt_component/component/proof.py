"""Declares the gate behind the server, which holds only while the running server is proven."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pulumi
import pulumi_docker as docker

from mailcrypt_component.checks.proof.target import Target
from mailcrypt_component.component.accounts import Accounts
from mailcrypt_component.component.gates import GateRun, gate
from mailcrypt_component.component.parts import ContainerParts
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody
from mailcrypt_component.model.settings import UNMARKED, PortSettings
from mailcrypt_component.model.swarm import Swarm

Server = docker.Container | docker.Service
"""The resource that runs the server: a container on one machine, a service on a Swarm."""


def declare_target(
    scope: Scope, parts: ContainerParts, server: Server, password: pulumi.Output[str]
) -> pulumi.Output[Target]:
    """Return the description of the server for its proof; secret."""
    settings = scope.settings

    def read(facts: Sequence[Any]) -> Target:
        docker_host, container, dialect, keys, probe_password, identity, manager, nodes = facts
        return Target(
            docker_host=docker_host,
            container=container,
            dialect=Dialect(dialect),
            key_ids=tuple(key["keyId"] for key in keys),
            account=settings.probe_address,
            deadline=settings.deadline,
            password=probe_password,
            given_up=settings.give_up_keys,
            custody=settings.key_custody,
            index_cache=settings.index_cache,
            public_pems=tuple(key["publicPem"] for key in keys),
            private=not settings.is_public_only,
            stack=pulumi.get_stack(),
            identity=None if settings.adopt_mail == UNMARKED else identity,
            swarm=Swarm(manager, scope.full_name, nodes) if settings.is_swarm else None,
        )

    found = pulumi.Output.all(
        scope.docker_host,
        server.id,
        parts.config.dialect,
        parts.ring.public_keys,
        password,
        parts.stores.identity,
        scope.manager,
        scope.nodes,
    )
    return pulumi.Output.secret(found.apply(read))


def declare_proof(
    scope: Scope,
    parts: ContainerParts,
    server: Server,
    keeper: docker.Container | None,
    target: pulumi.Output[Target],
) -> pulumi.Stash:
    """Declare the gate; its facts describe the containers that run now."""
    facts: dict[str, Any] = {
        "server": server_now(scope, server),
        "keeper": scope.now(keeper) if keeper else None,
        "config": parts.config.digest,
        "keyIds": parts.ring.key_ids,
    }
    if scope.settings.key_custody is Custody.MEMORY:  # An unlock starts no container.
        private = parts.config.files.apply(lambda files: files.private_path)
        facts["unlocked"] = scope.has_file(server.id, parts.image, private)
    opts = scope.child(depends_on=[server])
    check = partial(_prove, stop=scope.settings.stop_unproven)
    return gate(f"{scope.name}-proof", facts, check, target, opts)


def deployed(
    scope: Scope,
    parts: ContainerParts,
    server: Server,
    target: pulumi.Output[Target],
    accounts: Accounts,
) -> pulumi.Output[str]:
    """Return the description of this server for the commands, as JSON; secret."""
    facts = {
        "containerName": server.name,
        "imageId": parts.image,
        "stores": dict(parts.stores.sources),
        "keyNames": [key.name for key in scope.settings.keys],
        "keyCustody": scope.settings.key_custody.value,
        "endpoints": endpoints(scope),
        "madePasswords": list(accounts.made_passwords),
    }
    return pulumi.Output.all(target, facts).apply(
        lambda found: json.dumps({**found[0].as_json(), **found[1]})
    )


def endpoints(scope: Scope) -> pulumi.Output[dict[str, str]]:
    """Return address:port on the Docker host, by service or container port."""
    return scope.value(lambda settings: _endpoints(settings.ports))


def _endpoints(ports: Sequence[PortSettings]) -> dict[str, str]:
    """Return one binding for each service: the first one that is declared."""
    names = {number: service for service, number in dms.PORTS.items()}
    found: dict[str, str] = {}
    for port in ports:
        found.setdefault(names.get(port.internal, str(port.internal)), port.binding)
    return found


def server_now(scope: Scope, server: Server) -> pulumi.Output[Any]:
    """Return what the engine says of the server now; see ``Scope.now``."""
    return scope.now(server) if isinstance(server, docker.Container) else scope.task_now(server)


def _prove(target: Target, _: GateRun, *, stop: bool) -> str:
    from mailcrypt_component.checks.placed import placed  # noqa: PLC0415
    from mailcrypt_component.checks.server_state import find_container  # noqa: PLC0415
    from mailcrypt_component.checks.stop import prove_or_stop  # noqa: PLC0415
    from mailcrypt_component.custody.tidy import tidy  # noqa: PLC0415

    def warn(error: Exception) -> None:
        pulumi.log.warn(str(error))

    target = placed(target, wait=target.deadline)
    evidence = prove_or_stop(target, stop=stop, unrecorded=warn)
    tidied = tidy(find_container(target), target.custody, target.index_cache)
    return "; ".join(filter(None, [evidence.short, tidied]))
