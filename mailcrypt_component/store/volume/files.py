"""The files of a store in a volume of a Docker host, for encrypting.

An agent runs in a throw-away container of the server's own image, with the volume mounted.  It
moves bytes and asks the file system; mail is decrypted and encrypted here, so no key goes there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.agent.reader import Listing
from mailcrypt_component.store.agent.writer import FileStat, MailHead
from mailcrypt_component.store.files import already_encrypting
from mailcrypt_component.store.local.files import run_mark
from mailcrypt_component.store.maildir import NoMaildir
from mailcrypt_component.store.volume.agent import agent_files, agent_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.store.agent.writer import Replacement
    from mailcrypt_component.store.files import OpenFiles
    from mailcrypt_component.store.volume.agent import Agent

LIFETIME: Final = 86_400.0
"""The most seconds that a run may take; the next one continues where it stopped."""

_HINT: Final = "no mail is lost; run the command again, it continues where it stopped"

# The container ends when no agent is left in it, whatever has become of the client.
_WAITING: Final = "while sleep 15; do grep -q python /proc/[0-9]*/comm || exit 0; done"


class VolumeFiles:
    """A store in a volume."""

    def __init__(self, agent: Agent) -> None:
        self._ask, self._each = agent.ask, agent.each
        self.where = agent.where

    def lock(self) -> None:
        """Keep other runs out for as long as the agent lives.

        Raises:
            UnreachableError: Another run is working on this store.

        """
        if not self._ask("lock"):
            raise already_encrypting(self.where)

    def holds_mail(self) -> bool:
        return bool(self._ask("holds_mail"))

    def listings(self) -> Iterator[Listing]:
        return (Listing(*fields) for fields in self._each("listings"))

    def number_of_files(self) -> int:
        return int(self._ask("number_of_files"))

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[MailHead | str | None]:
        return [_head(found) for found in self._ask("look", directory, names)]

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | str | None]:
        return list(self._ask("read", directory, names))

    def write(
        self, directory: bytes, mails: Sequence[tuple[FileStat, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        return [(path, held) for path, held in self._ask("write", directory, mails)]

    def link(self, path: bytes, directory: bytes) -> bytes | None:
        name: bytes | None = self._ask("link", path, directory)
        return name

    def settle(self, replacements: Sequence[Replacement]) -> list[bytes | None]:
        return list(self._ask("settle", replacements))

    def discard(self, temporaries: Sequence[bytes]) -> None:
        self._ask("discard", temporaries)

    def renamed(self, directory: bytes, names: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        return [(folder, there) for folder, there in self._ask("renamed", directory, names)]

    def clean(self, directory: bytes) -> None:
        self._ask("clean", directory)


def _head(found: Any) -> MailHead | str | None:
    if isinstance(found, list):
        stat, prefix = found
        return MailHead(FileStat(*stat), prefix)
    reason: str | None = found
    return reason


@contextmanager
def volume_files(docker_host: DockerHost, image: str, mail: str) -> Iterator[OpenFiles]:
    """Yield a function that opens the files of a volume; other runs are kept out meanwhile.

    Args:
        docker_host: The Docker engine that has the volume.
        image: An image with Python, such as the server's own.
        mail: The volume's name, or a path on the Docker host.

    Raises:
        UnreachableError: The engine or the image did not answer, the volume does not exist or
            has no Maildir, or another run is working on it.

    """
    client = connect(docker_host)
    where = f"volume {mail}"
    require_volume(client, mail)
    with throwaway(
        client,
        image,
        mounts=[as_mount(mail, dms.MAIL_DIR, read_only=False)],
        files=agent_files(),
        purpose="encrypt",
        lifetime=int(LIFETIME),
        waiting=["sh", "-c", _WAITING],
    ) as container:
        mark = run_mark()

        @contextmanager
        def opened() -> Iterator[VolumeFiles]:
            # A connection cannot be shared between processes, so each makes its own.
            mine = connect(docker_host).containers.get(str(container.id))
            with agent_in(
                mine, dms.MAIL_DIR, mark, where=where, timeout=LIFETIME, hint=_HINT
            ) as agent:
                yield VolumeFiles(agent)

        with opened() as keeper:
            keeper.lock()
            if not keeper.holds_mail():
                raise NoMaildir(where)
            yield opened


def require_volume(client: docker.DockerClient, mail: str) -> None:
    """Refuse a volume that does not exist; a path on the Docker host is taken as it is.

    Raises:
        UnreachableError: It does not exist.

    """
    if mail.startswith("/"):
        return
    try:
        client.volumes.get(mail)
    except docker.errors.NotFound:
        raise UnreachableError(
            "this volume does not exist",
            where=f"volume {mail}",
            expected="a volume with mail in it",
            hint="docker volume ls shows the volumes of the Docker host",
        ) from None
