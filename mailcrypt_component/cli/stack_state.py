"""Reads what a Pulumi stack holds of the component: its servers and their key rings.

A server is found by its type in the stack's state, so it does not matter which program
declared it, what the program exports, or how many servers there are.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.checks.placed import placed
from mailcrypt_component.checks.proof.target import Target, target_of
from mailcrypt_component.docker_api.swarm import engine_of_task
from mailcrypt_component.model.errors import SettingsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailcrypt_component.model.docker_host import DockerHost

    Resource = Mapping[str, Any]

_SERVER: Final = "mailcrypt:index:MailCryptServer"


@dataclass(frozen=True, slots=True)
class DeployedServer:
    """A server as the last update left it, whether its proof held or not.

    ``stores`` says where mail, state, config and logs lie: a volume's name or a path on the
    Docker host.  ``key_names`` has the order of the target's key ids, newest first.
    ``made_passwords`` are the addresses whose passwords Pulumi generated.
    """

    stack: str
    name: str
    urn: str
    target: Target
    container_name: str
    image: str
    stores: Mapping[str, str]
    key_names: tuple[str, ...]
    key_custody: str
    endpoints: Mapping[str, str]
    made_passwords: tuple[str, ...]
    one_of_several: bool = False

    @property
    def docker_host(self) -> DockerHost:
        """The Docker engine that runs the server."""
        return self.target.docker_host

    @property
    def mail(self) -> str:
        """Where the mail lies: a volume's name or a path on the Docker host."""
        return self.stores["mail"]

    @property
    def title(self) -> str:
        """The server's name and its stack's, for messages."""
        return f"server {self.name} of stack {self.stack}"

    def command(self, name: str) -> str:
        """Return the command line that does something with this server, for hints."""
        chosen = f" --server {self.name}" if self.one_of_several else ""
        return f"mailcrypt {name} --stack {self.stack}{chosen}"


@dataclass(frozen=True, slots=True)
class StackState:
    """The resources of a stack, with their secrets in clear."""

    stack: str
    resources: Sequence[Resource]

    def server(self, name: str | None) -> DeployedServer:
        """Return the server of this name, or the only one.

        Raises:
            SettingsError: There is no such server, or there are several to choose from.
            UnreachableError: The server has not been deployed.

        """
        server = _deployed(self.stack, self._chosen(name))
        return replace(server, one_of_several=len(self._servers()) > 1)

    def running(self, name: str | None) -> DeployedServer:
        """Return a server as ``server`` does; on a Swarm, with the task that runs now.

        Raises:
            SettingsError: There is no such server, or there are several to choose from.
            UnreachableError: The server has not been deployed, or no task of it can be asked.

        """
        server = self.server(name)
        return replace(server, target=placed(server.target))

    def with_engine(self, name: str | None) -> DeployedServer:
        """Return a server as ``server`` does; on a Swarm, with a node's engine that answers.

        That is enough to look into its mail store, whether the server runs or not.

        Raises:
            SettingsError: There is no such server, or there are several to choose from.
            UnreachableError: The server has not been deployed, or no node takes tasks.

        """
        server = self.server(name)
        swarm = server.target.swarm
        if swarm is None:
            return server
        host = engine_of_task(swarm.manager, swarm.service, swarm.nodes)
        return replace(server, target=replace(server.target, docker_host=host))

    def _chosen(self, name: str | None) -> Resource:
        found = self._servers()
        where, names = f"stack {self.stack}", ", ".join(sorted(found))
        if not found:
            raise SettingsError(
                "it holds no mail server" if self.resources else "nothing is deployed in it",
                where=where,
                expected=f"a resource of type {_SERVER}",
                hint=f"deploy it with 'pulumi up --stack {self.stack}', or choose another --stack",
            )
        if name is None and len(found) > 1:
            raise SettingsError(
                f"it holds {len(found)} mail servers",
                where=where,
                expected=f"one of {names}",
                hint=f"choose one: --server {min(found)}",
            )
        if name is not None and name not in found:
            raise SettingsError(
                f"it holds no mail server {name}", where=where, expected=f"one of {names}"
            )
        return found[name or names]

    def _servers(self) -> dict[str, Resource]:
        """Return the servers by name, or by URN where two have the same name."""
        servers = [one for one in self.resources if one["type"] == _SERVER]
        times = Counter(map(_name, servers))
        return {_name(one) if times[_name(one)] == 1 else str(one["urn"]): one for one in servers}

    def children(self, server: DeployedServer, kind: str) -> list[Resource]:
        """Return the server's own resources of this type."""
        return [
            one for one in self.resources if one["type"] == kind and one.get("parent") == server.urn
        ]


def read_state(stack: str) -> StackState:
    """Ask Pulumi for the state of a stack.

    Raises:
        UnreachableError: Pulumi is not there, does not know the stack, or cannot decrypt it;
            the message says which.

    """
    exported = json.loads(_export(stack))
    return StackState(stack, exported.get("deployment", {}).get("resources") or [])


def deployed_server(stack: str, name: str | None) -> DeployedServer:
    """Return the server of this name in a stack, or the only one.

    Raises:
        SettingsError: There is no such server, or there are several to choose from.
        UnreachableError: The state cannot be read, the server has not been deployed, or it is
            on a Swarm and no task of it can be asked.

    """
    return read_state(stack).running(name)


def _export(stack: str) -> str:
    """Return the state as text.

    The Automation API's ``export_stack`` runs this very command, after 0.6 s of its own.
    """
    command = ["pulumi", "stack", "export", "--show-secrets", "--non-interactive"]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "--stack", stack],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UnreachableError(
            "the command pulumi is not on PATH",
            where=f"stack {stack}",
            hint='in this project\'s folder: eval "$(engine/setup env)"; '
            "elsewhere: https://www.pulumi.com/docs/install",
        ) from None
    if done.returncode:
        raise _refused(stack, done.stderr)
    return done.stdout


def _refused(stack: str, said: str) -> UnreachableError:
    """Return the error for what Pulumi printed instead of a state."""
    where = f"stack {stack}"
    for words, found, hint in _REFUSALS:
        if words in said:
            return UnreachableError(found, where=where, hint=hint)
    text = said.strip().removeprefix("error: ")
    return UnreachableError(
        text or "pulumi ended without a word",
        where=where,
        hint="'pulumi whoami --verbose' shows the backend; PULUMI_BACKEND_URL chooses another",
    )


_REFUSALS: Final = (
    (
        "no stack named",
        "there is no such stack in this project and backend",
        "'pulumi stack ls --all' lists the stacks; 'pulumi whoami --verbose' shows the backend",
    ),
    (
        "no Pulumi.yaml project file found",
        "there is no Pulumi.yaml in this folder or above it",
        "go to the project's folder, or name the stack as organization/project/stack",
    ),
    (
        "pass the fully qualified name",  # Pulumi before 3.274.
        "there is no Pulumi.yaml in this folder or above it",
        "go to the project's folder, or name the stack as organization/project/stack",
    ),
    (
        "PULUMI_ACCESS_TOKEN must be set",
        "Pulumi is not logged in to a backend",
        "'pulumi login', or set PULUMI_BACKEND_URL",
    ),
    (
        "passphrase must be set",
        "its secrets are encrypted with a passphrase, and none is set",
        "set PULUMI_CONFIG_PASSPHRASE_FILE to the file that holds it",
    ),
    (
        "incorrect passphrase",
        "the passphrase does not decrypt its secrets",
        "check PULUMI_CONFIG_PASSPHRASE_FILE and PULUMI_CONFIG_PASSPHRASE",
    ),
)
"""What Pulumi prints, what it means, and what to do next."""


def _name(resource: Resource) -> str:
    return str(resource["urn"]).rpartition("::")[2]


def clear(value: Any) -> Any:
    """Return a value of the state without the wrapping of a secret; None where it is empty."""
    if isinstance(value, dict) and "plaintext" in value:
        return json.loads(value["plaintext"])
    return None if isinstance(value, dict) and "ciphertext" in value else value


def _deployed(stack: str, resource: Resource) -> DeployedServer:
    name = _name(resource)
    kept = clear(resource.get("outputs", {}).get("verifyTarget"))
    if not isinstance(kept, str):
        raise UnreachableError(
            "the state does not say where it runs: no update has got as far as its container",
            where=f"server {name} of stack {stack}",
            hint=f"pulumi up --stack {stack}",
        )
    try:
        return _server(stack, resource, json.loads(kept))
    except (KeyError, TypeError, ValueError):
        raise UnreachableError(
            "the state describes it as another version of this package does",
            where=f"server {name} of stack {stack}",
            hint=f"pulumi up --stack {stack}",
        ) from None


def _server(stack: str, resource: Resource, facts: Mapping[str, Any]) -> DeployedServer:
    return DeployedServer(
        stack=stack,
        name=_name(resource),
        urn=str(resource["urn"]),
        target=target_of(facts),
        container_name=facts["containerName"],
        image=facts["imageId"],
        stores=facts["stores"],
        key_names=tuple(facts["keyNames"]),
        key_custody=facts["keyCustody"],
        endpoints=facts["endpoints"],
        made_passwords=tuple(facts["madePasswords"]),
    )
