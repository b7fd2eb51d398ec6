"""The parts of the commands: the state's reader, the judgement, recorded verdicts, locks."""

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mailcrypt_component.checks.server_state import ServerState
from mailcrypt_component.checks.verdict import LastVerdict, Verdict, read_verdict
from mailcrypt_component.cli import COMMANDS, main, summary
from mailcrypt_component.cli.ring import private_keys
from mailcrypt_component.cli.stack_state import StackState, clear, deployed_server
from mailcrypt_component.cli.stale_lock import remove_stale_locks
from mailcrypt_component.cli.status import Status, StoredMail, as_dict, duration
from mailcrypt_component.model.errors import KeyFault, MailCryptError, UnreachableError
from mailcrypt_component.store.audit import State
from tests.states import FACTS, KEY_ID, SECRET, key_ring, secret, server
from tests.store import Key, valid

STARTED = "2026-11-26T01:00:00.5Z"
KEY = Key()
STACK_COMMANDS = ("status", "verify", "repair", "audit", "escrow", "drill", "encrypt")


def state(*resources):
    return StackState("dev", resources)


@pytest.fixture
def pulumi(tmp_path, monkeypatch):
    """Put a pulumi on PATH that prints what a test wants, in the form of the real one."""

    def install(stdout="", stderr="", code=0):
        (tmp_path / "out").write_text(stdout)
        (tmp_path / "err").write_text(stderr)
        script = f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/err >&2\nexit {code}\n"
        (tmp_path / "pulumi").write_text(script)
        (tmp_path / "pulumi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


@pytest.fixture
def run(tmp_path):
    """Run a command on a stack, with its other required arguments."""
    (tmp_path / "key.pem").write_text(KEY.pem)
    needed = {"escrow": ["--out", "x"], "drill": ["--escrow", str(tmp_path / "key.pem")]}

    def run(command, *argv):
        more = [*needed.get(command, []), *argv]
        return CliRunner().invoke(main, [command, "--stack", "dev", *more])

    return run


# --- what stands in the state ---------------------------------------------------------------


def test_the_only_server_needs_no_name():
    """A stack with one server is read without --server, and each field has its value."""
    found = state(server()).server(None)
    assert (found.name, found.container_name, found.mail) == ("mail", "mail-dev", "mail-dev-mail")
    assert found.target.key_id == KEY_ID
    assert found.command("verify") == "mailcrypt verify --stack dev"


def test_one_of_several_servers_is_chosen_by_name():
    """With several servers --server chooses, and hints repeat it."""
    found = state(server("a"), server("b")).server("b")
    assert found.name == "b"
    assert found.command("verify") == "mailcrypt verify --stack dev --server b"


def test_servers_of_the_same_name_are_distinguished_by_urn():
    """Two components may each contain a server of one name; the URN still selects one."""
    both = state(server(parent="one"), server(parent="two"))
    with pytest.raises(MailCryptError, match="one of urn:") as caught:
        both.server("mail")
    assert "one$" in str(caught.value)
    urn = server(parent="two")["urn"]
    assert both.server(urn).urn == urn


@pytest.mark.parametrize(
    ("resources", "name", "words"),
    [
        ([], None, "nothing is deployed in it"),
        ([{"type": "random", "urn": "a::b"}], None, "it holds no mail server"),
        ([server("a"), server("b")], None, "--server a"),
        ([server("a")], "c", "one of a"),
        ([server(facts=None)], None, "pulumi up --stack dev"),
        ([server(facts={"container": "c"})], None, "another version"),
    ],
)
def test_a_state_without_the_server_has_a_message_of_its_own(resources, name, words):
    """Each state in which no server can be chosen is reported differently."""
    with pytest.raises(MailCryptError, match=words):
        state(*resources).server(name)


def test_a_secret_that_was_not_decrypted_is_no_value():
    """A value that Pulumi did not decrypt is never used."""
    assert clear({SECRET: "1b47", "ciphertext": "v1:x"}) is None
    assert clear(secret([1])) == [1]
    assert clear("plain") == "plain"


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("error: no stack named 'dev' found", "pulumi stack ls --all"),
        ("error: if you're using the --stack flag, pass the fully qualified name", "Pulumi.yaml"),
        ("error: no Pulumi.yaml project file found; either run this", "go to the project's"),
        ("error: PULUMI_ACCESS_TOKEN must be set for login", "pulumi login"),
        ("error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE", "none is set"),
        ("error: failed to decrypt: incorrect passphrase", "does not decrypt"),
        ("error: unable to open state directory", "unable to open state directory"),
        ("", "pulumi ended without a word"),
    ],
)
@pytest.mark.parametrize("command", STACK_COMMANDS)
def test_every_command_reports_why_pulumi_refused(pulumi, run, command, stderr, words):
    """A wrong stack, folder, login or passphrase is a message with a hint, and exit code 2."""
    pulumi(stderr=stderr, code=1)
    done = run(command)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "hint: " in done.stderr
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("command", STACK_COMMANDS)
def test_every_command_asks_for_one_of_several_servers(pulumi, run, command):
    """Without --server a stack of two servers is refused, and both are named."""
    resources = [server("first"), server("second")]
    pulumi(stdout=json.dumps({"deployment": {"resources": resources}}))
    done = run(command)
    assert done.exit_code == 2
    assert "one of first, second" in done.stderr
    done = run(command, "--server", "third")
    assert done.exit_code == 2
    assert "it holds no mail server third" in done.stderr


def test_a_missing_pulumi_is_named(monkeypatch, tmp_path):
    """Without pulumi on PATH the message says how to install it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match="not on PATH"):
        deployed_server("dev", None)


@pytest.mark.parametrize("command", ["audit", "drill", "encrypt"])
def test_a_server_needs_its_stack(command):
    """--server with a path instead of a stack is a usage error."""
    more = ["--escrow", "x"] if command == "drill" else []
    done = CliRunner().invoke(main, [command, "/nowhere", "--server", "a", *more])
    assert done.exit_code == 2
    assert "--server needs --stack" in done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_documents_its_exit_codes(command):
    """The help of every command ends with its exit codes."""
    assert "Exit codes:" in CliRunner().invoke(main, [command, "--help"]).output


# --- keys ------------------------------------------------------------------------------------


def ring(*pems):
    return key_ring([{"name": f"k{number}", "pem": pem} for number, pem in enumerate(pems, 1)])


def test_the_keys_are_those_of_the_servers_own_ring():
    """The ring is found as the server's child and compared with the declared key ids."""
    key = KEY
    found = state(server(facts={**FACTS, "keyIds": [key.id]}), ring(key.pem))
    assert [one.key_id for one in private_keys(found, found.server(None))] == [key.id]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ([], "the private keys in the state are none"),
        ([ring(None)], "key k1 is empty"),
        ([ring("  ")], "key k1 is empty"),
        ([{**ring(KEY.pem), "parent": "another"}], "are none"),
        ([ring(KEY.pem)], "those of the key ring"),
    ],
)
def test_keys_that_are_not_the_declared_ones_are_refused(resources, words):
    """No key, an empty one, another server's and an undeclared one are each refused."""
    found = state(server(), *resources)
    with pytest.raises(KeyFault, match=words):
        private_keys(found, found.server(None))


# --- status ----------------------------------------------------------------------------------


def container(started=STARTED):
    return SimpleNamespace(id="c" * 64, name="mail-dev", attrs={"State": {"StartedAt": started}})


def running(status="running", health="healthy"):
    return ServerState(container(), status, health, 0.0)


def last(verdict=Verdict.PROVEN, started=STARTED, key_id=KEY_ID, locked=False):
    return LastVerdict(verdict, 0.0, "c" * 64, started, key_id, locked)


def look(now=None, verdict=None, mail=None, locked=False):
    return Status(state(server()).server(None), now, locked, verdict, mail)


PROVEN, NOT_PROVEN, NOT_KNOWN = Verdict.PROVEN, Verdict.NOT_PROVEN, Verdict.NOT_KNOWN


@pytest.mark.parametrize(
    ("found", "verdict", "commands"),
    [
        (look(running(), last()), PROVEN, ()),
        (look(running(health="none"), last()), PROVEN, ()),
        (look(None, last()), NOT_KNOWN, ("repair",)),
        (look(running("exited"), last()), NOT_PROVEN, ("repair",)),
        (look(running("restarting"), last()), NOT_PROVEN, ("repair",)),
        (look(running(), None), NOT_KNOWN, ("verify",)),
        (look(running(), last(started="earlier")), NOT_KNOWN, ("verify",)),
        (look(running(), last(key_id="b" * 64)), NOT_KNOWN, ("verify",)),
        (look(running(), last(NOT_PROVEN)), NOT_PROVEN, ("verify",)),
        (look(running(), last(NOT_KNOWN)), NOT_KNOWN, ("verify",)),
        (look(running(health="unhealthy"), last()), NOT_KNOWN, ("verify",)),
        (look(running(), last(), locked=True), PROVEN, ("unlock",)),
        (look(running(), last(locked=True), locked=True), PROVEN, ("unlock",)),
        (look(running(), last(locked=True), locked=False), NOT_KNOWN, ("verify",)),
        (look(running(), last(), StoredMail({State.CLEAR: 1}, True)), PROVEN, ("encrypt",)),
        (look(running(), last(), StoredMail({State.UNKNOWN: 1}, True)), PROVEN, ("audit",)),
    ],
)
def test_only_a_server_that_was_proven_since_its_start_counts_as_proven(found, verdict, commands):
    """Any event since the last proof revokes the verdict, and the message says what to do."""
    judgement = found.judge()
    assert (judgement.verdict, judgement.next) == (verdict, commands)
    valid(json.dumps(as_dict(found)), "status")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 seconds"), (1, "1 second"), (60, "1 minute"), (7300, "2 hours"), (9e4, "1 day")],
)
def test_a_span_of_time_is_in_its_largest_unit(seconds, words):
    """Numbers and nouns agree."""
    assert duration(seconds) == words


def packed(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("verdict.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


VERDICT = json.dumps(
    {"verdict": "proven", "at": 1, "container": "c", "started": "s", "keyId": "k", "locked": True}
).encode()


def test_a_recorded_verdict_is_read():
    """The file that the proof writes is read back unchanged."""
    assert read_verdict(packed(VERDICT)) == LastVerdict(
        Verdict.PROVEN, 1.0, "c", "s", "k", locked=True
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"garbage",
        packed(b""),
        packed(b"[]"),
        packed(VERDICT.replace(b"proven", b"fine")),
        *(packed(VERDICT[:end]) for end in range(len(VERDICT))),
    ],
)
def test_a_file_that_is_no_verdict_is_none(bad):
    """Garbage, a truncated file and an unknown verdict never count as a proof."""
    assert read_verdict(bad) is None


# --- summary ---------------------------------------------------------------------------------


@pytest.fixture
def summarised(monkeypatch, capsys):
    """Print the summary of a server in a given condition; return exit code and output."""

    def summarise(found):
        monkeypatch.setattr(summary, "read_state", lambda *_: state(server()))
        monkeypatch.setattr(summary, "look", lambda *_, **__: found)
        monkeypatch.setattr(summary, "_exposed", lambda _: ["  exposure    none"])
        code = 0
        try:
            summary.main("dev")
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return summarise


def test_the_summary_calls_a_server_proven_that_is(summarised):
    """A server that runs and was proven since its start gets the summary, without a secret."""
    code, printed = summarised(look(running(), last()))
    assert code == 0
    assert "A proven, encrypted mail server is up." in printed
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (look(None, last()), "make repair STACK=dev"),
        (look(running("exited"), last()), "make repair STACK=dev"),
        (look(running(), last(started="earlier")), "make verify STACK=dev"),
        (look(running(), last(NOT_PROVEN)), "make verify STACK=dev"),
    ],
)
def test_the_summary_never_calls_a_server_proven_that_is_not(summarised, found, hint):
    """A removed, stopped, restarted or refuted server fails, with the command that helps."""
    code, printed = summarised(found)
    assert code == 1
    assert "A proven" not in printed
    assert hint in printed


# --- locks -----------------------------------------------------------------------------------


@pytest.fixture
def lock(tmp_path):
    """Write a lock file as Pulumi does; return a function that removes the stale ones."""
    folder = tmp_path / ".pulumi/locks/organization/mailcrypt/dev"
    folder.mkdir(parents=True)

    def put(pid=1, host=None, text=None):
        facts = {
            "pid": pid,
            "username": "root",
            "hostname": host or socket.gethostname(),
            "timestamp": "2026-11-26T01:14:44Z",
        }
        (folder / "one.json").write_text(json.dumps(facts) if text is None else text)
        (folder / "one.json.attrs").write_text("{}")
        return folder

    return put


def ended_process():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def remove(folder, backend=None):
    return remove_stale_locks(backend or f"file://{folder.parents[4]}", "mailcrypt", "dev")


def test_the_lock_of_a_process_that_has_ended_is_removed(lock):
    """The lock of a killed update is removed and reported, together with the file next to it."""
    folder = lock(ended_process())
    assert [one.user for one in remove(folder)] == ["root"]
    assert list(folder.iterdir()) == []


def test_the_lock_of_another_program_with_the_same_process_id_is_removed(lock):
    """A process id that another program has received since does not keep the lock."""
    assert remove(lock(os.getpid()))


def test_the_lock_of_a_running_update_stays(lock, tmp_path):
    """The lock belongs to the update while a pulumi with this process id runs."""
    fake = tmp_path / "pulumi"
    fake.symlink_to(sys.executable)
    argv = [fake, "-c", "print(flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline(), "it runs, so the kernel has given it its new name"
        folder = lock(process.pid)
        with pytest.raises(UnreachableError, match=f"process {process.pid} of root"):
            remove(folder)
        process.kill()
    assert (folder / "one.json").exists()


def test_the_lock_of_another_host_stays_with_the_command_that_removes_it(lock):
    """The processes of another host cannot be checked, so a person decides."""
    folder = lock(ended_process(), host="elsewhere")
    with pytest.raises(UnreachableError, match="pulumi cancel --yes --stack dev"):
        remove(folder)
    assert (folder / "one.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}'])
def test_a_lock_that_cannot_be_read_stays(lock, text):
    """A file that is not in Pulumi's format is never removed."""
    folder = lock(text=text)
    with pytest.raises(UnreachableError, match="not a lock as Pulumi writes it"):
        remove(folder)
    assert (folder / "one.json").exists()


def test_a_backend_that_is_not_of_files_has_no_such_locks(lock):
    """A service or a bucket keeps its own locks."""
    assert remove(lock(ended_process()), "https://api.pulumi.com") == []
