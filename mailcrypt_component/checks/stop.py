"""Stops a server that would store mail in clear, or unreadable for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.server_state import find_container
from mailcrypt_component.checks.verdict import prove
from mailcrypt_component.docker_api.connect import NOT_ANSWERING, connect, explained
from mailcrypt_component.docker_api.swarm import has_live_task
from mailcrypt_component.model.errors import MailCryptError, UnreachableError, UnsafeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailcrypt_component.checks.proof.evidence import Evidence
    from mailcrypt_component.checks.proof.target import Target
    from mailcrypt_component.model.swarm import Swarm

_STOP_SECONDS: Final = 120


def prove_or_stop(
    target: Target, *, stop: bool, unrecorded: Callable[[MailCryptError], None]
) -> Evidence:
    """Prove a server; stop it if it is unsafe, so that senders keep their mail and try again.

    Args:
        target: The server, the key and the probe account.
        stop: Whether an unsafe server is stopped.
        unrecorded: Called if a proof held and its verdict could not be written.

    Raises:
        UnsafeError: The server would store mail in clear or unreadable for ever; the message
            says whether it was stopped, and how to go on.
        ProofError: The server is not as declared; it runs on.
        UnreachableError: The proof could not be completed; the server runs on.

    """
    try:
        return prove(target, unrecorded=unrecorded)
    except UnsafeError as error:
        raise UnsafeError(
            f"{error.found}; {_stopped(target) if stop else 'the server runs on (stopUnproven)'}",
            where=error.where,
            expected=error.expected,
            hint=f"{error.hint}; then pulumi up --refresh" if error.hint else _HINT,
        ) from None


_HINT = "fix that, then pulumi up --refresh"


def _stopped(target: Target) -> str:
    """Stop the server gracefully; return the result as a clause of a message."""
    try:
        if target.swarm:
            _scale_to_nothing(target.swarm)
        else:
            find_container(target).stop()
    except (*NOT_ANSWERING, MailCryptError) as error:
        return f"the server could not be stopped ({explained(error)}) and still takes mail"
    return "the server was stopped and takes no mail until it is proven; senders try again for days"


def _scale_to_nothing(swarm: Swarm) -> None:
    """Stop the task for good; Swarm would start another one instead of a stopped one.

    Raises:
        UnreachableError: The task does not end.

    """
    services = connect(swarm.manager).services
    services.get(swarm.service).scale(0)  # type: ignore[no-untyped-call]
    end = time.monotonic() + _STOP_SECONDS
    while has_live_task(swarm.manager, swarm.service):
        if time.monotonic() > end:
            raise UnreachableError(f"its task still runs after {_STOP_SECONDS} s")
        time.sleep(1)
