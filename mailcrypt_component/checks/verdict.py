"""Keeps the last verdict of a proof in the server's state folder, with its time.

``mailcrypt status`` reads it.  It holds no secret and nothing of any mail.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.checks.server_state import find_container
from mailcrypt_component.docker_api.connect import NOT_ANSWERING, explained
from mailcrypt_component.docker_api.files import File, put_files
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import MailCryptError, ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.evidence import Check, Evidence
    from mailcrypt_component.checks.proof.target import Target

PATH: Final = f"{dms.STATE_DIR}/mailcrypt/verdict.json"
_LIMIT: Final = 4096


class Verdict(StrEnum):
    """What a proof came to."""

    PROVEN = "proven"
    NOT_PROVEN = "not proven"
    NOT_KNOWN = "could not find out"


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """A verdict, when it was given (Unix time), and what it is about.

    ``started`` is when the container had been started, in the engine's own words; ``locked``
    whether its private keys were missing, so that reading was not proven.
    """

    verdict: Verdict
    at: float
    container: str
    started: str
    key_id: str
    locked: bool = False

    def is_about(self, container: Container) -> bool:
        """Tell whether this container was looked at, and was not started again since."""
        now = container.attrs["State"]["StartedAt"]
        return (self.container, self.started) == (container.id, now)


def verdict_of(error: MailCryptError) -> Verdict:
    """Return the verdict that an error of the proof stands for."""
    return Verdict.NOT_PROVEN if isinstance(error, ProofError) else Verdict.NOT_KNOWN


def prove(
    target: Target,
    progress: Callable[[Check], None] = lambda _: None,
    *,
    unrecorded: Callable[[MailCryptError], None] = lambda _: None,
) -> Evidence:
    """Prove a server as ``verify`` does, and leave the verdict in it.

    Args:
        target: The server, the key and the probe account.
        progress: Called after each check.
        unrecorded: Called if the verdict could not be written.

    Raises:
        ProofError: The server is not what it should be; the message says how.
        UnreachableError: It could not be found out.

    """
    # What proves a server takes longer to import than a verdict takes to read.
    from mailcrypt_component.checks.proof.run import verify  # noqa: PLC0415

    container = find_container(target)  # As it is now: a restart during the proof is not proven.
    try:
        evidence = verify(target, progress)
    except MailCryptError as error:
        try:
            record_verdict(container, verdict_of(error), target.key_id)
        except MailCryptError as problem:  # What the proof found is what counts.
            unrecorded(problem)
        raise
    try:
        record_verdict(container, Verdict.PROVEN, target.key_id, locked=evidence.locked)
    except MailCryptError as error:
        unrecorded(error)
    return evidence


def record_verdict(
    container: Container, verdict: Verdict, key_id: str, *, locked: bool = False
) -> None:
    """Write a verdict into a server's state folder, in place of the one before.

    Raises:
        UnreachableError: The engine refused.

    """
    facts = {
        "verdict": verdict.value,
        "at": round(time.time(), 3),
        "container": container.id,
        "started": container.attrs["State"]["StartedAt"],
        "keyId": key_id,
        "locked": locked,
    }
    put_files(container, [File(PATH, json.dumps(facts).encode() + b"\n", mode=0o644)])


def last_verdict(container: Container) -> LastVerdict | None:
    """Return the last verdict that was left in a server; None where there is none to read.

    Raises:
        UnreachableError: The engine refused.

    """
    try:
        chunks, _ = container.get_archive(PATH)
        packed = b"".join(chunks)
    except docker.errors.NotFound:
        return None
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"container {container.name}") from None
    return read_verdict(packed)


def read_verdict(packed: bytes) -> LastVerdict | None:
    """Read a verdict as the engine packs it, in a tar archive; None where it is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            file = archive.extractfile(archive.getmembers()[0])
            facts = json.loads(file.read(_LIMIT) if file else b"")
        return LastVerdict(
            verdict=Verdict(facts["verdict"]),
            at=float(facts["at"]),
            container=facts["container"],
            started=facts["started"],
            key_id=facts["keyId"],
            locked=bool(facts["locked"]),
        )
    except (tarfile.TarError, IndexError, KeyError, TypeError, ValueError):
        return None
