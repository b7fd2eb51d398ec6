"""The component inside larger programs, on the real engine, and a Docker engine behind TCP."""

import json
import os
import pwd
import socket
import subprocess
import threading

import pytest

from tests.stacks import MARK, ROOT, changed
from tests.store import valid

pytestmark = pytest.mark.engine

IMAGE = "mailcrypt-dms-dev:13"
GREET = "import imaplib, os; print(imaplib.IMAP4(os.environ['IMAP_HOST']).welcome)"


class Forwarder(threading.Thread):
    """A TCP port of this machine in front of the Docker engine's socket."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0

    def run(self):
        while True:
            client, _ = self._listener.accept()
            self.connections += 1
            engine = socket.socket(socket.AF_UNIX)
            engine.connect("/var/run/docker.sock")
            for source, sink in ((client, engine), (engine, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()


@pytest.fixture(scope="module")
def forwarder():
    forwarder = Forwarder()
    forwarder.start()
    return forwarder


@pytest.fixture(scope="module")
def groupware(make_stack, forwarder):
    """The example: two servers in one program, one of them nested, with a foreign provider."""
    stack = make_stack("larger", ROOT / "examples/groupware", image=IMAGE, host=forwarder.address)
    stack.printed = stack.green()
    return stack


def test_both_servers_are_proven_each_to_a_key_of_its_own(groupware):
    """No gate, key or name of one is that of the other."""
    assert "office-mail-proof: proven" in groupware.printed
    assert "archive-proof: proven" in groupware.printed
    assert len(set(groupware.outputs()["keyIds"])) == 2


def test_the_client_reads_from_the_server_it_was_told_of(groupware):
    """What the outer stack takes from the outputs works: name and network."""
    client = groupware.outputs()["client"]
    assert "Dovecot" in groupware.docker("exec", client, "python3", "-c", GREET)


def test_the_gates_reach_the_docker_engine_through_the_foreign_provider(groupware, forwarder):
    """All of it went over TCP: resources, preflight, accounts and proof."""
    assert forwarder.connections > 10
    assert f"tcp://127.0.0.1:{forwarder.address.rpartition(':')[2]}" in groupware.state()


def test_a_second_up_of_the_larger_stack_changes_nothing(groupware):
    """The component is quiet inside another one, too."""
    printed = groupware.green()
    assert changed(printed) == set()
    assert "proven" not in printed


def test_a_preview_with_an_explicit_provider_announces_what_an_up_does(groupware):
    """Nothing: the properties that the provider does not set are known to be unset."""
    shown = groupware.pulumi("preview", "--stack", groupware.name, check=True).stdout
    summary = shown.partition("Resources:")[2].split("\n\n")[0].splitlines()
    assert [line.split()[1:] for line in summary if line] == [["unchanged"]], shown


TO_BE = """
import pulumi
import pulumi_docker as docker
import pulumi_tls as tls
from mailcrypt_component import MailCryptServer

machine = tls.PrivateKey("machine", algorithm="ECDSA")
host = machine.id.apply(lambda found: f"tcp://192.0.2.1:{found}")
remote = docker.Provider("remote", host=host)
MailCryptServer("mail", {
    "image": "mailcrypt-dms-dev:13",
    "hostname": "mail.example.test",
    "accounts": [{"address": "a@example.test"}],
}, pulumi.ResourceOptions(providers=[remote]))
"""


OF_ONES_OWN = """
import pulumi
import pulumi_docker as docker
from mailcrypt_component import MailCryptServer

config = pulumi.Config()
context = config.get("context")
given = [docker.Provider("given", context=context)] if context else []
MailCryptServer("mail", {
    "image": config.require("image"),
    "hostname": "mail.example.test",
    "accounts": [{"address": "a@example.test"}],
}, pulumi.ResourceOptions(providers=given))
"""


@pytest.mark.parametrize(
    ("settings", "environment", "words"),
    [
        ({}, {"DOCKER_HOST": "unix:///nowhere/socket"}, "no Docker engine answers"),
        ({"image": "sha256:" + "0" * 64}, {}, "hint: docker pull sha256:000"),
        ({}, {"DOCKER_CONTEXT": "elsewhere"}, "the Docker context elsewhere, which cannot be read"),
        ({"context": "elsewhere"}, {}, "context 'elsewhere' not found"),
    ],
)
def test_a_fault_of_a_program_of_ones_own_is_one_message(
    make_stack, tmp_path, settings, environment, words
):
    """The program ends with it, not with a traceback or without a word."""
    (tmp_path / "Pulumi.yaml").write_text(
        "name: own\nruntime:\n  name: python\n  options: {toolchain: pip, virtualenv: .venv}\n"
    )
    (tmp_path / "__main__.py").write_text(OF_ONES_OWN)
    stack = make_stack("own", tmp_path, **{"image": IMAGE, **settings})
    stack.environment.update(environment)
    shown = stack.pulumi("preview", "--stack", stack.name)
    assert shown.returncode != 0, shown.stdout
    assert words in shown.stdout
    assert "Traceback" not in shown.stdout
    assert "exit code: -1" not in shown.stdout


def test_a_preview_asks_no_engine_while_the_providers_host_is_unknown(make_stack, tmp_path):
    """The machine is to be created by the same program; the engine of this one is not asked."""
    (tmp_path / "Pulumi.yaml").write_text(
        "name: tobe\nruntime:\n  name: python\n  options: {toolchain: pip, virtualenv: .venv}\n"
    )
    (tmp_path / "__main__.py").write_text(TO_BE)
    stack = make_stack("tobe", tmp_path)
    stack.environment["DOCKER_HOST"] = "unix:///nowhere/socket"
    shown = stack.pulumi("preview", "--stack", stack.name)
    assert shown.returncode == 0, shown.stdout
    assert "mail-proof create" in shown.stdout


@pytest.mark.long
def test_everything_works_through_the_docker_api_alone(make_stack, forwarder):
    """A remote Docker host: no port of the mail server is published, no path is shared."""
    stack = make_stack("remote", image=IMAGE, dockerHost=forwarder.address)
    assert "mailcrypt-proof: proven" in stack.green()
    before = forwarder.connections
    shown = stack.verify()
    assert shown.returncode == 0, shown.stderr
    assert forwarder.connections > before
    stack.save("a mail to count")
    audited = valid(stack.mailcrypt("audit", "--json").stdout, "audit")
    assert audited["states"] == {"current": 1}
    assert stack.mailcrypt("exposure").returncode == 0


@pytest.fixture(scope="module")
def context(forwarder, make_stack):
    """A Docker context that names the forwarder's address."""
    name = f"{MARK}-context"
    endpoint = f"host={forwarder.address}"
    # The provider looks in the user's own home, whatever HOME says.
    environment = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}

    def docker(*argv, check=True):
        argv = ["docker", "context", *argv]
        subprocess.run(argv, check=check, capture_output=True, env=environment)

    docker("rm", "-f", name, check=False)
    docker("create", name, "--docker", endpoint)
    yield name
    docker("rm", "-f", name)


@pytest.mark.long
def test_a_docker_context_is_followed_by_provider_and_gates(make_stack, forwarder, context):
    """Both reach the engine that it names; beside another address it is refused."""
    stack = make_stack("context", image=IMAGE)
    stack.environment["DOCKER_CONTEXT"] = context
    before = forwarder.connections
    assert "mailcrypt-proof: proven" in stack.green()
    assert json.loads(stack.outputs()["verifyTarget"])["dockerHost"]["url"] == forwarder.address
    assert forwarder.connections > before
    summary = stack.preview().partition("Resources:")[2]
    assert "unchanged" in summary
    assert "replace" not in summary
    printed = stack.red(dockerHost="unix:///var/run/docker.sock")
    assert "hint: unset DOCKER_CONTEXT" in printed
    del stack.environment["DOCKER_CONTEXT"]
    stack.green(dockerHost=forwarder.address)


FAKE_SSH = """#!/bin/sh
# Does what the other end's sshd would do: run what stands behind the host's name.
echo "$@" >> "$(dirname "$0")/asked"
until [ "$1" = docker.example.test ]; do shift; done
shift
exec sh -c "$*"
"""


@pytest.mark.long
def test_a_docker_host_over_ssh(make_stack, tmp_path):
    """The gates and the provider each dial the engine through the ssh command."""
    ssh = tmp_path / "ssh"
    ssh.write_text(FAKE_SSH)
    ssh.chmod(0o755)
    stack = make_stack("secure", image=IMAGE, dockerHost="ssh://root@docker.example.test")
    stack.environment["PATH"] = f"{tmp_path}:{stack.environment['PATH']}"
    assert "mailcrypt-proof: proven" in stack.green()
    assert stack.verify().returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert "-o BatchMode=yes -l root -- docker.example.test docker system dial-stdio" in asked


HOSTED = """
import pulumi

class Hosted(pulumi.ComponentResource):
    def __init__(self, name, args):
        outputs = {"keyId": None, "accountPasswords": None}
        super().__init__(
            "mailcrypt:index:MailCryptServer", name, {**args, **outputs}, None, remote=True
        )

server = Hosted("hosted", {
    "image": pulumi.Config().require("image"),
    "hostname": "mail.example.test",
    "accounts": [{"address": "a@example.test", "password": pulumi.Output.secret("secret-of-a")}],
    "ports": {},
    "protect": False,
    "keepMail": False,
})

"""


def hosted(make_stack, tmp_path):
    """Return a stack whose program reaches the component through its host."""
    project = tmp_path / "hosted"
    project.mkdir()
    (project / "Pulumi.yaml").write_text(
        "name: hosted\nruntime:\n  name: python\n  options: {toolchain: pip}\n"
    )
    (project / "__main__.py").write_text(HOSTED)
    plugin = tmp_path / "bin/pulumi-resource-mailcrypt"
    plugin.parent.mkdir()
    plugin.write_text(f'#!/bin/sh\nexec python {ROOT}/mailcrypt_component "$@"\n')
    plugin.chmod(0o755)
    stack = make_stack("hosted", project, image=IMAGE)
    stack.environment["PATH"] = f"{plugin.parent}:{stack.environment['PATH']}"
    return stack


def test_the_component_host_answers_with_a_fault_and_lives_on(make_stack, tmp_path):
    """It is not the program that the fault ends."""
    stack = hosted(make_stack, tmp_path)
    stack.environment["DOCKER_HOST"] = "unix:///nowhere/socket"
    shown = stack.pulumi("preview", "--stack", stack.name)
    assert shown.returncode != 0, shown.stdout
    assert "no Docker engine answers" in shown.stdout
    assert "exited prematurely" not in shown.stdout


def test_the_component_host_serves_a_program_that_does_not_import_it(make_stack, tmp_path):
    """Programs in other languages get the same gates, and no secret in clear in their state."""
    stack = hosted(make_stack, tmp_path)
    assert "hosted-proof: proven" in stack.green()
    state = stack.state()
    assert "secret-of-a" not in state
    assert "BEGIN PRIVATE KEY" not in state
    assert changed(stack.green()) == set()


def test_the_hosted_schema_has_every_argument():
    """What the component host infers is what the component takes."""
    program = (
        "import json; from mailcrypt_component.args import MailCryptServerArgs as A;"
        "from mailcrypt_component import MailCryptServer as S;"
        "from pulumi.provider.experimental.analyzer import Analyzer;"
        "found = Analyzer('mailcrypt').analyze([S])['component_definitions']['MailCryptServer'];"
        "assert set(found.inputs) == set(A.__annotations__), found.inputs;"
        "assert 'verifyTarget' in found.outputs"
    )
    subprocess.run(["python", "-c", program], check=True, cwd=ROOT)
