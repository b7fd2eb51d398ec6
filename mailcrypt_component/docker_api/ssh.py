"""Reaches a Docker engine over SSH, as the docker command does.

The Docker SDK's own way cannot attach to a command's streams.  Here a socket of
this machine stands for the engine: each connection to it runs
``ssh HOST docker system dial-stdio`` with the connection as its input and output.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

from mailcrypt_component.model.errors import UnreachableError


@functools.cache
def tunnel(url: str, options: tuple[str, ...] = ()) -> str:
    """Return the ``unix://`` address that leads to the engine behind an ``ssh://`` one.

    It exists until the program ends.  SSH asks no question: keys and host names are those of
    the user's SSH configuration and agent.
    """
    if shutil.which("ssh") is None:
        raise UnreachableError(
            "there is no command ssh on PATH",
            where=f"dockerHost {url}",
            expected="an SSH client",
            hint="apt-get install openssh-client",
        )
    folder = Path(tempfile.mkdtemp(prefix="mailcrypt-ssh-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "docker.sock"))
    listener.listen()
    threading.Thread(target=_serve, args=(listener, _command(url, options)), daemon=True).start()
    return f"unix://{folder}/docker.sock"


def _command(url: str, options: tuple[str, ...]) -> list[str]:
    parts = urlsplit(url)
    user = ["-l", parts.username] if parts.username else []
    port = ["-p", str(parts.port)] if parts.port else []
    dial = ["--", parts.hostname or "", "docker system dial-stdio"]
    return ["ssh", "-o", "BatchMode=yes", *options, *user, *port, *dial]


def _serve(listener: socket.socket, command: list[str]) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            subprocess.Popen(command, stdin=connection.fileno(), stdout=connection.fileno())  # noqa: S603
