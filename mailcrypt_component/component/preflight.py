"""Declares the gate in front of the server, which tries its parts before any change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from mailcrypt_component.checks.preflight.plan import Plan, facts_of, previous_of
from mailcrypt_component.component.gates import GateRun, gate
from mailcrypt_component.component.outputs import public
from mailcrypt_component.component.parts import ContainerParts
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.dcrypt.keys import version_1_ids
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.settings import Settings, TlsSettings
from mailcrypt_component.model.swarm import Swarm


def declare_preflight(scope: Scope, parts: ContainerParts) -> pulumi.Stash:
    """Declare the gate; its facts are those of the plan."""
    settings, ring, stores = scope.settings, parts.ring, parts.stores
    sources: dict[str, Any] = {**stores.sources, **settings.binds}
    plan = pulumi.Output.all(
        settings=scope.value(_without_secrets),
        host=scope.docker_host,
        manager=scope.manager,
        nodes=scope.nodes,
        nodes_now=scope.nodes_now(),
        image=parts.image,
        files=parts.config.files,
        dialect=parts.config.dialect,
        key_ids=ring.key_ids,
        kinds=ring.public_keys.apply(lambda keys: {key["name"]: key["kind"] for key in keys}),
        version_1_ids=ring.public_keys.apply(_version_1_ids),
        sources=pulumi.Output.all(**sources),
        network=parts.network,
        identity=stores.identity,
        environment=settings.environment,
        certificate=settings.tls.certificate,
        private_key=settings.tls.private_key,
    ).apply(lambda found: _plan(scope.full_name, found))
    opts = scope.child(depends_on=stores.volumes)
    facts = public(plan.apply(facts_of))
    return gate(f"{scope.name}-preflight", facts, _run_preflight, plan, opts)


def _without_secrets(settings: Settings) -> Settings:
    """Return the settings without those that could be secret, which are passed on as such."""
    return replace(
        settings,
        accounts=(),
        environment={},
        keys=tuple(replace(key, pem=None) for key in settings.keys),
        tls=TlsSettings(settings.tls.mode),
    )


def _plan(server: str, found: Mapping[str, Any]) -> Plan:
    settings: Settings = found["settings"]
    return Plan(
        docker_host=found["host"],
        stack=pulumi.get_stack(),
        server=server,
        identity=found["identity"],
        adopt=settings.adopt_mail,
        image=found["image"],
        hostname=settings.hostname,
        network=found["network"],
        dialect=Dialect(found["dialect"]),
        files=found["files"],
        kinds=found["kinds"],
        key_ids=tuple(found["key_ids"]),
        given_up=settings.give_up_keys,
        sources=found["sources"],
        mounts=settings.mounts,
        ports=settings.ports,
        environment=found["environment"],
        tls=TlsSettings(settings.tls.mode, found["certificate"], found["private_key"]),
        deadline=settings.deadline,
        count_deadline=settings.count_deadline,
        version_1_ids=tuple(found["version_1_ids"]),
        swarm=Swarm(found["manager"], server, found["nodes"], settings.placement)
        if settings.is_swarm
        else None,
        nodes_now=tuple(found["nodes_now"]),
    )


def _run_preflight(plan: Plan, run: GateRun) -> str:
    from mailcrypt_component.checks.preflight.run import run_preflight  # noqa: PLC0415

    return run_preflight(plan, previous_of(run.previous), run.say)


def _version_1_ids(keys: Sequence[Mapping[str, str]]) -> list[str]:
    return list(version_1_ids(key["publicPem"] for key in keys))
