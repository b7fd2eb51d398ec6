"""The commands on real stacks: any program, several servers, every state that needs help."""

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.store import valid

pytestmark = pytest.mark.engine

IMAGE = "mailcrypt-dms-dev:13"
PROGRAM = f"""
from mailcrypt_component import MailCryptServer
for name in ("first", "second"):
    MailCryptServer(name, {{
        "image": "{IMAGE}",
        "hostname": name + ".example.test",
        "accounts": [{{"address": "user@example.test"}}],
        "ports": {{}},
        "tls": {{"mode": "dms"}},
        "protect": False,
        "keepMail": False,
    }})
"""
PROJECT = "name: pair\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"


def command(stack, line, **environment):
    """Run a command line as a person does who copied it; return it with its output."""
    return subprocess.run(
        shlex.split(line),
        cwd=stack.folder,
        env={**stack.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def hint_of(done):
    """Return the command line that a failed command gave as its hint."""
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.partition("hint: ")[2].strip()


@pytest.fixture(scope="module")
def one(make_stack):
    """One server, proven by its update."""
    stack = make_stack("commands", image=IMAGE)
    stack.green()
    return stack


# --- one server, in each state that needs a command -----------------------------------------


def test_the_status_shows_the_last_verdict_and_proves_nothing_itself(one):
    """The gate recorded its verdict, so that the status is there at once."""
    one.save("a mail")
    sent = one.run("grep -c 'to=<mailcrypt-probe@' /var/log/mail/mail.log")
    done = one.mailcrypt("status", "--json")
    assert one.run("grep -c 'to=<mailcrypt-probe@' /var/log/mail/mail.log") == sent
    found = valid(done.stdout, "status")
    assert done.returncode == 0, done.stdout
    assert found["verdict"] == "proven"
    assert found["mail"] == {"complete": True, "by_state": {"current": 1}}
    shown = one.mailcrypt("status")
    assert shown.returncode == 0
    assert "nothing to do" in shown.stdout


@pytest.mark.long
def test_a_server_that_was_started_again_is_not_called_proven(one):
    """After a restart the status is not known until a proof holds, and says how to get one."""
    one.docker("restart", "-t", "20", one.container)
    assert json.loads(one.mailcrypt("status", "--json").stdout)["verdict"] == "could not find out"
    summary = [sys.executable, "-m", "mailcrypt_component.cli.summary", one.name]
    assert command(one, shlex.join(summary)).returncode == 1
    done = one.mailcrypt("status")
    assert done.returncode == 2
    next_command = done.stdout.rpartition("next")[2].strip()
    assert next_command == f"mailcrypt verify --stack {one.name}"
    assert command(one, next_command).returncode == 0
    assert one.mailcrypt("status").returncode == 0
    done = command(one, shlex.join(summary))
    assert "A proven, encrypted mail server is up." in done.stdout, done.stderr


def damage_removed(stack):
    stack.docker("rm", "-f", stack.container)


def damage_stopped(stack):
    stack.docker("stop", "-t", "5", stack.container)


def damage_paused(stack):
    stack.docker("pause", stack.container)


def damage_keeper_removed(stack):
    stack.docker("rm", "-f", f"{stack.container}-keeper")


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (damage_removed, 2),
        (damage_stopped, 1),
        (damage_paused, 1),
        (damage_keeper_removed, None),
    ],
)
def test_the_hint_repairs_what_was_removed_or_damaged(one, damage, code):
    """Status and verify see it; the printed command brings the server back with its mail."""
    before = one.read_all().count("a mail")
    damage(one)
    hint = f"mailcrypt repair --stack {one.name}"
    if code is not None:
        done = one.verify()
        assert done.returncode == code, done.stderr
        assert hint_of(done) == hint
        done = one.mailcrypt("status")
        assert done.returncode == code
        assert hint in done.stdout
    repaired = command(one, f"{hint} --yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert one.docker("inspect", "-f", "{{.State.Running}}", f"{one.container}-keeper") == "true\n"
    done = one.mailcrypt("status")
    assert done.returncode == 0, done.stdout
    assert one.read_all().count("a mail") == before == 1


def test_the_status_says_that_a_server_is_locked_and_how_to_unlock_it(one):
    """A locked server is still proven to encrypt; the printed command unlocks it."""
    assert one.mailcrypt("lock").returncode == 0
    done = one.mailcrypt("status")
    assert "locked (custody memory)" in done.stdout
    assert done.stdout.rpartition("next")[2].strip() == f"mailcrypt unlock --stack {one.name}"
    assert command(one, f"mailcrypt unlock --stack {one.name}").returncode == 0
    done = one.mailcrypt("status")
    assert "unlocked (custody memory)" in done.stdout


REFUSALS = {
    "passphrase": (
        {"PULUMI_CONFIG_PASSPHRASE": "wrong"},
        "the passphrase does not decrypt its secrets",
    ),
    "backend": ({"PULUMI_BACKEND_URL": "file:///nowhere"}, "unable to open state directory"),
    "login": ({"PULUMI_BACKEND_URL": "https://127.0.0.1:1"}, "not logged in to a backend"),
    "path": ({"PATH": "/nowhere"}, "the command pulumi is not on PATH"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_pulumi_refuses_has_its_own_message(one, name):
    """A wrong passphrase, backend, login or PATH is one message with a hint, and exit code 2."""
    environment, words = REFUSALS[name]
    program = [sys.executable, "-m", "mailcrypt_component.cli", "status", "--stack", one.name]
    done = command(one, shlex.join(program), **environment)
    assert done.returncode == 2
    assert words in done.stderr
    assert hint_of(done)


def test_without_a_passphrase_the_message_asks_for_one(one):
    """A passphrase that is not set is told from a wrong one."""
    environment = {k: v for k, v in one.environment.items() if k != "PULUMI_CONFIG_PASSPHRASE"}
    line = ["mailcrypt", "verify", "--stack", one.name]
    done = subprocess.run(
        line, cwd=one.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "none is set" in done.stderr


def test_another_stack_or_folder_has_its_own_message(one, tmp_path):
    """A stack that is not there, and a folder without a project, are told apart."""
    done = command(one, "mailcrypt verify --stack nosuch")
    assert done.returncode == 2
    assert "there is no such stack" in done.stderr
    line = ["mailcrypt", "verify", "--stack", one.name]
    done = subprocess.run(
        line, cwd=tmp_path, env=one.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no Pulumi.yaml" in done.stderr
    full = f"organization/{one.project}/{one.name}"
    done = subprocess.run(
        ["mailcrypt", "status", "--stack", full],
        cwd=tmp_path,
        env=one.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def locked(stack):
    """Start an update, kill it as soon as it holds its lock, and return the lock."""
    line = ["pulumi", "up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name]
    with subprocess.Popen(
        line, cwd=stack.folder, env=stack.environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 30
        while not (found := list((stack.folder / "backend/.pulumi/locks").rglob("*.json"))):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    return found[0]


@pytest.mark.long
def test_the_lock_of_a_killed_update_is_removed_and_the_next_update_runs(one):
    """The lock's holder has ended on this host: the lock goes, and it is said."""
    lock = locked(one)
    assert "locked" in one.pulumi("up", "--yes", "--skip-preview", "--stack", one.name).stdout
    program = [sys.executable, "-m", "mailcrypt_component.cli.stale_lock", one.name]
    done = command(one, shlex.join(program))
    assert done.returncode == 0
    assert "removed the stale lock" in done.stderr
    assert not lock.exists()
    one.green()


@pytest.mark.long
def test_the_lock_of_another_host_names_the_command_that_removes_it(one):
    """Nothing is known of the holder: the lock stays, and the printed command removes it."""
    lock = locked(one)
    facts = {**json.loads(lock.read_text()), "hostname": f"not-{socket.gethostname()}"}
    lock.write_text(json.dumps(facts))
    program = [sys.executable, "-m", "mailcrypt_component.cli.stale_lock", one.name]
    done = command(one, shlex.join(program))
    assert done.returncode == 1
    assert lock.exists()
    cancelled = command(one, hint_of(done).rpartition(": ")[2])
    assert cancelled.returncode == 0, cancelled.stderr
    one.green()


@pytest.mark.long
def test_a_key_file_that_was_lost_in_the_container_is_brought_back(one):
    """With custody on disk, a lost file is found before the next restart makes it a failure."""
    one.green(keyCustody="disk")
    one.save("kept through the repair")
    one.run("rm /certs/k1.pem")
    done = command(one, f"mailcrypt repair --stack {one.name} --yes")
    assert "missing: /certs/k1.pem" in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    one.run("test -s /certs/k1.pem")
    assert one.mailcrypt("status").returncode == 0
    assert "kept through the repair" in one.read_all()


# --- two servers in one stack, of a program that exports nothing -----------------------------


@pytest.fixture(scope="module")
def pair(make_stack, tmp_path_factory):
    """Two servers in one stack; the program has no outputs."""
    project = Path(tmp_path_factory.mktemp("pair-project"))
    (project / "__main__.py").write_text(PROGRAM)
    (project / "Pulumi.yaml").write_text(PROJECT)
    stack = make_stack("pair", project=project)
    stack.green()
    return stack


@pytest.mark.long
def test_every_command_works_on_a_server_that_is_chosen_by_name(pair, tmp_path):
    """The program exports nothing; each command finds the server in the state."""
    assert pair.outputs() == {}
    server = ("--server", "second")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    ring, chosen = tmp_path / "ring.txt", ["--passphrase-file", str(passphrase)]
    assert json.loads(pair.mailcrypt("status", "--json", *server).stdout)["server"]["name"] == (
        "second"
    )
    container = f"second-{pair.name}"
    argv = ["docker", "exec", "-i", container, "doveadm", "save", "-u", "user@example.test"]
    subprocess.run(argv, input="Subject: x\n\nx\n", text=True, check=True)
    calls = [
        ("verify", "--json"),
        ("audit", "--json"),
        ("escrow", "--json", "--out", str(ring), *chosen),
        ("drill", "--json", "--escrow", str(ring), *chosen),
        ("encrypt", "--json"),
        ("exposure", "--json"),
    ]
    for name, *argv in calls:
        done = pair.mailcrypt(name, *argv, *server)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    other = pair.mailcrypt("drill", "--escrow", str(ring), *chosen, "--server", "first")
    assert "no encrypted mail is stored" in other.stdout, other.stdout + other.stderr


@pytest.mark.long
def test_without_a_name_the_hint_chooses_one(pair):
    """The servers are named, and the hint's option works."""
    done = pair.verify()
    assert done.returncode == 2
    assert "one of first, second" in done.stderr
    option = hint_of(done).removeprefix("choose one: ")
    assert pair.verify(*shlex.split(option)).returncode == 0


@pytest.mark.long
def test_the_private_keys_in_the_state_are_encrypted(pair):
    """What the key rings register for the commands is a secret in the stored state."""
    stored = b"".join(
        path.read_bytes() for path in (pair.folder / "backend").rglob("*") if path.is_file()
    )
    assert b"privateKeys" in stored
    assert b"PRIVATE KEY" not in stored
