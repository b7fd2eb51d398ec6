"""Dovecot's configuration as a resource: compiled for the dialect of the image."""

import pulumi

from mailcrypt_component.component.outputs import plainly, public
from mailcrypt_component.model.dialects import Dialect, digest, render
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.key_ring import model_of
from mailcrypt_component.model.settings import Settings


class DovecotConfig(pulumi.ComponentResource):
    """The compiled ``10-custom.conf``, with its dialect and digest."""

    text: pulumi.Output[str]
    """The configuration; it holds paths, never a key."""
    dialect: pulumi.Output[str]
    """The Dovecot dialect it is written in, 2.3 or 2.4."""
    digest: pulumi.Output[str]
    """Its SHA-256, 64 hex digits."""
    asset: pulumi.Output[pulumi.StringAsset]
    """The text as an asset, for whoever wants to place it elsewhere."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        image_id: pulumi.Output[str],
        docker_host: pulumi.Output[DockerHost],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("mailcrypt:index:DovecotConfig", name, {}, opts)
        model = model_of([key.name for key in settings.keys])
        found = (
            pulumi.Output.from_input(settings.dialect)
            if settings.dialect
            else public(
                pulumi.Output.all(docker_host, image_id).apply(
                    lambda asked: plainly(_ask_dialect, *asked)
                )
            )
        )
        self.dialect = found.apply(lambda dialect: Dialect(dialect).value)
        self.text = found.apply(lambda dialect: render(model, Dialect(dialect)))
        self.digest = self.text.apply(digest)
        self.asset = self.text.apply(pulumi.StringAsset)
        self.register_outputs({"dialect": self.dialect, "text": self.text, "digest": self.digest})


def _ask_dialect(docker_host: DockerHost, image: str) -> Dialect:
    """Ask the image; the Docker SDK is only imported when there is something to ask."""
    from mailcrypt_component.checks.dialect import ask_dialect  # noqa: PLC0415

    return ask_dialect(docker_host, image)
