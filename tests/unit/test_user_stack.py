"""A larger stack that consumes the component, tested as its author would: the README's example."""

import json

import pulumi
import pulumi_docker as docker
import pytest

from mailcrypt_component import MailCryptServer
from mailcrypt_component.testing import use_mocks


class Groupware(pulumi.ComponentResource):
    """Somebody's own component: a mail server on a shared network, and a webmail beside it."""

    def __init__(self, name, opts=None):
        super().__init__("example:index:Groupware", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        network = docker.Network(f"{name}-net", name="office", opts=child)
        self.mail = MailCryptServer(
            f"{name}-mail",
            {
                "image": "docker.io/mailserver/docker-mailserver:16.0.0",
                "hostname": "mail.example.test",
                "accounts": [{"address": "you@example.test"}],
                "network": network.name,
            },
            child,
        )
        self.webmail = docker.Container(
            f"{name}-webmail",
            image="webmail:1",
            envs=[self.mail.container_name.apply(lambda host: f"IMAP_HOST={host}")],
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=self.mail.network)],
            opts=child,
        )
        self.register_outputs({"webmail": self.webmail.name})


def declare(opts=None):
    mocks = use_mocks()
    found = []

    @pulumi.runtime.test
    def program():
        groupware = Groupware("office", opts() if opts else None)
        both = pulumi.Output.all(groupware.webmail.id, groupware.mail.verify_target)
        return both.apply(lambda values: found.append(json.loads(values[1])))

    program()
    return mocks, found[0]


def test_the_webmail_joins_the_mail_servers_network():
    """What the outer stack takes from the component arrives."""
    webmail = declare()[0].resources["office-webmail"].inputs
    assert webmail["networksAdvanced"][0]["name"] == "office"
    assert webmail["envs"] == ["IMAP_HOST=office-mail-test"]


def test_a_provider_of_the_outer_stack_serves_the_component():
    """Containers and volumes go to the Docker host that the outer stack chose."""

    def opts():
        remote = docker.Provider("remote", host="tcp://192.0.2.1:2376")
        return pulumi.ResourceOptions(providers=[remote])

    mocks, target = declare(opts)
    for name in ("office-mail-server", "office-mail-mail", "office-net"):
        assert "::remote::" in mocks.resources[name].provider
    assert target["dockerHost"]["url"] == "tcp://192.0.2.1:2376", "the gates ask another host"


def test_a_docker_context_is_refused(monkeypatch):
    """The provider would follow it to another engine than the one that the gates ask."""
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    with pytest.raises(pulumi.RunError, match="Docker context elsewhere is set"):
        declare()


def test_a_provider_with_a_context_is_refused():
    """As one in the environment is."""

    def opts():
        remote = docker.Provider("remote", context="elsewhere")
        return pulumi.ResourceOptions(providers=[remote])

    with pytest.raises(pulumi.RunError, match="Docker context elsewhere is set"):
        declare(opts)
