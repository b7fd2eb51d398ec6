"""What preflight is asked to try: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.model.dialects import Dialect, DovecotFiles
    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.model.settings import MountSettings, PortSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new server would be made of: public facts only, no key.

    ``kinds`` holds each key's kind by its name, newest first; ``key_ids`` the
    ids that the declared ring can open.  ``stack`` is Pulumi's name, for hints;
    ``server`` the container's.  ``mail`` and ``config`` are a volume's
    name or a host path.
    """

    docker_host: DockerHost
    stack: str
    image: str
    server: str
    dialect: Dialect
    files: DovecotFiles
    kinds: Mapping[str, str]
    key_ids: tuple[str, ...]
    given_up: tuple[str, ...]
    mail: str
    config: str
    mounts: tuple[MountSettings, ...]
    ports: tuple[PortSettings, ...]
    deadline: float
