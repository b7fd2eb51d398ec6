"""Tests the example as its author would, without Docker and without Pulumi's engine."""

import pulumi
import pytest
from groupware import Groupware

from mailcrypt_component.testing import ServerMocks, use_mocks


@pytest.fixture
def mocks() -> ServerMocks:
    """Answer as the providers would, in a project and stack of this name."""
    return use_mocks(project="groupware", stack="prod", config={"image": "my-mail-server:7"})


@pulumi.runtime.test
def test_the_client_reads_from_the_mail_server(mocks: ServerMocks) -> pulumi.Output[None]:
    """The client is told the server's name and joins its network."""

    def check(_: object) -> None:
        client = mocks.resources["office-client"].inputs
        assert client["envs"] == ["IMAP_HOST=office-mail-prod"]
        assert client["networksAdvanced"][0]["name"] == "office-prod"

    office = Groupware("office", pulumi.Config().require("image"))
    return office.client.id.apply(check)
