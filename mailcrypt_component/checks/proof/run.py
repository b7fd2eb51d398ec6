"""Proves a running server: two mails go in, have to lie there encrypted, and come back.

Raises if anything is not as it should be: there is no boolean.  Each step is a function in a
module of its own subject.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.checks.proof import logs
from mailcrypt_component.checks.proof.client_looks import look_as_mail_programs
from mailcrypt_component.checks.proof.context import Context, require_running
from mailcrypt_component.checks.proof.custody import check_custody
from mailcrypt_component.checks.proof.delivery import deliver
from mailcrypt_component.checks.proof.evidence import Check, Evidence
from mailcrypt_component.checks.proof.in_clear import controls_written, search_clear
from mailcrypt_component.checks.proof.mailbox import probe_mailbox
from mailcrypt_component.checks.proof.on_disk import check_files
from mailcrypt_component.checks.proof.read_back import read_back
from mailcrypt_component.checks.proof.server import wait_until_it_answers
from mailcrypt_component.checks.proof.stored import check_stored
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import session
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target

_LOCK: Final = "/run/mailcrypt-proof"
_GRACE_SECONDS: Final = 30.0
LOCKED: Final = "locked"
"""The last check's name if the private keys are missing."""


def verify(target: Target, progress: Callable[[Check], None] = lambda _: None) -> Evidence:
    """Prove that a server stores mail encrypted to the current key, and readable.

    Args:
        target: The server, the key and the probe account.
        progress: Called after each check.

    Raises:
        ProofError: The server is not what it should be; the message says how.
        UnsafeError: It would even store new mail in clear, or for nobody to read.
        UnreachableError: It could not be found out.

    """
    context = Context(target, _find(target))
    checks = []
    with _explained(context):
        for name, seen in _steps(context):
            check = Check(name, seen, round(context.elapsed, 3))
            checks.append(check)
            progress(check)
    locked = any(check.name == LOCKED for check in checks)
    return Evidence(target.container, target.key_id, locked, tuple(checks))


def _steps(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the name of each step, and what was seen, as soon as it has held."""
    server = wait_until_it_answers(context)
    yield "server", server.greeting
    yield "configuration", server.configuration
    locked = server.services.locked
    with _alone(context), ThreadPoolExecutor() as pool:
        custody = pool.submit(check_custody, context, locked=locked)
        stored = pool.submit(check_stored, context, locked=locked)
        with (
            probe_mailbox(context, server) as client,
            controls_written(context, pool) as controls,
        ):
            delivered = deliver(context, client)
            yield "delivery", delivered.seen
            yield "on disk", check_files(context, 2 if client else 1)
            yield "custody", custody.result()
            if client:
                yield "mail programs", look_as_mail_programs(context, client, delivered)
            yield "in clear", search_clear(context, controls.result())
            if client:
                yield "read back", read_back(context, client, delivered)
            yield "stored mail", stored.result()
    if locked:
        command = context.target.command(context.target.unlocking)
        yield LOCKED, f"the private keys are missing, so no mail was read; {command}"


@contextmanager
def _alone(context: Context) -> Iterator[None]:
    """Keep other proofs of this server out: each empties the probe's mailbox.

    The lock ends with the connection, also if this program is killed.

    Raises:
        UnreachableError: Another proof was under way until the deadline.

    """
    argv = ["flock", "-w", f"{context.left:.1f}", _LOCK, "sh", "-c", "echo alone; exec cat"]
    # The session outlives the deadline, so that whatever misses it is reported as what it is.
    patience = context.left + _GRACE_SECONDS
    with session(context.container, argv, name="the lock of the proof", timeout=patience) as held:
        if not BufferedReader(held).readline():
            raise UnreachableError(
                held.errors.decode(errors="replace").strip() or "another proof is under way",
                where=context.where,
                expected="one proof of a server at a time",
                hint="wait until it has ended, and run it again",
            )
        yield


@contextmanager
def _explained(context: Context) -> Iterator[None]:
    """Report an expired deadline or a dead server, if one of them is the cause."""
    try:
        yield
    except UnreachableError as error:
        if not context.expired:
            require_running(context.container)
            raise
        raise UnreachableError(
            f"the deadline of {context.target.deadline:.0f} s has passed; last: {error.found}"
            f"{logs.last_lines(context.container, patience=0.0)}",
            where=context.where,
            hint="raise mailcrypt:deadline if the server is slow or holds much mail",
        ) from None


def _find(target: Target) -> Container:
    try:
        return connect(target.docker_host).containers.get(target.container)
    except docker.errors.NotFound:
        raise UnreachableError(
            f"container {target.container} does not exist (removed outside Pulumi?)",
            where=f"container {target.container}",
            expected="a running server",
            hint="pulumi up --refresh",
        ) from None
