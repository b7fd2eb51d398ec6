"""Declares the server's volumes and network, and the gate that claims their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from mailcrypt_component.checks.preflight.plan import Claim
from mailcrypt_component.component.gates import GateRun, gate, generate_once
from mailcrypt_component.component.outputs import public
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.model.identity import STACK_LABEL, new_identity
from mailcrypt_component.model.settings import STORES


@dataclass(frozen=True)
class Stores:
    """The places of mail, state, logs and config: volume names, or paths on the Docker host.

    ``identity`` is the stack's own; the mail store carries it as a mark.  ``claim`` is the gate
    in front of every name that is used on the engine.
    """

    identity: pulumi.Output[str]
    claim: pulumi.Stash
    sources: Mapping[str, pulumi.Output[str]]
    volumes: Sequence[pulumi.Resource]


def declare_stores(scope: Scope) -> Stores:
    """Declare a volume for each store that is not bound to a path."""
    identity, claim = _claim(scope)
    binds = scope.settings.binds
    own = [] if scope.settings.is_swarm else [store for store in STORES if store not in binds]
    volumes = {store: _volume(scope, store, identity, claim) for store in own}
    sources = {
        store: volumes[store].name
        if store in volumes
        # On a Swarm, each node has a volume for logs of its own.
        else pulumi.Output.from_input(binds.get(store, _volume_name(scope, store)))
        for store in STORES
    }
    _guard(scope, list(volumes.values()))
    return Stores(identity, claim, sources, list(volumes.values()))


def _guard(scope: Scope, volumes: Sequence[docker.Volume]) -> None:
    """Declare a protected resource that Pulumi has to delete before any volume.

    The volumes are not protected themselves, since it must be possible to move a store to a path
    by declaration alone.
    """
    pulumi.Stash(
        f"{scope.name}-volumes-guard",
        input=[volume.name for volume in volumes],
        opts=scope.child(depends_on=volumes, protect=scope.settings.protect),
    )


def declare_network(scope: Scope, claim: pulumi.Resource) -> pulumi.Output[str]:
    """Return the name of the network, which is the given one or a new one."""
    if scope.settings.network is not None:
        return pulumi.Output.from_input(scope.settings.network)
    opts = scope.on_engine(depends_on=[claim])
    if scope.settings.is_swarm:  # Another resource: a stack that moves needs both for a while.
        name = f"{scope.full_name}-overlay"
        overlay = docker.Network(
            f"{scope.name}-overlay", name=name, driver="overlay", attachable=True, opts=opts
        )
        return overlay.name
    return docker.Network(f"{scope.name}-network", name=scope.full_name, opts=opts).name


def _claim(scope: Scope) -> tuple[pulumi.Output[str], pulumi.Stash]:
    identity = public(generate_once(f"{scope.name}-identity", new_identity(), scope.child()))
    own = [] if scope.settings.is_swarm else [*STORES]
    volumes = [_volume_name(scope, store) for store in own if store not in scope.settings.binds]
    # The claim waits for the settings, so nothing is made with a wrong one.
    checked = scope.value(lambda settings: settings.adopt_mail)
    claim = pulumi.Output.all(scope.docker_host, identity, checked).apply(
        lambda found: Claim(
            docker_host=found[0],
            identity=found[1],
            adopt=found[2],
            server=scope.full_name,
            volumes=tuple(volumes),
        )
    )
    facts = {"identity": identity, "server": scope.full_name, "volumes": volumes}
    return identity, gate(f"{scope.name}-claim", facts, _claim_names, claim, scope.child())


def _volume(
    scope: Scope, store: str, identity: pulumi.Output[str], claim: pulumi.Resource
) -> docker.Volume:
    options = scope.on_engine(depends_on=[claim], keep=scope.settings.keep_mail)
    # A renamed stack, or one from before identities existed, keeps its volumes.
    kept = pulumi.ResourceOptions(ignore_changes=["name", "labels"])
    return docker.Volume(
        f"{scope.name}-{store}",
        name=_volume_name(scope, store),
        labels=[docker.VolumeLabelArgs(label=STACK_LABEL, value=identity)],
        opts=pulumi.ResourceOptions.merge(options, kept),
    )


def _volume_name(scope: Scope, store: str) -> str:
    return f"{scope.full_name}-{store}"


def _claim_names(claim: Claim, _: GateRun) -> str:
    """Run the check; it imports the Docker SDK only here, as that would slow down each no-op."""
    from mailcrypt_component.checks.preflight.claim import claim_names  # noqa: PLC0415

    return claim_names(claim)
