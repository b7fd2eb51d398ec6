"""The address and the credentials of a Docker engine: values only.

The gates reach an engine with the same address, certificates and SSH options as the
provider's resources.  This module opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DockerHost:
    """A Docker engine as the provider is configured for it.

    ``url`` is ``unix://``, ``tcp://`` or ``ssh://``; None means the environment's
    ``DOCKER_CONTEXT`` or ``DOCKER_HOST``, else the default socket.  ``ca``, ``certificate`` and
    ``private_key`` are PEM texts, ``certificate_folder`` holds them as ca.pem, cert.pem and key.pem
    instead.  ``ssh_options`` are arguments of the ssh command.
    """

    url: str | None = None
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = field(default=None, repr=False)
    certificate_folder: str | None = None
    ssh_options: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values for ``docker_host_of``; they contain the private key."""
        return {
            "url": self.url,
            "ca": self.ca,
            "certificate": self.certificate,
            "privateKey": self.private_key,
            "certificateFolder": self.certificate_folder,
            "sshOptions": list(self.ssh_options),
        }


def docker_host_of(facts: Mapping[str, Any]) -> DockerHost:
    """Make a Docker host from the values that ``as_json`` returned."""
    return DockerHost(
        url=facts["url"],
        ca=facts["ca"],
        certificate=facts["certificate"],
        private_key=facts["privateKey"],
        certificate_folder=facts["certificateFolder"],
        ssh_options=tuple(facts["sshOptions"]),
    )
