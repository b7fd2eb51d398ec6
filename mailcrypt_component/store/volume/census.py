"""Counts and reads the mail in a volume of a Docker host, without installing anything there.

A program in a container of the server's own image (``store/agent/reader``) reads the first bytes
of each mail; they are parsed here.  Works on a remote Docker host and while the server runs.
"""

from __future__ import annotations

import io
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import docker.errors
import docker.types

from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import stream
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.agent.reader import DBOX, MBOX, Mail, NotAMessage, receive
from mailcrypt_component.store.local.files import run_mark
from mailcrypt_component.store.maildir import NoMaildir, mailbox_of, shown
from mailcrypt_component.store.tally import Tally, state_of_mail
from mailcrypt_component.store.volume.agent import READER, agent_files, agent_in
from mailcrypt_component.store.volume.files import require_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from mailcrypt_component.store.volume.agent import Agent

_ROOT: Final = dms.MAIL_DIR.encode() + b"/"


def census(
    client: DockerClient,
    image: str,
    mail: str,
    *,
    deadline: float,
    years: bool = False,
    maildir_required: bool = False,
    progress: Callable[[int], None] | None = None,
    expect: Callable[[Callable[[], int]], None] = lambda _: None,
) -> Tally:
    """Count the mails in a volume.

    Args:
        client: The Docker engine that has the volume.
        image: An image with Python, such as the server's own.
        mail: The volume's name, or a path on the Docker host.
        deadline: The most seconds to take.
        years: Whether to count by year of arrival, too.
        maildir_required: Whether to refuse a volume without any Maildir.
        progress: Called now and then with the number of mails so far.
        expect: Called once, first, with a function that counts how many files there are.

    Raises:
        UnreachableError: The engine or the image did not answer, or the volume does not exist.
        NoMaildir: There is no Maildir in it.

    """
    with _store(client, image, mail, "census", deadline) as (container, agent):
        if maildir_required:
            _require_maildir(agent)
        expect(lambda: int(agent.ask("number_of_files")))
        return count_in(container, deadline=deadline, years=years, progress=progress)


@contextmanager
def opened_volume(
    client: DockerClient, image: str, mail: str, deadline: float
) -> Iterator[tuple[Iterator[Mail], Callable[[bytes], bytes]]]:
    """Yield every mail of a volume, and a function that fetches a whole one.

    Raises:
        UnreachableError: The engine or the image did not answer, or the volume does not exist.
        NoMaildir: There is no Maildir in it.

    """
    with _store(client, image, mail, "drill", deadline) as (container, agent):
        _require_maildir(agent)

        def fetch(path: bytes) -> bytes:
            directory, _, name = path.rpartition(b"/")
            data: bytes | str | None = agent.ask("read", directory, [name])[0]
            if not isinstance(data, bytes):
                raise OSError(data) if data else FileNotFoundError(path)
            return data

        yield _relative(read_mails(container, dms.MAIL_DIR, timeout=deadline)), fetch


@contextmanager
def _store(
    client: DockerClient, image: str, mail: str, purpose: str, deadline: float
) -> Iterator[tuple[Container, Agent]]:
    """Mount a volume for reading in a container with an agent."""
    require_volume(client, mail)
    with (
        throwaway(
            client,
            image,
            mounts=[as_mount(mail, dms.MAIL_DIR, read_only=True)],
            files=agent_files(),
            purpose=purpose,
            lifetime=int(deadline) + 60,
        ) as container,
        agent_in(
            container, dms.MAIL_DIR, run_mark(), where=f"volume {mail}", timeout=deadline
        ) as agent,
    ):
        yield container, agent


def _require_maildir(agent: Agent) -> None:
    if not agent.ask("holds_mail"):
        raise NoMaildir(agent.where)


def mail_mounts(client: DockerClient, mail: str) -> list[docker.types.Mount]:
    """Return the mount of a mail volume for reading; nothing if the volume does not exist."""
    if not mail.startswith("/"):
        try:
            client.volumes.get(mail)
        except docker.errors.NotFound:
            return []
    return [as_mount(mail, dms.MAIL_DIR, read_only=True)]


def count_in(
    container: Container,
    *,
    deadline: float,
    years: bool = False,
    progress: Callable[[int], None] | None = None,
    into: Tally | None = None,
) -> Tally:
    """Count the mails below a container's mail directory.

    ``Tally.not_looked_at`` says what it holds that could not be looked at.

    Args:
        container: Any running container of an image with Python; the server itself is fine.
        deadline: The most seconds to take.
        years: Whether to count by year of arrival, too.
        progress: Called now and then with the number of mails so far.
        into: Where to count; it has what was counted until an error.

    Raises:
        UnreachableError: The mails could not be read in time.

    """
    found = Tally() if into is None else into
    mails = _relative(read_mails(container, dms.MAIL_DIR, timeout=deadline))
    for number, mail in enumerate(mails, start=1):
        _add(found, mail, years=years)
        if progress and not number % _TOLD:
            progress(number)
    return found


def mails_in(container: Container, root: str, *, timeout: float = 60.0) -> list[Mail]:
    """Return what ``read_mails`` yields."""
    return list(read_mails(container, root, timeout=timeout))


def read_mails(container: Container, root: str, *, timeout: float) -> Iterator[Mail]:
    """Yield everything below a folder of a container that holds or could hold mail.

    ``Mail.kind`` tells mails of a Maildir (``MAIL``) from the rest; paths are absolute.  A
    folder that does not exist is empty.

    Args:
        container: Any running container of an image with Python; the server itself is fine.
        root: The folder.
        timeout: The most seconds to take.

    Raises:
        UnreachableError: The folder could not be read in time.

    """
    argv = ["python3", "-c", READER, root]
    printed = _Printed(stream(container, argv, timeout=timeout))
    source = cast("BinaryIO", io.BufferedReader(printed, 1 << 20))
    try:
        while batch := receive(source):
            for fields in batch:
                mail = Mail(*fields)
                yield mail._replace(path=root.encode() + b"/" + mail.path)
    except (EOFError, NotAMessage) as error:
        raise UnreachableError(
            str(error) or "the list of mails ended too early",
            where=f"{root} in container {container.name}",
        ) from None


def _relative(mails: Iterable[Mail]) -> Iterator[Mail]:
    return (mail._replace(path=mail.path.removeprefix(_ROOT)) for mail in mails)


def _add(found: Tally, mail: Mail, *, years: bool) -> None:
    state = state_of_mail(mail)
    directory = mail.path.rpartition(b"/")[0]
    found.add(mailbox_of(directory, has_mails=mail.kind not in {DBOX, MBOX}), {state: 1})
    found.add_example(state, shown(mail.path))
    if years and mail.arrived:
        found.add_year(time.gmtime(mail.arrived).tm_year, {state: 1})


class _Printed(io.RawIOBase):
    """What a command prints, as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come."""
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


_TOLD: Final = 1000
