"""Larger programs that consume the component, tested as their authors would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pulumi
import pulumi_docker as docker
from pulumi.runtime.mocks import MockMonitor

from mailcrypt_component import MailCryptServer
from mailcrypt_component.component import dovecot_config
from mailcrypt_component.component.stack_config import args_of_stack
from mailcrypt_component.testing import use_mocks

ROOT = Path(__file__).parents[2]


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


def declare(opts=None, **mocking):
    mocks = use_mocks(**mocking)
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


def test_the_mocks_take_the_name_of_the_stack():
    """Names on the Docker host hold it, so a test of a user's own stack sees them."""
    webmail = declare(project="office", stack="prod")[0].resources["office-webmail"].inputs
    assert webmail["envs"] == ["IMAP_HOST=office-mail-prod"]


def test_the_mocks_take_the_name_of_the_project_and_its_configuration():
    """Keys without a colon are the project's; other values than text are as in a stack's file."""
    config = {"image": "my-mail-server:7", "ports": {"smtp": 25}, "docker:host": "unix:///socket"}
    use_mocks(project="office", config=config)
    assert pulumi.get_project() == "office"
    assert pulumi.Config().require("image") == "my-mail-server:7"
    assert pulumi.Config("office").require_object("ports") == {"smtp": 25}
    assert pulumi.Config("docker").require("host") == "unix:///socket"


def test_fresh_mocks_forget_the_configuration_before():
    """A test never sees the settings of another one."""
    use_mocks(config={"image": "my-mail-server:7"})
    use_mocks()
    assert pulumi.Config().get("image") is None


def test_a_preview_under_mocks_declares_the_same_resources():
    """What is declared never depends on a value that only an update knows."""
    mocks = use_mocks(preview=True)

    @pulumi.runtime.test
    def program():
        Groupware("office")

    program()
    assert set(mocks.resources) == set(declare()[0].resources)


def test_the_stacks_configuration_is_read_under_mocks(monkeypatch):
    """A program that uses the stack's file, as ours does, is tested without an engine, too."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    accounts = [{"address": "you@example.test"}]
    config = {"image": "own:1", "hostname": "mail.example.test", "accounts": accounts}
    use_mocks(project="mailcrypt", config=config)
    assert args_of_stack() == config


def test_no_engine_is_asked_for_the_dialect_under_mocks(monkeypatch):
    """An image whose tag does not tell its Dovecot counts as Dovecot 2.4."""

    def refuse(*_):
        raise AssertionError("an engine was asked")

    monkeypatch.setattr(dovecot_config, "ask_dialect", refuse)
    mocks = use_mocks()
    found = []

    @pulumi.runtime.test
    def program():
        server = MailCryptServer(
            "mail",
            {
                "image": "own:1",
                "hostname": "mail.example.test",
                "accounts": [{"address": "you@example.test"}],
            },
        )
        return server.dialect.apply(found.append)

    program()
    assert found == ["2.4"]
    assert "mail-server" in mocks.resources


def run_example(tmp_path, program=None):
    """Run the example's own tests as a project of its own, with no Docker to be found."""
    project = tmp_path / "groupware"
    shutil.copytree(ROOT / "examples/groupware", project)
    if program:
        (project / "groupware.py").write_text(program)
    environment = {
        "PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "DOCKER_HOST": "unix:///nowhere/docker.sock",
        "COVERAGE_FILE": os.devnull,
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=project,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_examples_own_tests_pass_without_docker(tmp_path):
    """The documented unit test runs as a user's own project."""
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_examples_own_test_can_fail(tmp_path):
    """A client that is told another name is found."""
    program = (ROOT / "examples/groupware/groupware.py").read_text()
    done = run_example(tmp_path, program.replace("IMAP_HOST={host}", "IMAP_HOST=elsewhere"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout


def test_a_provider_of_the_outer_stack_serves_the_component():
    """Containers and volumes go to the Docker host that the outer stack chose."""

    def opts():
        remote = docker.Provider("remote", host="tcp://192.0.2.1:2376")
        return pulumi.ResourceOptions(providers=[remote])

    mocks, target = declare(opts)
    for name in ("office-mail-server", "office-mail-mail", "office-net"):
        assert "::remote::" in mocks.resources[name].provider
    assert target["dockerHost"]["url"] == "tcp://192.0.2.1:2376", "the gates ask another host"


def protected_by(monkeypatch, opts, **changes):
    """Return the names of the resources that are registered as protected."""
    protected = set()
    register = MockMonitor.RegisterResource

    def record(self, request):
        if request.protect:
            protected.add(request.name)
        return register(self, request)

    monkeypatch.setattr(MockMonitor, "RegisterResource", record)
    use_mocks()
    accounts = [{"address": "you@example.test"}]
    args = {"image": "own:1", "hostname": "mail.example.test", "accounts": accounts, **changes}
    pulumi.runtime.test(lambda: MailCryptServer("mail", args, opts).verify_target)()
    return protected


def test_protection_from_outside_does_not_freeze_server_and_gates(monkeypatch):
    """An update could replace neither of them; keys and volumes are protected by a setting."""
    protected = protected_by(monkeypatch, pulumi.ResourceOptions(protect=True))
    assert protected == {"mail", "mail-ring-guard", "mail-volumes-guard"}


def test_a_program_can_leave_everything_unprotected(monkeypatch):
    """The setting decides about keys and volumes, whatever the component's own option is."""
    protected = protected_by(monkeypatch, pulumi.ResourceOptions(protect=True), protect=False)
    assert protected == {"mail"}
