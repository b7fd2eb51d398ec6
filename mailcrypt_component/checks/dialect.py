"""Asks an image which Dovecot dialect it speaks."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dialects.dialect import Dialect, of_version
from mailcrypt_component.docker_api.inspect import ask_container

if TYPE_CHECKING:
    from mailcrypt_component.model.docker_host import DockerHost

_VERSION: Final = ("dovecot", "--version")
_SECONDS: Final = 20.0
_ASKING: Final[defaultdict[str, Lock]] = defaultdict(Lock)
"""For each image, so that an engine that is slow holds up no question about another image."""
_ANSWERS: Final[dict[str, Dialect]] = {}
"""The dialects by image id, which stands for the image's content."""


def ask_dialect(docker_host: DockerHost, image: str, server: str) -> Dialect:
    """Run ``dovecot --version`` in an image and return the dialect it speaks.

    Args:
        docker_host: The engine.
        image: The image's id, or on a Swarm its name.
        server: A container that is asked if it runs that image, which saves starting another.

    Raises:
        UnreachableError: The engine or the image is not there.
        SettingsError: The Dovecot in it is neither 2.3 nor 2.4.

    """
    with _ASKING[image]:  # A program with many servers asks an image only once.
        if image in _ANSWERS:
            return _ANSWERS[image]
        said = ask_container(docker_host, server, image, _VERSION)
        found = of_version(_ask_image(docker_host, image) if said is None else said)
        if image.startswith("sha256:"):
            _ANSWERS[image] = found
        return found


def _ask_image(docker_host: DockerHost, image: str) -> str:
    """Run the command in a new container; the Docker SDK is imported only for that."""
    from mailcrypt_component.docker_api.connect import connect  # noqa: PLC0415
    from mailcrypt_component.docker_api.run import execute  # noqa: PLC0415
    from mailcrypt_component.docker_api.throwaway import throwaway  # noqa: PLC0415

    with throwaway(connect(docker_host), image, purpose="dialect") as container:
        printed = execute(container, list(_VERSION), timeout=_SECONDS).checked(
            where="image, command dovecot",
            expected="a docker-mailserver image, with Dovecot in it",
            hint="check mailcrypt:image",
        )
    return printed.decode(errors="replace")
