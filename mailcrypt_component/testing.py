"""Unit-test a stack that contains the component, without Docker or an engine.

Use it in a test like this::

    import pulumi
    from mailcrypt_component.testing import ServerMocks, use_mocks

    mocks = use_mocks()

    @pulumi.runtime.test
    def test_my_stack():
        server = MailCryptServer("mail", {...})
        return server.key_id.apply(lambda key_id: ...)

Gates do not run under mocks: this tests the graph, never that mail is encrypted.
State the dialect, or use a released docker-mailserver tag: there is no image to ask.
"""

from __future__ import annotations

from typing import Any

import pulumi
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class ServerMocks(pulumi.runtime.Mocks):
    """Answers as the providers would, and keeps every resource that was declared."""

    def __init__(self) -> None:
        self.resources: dict[str, pulumi.runtime.MockResourceArgs] = {}

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


def use_mocks(*, stack: str = "test", preview: bool = False) -> ServerMocks:
    """Install fresh mocks for the resources that are declared from now on."""
    mocks = ServerMocks()
    pulumi.runtime.set_mocks(mocks, project="mailcrypt", stack=stack, preview=preview)
    return mocks


def _private_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
