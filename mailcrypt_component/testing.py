"""Unit-test a program that contains the component, without Docker and without Pulumi's engine.

For instance, with pytest::

    import pulumi
    import pytest
    from mailcrypt_component.testing import use_mocks
    from office import Office  # your own component, with a MailCryptServer in it

    @pytest.fixture
    def mocks():
        return use_mocks(project="office", config={"hostname": "mail.example.test"})

    @pulumi.runtime.test
    def test_the_webmail_reads_from_the_server(mocks):
        def check(_):
            webmail = mocks.resources["office-webmail"].inputs
            assert webmail["envs"] == ["IMAP_HOST=office-mail-test"]

        return Office("office").webmail.id.apply(check)

Such a test shows which resources the program declares.  Gates do not run under mocks, so it
never shows that mail is encrypted.  No Docker engine is asked: an image whose dialect would
have to be asked counts as Dovecot 2.4.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServerMocks(pulumi.runtime.Mocks):
    """Answers as the providers would, and keeps every resource that was declared."""

    def __init__(self) -> None:
        self.resources: dict[str, pulumi.runtime.MockResourceArgs] = {}
        """Each resource that was declared, by name, with its type and inputs."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """Remember the resource and return its id and outputs."""
        self.resources[args.name] = args
        outputs = dict(args.inputs)
        if args.typ == "tls:index/privateKey:PrivateKey":
            outputs["privateKeyPemPkcs8"] = _private_pem()
        elif args.typ == "tls:index/selfSignedCert:SelfSignedCert":
            outputs["certPem"] = "-----BEGIN CERTIFICATE-----\n"
        elif args.typ == "docker:index/remoteImage:RemoteImage":
            outputs["imageId"] = f"sha256:{'0' * 64}"
        elif args.typ == "pulumi:index:Stash":
            outputs["output"] = outputs.get("input")
        return f"{args.name}-id", outputs

    def call(
        self, args: pulumi.runtime.MockCallArgs
    ) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        """Refuse: the component calls no provider function."""
        return {}, [("token", f"no mock for the call of {args.token}")]


def use_mocks(
    *,
    project: str = "mailcrypt",
    stack: str = "test",
    config: Mapping[str, Any] | None = None,
    preview: bool = False,
) -> ServerMocks:
    """Install fresh mocks for the resources that are declared from now on.

    Args:
        project: What ``pulumi.get_project()`` returns.
        stack: What ``pulumi.get_stack()`` returns; part of each name on the Docker host.
        config: The stack's configuration, in place of any before.  A key without a colon is one
            of the project.  Values other than strings become JSON, as in a stack's file.
        preview: Whether the program runs as in ``pulumi preview``.

    Returns:
        The mocks, whose ``resources`` fill while the program runs.

    """
    mocks = ServerMocks()
    pulumi.runtime.set_mocks(mocks, project=project, stack=stack, preview=preview)
    pulumi.runtime.set_all_config(
        {
            key if ":" in key else f"{project}:{key}": (
                value if isinstance(value, str) else json.dumps(value)
            )
            for key, value in (config or {}).items()
        }
    )
    return mocks


def _private_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
