"""Waits until the server answers, and ends the wait as soon as it certainly will not."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks import doveconf
from mailcrypt_component.checks.health_program import health_program
from mailcrypt_component.checks.proof import logs
from mailcrypt_component.checks.proof.context import Waiting, wait_for
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import ProofError, UnreachableError, UnsafeError

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.docker_api.run import Result

_HEALTH: Final = ("python3", "-I", "-")
_ASK_AGAIN_SECONDS: Final = 2.0
_START_SECONDS: Final = 30.0
"""So long after the start of the proof docker-mailserver has written its files."""
_RESTARTS: Final = 3
"""Dovecot's master process having been another one so often means a crash loop."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: its greeting, Dovecot's version and what it offers."""

    greeting: str
    version: str
    services: doveconf.Services

    @property
    def configuration(self) -> str:
        """What was seen of the configuration."""
        return f"Dovecot {self.version} loads mail_crypt in {', '.join(dms.PROTOCOLS)}"


@dataclass(frozen=True, slots=True)
class _Doubts:
    """What spoke against a server that does not answer yet."""

    asked: float = 0.0
    fault: ProofError | None = None
    masters: frozenset[str] = frozenset()


def wait_until_it_answers(context: Context) -> Server:
    """Return the server once LMTP, IMAP and Postfix answer.

    Raises:
        ProofError: It certainly will not answer, or its configuration is wrong.
        UnreachableError: The deadline has passed.

    """
    doubts = _Doubts()

    def look() -> Server | Waiting:
        nonlocal doubts
        due = time.monotonic() - doubts.asked >= _ASK_AGAIN_SECONDS
        health, configuration = _ask(context, doveconf_too=due)
        if health.exit_code == 0:
            configuration = configuration or context.run(doveconf.QUESTION)
            greeting = health.stdout.decode(errors="replace").strip()
            return _judged(context, greeting, configuration)
        doubts = _doubted(context, doubts, configuration)
        said = (health.stdout + health.stderr).decode(errors="replace").strip()
        return Waiting(said or "no answer")

    return wait_for(context, look, 0.2)


def _ask(context: Context, *, doveconf_too: bool) -> tuple[Result, Result | None]:
    """Ask for health and configuration at once: most servers are up."""
    with ThreadPoolExecutor(2) as pool:
        health = pool.submit(context.run, _HEALTH, health_program().encode())
        asked = pool.submit(context.run, doveconf.QUESTION) if doveconf_too else None
        return health.result(), asked.result() if asked else None


def _judged(context: Context, greeting: str, answer: Result) -> Server:
    """Return the server.

    Raises:
        ProofError: Its configuration is wrong.

    """
    version = doveconf.judge(
        answer,
        context.target.dialect,
        ProofError,
        where=str(context.container.name),
        unloaded=UnsafeError,
    )
    services = doveconf.services(answer)
    if missing := {"lmtp", "imap"} - services.protocols:
        names = " and ".join(name.upper() for name in sorted(missing))
        verb = "does" if len(missing) == 1 else "do"
        raise ProofError(
            f"{names} {verb} not answer: Dovecot is not configured to run it",
            where="doveconf protocols",
            expected="lmtp and imap",
            hint="remove protocols from dovecot.cf; do not set ENABLE_IMAP to 0",
        )
    if not services.imap:
        raise ProofError(
            "IMAP does not answer: each of its ports is closed",
            where="doveconf service/imap-login",
            expected="an open port for IMAP",
            hint="remove 'port = 0' from one of imap-login's listeners in dovecot.cf",
        )
    return Server(greeting, version, services)


def _doubted(context: Context, doubts: _Doubts, answer: Result | None) -> _Doubts:
    """Return the doubts after another look.

    Raises:
        ProofError: There is no doubt any more.

    """
    _refuse_unread_key(context)
    doubts = _with_masters(context, doubts)
    if answer is None:
        return doubts
    asked = time.monotonic()
    try:
        _judged(context, "", answer)
    except ProofError as fault:
        # DMS writes its files while it starts, so one wrong answer may be too early.
        late = context.elapsed > _START_SECONDS
        if doubts.fault and (late or logs.has_started(context.container)):
            raise
        return replace(doubts, asked=asked, fault=fault)
    return replace(doubts, asked=asked, fault=None)


def _with_masters(context: Context, doubts: _Doubts) -> _Doubts:
    """Add the present master process of Dovecot.

    Raises:
        ProofError: It was another one too often.

    """
    try:
        pid = context.run(["cat", dms.MASTER_PID]).stdout.decode(errors="replace").strip()
    except UnreachableError:  # The container may be on its way down.
        return doubts
    masters = doubts.masters | {pid} if pid else doubts.masters
    if len(masters) > _RESTARTS:
        raise ProofError(
            f"Dovecot does not answer: it dies again and again ({len(masters)} master processes "
            f"within {context.elapsed:.0f} s){logs.last_lines(context.container)}",
            where=context.where,
            expected="a Dovecot that stays up",
        )
    return replace(doubts, masters=masters)


def _refuse_unread_key(context: Context) -> None:
    said = "\n".join(logs.printed(context.container))
    if fault := re.search(r"(?:Fatal|Error): .*mail_crypt_plugin: (.+)", said):
        raise ProofError(
            f"mail_crypt cannot start: {fault.group(1)}",
            where=context.where,
            expected="the ring's keys as files that Dovecot reads",
            hint="remove what changes them in the container (user-patches.sh); then "
            f"docker rm -f {context.container.name} and pulumi up --refresh",
        )
