"""A server's life on the real engine: up, nothing, edits, secrets, sabotage."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.checks.proof.run import verify
from mailcrypt_component.checks.proof.target import target_of
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH
from tests.sabotage import CHECKS
from tests.stacks import MARK, PASSPHRASE, changed
from tests.store import valid

PROBE_MAILS = "cd /var/mail/example.test/mailcrypt-probe; find . -path '*/cur/*' -o -path '*/new/*'"

HOLDER = f"{MARK}-holder"

HANGS = 30
"""Seconds after which a proof with a deadline of 4 s hangs, on a busy machine too."""

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(make_stack):
    """A server on Debian 13 (Dovecot 2.4) that a green up has made."""
    stack = make_stack(
        "life",
        image="mailcrypt-dms-dev:13",
        dialect="2.4",
        ports={"imap": "127.0.0.1:21431"},
        tls={"mode": "self-signed"},
    )
    printed = stack.green()
    assert "mailcrypt-proof: proven" in printed
    stack.save("stored before every edit")
    return stack


def test_a_second_up_changes_nothing_and_runs_no_gate(stack):
    """Nothing is compared twice when nothing has changed."""
    before = stack.container_id()
    printed = stack.green()
    assert "mailcrypt-proof" not in printed
    assert changed(printed) == set()
    assert "unchanged" in printed
    assert stack.container_id() == before


PARENT = "mailcrypt:index:MailCryptServer"
FROZEN = {
    f"{PARENT}$mailcrypt:index:KeyRing$tls:index/privateKey:PrivateKey::mailcrypt-ring-k1",
    f"{PARENT}$docker:index/volume:Volume::mailcrypt-mail",
    f"{PARENT}$docker:index/volume:Volume::mailcrypt-state",
    f"{PARENT}$docker:index/volume:Volume::mailcrypt-logs",
    f"{PARENT}$docker:index/volume:Volume::mailcrypt-config",
    f"{PARENT}$pulumi:index:Stash::mailcrypt-probe-password",
}


def test_the_urns_of_what_must_not_be_made_anew_are_frozen(stack):
    """A new URN is a new key or a new, empty volume; a rename needs an alias."""
    resources = json.loads(stack.state())["deployment"]["resources"]
    prefix = f"urn:pulumi:{stack.name}::mailcrypt::"
    assert {resource["urn"].removeprefix(prefix) for resource in resources} >= FROZEN


def test_the_private_key_is_nowhere_but_in_its_file(stack):
    """Not in the state in clear, a preview, a log, docker inspect or the environment."""
    secrets = [stack.outputs()["accountPasswords"]["user@example.test"]]
    for resource in stack.secrets():
        pem = resource.get("outputs", {}).get("privateKeyPemPkcs8", {})
        if "plaintext" in pem:
            secrets.append(pem["plaintext"].strip('"').split("\\n")[1])
    assert len(secrets) == 3, "the ring's key, the certificate's key and a password"
    places = {
        "state": stack.state(),
        "preview": stack.preview(),
        "docker inspect": stack.docker("inspect", stack.container),
        "docker logs": subprocess.run(
            ["docker", "logs", stack.container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout,
        "environment": stack.run("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; env"),
        "mail log": stack.run("cat /var/log/mail/mail.log"),
        "image": stack.docker("history", "--no-trunc", "mailcrypt-dms-dev:13"),
    }
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, f"a secret is in the {place}"


def test_the_private_key_file_is_0600_root(stack):
    """With either provider only root can read it."""
    assert stack.run("stat -c '%a %U:%G' /certs/k1.pem").strip() == "600 root:root"


def test_an_added_account_changes_the_accounts_only(stack):
    """The server goes on running; the one added by hand and the new one can log in."""
    before = stack.container_id()
    stack.run("setup email add hand@example.test secret-of-hand")
    accounts = [
        {"address": "user@example.test"},
        {"address": "new@example.test", "password": "secret-of-new"},
    ]
    assert changed(stack.green(accounts=accounts)) == {"mailcrypt-accounts"}
    assert stack.container_id() == before
    wait = "for i in $(seq 100); do {} && exit 0; sleep 0.1; done; exit 1"
    stack.run(wait.format("doveadm auth test new@example.test secret-of-new >/dev/null 2>&1"))
    stack.run(wait.format("doveadm auth test hand@example.test secret-of-hand >/dev/null 2>&1"))


def test_an_environment_edit_replaces_the_server_and_proves_it(stack):
    """Exactly the server and its proof change, and stored mail is still readable."""
    printed = stack.green(environment={"LOG_LEVEL": "debug"})
    assert changed(printed) == {"mailcrypt-preflight", "mailcrypt-server", "mailcrypt-proof"}
    assert "stored before every edit" in stack.read_all()


@pytest.mark.long
def test_a_port_edit_asks_the_preflight(stack):
    """A new port is tried before the server is touched."""
    printed = stack.green(ports={"imap": "127.0.0.1:21432"})
    assert changed(printed) == {"mailcrypt-preflight", "mailcrypt-server", "mailcrypt-proof"}
    assert "stored before every edit" in stack.read_all()


@pytest.mark.long
def test_a_file_that_switches_mail_crypt_off_stops_at_preflight(stack, tmp_path):
    """The running server is not touched, twice; taking the file away is green at once."""
    before = stack.container_id()
    off = tmp_path / "99-off.conf"
    off.write_text("protocol lmtp {\n  mail_plugins {\n    mail_crypt = no\n  }\n}\n")
    off.chmod(0o644)
    mount = {"source": str(off), "target": "/etc/dovecot/conf.d/99-off.conf"}
    for _ in range(2):
        printed = stack.red(mounts=[mount])
        assert "mail_crypt is not loaded by lmtp" in printed
        assert stack.container_id() == before
    stack.green(mounts=None)
    assert stack.container_id() == before


@pytest.mark.long
def test_a_configuration_that_does_not_load_stops_at_preflight(stack, tmp_path):
    """Dovecot's own words reach the user."""
    before = stack.container_id()
    bad = tmp_path / "99-bad.conf"
    bad.write_text("no_such_setting_at_all = 1\n")
    bad.chmod(0o644)
    printed = stack.red(mounts=[{"source": str(bad), "target": "/etc/dovecot/conf.d/99-bad.conf"}])
    assert "no_such_setting_at_all" in printed
    assert stack.container_id() == before
    stack.green(mounts=None)


@pytest.mark.long
def test_an_image_of_the_other_dialect_stops_at_preflight(stack):
    """A statement that contradicts the image is an error, and the server runs on."""
    before = stack.container_id()
    printed = stack.red(image="mailcrypt-dms-dev:12")
    assert "the image contains Dovecot 2.3" in printed
    assert stack.container_id() == before
    stack.green(image="mailcrypt-dms-dev:13")
    assert stack.container_id() == before


@pytest.mark.long
def test_a_port_in_use_stops_at_preflight(stack):
    """The message names the port, and the server runs on."""
    before = stack.container_id()
    holder = ["docker", "run", "-d", "--rm", "--name", HOLDER, "-p", "127.0.0.1:21439:1"]
    subprocess.run(
        [*holder, "--entrypoint", "sleep", "mailcrypt-dms-dev:13", "300"],
        check=True,
        capture_output=True,
    )
    try:
        printed = stack.red(ports={"imap": "127.0.0.1:21439"})
    finally:
        subprocess.run(["docker", "rm", "-f", HOLDER], check=True, capture_output=True)
    assert "21439" in printed
    assert "already allocated" in printed
    assert stack.container_id() == before
    stack.green(ports={"imap": "127.0.0.1:21432"})


@pytest.mark.long
def test_storing_in_clear_keeps_the_proof_red_until_it_is_mended(stack):
    """What preflight cannot foresee, the proof sees: red, red again, then green."""
    config = "/tmp/docker-mailserver"
    patch = "sed -i s/mail_crypt.=.yes/mail_crypt=no/ /etc/dovecot/conf.d/10-custom.conf\n"
    stack.run(f"cat > {config}/user-patches.sh", stdin=patch)
    printed = stack.red(environment={"LOG_LEVEL": "info"}, stopUnproven=False)
    assert "mail_crypt is not loaded by" in printed
    assert "mail_crypt is not loaded by" in stack.red()
    verdict = stack.verify()
    assert verdict.returncode in {1, 2}, "an unproven server is never called proven"
    stack.run(f"rm {config}/user-patches.sh")
    stack.green(environment=None, stopUnproven=None)
    assert "stored before every edit" in stack.read_all()


def test_verify_proves_again_and_leaves_nothing_behind(stack):
    """Exit 0 with its evidence, in words and as JSON; no mail stays in any mailbox."""
    sizes = f"du -sb /var/mail/example.test/user; {PROBE_MAILS}"
    before = stack.run(sizes)
    shown = stack.verify()
    assert shown.returncode == 0, shown.stderr
    assert "proven: mail is encrypted to key" in shown.stdout
    evidence = valid(stack.verify("--json").stdout, "verify")
    assert evidence["verdict"] == "proven"
    assert [check["name"] for check in evidence["checks"]] == CHECKS
    assert stack.run(sizes) == before


def test_a_catch_all_takes_no_probe_mail(stack):
    """Postfix asks its aliases first; the probe is its own, whatever somebody adds later."""
    folder = "/var/mail/example.test/user"
    count = f"find {folder} -path '*/cur/*' -o -path '*/new/*' | wc -l"
    before, aliases = stack.run(count), "/tmp/docker-mailserver/postfix-virtual.cf"
    stack.run(
        f"echo '@example.test user@example.test' >>{aliases}; "
        "until grep -q ^@example.test /etc/postfix/virtual; do sleep 0.2; done; postfix reload"
    )
    try:
        assert stack.verify().returncode == 0
        stack.run("printf 'Subject: x\\n\\nx\\n' | sendmail nobody@example.test")
        arrived = f'until [ "$({count})" -gt {int(before)} ]; do sleep 0.2; done; {count}'
        assert int(stack.run(arrived)) == int(before) + 1, "the probe's mail came to another user"
    finally:
        stack.run(f"sed -i /^@example.test/d {aliases}")


def test_exposure_says_what_whoever_takes_the_disk_can_read(stack):
    """In words and as JSON, from the running server as it is."""
    shown = stack.mailcrypt("exposure")
    assert shown.returncode == 0, shown.stderr
    found = valid(stack.mailcrypt("exposure", "--json").stdout, "exposure")
    exposed = {finding["part"]: finding["exposed"] for finding in found["findings"]}
    assert exposed["private key"] == "nothing"
    assert exposed["index cache"] == "nothing"
    assert exposed["temporary files"] == "nothing"
    assert exposed["mail"] == "metadata"
    assert exposed["Postfix's queue"] == "text"
    assert found["grade"] == "leaking"
    assert stack.mailcrypt("exposure", "--fail-on", "leaking").returncode == 1


def test_verify_says_1_where_the_public_key_is_another(stack):
    """Mail that nobody can read is found out, and the mended server is proven again."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    foreign = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    stack.run(f"cp {PUBLIC_KEY_PATH} /root/kept && cat > {PUBLIC_KEY_PATH}", stdin=foreign)
    stack.run("doveadm reload && sleep 1")
    failed = stack.verify("--json")
    stack.run(f"cat /root/kept > {PUBLIC_KEY_PATH} && doveadm reload && sleep 1")
    assert failed.returncode == 1
    told = valid(failed.stdout, "verify")
    assert told["found"].startswith("encrypted to ")
    assert [held["name"] for held in told["checks"]] == ["server", "configuration", "delivery"]
    assert stack.verify().returncode == 0


def test_verify_says_2_where_it_cannot_find_out(stack):
    """A server that does not run is neither proven nor refuted; a paused stack is no verdict."""
    stack.docker("rename", stack.container, f"{stack.container}-away")
    try:
        gone = stack.verify()
    finally:
        stack.docker("rename", f"{stack.container}-away", stack.container)
    assert gone.returncode == 0, "the id is what counts, not the name"
    stack.environment["PULUMI_CONFIG_PASSPHRASE"], kept = "wrong", PASSPHRASE
    try:
        assert stack.verify().returncode == 2
    finally:
        stack.environment["PULUMI_CONFIG_PASSPHRASE"] = kept


@pytest.mark.parametrize(
    "frozen",
    ["qmgr", *(pytest.param(name, marks=pytest.mark.long) for name in ("dovecot", "auth"))],
)
def test_a_proof_ends_with_its_deadline(stack, frozen):
    """Whoever hangs: the proof does not, and says what was waited for."""
    target = target_of(json.loads(stack.outputs()["verifyTarget"]))
    stack.run(f"pkill -STOP -x {frozen}")
    start = time.monotonic()
    try:
        with pytest.raises(UnreachableError, match=r"deadline of 4 s|did not end within") as told:
            verify(replace(target, deadline=4.0))
    finally:
        took = time.monotonic() - start
        stack.run(f"pkill -CONT -x {frozen}")
    assert took < HANGS, told.value
    assert "another proof" not in str(told.value)
    assert "the lock of the proof" not in str(told.value)
    assert stack.verify().returncode == 0


@pytest.mark.long
def test_proofs_at_once_wait_for_each_other(stack):
    """Each empties the probe's mailbox, so none may run into another."""
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: stack.verify(), range(3)))
    assert [done.returncode for done in found] == [0, 0, 0], found


def test_a_killed_proof_leaves_nothing_that_the_next_does_not_clean(stack):
    """SIGKILL at any moment; afterwards the probe's mailbox is empty."""
    for delay in (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0, 1.2):
        argv = ["mailcrypt", "verify", "--stack", stack.name]
        running = subprocess.Popen(
            argv,
            cwd=stack.folder,
            env=stack.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    assert stack.verify().returncode == 0
    assert stack.run(PROBE_MAILS) == ""


@pytest.mark.long
def test_a_server_that_crashed_comes_back(stack):
    """As after a power cut: the processes are gone, and what they have left lies there."""
    stack.docker("kill", "--signal", "KILL", stack.container)
    stack.docker("start", stack.container)
    assert stack.verify().returncode == 0
    assert "stored before every edit" in stack.read_all()


BAD = {
    "unknown setting": ({"imagee": "x"}, "imagee: unknown setting"),
    "hostname": ({"hostname": "mail"}, "hostname: 'mail'"),
    "no account": ({"accounts": []}, "accounts: no account"),
    "empty key": ({"keys": [{"name": "k1", "pem": ""}]}, "keys[k1].pem: an empty text"),
    "no engine": ({"dockerHost": "tcp://127.0.0.1:1"}, "no Docker engine answers"),
    "no image": ({"image": "mailcrypt-no-such-image:1"}, "mailcrypt-no-such-image"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_clear_message_and_changes_nothing(stack, change, words):
    """The running server stays, and the message names the setting."""
    before, kept = stack.container_id(), dict(stack.config)
    assert words in stack.red(**change)
    assert stack.container_id() == before
    stack.configure(**{name: kept.get(name) for name in change})
