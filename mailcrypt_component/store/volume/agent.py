"""Starts our agent in a container and asks it about a mail store.

The agent is the folder ``store/agent``: Python that needs nothing but ``python3``, which is in
every docker-mailserver image.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.run import session
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.agent import reader, server, writer
from mailcrypt_component.store.agent.reader import NotAMessage, packed, receive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

    from mailcrypt_component.docker_api.run import Session

_FOLDER: Final = "/mailcrypt"

READER: Final = Path(reader.__file__).read_text(encoding="utf-8")
"""A whole program, small enough for an argument."""


def agent_files() -> list[File]:
    """Return the agent's modules, under the names by which they import each other."""
    return [
        File(
            f"{_FOLDER}/{module.__name__.replace('.', '/')}.py",
            Path(str(module.__file__)).read_bytes(),
            mode=0o644,
        )
        for module in (reader, writer, server)
    ]


@contextmanager
def agent_in(
    container: Container, root: str, mark: bytes, *, where: str, timeout: float, hint: str = ""
) -> Iterator[Agent]:
    """Run the agent in a container that has ``agent_files``.

    Args:
        container: A running container.
        root: The directory to work on.
        mark: The start of the names of new files.
        where: The store's name, for messages.
        timeout: Seconds after which the connection is closed.
        hint: What to do if the connection breaks.

    Raises:
        UnreachableError: The agent cannot be started, or the time is up.

    """
    argv = ["env", f"PYTHONPATH={_FOLDER}", "python3", "-m", server.__name__, root, mark.decode()]
    with session(container, argv, name="the agent", timeout=timeout) as talk:
        yield Agent(talk, where, hint)


class Agent:
    """The client of an agent."""

    def __init__(self, talk: Session, where: str, hint: str = "") -> None:
        self._session = talk
        self._answers = cast("BinaryIO", io.BufferedReader(talk, 1 << 20))
        self._hint = hint
        self.where = where

    def ask(self, name: str, *words: Any) -> Any:
        """Call a method of the agent's ``Writer``; tuples come back as lists.

        Raises:
            OSError: The method raised it.
            UnreachableError: The connection broke.

        """
        try:
            self._session.send(packed([name, *words]))
        except OSError as error:
            raise self._broken(f"the connection broke: {error}") from None
        kind, *answer = self._receive()
        if kind == "error":
            raise OSError(*answer)
        return answer[0]

    def each(self, name: str) -> Iterator[Any]:
        """Yield the items of an iterator; one at a time may be open."""
        item = self.ask(name)
        while item is not None:
            yield item
            item = self.ask("next")

    def _receive(self) -> Any:
        try:
            return receive(self._answers)
        except EOFError:
            said = self._session.errors.decode(errors="replace").strip()
            raise self._broken(said or "the connection broke") from None
        except NotAMessage as error:  # The engine speaks: there is no Python, or no container.
            raise self._broken(str(error)) from None

    def _broken(self, said: str) -> UnreachableError:
        return UnreachableError(said, where=self.where, hint=self._hint)
