"""Tries a plan before anything of the running server is touched.

Asks the Docker host: would such a container start?  Asks the very image: does its Dovecot load
the compiled configuration, and does every protocol load ``mail_crypt``?  Asks the mail store:
is it this stack's, and can the declared ring open every mail in it?  This module does not look
at a running server; the proof does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.checks.preflight.configuration import (
    configuration_files,
    try_configuration,
)
from mailcrypt_component.checks.preflight.host import (
    check_host,
    planned_mounts,
    refuse_second_server,
)
from mailcrypt_component.checks.preflight.mails import count_mails, must_count
from mailcrypt_component.checks.preflight.store_identity import (
    look_around,
    look_at_store,
    must_mark,
    write_mark,
)
from mailcrypt_component.checks.preflight.swarm import (
    check_mail_store,
    check_swarm,
    seen_nodes,
)
from mailcrypt_component.checks.preflight.tls import check_tls
from mailcrypt_component.checks.preflight.variables import unknown_variables
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from docker import DockerClient

    from mailcrypt_component.checks.preflight.plan import Plan, Previous


def run_preflight(
    plan: Plan, previous: Previous | None, say: Callable[[str], object] = lambda _: None
) -> str:
    """Try the plan, and mark a new mail store as this stack's; return what was seen.

    Args:
        plan: What a new server would be made of.
        previous: What the last preflight that held was asked to try; None if there was none.
        say: Called with the progress of what takes long.

    Raises:
        PreflightError: The plan would not work; nothing was touched.
        UnreachableError: The engine or the image did not answer.

    """
    client = connect(plan.docker_host)
    ready: Sequence[str] = ()
    if plan.swarm:
        ready = check_swarm(plan, plan.swarm, previous, say)
    else:
        refuse_second_server(client, plan, previous)
        check_host(client, plan, previous)
    seen, mark, warnings = _look_inside(client, plan, previous, say)
    if mark:
        write_mark(client, plan)
    if plan.swarm:
        check_mail_store(plan, plan.swarm, ready)
        seen += seen_nodes(plan.swarm, ready)
    if plan.adopt is not None and not mark:
        warnings.append("adoptMail: the mail store is this stack's own; remove the setting")
    warnings += unknown_variables(plan.environment)
    return "\n  warning: ".join([seen, *warnings])


def _look_inside(
    client: DockerClient, plan: Plan, previous: Previous | None, say: Callable[[str], object]
) -> tuple[str, bool, list[str]]:
    """Return what was seen in words, whether the store is to be marked, and warnings."""
    with throwaway(
        client,
        plan.image,
        mounts=planned_mounts(plan, without=dms.CERTS_DIR),
        files=configuration_files(plan),
        purpose="preflight",
        lifetime=int(plan.deadline + 2 * plan.count_deadline) + 60,
    ) as container:
        version = try_configuration(container, plan)
        warnings = check_tls(container, plan)
        store = look_at_store(container, plan)
        mark = must_mark(plan, previous, store, look_around(client, plan, previous))
        counted = (
            count_mails(container, plan, say)
            if must_count(plan, previous)
            else "stored mail was not counted again (same keys, same store)"
        )
    return (
        f"Dovecot {version} loads mail_crypt in {', '.join(dms.PROTOCOLS)}; {counted}",
        mark,
        warnings,
    )
