"""Dovecot's configuration as a resource: compiled for the dialect of the image."""

import pulumi

from mailcrypt_component.checks.dialect import ask_dialect
from mailcrypt_component.component.outputs import answer, is_mocked, public
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.dialects.compiler import render
from mailcrypt_component.dialects.dialect import Dialect, DovecotFiles
from mailcrypt_component.model.key_ring import model_of


class DovecotConfig(pulumi.ComponentResource):
    """The compiled configuration of Dovecot, with its dialect and digest."""

    files: pulumi.Output[DovecotFiles]
    """The compiled texts; they hold paths, never a key."""
    dialect: pulumi.Output[str]
    """The Dovecot dialect of the texts, 2.3 or 2.4."""
    digest: pulumi.Output[str]
    """The SHA-256 of the texts, 64 hex digits."""
    asset: pulumi.Output[pulumi.StringAsset]
    """``10-custom.conf`` as an asset, to be placed elsewhere."""

    def __init__(
        self,
        name: str,
        image_id: pulumi.Output[str],
        scope: Scope,
    ) -> None:
        super().__init__("mailcrypt:index:DovecotConfig", name, {}, scope.child())
        settings = scope.settings
        names = [key.name for key in settings.keys]
        model = model_of(names, settings.key_custody, settings.index_cache)
        found = _dialect(scope, image_id)
        self.dialect = found.apply(lambda dialect: Dialect(dialect).value)
        self.files = found.apply(lambda dialect: render(model, Dialect(dialect)))
        self.digest = self.files.apply(lambda files: files.digest)
        self.asset = self.files.apply(lambda files: pulumi.StringAsset(files.crypt))
        self.register_outputs({"dialect": self.dialect, "digest": self.digest})


def _dialect(scope: Scope, image_id: pulumi.Output[str]) -> pulumi.Output[Dialect]:
    """Return the image's dialect: stated, known from its tag, or asked of it."""
    if scope.settings.dialect:
        return pulumi.Output.from_input(scope.settings.dialect)
    if is_mocked():
        return pulumi.Output.from_input(Dialect.V2_4)
    return public(answer(ask_dialect, scope.docker_host, image_id, scope.full_name))
