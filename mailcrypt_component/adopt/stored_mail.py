"""Counts the stored mail, and reports whether the keys found open it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.words import counted
from mailcrypt_component.store.audit import MEANINGS, Audit, State
from mailcrypt_component.store.local.walk import count
from mailcrypt_component.store.tally import UNREADABLE, UNREADABLE_FOLDER
from mailcrypt_component.store.volume.census import census, mail_mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.model.key_ring import PublicRingKey
    from mailcrypt_component.store.tally import Tally

_DAY: Final = 86_400.0
_OPENED: Final = frozenset({State.CURRENT, State.RETIRED})


def stored_mail(source: str, image: str, keys: Sequence[PublicRingKey]) -> Audit:
    """Count the mails of a store by the keys found.

    Args:
        source: A path of this machine, or a volume's name on the Docker engine.
        image: The server's image, to read what only the engine can read.
        keys: The ring's keys, the current one first.

    Raises:
        UnreachableError: The store does not exist or could not be read.

    """
    tally = _on_this_machine(source) if source.startswith("/") else None
    if tally is None:
        tally = _by_the_engine(source, image)
    old_ids = {key.version_1_id: key.key_id for key in keys if key.version_1_id}
    return Audit(source, tally, tuple(key.key_id for key in keys), old_ids)


def _on_this_machine(source: str) -> Tally | None:
    """Return the counts; None if root can read more than this user."""
    is_root = os.geteuid() == 0
    try:
        tally = count(source)
    except UnreachableError:
        if is_root or not Path(source).exists():
            raise
        return None
    hidden = {UNREADABLE, UNREADABLE_FOLDER} & set(tally.states())
    return None if hidden and not is_root else tally


def _by_the_engine(source: str, image: str) -> Tally:
    client = connect(DockerHost())
    if not mail_mounts(client, source):
        raise UnreachableError(
            "no such volume",
            where=f"volume {source}",
            expected="the volume of the old server on this Docker engine",
            hint="docker volume ls",
        )
    return census(client, image, source, deadline=_DAY)


def report(found: Audit) -> list[str]:
    """Return a line for each kind of mail, and whether the keys found open it."""
    states = found.by_state(found.tally.states())
    lines = [f"stored mail in {found.store}: {counted(found.total, 'mail')}"]
    lines += [f"  {number:>8}  {MEANINGS[state]}" for state, number in states.items()]
    lines += [
        f"  key id {state}: {counted(number, 'mail')}, "
        + ("NO KEY FOUND" if found.state(state) is State.UNKNOWN else "key found")
        for state, number in found.by_key().items()
    ]
    examples = found.examples()
    for state in states:
        if state not in _OPENED:
            lines += [
                f"  {state.value}, for instance {path}" for path in examples.get(state, [])[:1]
            ]
    return lines


def unopened(found: Audit) -> int:
    """Return how many mails are encrypted to a key that was not found."""
    return found.by_state(found.tally.states()).get(State.UNKNOWN, 0)


def in_clear(found: Audit) -> int:
    """Return how many mails lie in clear."""
    return found.by_state(found.tally.states()).get(State.CLEAR, 0)
