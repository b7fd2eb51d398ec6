"""Claims a stack's names on a Docker engine before any of its volumes is made.

Docker answers the creation of a volume that exists with that volume.  Without this check, a
second stack of the same name would have the first one's volumes in its state, and would remove
them when it is destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker.errors

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.identity import STACK_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

    from mailcrypt_component.checks.preflight.plan import Claim


def claim_names(claim: Claim) -> str:
    """Refuse names that another stack uses on this engine; return what was seen.

    What exists without a label is left to preflight, which looks into the mail store.

    Raises:
        PreflightError: A volume or the container of that name is another stack's.

    """
    client = connect(claim.docker_host)
    volumes = {each.name: each.attrs.get("Labels") for each in client.volumes.list()}
    existing = [name for name in claim.volumes if name in volumes]
    for name in existing:
        _check(claim, f"volume {name}", volumes[name])
    _check(claim, f"container {claim.server}", _labels_of(client, claim.server))
    return f"{len(existing)} of {len(claim.volumes)} volumes exist, none is another stack's"


def _labels_of(client: DockerClient, server: str) -> Mapping[str, str]:
    try:
        labels: Mapping[str, str] = client.containers.get(server).labels
    except docker.errors.NotFound:
        return {}
    return labels


def _check(claim: Claim, where: str, labels: Mapping[str, str] | None) -> None:
    owner = (labels or {}).get(STACK_LABEL)
    if owner in {None, claim.identity, claim.adopt}:
        return
    raise PreflightError(
        f"it belongs to another stack of the same name (mark {owner})",
        where=where,
        expected=f"names of this stack's own (mark {claim.identity}) on this Docker host",
        hint="deploy from the checkout and backend that made it, or name this stack differently "
        f"(pulumi stack init OTHER); if this stack replaces the other one (restored, state "
        f"lost), pulumi config set mailcrypt:adoptMail {owner}",
    )
