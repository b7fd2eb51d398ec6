"""``mailcrypt status``: what the server does now and what is known of it, on one screen."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from mailcrypt_component.checks.placed import placed
from mailcrypt_component.checks.server_state import (
    NotRunningError,
    ServerGoneError,
    ask_server_state,
)
from mailcrypt_component.checks.verdict import Verdict, last_verdict
from mailcrypt_component.cli.options import stack_option
from mailcrypt_component.cli.stack_state import read_state
from mailcrypt_component.custody.keeper import is_locked
from mailcrypt_component.model.errors import MailCryptError, UnreachableError
from mailcrypt_component.model.words import counted
from mailcrypt_component.store.audit import MEANINGS, NOT_LOOKED_AT, Audit, State
from mailcrypt_component.store.tally import Tally
from mailcrypt_component.store.volume.census import count_in

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.checks.server_state import ServerState
    from mailcrypt_component.checks.verdict import LastVerdict
    from mailcrypt_component.cli.stack_state import DeployedServer

EXIT_CODES: Final = {Verdict.PROVEN: 0, Verdict.NOT_PROVEN: 1, Verdict.NOT_KNOWN: 2}
_COUNT_SECONDS: Final = 0.8


@dataclass(frozen=True, slots=True)
class StoredMail:
    """Mails by state; not ``complete`` where the time to count them was too short."""

    by_state: dict[State, int]
    complete: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What holds for the server now, why, and the commands of ``mailcrypt`` that come next."""

    verdict: Verdict
    why: str
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """A server as it is now.

    ``state`` is None where there is no container to look at, and ``gone`` says why; ``locked``,
    ``last`` and ``mail`` are None where nothing is known of them.
    """

    server: DeployedServer
    state: ServerState | None
    locked: bool | None
    last: LastVerdict | None
    mail: StoredMail | None
    gone: str = "the container was removed"
    removed: bool = True
    """Whether what is gone was removed, and did not only stop."""

    @property
    def without(self) -> str:
        """What to say of the container where there is none."""
        return "removed" if self.removed else "stopped"

    def judge(self) -> Judgement:
        """Say whether the server that runs now was proven, and what to do next."""
        if self.state is None:
            verdict = Verdict.NOT_KNOWN if self.removed else Verdict.NOT_PROVEN
            return Judgement(verdict, self.gone, ("repair",))
        if not self.state.running:
            why = f"the container does not run ({self.state.status})"
            return Judgement(Verdict.NOT_PROVEN, why, ("repair",))
        if fault := self._not_proven(self.state):
            return replace(fault, next=(*self._unlock(), *fault.next))
        if self.state.health == "unhealthy":
            return Judgement(Verdict.NOT_KNOWN, "its health check fails", ("verify",))
        return Judgement(Verdict.PROVEN, "proven since it was started", self._to_do())

    def _not_proven(self, state: ServerState) -> Judgement | None:
        last = self.last
        if last is None:
            return Judgement(Verdict.NOT_KNOWN, "no proof of it is recorded", ("verify",))
        if not last.is_about(state.container):
            why = "it was started anew since its last proof"
            return Judgement(Verdict.NOT_KNOWN, why, ("verify",))
        if last.key_id != self.server.target.key_id:
            why = "the last proof was for another key"
            return Judgement(Verdict.NOT_KNOWN, why, ("verify",))
        if last.locked and not self.locked:
            why = "it was locked at its last proof, so reading is not proven"
            return Judgement(Verdict.NOT_KNOWN, why, ("verify",))
        if last.verdict is not Verdict.PROVEN:
            return Judgement(last.verdict, f"the last proof says: {last.verdict}", ("verify",))
        return None

    def _unlock(self) -> tuple[str, ...]:
        return (self.server.target.unlocking,) if self.locked else ()

    def _to_do(self) -> tuple[str, ...]:
        found = self.mail.by_state if self.mail else {}
        commands = [*self._unlock()]
        if found.get(State.CLEAR) or found.get(State.RETIRED):
            commands.append("encrypt")
        if any(found.get(state) for state in _ODD):
            commands.append("audit")
        return tuple(commands)


_ODD: Final = (State.UNKNOWN, State.DAMAGED, State.MBOX, *NOT_LOOKED_AT)


@click.command()
@stack_option("The Pulumi stack that runs the server.", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(stack: str, server: str | None, as_json: bool) -> None:
    """Show the server, its last proof, its mail and its keys, and what to do next.

    Nothing is proven anew ('mailcrypt verify' does that) and nothing is changed.  Mail is
    counted for a second at most; "at least" says that there is more than was counted.

    Exit codes: 0 the server runs, and the last proof since its start held; 1 it is stopped, or
    the proof did not hold; 2 removed, unhealthy, not proven since its start, or could not find out.
    """
    try:
        found = look(read_state(stack).server(server), count=True)
    except MailCryptError as error:
        click.echo(f"{Verdict.NOT_KNOWN}: {error}", err=True)
        sys.exit(EXIT_CODES[Verdict.NOT_KNOWN])
    now = time.time()
    click.echo(json.dumps(as_dict(found), indent=2) if as_json else _screen(found, now))
    sys.exit(EXIT_CODES[found.judge().verdict])


def look(server: DeployedServer, *, count: bool) -> Status:
    """Ask the Docker engine what a server does now, and the server for its last verdict.

    Args:
        server: The server.
        count: Whether to count its mail, too.

    Raises:
        UnreachableError: The engine does not answer.

    """
    try:
        server = replace(server, target=placed(server.target))
        state = ask_server_state(server.target)
    except (ServerGoneError, NotRunningError) as error:
        removed = isinstance(error, ServerGoneError)
        return Status(server, None, None, None, None, error.found, removed)
    last = last_verdict(state.container)
    if not state.running:
        return Status(server, state, None, last, None)
    locked = is_locked(state.container)
    return Status(server, state, locked, last, _count(state.container, server) if count else None)


def _count(container: Container, server: DeployedServer) -> StoredMail:
    found, start, complete = Tally(), time.monotonic(), True
    try:
        count_in(container, deadline=_COUNT_SECONDS, into=found)
    except UnreachableError:
        if time.monotonic() - start < _COUNT_SECONDS:
            raise
        complete = False
    audit = Audit(server.mail, found, server.target.key_ids, server.target.version_1_ids)
    return StoredMail(audit.by_state(found.states()), complete)


def as_dict(found: Status) -> dict[str, Any]:
    """Return a status as plain values, with times in Unix time."""
    judgement = found.judge()
    state, last, mail, server = found.state, found.last, found.mail, found.server
    return {
        "verdict": judgement.verdict.value,
        "why": judgement.why,
        "next": [server.command(name) for name in judgement.next],
        "server": {
            "name": server.name,
            "stack": server.stack,
            "container": server.container_name,
            "image": server.image,
            "dovecot": server.target.dialect.value,
            "state": state.status if state else found.without,
            "health": state.health if state else None,
            "started": state.started if state else None,
        },
        "key_custody": server.key_custody,
        "locked": found.locked,
        "last_proof": {"verdict": last.verdict.value, "at": last.at} if last else None,
        "mail": {"complete": mail.complete, "by_state": mail.by_state} if mail else None,
        "keys": [{"name": name, "key_id": key_id} for name, key_id in _keys(server)],
    }


def _keys(server: DeployedServer) -> list[tuple[str, str]]:
    return list(zip(server.key_names, server.target.key_ids, strict=True))


def _screen(found: Status, now: float) -> str:
    server, judgement = found.server, found.judge()
    rows = [
        ("server", f"{server.name} (stack {server.stack}), {_what_it_does(found, now)}"),
        ("", f"container {server.container_name}, Dovecot {server.target.dialect.value}"),
        ("", f"image {server.image}"),
        ("key", _custody(found)),
        ("last proof", _last_proof(found, now)),
        *_titled("mail", _mail_lines(found.mail)),
        *_titled("keys", [f"{name}  {key_id}" for name, key_id in _keys(server)]),
        ("now", f"{judgement.verdict}: {judgement.why}"),
        *_titled("next", [server.command(name) for name in judgement.next] or ["nothing to do"]),
    ]
    return "\n".join(f"{title:<11} {text}" for title, text in rows)


def _titled(title: str, lines: list[str]) -> list[tuple[str, str]]:
    return [("" if number else title, line) for number, line in enumerate(lines)]


def _what_it_does(found: Status, now: float) -> str:
    state = found.state
    if state is None:
        return found.without
    if not state.running:
        return state.status
    health = "" if state.health == "none" else f", {state.health}"
    return f"running for {duration(now - state.started)}{health}"


def _custody(found: Status) -> str:
    custody = found.server.key_custody
    if found.locked is None:
        return f"not known whether it is locked (custody {custody})"
    return f"{'locked' if found.locked else 'unlocked'} (custody {custody})"


def _last_proof(found: Status, now: float) -> str:
    if found.last is None:
        return "none is recorded"
    locked = " while it was locked" if found.last.locked else ""
    return f"{found.last.verdict}{locked}, {duration(now - found.last.at)} ago"


def _mail_lines(mail: StoredMail | None) -> list[str]:
    if mail is None:
        return ["not counted: the server does not run"]
    least = "" if mail.complete else "at least "
    if not mail.by_state:
        return ["none is stored" if mail.complete else "not counted: the server is too slow"]
    return [f"{least}{number} {MEANINGS[state]}" for state, number in mail.by_state.items()]


def duration(seconds: float) -> str:
    """Return a span of time in its largest unit.

    >>> duration(61), duration(7200)
    ('1 minute', '2 hours')
    """
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(max(0, int(seconds)), "second")
