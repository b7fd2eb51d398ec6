"""What would not work never touches the running server, on the real engine."""

import subprocess

import pytest

from tests.certificates import pair
from tests.stacks import MARK, Stack

pytestmark = pytest.mark.engine

HOST = "mail.example.test"
BODY = "stored before every edit"


@pytest.fixture(scope="module")
def stack(make_stack):
    """A server with one stored mail, whose key ring can be changed."""
    stack = make_stack(
        "preflight",
        image="mailcrypt-dms-dev:13",
        dialect="2.4",
        ports={"imap": "127.0.0.1:21441"},
        tls={"mode": "self-signed"},
    )
    stack.green()
    stack.save(BODY)
    return stack


@pytest.fixture(scope="module")
def taken():
    """A container that holds a port of the host."""
    name = f"{MARK}-preflight-taken"
    run = ["docker", "run", "-d", "--name", name, "-p", "127.0.0.1:21442:1", "--entrypoint"]
    subprocess.run([*run, "sleep", "mailcrypt-dms-dev:13", "600"], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


# Each kind is tried without Pulumi in tests/server/test_preflight_plans.py.
REFUSED = {
    "a typo in network": ({"network": "webmial"}, "network: the network webmial does not exist"),
    "a host name that is longer than the kernel allows": (
        {"hostname": f"{'m' * 60}.example.test"},
        "hostname",
    ),
    "a port that another container holds": (
        {"ports": {"imap": "127.0.0.1:21442"}},
        "ports 127.0.0.1:21442: ",
    ),
    "letsencrypt without certificates": (
        {"environment": {"SSL_TYPE": "letsencrypt"}, "tls": {"mode": "dms"}},
        f"/etc/letsencrypt/live/{HOST}/fullchain.pem",
    ),
    "a certificate with another key": (
        {"tls": {"mode": "provided", "certificate": pair()[0], "privateKey": pair()[1]}},
        "tls: the private key does not belong to the first certificate of the chain",
    ),
    "a made key that is replaced by another PEM": (
        {"keys": [{"name": "k1", "pem": pair()[1]}]},
        "1 mail is encrypted to key",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_not_work_leaves_the_server_running(stack, taken, change, words):
    """Preflight names the setting and the next command; the same container goes on."""
    before, settings = stack.container_id(), dict(stack.config)
    printed = stack.red(**change)
    stack.config = settings
    assert words in printed
    assert "expected: " in printed
    assert "hint: " in printed
    assert stack.container_id() == before
    assert BODY in stack.read_all()
    done = stack.verify()
    assert done.returncode == 0, done.stderr


NOT_MADE = {
    "an image that nobody has": {"image": "mailcrypt-dms-dev:99"},
    "a host name and a typo": {"hostname": "mx.example.test", "network": "webmial"},
    "a further key and a typo": {"keys": [{"name": "k2"}, {"name": "k1"}], "network": "webmial"},
}


@pytest.mark.parametrize("change", NOT_MADE.values(), ids=NOT_MADE.keys())
def test_after_an_update_that_failed_the_commands_see_the_server_that_runs(stack, change):
    """It can be verified, locked and unlocked, as if nobody had tried anything else."""
    settings = dict(stack.config)
    stack.red(**change)
    stack.config = settings
    for command in ("verify", "lock", "unlock", "verify"):
        done = stack.mailcrypt(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert BODY in stack.read_all()


@pytest.mark.long
def test_mail_is_not_left_behind_in_another_store(stack, tmp_path):
    """An empty store is refused, a copy with its mark is taken, and so is the way back."""
    tmp_path.chmod(0o755)
    new = tmp_path / "mail"
    new.mkdir()
    before, settings = stack.container_id(), dict(stack.config)
    printed = stack.red(binds={"mail": str(new)})
    assert "in the former mail store" in printed
    assert stack.container_id() == before
    stack.docker(
        "run", "--rm", "--entrypoint", "cp", "-v", f"{stack.container}-mail:/from:ro",
        "-v", f"{new}:/to", "mailcrypt-dms-dev:13", "-a", "/from/.", "/to/",
    )  # fmt: skip
    stack.green(binds={"mail": str(new)})
    assert BODY in stack.read_all()
    stack.config = settings
    stack.green()
    assert BODY in stack.read_all()


@pytest.mark.long
def test_our_own_ports_are_not_taken(stack):
    """All addresses instead of one, in both families, while the running server holds the port."""
    stack.green(ports={"imap": [21441, "127.0.0.1:21443", "[::1]:21443"]})
    shown = stack.docker("port", stack.container, "143/tcp").split()
    assert set(shown) == {"0.0.0.0:21441", "[::]:21441", "127.0.0.1:21443", "[::1]:21443"}
    assert "unchanged" in stack.green()
    stack.green(ports={"imap": "127.0.0.1:21441"})


@pytest.mark.long
def test_stored_mail_is_counted_only_if_keys_or_store_change(stack):
    """A large store is not read again for the sake of a variable."""
    printed = stack.green(environment={"ENABLE_CLAMVA": "0"})
    assert "stored mail was not counted again" in printed
    assert "ENABLE_CLAMVA: docker-mailserver has no such variable" in printed
    assert "did you mean ENABLE_CLAMAV?" in printed
    printed = stack.green(environment={}, keys=[{"name": "k2"}, {"name": "k1"}])
    assert "1 mail is encrypted to the ring" in printed


@pytest.mark.long
def test_a_second_stack_of_the_same_name_is_refused(stack, tmp_path):
    """Its volumes are never the first one's, so its destruction removes nothing."""
    second = Stack(tmp_path, stack.name.removeprefix(f"{MARK}-"))
    second.configure(image="mailcrypt-dms-dev:13", keepMail=False, protect=False)
    before = stack.container_id()
    printed = second.red()
    assert "belongs to another stack of the same name" in printed
    second.pulumi("destroy", "--yes", "--skip-preview", "--stack", second.name, check=True)
    assert stack.container_id() == before
    assert "unchanged" in stack.green()
    assert BODY in stack.read_all()


@pytest.mark.long
def test_a_store_of_another_stack_is_taken_over_only_by_its_mark(stack, make_stack, tmp_path):
    """The refusal prints the command that adopts the store."""
    tmp_path.chmod(0o755)
    store = tmp_path / "mail"
    store.mkdir()
    (store / ".mailcrypt-volume").write_text(
        '{"format": 1, "identity": "00112233aabbccdd", "stack": "elsewhere"}'
    )
    other = make_stack("preflight2", image="mailcrypt-dms-dev:12", binds={"mail": str(store)})
    printed = other.red()
    assert "belongs to the stack elsewhere (mark 00112233aabbccdd)" in printed
    assert "pulumi config set mailcrypt:adoptMail 00112233aabbccdd" in printed
    other.green(adoptMail="00112233aabbccdd")
    assert "unchanged" in other.green()


@pytest.mark.long
def test_a_renamed_stack_keeps_its_mail(stack):
    """The volumes keep their names; only the container gets the new one."""
    old = stack.name
    for name in (f"{old}-new", old):
        stack.pulumi("stack", "rename", name, "--stack", stack.name, check=True)
        stack.name = name
        stack.green()
        assert BODY in stack.read_all()


def in_mail_volume(stack, copies, script):
    """Run a script with the mail volume at /mail and a folder of copies at /copies."""
    mounts = ("-v", f"{stack.container}-mail:/mail", "-v", f"{copies}:/copies")
    argv = ("--rm", *mounts, "--entrypoint", "sh", "mailcrypt-dms-dev:13", "-euc", script)
    stack.docker("run", *argv)


@pytest.mark.long
def test_a_mail_volume_that_was_removed_is_missed(stack, tmp_path):
    """Pulumi makes an empty one of the same name; restored with its mark, it is proven."""
    in_mail_volume(stack, tmp_path, "cp -a /mail/. /copies/")
    stack.docker("rm", "-f", stack.container)
    stack.docker("volume", "rm", f"{stack.container}-mail")
    refresh = ("up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name)
    done = stack.pulumi(*refresh)
    assert done.returncode != 0, done.stdout
    assert "the mail volume is not the one of the last update: it has no mark" in done.stdout
    assert stack.verify().returncode == 1
    in_mail_volume(stack, tmp_path, "cp -a /copies/. /mail/")
    stack.green()
    assert BODY in stack.read_all()


@pytest.mark.long
def test_a_mail_volume_that_was_emptied_is_used_only_if_that_is_declared(stack, tmp_path):
    """The hint's setting marks it anew."""
    in_mail_volume(stack, tmp_path, "find /mail -mindepth 1 -delete")
    done = stack.verify()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pulumi config set mailcrypt:adoptMail unmarked, then pulumi up" in done.stderr
    stack.docker("restart", "-t", "2", stack.container)
    assert "it has no mark" in stack.red()
    stack.green(adoptMail="unmarked")
    stack.green(adoptMail=None)
