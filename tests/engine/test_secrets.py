"""Secret settings stay secret: in the state, its history and backups, previews and logs."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PASSWORD = "xylophone-quartz-93"
RELAY = "marzipan-gondola-57"
CONTROL = "mail.example.test"


@pytest.fixture(scope="module")
def stack(make_stack):
    """A stack whose secrets were set with pulumi config set --secret."""
    stack = make_stack("secrets", image="mailcrypt-dms-dev:13", dialect="2.4")
    key = ec.generate_private_key(ec.SECP256R1())
    stack.pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for place, value in {
        "environment.RELAY_PASSWORD": RELAY,
        "accounts[0].password": PASSWORD,
        "keys[0].pem": stack.pem,
    }.items():
        secret = ["config", "set", "--secret", "--path", f"mailcrypt:{place}"]
        done = subprocess.run(
            ["pulumi", *secret, "--stack", stack.name],
            cwd=stack.folder,
            env=stack.environment,
            input=value,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    name = ["config", "set", "--path", "mailcrypt:keys[0].name", "k1", "--stack", stack.name]
    stack.pulumi(*name, check=True)
    run = ["--yes", "--skip-preview", "--stack", stack.name]
    stack.printed = stack.pulumi("up", *run, "--logtostderr", "-v=3").stdout
    stack.printed += stack.pulumi("preview", "--diff", "--stack", stack.name).stdout
    stack.printed += stack.pulumi("up", *run, "--diff").stdout
    return stack


def test_the_update_held(stack):
    """What follows is about a server that was proven."""
    assert stack.verify().returncode == 0
    stack.run(f"doveadm auth test user@example.test {PASSWORD}")


def everything(stack):
    """Return each text that Pulumi keeps or prints, by its place."""
    texts = {"what was printed": stack.printed, "the state": stack.state()}
    for path in Path(stack.folder).rglob("*"):
        if path.is_file() and ".venv" not in path.parts:
            texts[str(path.relative_to(stack.folder))] = path.read_text(errors="replace")
    return texts


def test_no_secret_is_in_anything_that_pulumi_keeps_or_prints(stack):
    """The positive control is in the state: the search looks at the right places."""
    texts = everything(stack)
    assert any(CONTROL in text for place, text in texts.items() if "backend" in place)
    body = stack.pem.splitlines()[1]
    for place, text in texts.items():
        for secret in (PASSWORD, RELAY, body):
            assert secret not in text, f"a secret is in {place}"


def test_no_key_and_no_account_password_is_in_docker_inspect(stack):
    """A variable of docker-mailserver is there by docker-mailserver's own contract."""
    shown = stack.docker("inspect", stack.container, f"{stack.container}-keeper")
    assert RELAY in shown, "the control: docker inspect shows variables"
    assert PASSWORD not in shown
    assert stack.pem.splitlines()[1] not in shown
