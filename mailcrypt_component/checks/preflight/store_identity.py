"""Decides whether a mail store belongs to this stack, and marks it (``model.identity``).

A store with another stack's mark is refused.  So is a store that would leave this stack's mail
behind: an unmarked one after the first deployment, or one with less mail than the former.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.preflight.host import own_containers
from mailcrypt_component.checks.preflight.mails import not_counted
from mailcrypt_component.docker_api.files import File, put_files
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.errors import FormatError, PreflightError, UnreachableError
from mailcrypt_component.model.identity import MARK_FILE, Mark, read_mark
from mailcrypt_component.model.settings import UNMARKED
from mailcrypt_component.model.swarm import LOCK_PATH
from mailcrypt_component.model.words import counted, mails_are
from mailcrypt_component.store.volume.census import mail_mounts

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from mailcrypt_component.checks.preflight.plan import Plan, Previous

MARK_PATH: Final = f"{dms.MAIL_DIR}/{MARK_FILE}"
READ_MARK: Final = f"if [ -e {MARK_PATH} ]; then cat {MARK_PATH}; fi"
"""Prints the mark in a container; nothing if there is none."""
_COUNT: Final = (
    f"dots=$(find {dms.MAIL_DIR} -ignore_readdir_race -type f "
    "-regex '.*/\\(cur\\|new\\)/[^/]*' -printf .) || exit; echo ${#dots}"
)
_IS_HELD: Final = f"! [ -e {LOCK_PATH} ] || flock --nonblock --shared {LOCK_PATH} true"
"""Fails while the task of a Swarm has the mail store."""
_VMAIL_ID: Final = 5000
"""DMS's default for DMS_VMAIL_UID and DMS_VMAIL_GID."""


@dataclass(frozen=True, slots=True)
class Store:
    """What was found in a mail store: its mark, and the number of files in mail folders."""

    mark: Mark | None
    mails: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was found around the planned mail store.

    ``former`` is the store of the last preflight that held, if the plan moves it; None if it
    does not exist any more.  ``foreign`` names a server of another stack that mounts the planned
    store; ``ours`` tells whether a server of this stack does.
    """

    former: Store | None
    foreign: str | None
    ours: bool


def look_at_store(container: Container, plan: Plan) -> Store:
    """Read the mark of the store in a container's mail folder, and count its files.

    Raises:
        PreflightError: The mark is not one, or the files could not be counted.
        UnreachableError: The store cannot be read.

    """
    if plan.swarm is None and execute(container, ["sh", "-c", _IS_HELD], timeout=10).exit_code:
        raise PreflightError(
            "a task of a Swarm has this mail store",
            where=f"mail store {plan.mail}",
            expected="one server on a mail store at a time",
            hint=f"docker service rm {plan.server}, on a manager, then pulumi up --refresh",
        )
    text = _output(container, READ_MARK, plan, plan.deadline)
    try:
        mark = read_mark(text) if text else None
    except FormatError as error:
        raise PreflightError(
            error.found,
            where=f"{error.where} in {plan.mail}",
            expected=error.expected,
            hint=error.hint,
        ) from None
    try:
        return Store(mark, int(_output(container, _COUNT, plan, plan.count_deadline)))
    except UnreachableError as error:
        raise not_counted(plan, error) from None


def look_around(client: DockerClient, plan: Plan, previous: Previous | None) -> Surroundings:
    """Look at the former mail store and at the servers that mount the planned one."""
    own = {container.id for container in own_containers(client, plan, previous)}
    foreign, ours = None, False
    for container in client.containers.list(
        all=True, filters={"label": SERVER_LABEL}, ignore_removed=True
    ):
        if any(plan.mail in _sources(mount) for mount in container.attrs["Mounts"]):
            ours = ours or container.id in own
            foreign = foreign if container.id in own else container.name
    moved = previous is not None and previous.mail != plan.mail
    former = _former_store(client, plan, previous.mail) if previous and moved else None
    return Surroundings(former, foreign, ours)


def _sources(mount: dict[str, str]) -> set[str]:
    return {mount.get("Name", ""), mount.get("Source", "").rstrip("/")}


def _former_store(client: DockerClient, plan: Plan, mail: str) -> Store | None:
    mounts = mail_mounts(client, mail)
    if not mounts:
        return None
    try:
        with throwaway(client, plan.image, mounts=mounts, purpose="former") as container:
            return look_at_store(container, plan)
    except UnreachableError:
        return None  # A path that is gone; what was in it is not known.


def must_mark(plan: Plan, previous: Previous | None, store: Store, around: Surroundings) -> bool:
    """Tell whether the store is to be marked as this stack's own.

    Raises:
        PreflightError: It is another stack's, or this stack's mail is not in it.

    """
    if plan.adopt is not None and plan.adopt == (store.mark.identity if store.mark else UNMARKED):
        return store.mark is None or store.mark.identity != plan.identity
    if store.mark and store.mark.identity != plan.identity:
        raise _foreign_mark(plan, store.mark)
    if previous is not None and previous.mail != plan.mail:
        _refuse_left_behind(plan, previous, store, around.former)
    elif store.mark is None:
        _refuse_unmarked(plan, previous, store, around)
    return store.mark is None


def _refuse_left_behind(plan: Plan, previous: Previous, store: Store, former: Store | None) -> None:
    """Refuse a store that holds less mail than the former one, or is not a copy of it."""
    if former is None and previous.on_swarm != (plan.swarm is not None) and store.mark is not None:
        return  # From one machine to a Swarm, or back: the former store is on another engine.
    if former is not None:
        was_ours = former.mark is not None or previous.identity is None
        if former.mails == 0 and was_ours:
            return
        if store.mark is not None and store.mails >= former.mails > 0:
            return
    found = (
        "the former mail store does not exist any more"
        if former is None
        else f"the former mail store {previous.mail} has no mark and no mail (is its disk mounted?)"
        if former.mark is None and former.mails == 0
        else (
            f"{mails_are(former.mails)} in the former mail store {previous.mail}, {store.mails} in "
            f"the new one{'' if store.mark else ', which is not a copy of it (it has no mark)'}"
        )
    )
    value = store.mark.identity if store.mark else UNMARKED
    raise PreflightError(
        found,
        where=f"mail store {plan.mail}",
        expected="a store with all mail of this stack",
        hint=f"stop the server, copy the store as a whole (cp -a {previous.mail}/. NEW/, with its "
        f"file {MARK_FILE}), then pulumi up; to go on without that mail, pulumi config set "
        f"mailcrypt:adoptMail {value}",
    )


def _refuse_unmarked(
    plan: Plan, previous: Previous | None, store: Store, around: Surroundings
) -> None:
    """Refuse an unmarked store, unless the stack is new or never marked one."""
    if previous is None and around.foreign is None:
        return
    if previous is not None and previous.identity is None and (around.ours or store.mails):
        return
    found = (
        f"the server {around.foreign}, which this stack did not make, uses this store"
        if previous is None
        else f"a store without this stack's mark; it holds {counted(store.mails, 'mail')}"
    )
    raise PreflightError(
        found,
        where=f"mail store {plan.mail}",
        expected="the store in which this stack's mail lies" if previous else "a store of its own",
        hint="was it emptied, removed, or is it another Docker host? Restore it from the backup "
        f"(with its file {MARK_FILE}); to use it as it is, pulumi config set mailcrypt:adoptMail "
        f"{UNMARKED}",
    )


def _foreign_mark(plan: Plan, mark: Mark) -> PreflightError:
    return PreflightError(
        f"the store belongs to the stack {mark.stack} (mark {mark.identity})",
        where=f"mail store {plan.mail}",
        expected=f"a store with this stack's mark {plan.identity}, or a new one",
        hint="use another name for this stack or another binds.mail; if this stack replaces the "
        f"other one (renamed, restored), pulumi config set mailcrypt:adoptMail {mark.identity}",
    )


def write_mark(client: DockerClient, plan: Plan) -> None:
    """Mark the planned store as this stack's own.

    Raises:
        UnreachableError: The store cannot be written.

    """
    text = Mark(plan.identity, plan.stack).as_text()
    # DMS changes the owner of the whole store at its start if a file near its root has another.
    uid = int(plan.environment.get("DMS_VMAIL_UID") or _VMAIL_ID)
    gid = int(plan.environment.get("DMS_VMAIL_GID") or _VMAIL_ID)
    mount = as_mount(plan.mail, dms.MAIL_DIR, read_only=False)
    with throwaway(client, plan.image, mounts=[mount], purpose="mark") as container:
        put_files(
            container, [File(f"{MARK_PATH}.new", text.encode(), mode=0o644, uid=uid, gid=gid)]
        )
        _output(container, f"mv -f {MARK_PATH}.new {MARK_PATH}", plan, plan.deadline)


def _output(container: Container, script: str, plan: Plan, timeout: float) -> str:
    done = execute(container, ["sh", "-c", script], timeout=timeout)
    printed = done.checked(
        where=f"mail store {plan.mail}", expected="a store that root can read and write"
    )
    return printed.decode(errors="replace").strip()
