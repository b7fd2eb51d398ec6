"""Asks an image which Dovecot dialect it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.dialects.dialect import Dialect, of_version
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.model.docker_host import DockerHost


def ask_dialect(docker_host: DockerHost, image: str) -> Dialect:
    """Run ``dovecot --version`` in the image and return the dialect it speaks.

    Raises:
        UnreachableError: The engine or the image is not there.
        SettingsError: The Dovecot in it is neither 2.3 nor 2.4.

    """
    with throwaway(connect(docker_host), image, purpose="dialect") as container:
        return of_version(_output(container, "dovecot --version", 20.0))


def _output(container: Container, script: str, timeout: float) -> str:
    result = execute(container, ["sh", "-c", script], timeout=timeout)
    printed = result.checked(
        where=f"image, command {script.split(maxsplit=1)[0]}",
        expected="a docker-mailserver image, with Dovecot in it",
        hint="check mailcrypt:image",
    )
    return printed.decode(errors="replace")
