"""The names, the settings and the engine that every part of one server shares."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import pulumi
import pulumi_docker as docker

from mailcrypt_component.component.outputs import answer, is_mocked, once_known, plainly, public
from mailcrypt_component.docker_api.address import endpoint_of_context, refuse_two_engines
from mailcrypt_component.docker_api.inspect import (
    ask_container,
    inspect_container,
    inspect_image,
    kernel_version,
)
from mailcrypt_component.docker_api.swarm import (
    engine_of_task,
    find_service,
    find_task,
    nodes_that_take_tasks,
)
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.read_settings import read_settings
from mailcrypt_component.model.settings import Settings

_T = TypeVar("_T")
_NOSWAP: Final = (6, 4)
"""The first kernel whose tmpfs has the mount option noswap."""


class Scope:
    """One server's names, settings, engine and resource options.

    ``settings`` holds the values that must be known when the graph is declared; a value that
    another resource produces is still an Output there.  ``value`` returns such values once they
    are known and checked.
    """

    def __init__(
        self,
        name: str,
        args: Mapping[str, Any],
        settings: Settings,
        parent: pulumi.ComponentResource,
    ) -> None:
        self.name = name
        self.full_name = f"{name}-{pulumi.get_stack()}"
        """The container's name on the Docker host, and the prefix of every other name."""
        self.settings = settings
        known = pulumi.Output.from_input(dict(args))
        self._settings = known.apply(lambda args: once_known(read_settings, args))
        self._parent = parent
        self._provider = self._make_provider()
        self.manager = self._docker_host()
        """The engine of the resources; secret."""
        self.nodes = self._nodes()
        """The engines of the Swarm's nodes, by host name; secret, empty on one machine."""
        self.docker_host = self._engine_of_task() if settings.is_swarm else self.manager
        """The engine that runs the server, which the gates ask; secret."""

    def value(self, read: Callable[[Settings], _T]) -> pulumi.Output[_T]:
        """Return a value of the settings that is not secret, once all are known and checked."""
        return public(self._settings.apply(read))

    def child(
        self,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        protect: bool = False,
        keep: bool = False,
    ) -> pulumi.ResourceOptions:
        """Return options of a resource; protection of the component never freezes the server."""
        return pulumi.ResourceOptions(
            parent=self._parent,
            depends_on=list(depends_on),
            protect=protect,
            retain_on_delete=keep or None,
        )

    def on_engine(self, **options: Any) -> pulumi.ResourceOptions:
        """Return the options of a Docker resource; it goes to dockerHost if that is set."""
        chosen = pulumi.ResourceOptions(provider=self._provider) if self._provider else None
        return pulumi.ResourceOptions.merge(self.child(**options), chosen)

    def task_now(self, service: docker.Service) -> pulumi.Output[Any]:
        """Return the service's task as it is now, in previews and in every update; see ``now``."""
        if is_mocked():
            return pulumi.Output.from_input({"id": service.id})
        return public(answer(_task_now, self.manager, self.full_name, self.nodes, service.id))

    def nodes_now(self) -> pulumi.Output[list[str]]:
        """Return the declared nodes that take tasks now; empty on one machine."""
        if is_mocked() or not self.settings.is_swarm:
            return pulumi.Output.from_input([])
        return public(answer(nodes_that_take_tasks, self.manager, self.nodes))

    def now(self, container: docker.Container) -> pulumi.Output[Any]:
        """Return the current state of a container, in previews and in every update.

        Pulumi's state describes the container at its creation.  With the current state among its
        facts, a gate runs again after a container was removed, stopped or started outside Pulumi.
        """
        if is_mocked():
            return pulumi.Output.from_input({"id": container.id})
        return public(answer(_container_now, self.docker_host, container.id))

    def has_file(
        self,
        container: pulumi.Output[str],
        image: pulumi.Output[str],
        path: pulumi.Output[str],
    ) -> pulumi.Output[bool]:
        """Return whether a running container of that image has a file now."""
        if is_mocked():
            return pulumi.Output.from_input(True)
        return public(answer(_has_file, self.docker_host, container, image, path))

    def has_noswap(self) -> pulumi.Output[bool]:
        """Return whether the engine's kernel can keep a tmpfs out of swap (Linux 6.4).

        An older kernel is fine on a host without swap, which the unlock gate checks.
        """
        if is_mocked():
            return pulumi.Output.from_input(True)
        version = answer(kernel_version, self.docker_host)
        return public(version.apply(lambda found: found >= _NOSWAP))

    def bindings(self) -> pulumi.Output[Any]:
        """Return the bindings of the server's ports as the engine lists them now, if any."""
        if is_mocked():
            return pulumi.Output.from_input([])
        server = answer(inspect_container, self.docker_host, self.full_name)
        return public(server.apply(lambda found: list(found.bindings) if found else []))

    def image(self) -> pulumi.Output[str]:
        """Return the image's id, whether the image is pulled by name or known to the engine."""
        image = self.settings.image
        if self.settings.is_swarm:  # Each node has an image of its own by that name.
            return pulumi.Output.from_input(image)
        if not isinstance(image, str):
            if is_mocked():
                return public(pulumi.Output.from_input(image))
            return public(answer(inspect_image, self.docker_host, image))
        if image.startswith("sha256:"):
            return pulumi.Output.from_input(image)
        pulled = docker.RemoteImage(
            f"{self.name}-image", name=image, keep_locally=True, opts=self.on_engine()
        )
        return pulled.image_id

    def _nodes(self) -> pulumi.Output[dict[str, DockerHost]]:
        """Return each node's engine, with the manager's certificates and SSH options."""

        def read(found: Sequence[Any]) -> dict[str, DockerHost]:
            manager, urls = found
            return {name: replace(manager, url=url) for name, url in urls.items()}

        named = pulumi.Output.all(self.manager, dict(self.settings.nodes)).apply(read)
        return pulumi.Output.secret(named)

    def _engine_of_task(self) -> pulumi.Output[DockerHost]:
        if is_mocked():
            return self.manager
        found = answer(engine_of_task, self.manager, self.full_name, self.nodes)
        return pulumi.Output.secret(found)

    def _make_provider(self) -> docker.Provider | None:
        host = self.settings.docker_host
        if host is None:
            return None
        # A provider of another name, so that a stack that moves between one machine and a Swarm
        # removes each resource from the engine that has it.
        name = f"{self.name}-manager" if self.settings.is_swarm else f"{self.name}-docker"
        return docker.Provider(name, host=host, opts=self.child())

    def _docker_host(self) -> pulumi.Output[DockerHost]:
        if self.settings.docker_host is not None:
            return pulumi.Output.from_input(self.settings.docker_host).apply(
                lambda url: once_known(_declared_host, url)
            )
        given = self._parent.get_provider("docker:index/container:Container")
        if isinstance(given, docker.Provider):
            return _host_of(given)
        return pulumi.Output.secret(configured_engine())


def configured_engine() -> DockerHost:
    """Return the engine of the project's own ``docker:`` settings and the environment.

    Raises:
        pulumi.RunError: A Docker context cannot be read.

    """
    config = pulumi.Config("docker")
    return DockerHost(
        url=plainly(_address, config.get("host"), config.get("context")),
        ca=config.get("caMaterial"),
        certificate=config.get("certMaterial"),
        private_key=config.get("keyMaterial"),
        certificate_folder=config.get("certPath"),
        ssh_options=tuple(config.get_object("sshOpts") or ()),
    )


def _declared_host(url: str) -> DockerHost:
    if (context := os.environ.get("DOCKER_CONTEXT")) and not is_mocked():
        refuse_two_engines(url, context)
    return DockerHost(url)


def _address(url: str | None, context: str | None) -> str | None:
    """Return an engine's address; for the provider a context wins over an address, too."""
    context = context or os.environ.get("DOCKER_CONTEXT")
    return endpoint_of_context(context) if context and not is_mocked() else url


def _task_now(
    manager: DockerHost, name: str, nodes: Mapping[str, DockerHost], _: str
) -> dict[str, Any] | None:
    """Return the task's state; it is asked for only once the service, the last value, exists."""
    service, task = find_service(manager, name), find_task(manager, name)
    if service is None or task is None:
        return None
    asked = task.container and not task.fault and task.node in nodes
    found = inspect_container(nodes[task.node], task.container) if asked else None
    return {
        "service": service.digest,  # Someone may have updated it outside of Pulumi.
        "node": task.node,
        "container": found.as_fact() if found else None,
    }


def _container_now(docker_host: DockerHost, container_id: str) -> dict[str, Any] | None:
    found = inspect_container(docker_host, container_id)
    return found.as_fact() if found else None


def _has_file(docker_host: DockerHost, container: str, image: str, path: str) -> bool:
    return ask_container(docker_host, container, image, ("test", "-e", path)) is not None


def _host_of(provider: docker.Provider) -> pulumi.Output[DockerHost]:
    """Return the engine of an explicit provider, with its certificates and SSH options."""

    def read(found: Sequence[Any]) -> DockerHost:
        url, context, ca, certificate, private_key, folder, ssh_options = found
        url = once_known(_address, url, context)
        options = json.loads(ssh_options) if isinstance(ssh_options, str) else ssh_options
        return DockerHost(url, ca, certificate, private_key, folder, tuple(options or ()))

    names = ("host", "context", "ca_material", "cert_material", "key_material", "cert_path")
    values = [_property(provider, name) for name in (*names, "ssh_opts")]
    return pulumi.Output.secret(pulumi.Output.all(*values).apply(read))


def _property(provider: docker.Provider, name: str) -> pulumi.Output[Any]:
    """Return a provider's property, which is known in previews too if it is not set.

    In a preview Pulumi resolves each optional property that is not set as unknown.  Whatever is
    derived from it would be unknown as well, and the preview would announce replacements.
    """

    async def read() -> Any:
        output: pulumi.Output[Any] = pulumi.get(provider, name)
        return await output.future(with_unknowns=True)  # None, or UNKNOWN if it is set.

    return pulumi.Output.from_input(read())
