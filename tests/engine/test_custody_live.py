"""Custody on real servers: what would bring key or text onto a disk is red, with its cause.

A locked server takes mail and loses none; a server that was deployed with its key in the layer
becomes one in memory by one update.
"""

import imaplib
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailcrypt_component.dialects.dialect import CACHE_DIR
from tests.sabotage import in_volume
from tests.stacks import ALL
from tests.thief.load import NONE, faults, read_load, send_load, wait_for_queue
from tests.thief.mails import ACCOUNTS, USER, imap, install_sieve
from tests.thief.test_thief import IMAGES, ON_DISK, keys_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

V2_3, V2_4 = IMAGES
KEY_ON_DISK = "a private key of the ring lies on a disk"
LOCAL_CONF = "/etc/dovecot/local.conf"
MAILS = 500 if ALL else 40
PATIENCE = 60
"""Seconds after which mail counts as never readable; benchmarks/custody.py times it."""
MAIL = "/var/mail/example.test"


@pytest.fixture(scope="module", params=(V2_3, V2_4) if ALL else (V2_4,))
def stack(request, make_stack):
    """A proven server with two accounts, one of them with a sieve script."""
    dialect = request.param
    name = f"custody{dialect.replace('.', '')}"
    stack = make_stack(name, image=IMAGES[dialect], dialect=dialect, accounts=ACCOUNTS)
    stack.green()
    install_sieve(stack)
    return stack


@pytest.fixture
def key(stack, tmp_path):
    """A file with the private key of the stack's ring."""
    path = tmp_path / "key.pem"
    path.write_text(keys_of(stack)[0])
    return path


def not_proven(stack, *words):
    """Prove the server, which must fail with these words."""
    done = stack.verify()
    assert done.returncode == 1, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def proven(stack):
    """Prove the server, which must succeed."""
    done = stack.verify()
    assert done.returncode == 0, done.stdout + done.stderr


def copied(stack, source, target):
    """Copy a file into the container from outside."""
    stack.docker("cp", str(source), f"{stack.container}:{target}")


# --- what brings the key onto a disk


def test_a_key_in_the_containers_layer_is_found(stack, key):
    """Wherever somebody put it."""
    copied(stack, key, "/root/my-key")
    not_proven(stack, KEY_ON_DISK, "/root/my-key")
    stack.run("rm /root/my-key")
    proven(stack)


def test_a_key_below_a_mount_in_memory_is_found(stack, key):
    """A copy to a path in a tmpfs lands in the layer, where nobody in the container sees it."""
    copied(stack, key, "/var/tmp/hidden.pem")
    assert stack.run("ls /var/tmp") == ""
    not_proven(stack, KEY_ON_DISK, "/var/tmp/hidden.pem")
    upper = stack.docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", stack.container)
    (Path(upper.strip()) / "var/tmp/hidden.pem").unlink()
    proven(stack)


def test_a_key_in_a_volume_is_found(stack, key):
    """Here in the one for the logs."""
    copied(stack, key, "/var/log/mail/key")
    not_proven(stack, KEY_ON_DISK, "/var/log/mail/key")
    stack.run("rm /var/log/mail/key")
    proven(stack)


def test_a_key_in_a_core_dump_is_found(stack, key, tmp_path):
    """In the middle of a large file that holds anything else."""
    dump = tmp_path / "core"
    dump.write_bytes(os.urandom(1 << 20) + key.read_bytes() + os.urandom(1 << 20))
    copied(stack, dump, "/root/core")
    not_proven(stack, KEY_ON_DISK, "/root/core")
    stack.run("rm /root/core")
    proven(stack)


def test_another_servers_key_is_no_fault(stack, tmp_path):
    """A certificate's key, for instance, opens no mail."""
    path = tmp_path / "key.pem"
    path.write_text(new_pem())
    copied(stack, path, "/root/other-key")
    proven(stack)
    stack.run("rm /root/other-key")


# --- what brings text onto a disk


@contextmanager
def configured(stack, text):
    """Let Dovecot read some lines last, as docker-mailserver does with dovecot.cf."""
    stack.run(f"cat > {LOCAL_CONF}; doveadm reload", stdin=text)
    try:
        yield
    finally:
        stack.run(f"rm {LOCAL_CONF}; doveadm reload")


def test_temporary_files_on_a_disk_are_red(stack):
    """Whatever mail_temp_dir says, for all protocols or for one."""
    for text in ("mail_temp_dir = /srv\n", "protocol lmtp {\n  mail_temp_dir = /srv\n}\n"):
        with configured(stack, text):
            not_proven(stack, "/srv lies on a disk", "mail_temp_dir")
    proven(stack)


CACHE_ON_DISK = {
    V2_3: "mail_location = maildir:/var/mail/%d/%n\n",
    V2_4: "mail_cache_path = /var/mail/cache/%{user}\n",
}


def test_an_index_cache_on_a_disk_is_red(stack):
    """Already for what the configuration says, before anything was written there."""
    with configured(stack, CACHE_ON_DISK[stack.config["dialect"]]):
        not_proven(stack, "index cache", "lies on a disk", "dovecot.cf")
    proven(stack)


@pytest.mark.long
def test_by_dovecot_cf_it_is_red_until_it_is_gone(stack):
    """The update names the cause and stops the server; it holds once the file is mended."""
    text = CACHE_ON_DISK[stack.config["dialect"]]
    in_volume(stack, "config", "cat > /volume/dovecot.cf", text)
    try:
        printed = stack.red(environment={"SABOTAGE": "cache"})
        assert "index cache" in printed, printed
        assert "the server was stopped" in printed, printed
        stack.red()
    finally:
        in_volume(stack, "config", "rm -f /volume/dovecot.cf")
    assert "proven" in stack.green(environment=None)
    install_sieve(stack)


# --- the keeper


@pytest.mark.long
def test_a_missing_keeper_is_red_and_comes_back(stack):
    """The server still has its keys, and would lose them with its next restart."""
    keeper = f"{stack.container}-keeper"
    stack.docker("rm", "-f", keeper)
    not_proven(stack, f"container {keeper} does not exist", "pulumi up --refresh")
    assert f"container {keeper} does not exist" in stack.red()
    done = stack.pulumi("up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name)
    assert done.returncode == 0, done.stdout
    proven(stack)


def test_a_keeper_of_another_server_is_refused(stack):
    """No key is written to a container that merely has the right name."""
    keeper = f"{stack.container}-keeper"
    stack.docker("rename", keeper, f"{keeper}-away")
    argv = ("run", "-d", "--name", keeper, "--label", "mailcrypt.keeper=other")
    stack.docker(*argv, "--entrypoint", "sleep", stack.config["image"], "infinity")
    try:
        done = stack.mailcrypt("unlock")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "is the keeper of other" in done.stderr
    finally:
        stack.docker("rm", "-f", keeper)
        stack.docker("rename", f"{keeper}-away", keeper)
    proven(stack)


# --- lock and unlock


def new_pem():
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_wrong_key_does_not_unlock(stack, tmp_path):
    """It is refused, nothing is written, and the server stays locked."""
    assert stack.mailcrypt("lock").returncode == 0
    path = tmp_path / "wrong.pem"
    path.write_text(new_pem())
    done = stack.mailcrypt("unlock", "--key", str(path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no private key for k1" in done.stderr
    assert stack.docker("exec", f"{stack.container}-keeper", "ls", "-A", "/certs") == ""
    with pytest.raises(imaplib.IMAP4.error, match="locked"), imap(stack):
        pass
    assert stack.mailcrypt("unlock").returncode == 0
    proven(stack)


def files_in_clear(stack):
    """Return the stored mails that do not begin as encrypted ones do."""
    find = f"find {MAIL} -path '*/cur/*' -type f -o -path '*/new/*' -type f"
    return stack.run(f"{find} | xargs -r grep -LaP '\\ACRYPTED\\x03\\x07' || :")


def first_mail(stack):
    """Return the first mail of the inbox as a client reads it; None while it cannot."""
    with suppress(imaplib.IMAP4.error, OSError), imap(stack) as client:
        client.select("INBOX", readonly=True)
        _, (first, *_) = client.fetch("1", "(BODY.PEEK[])")
        return first[1]


def test_mail_that_arrives_while_locked_is_all_there_after_one_unlock(stack):
    """Byte for byte and once each; nothing bounced, nothing in clear, no sender saw an error."""
    assert stack.mailcrypt("lock").returncode == 0
    sent = send_load(stack, MAILS)
    wait_for_queue(stack)
    assert files_in_clear(stack) == ""
    assert "status=bounced" not in stack.run("cat /var/log/mail/mail.log")

    done = stack.mailcrypt("unlock")
    assert done.returncode == 0, done.stderr
    start = time.monotonic()
    while not first_mail(stack):
        assert time.monotonic() - start < PATIENCE
    assert faults(sent, read_load(stack)) == NONE
    proven(stack)


def caches(stack):
    """Return the mailboxes of the user that have an index cache."""
    names = stack.run(f"cd {CACHE_DIR}; find . -name dovecot.index.cache -size +1k").split()
    return {name.removeprefix(f"./{USER}/") for name in names if USER in name}


def test_after_an_unlock_the_newest_mails_are_back_in_the_index_cache(stack):
    """Nobody has to look first, and no mail counts as seen because of it."""
    send_load(stack, 12)
    wait_for_queue(stack)
    assert stack.mailcrypt("lock").returncode == 0
    stack.run(f"find {CACHE_DIR} -name dovecot.index.cache -delete")
    assert not caches(stack)
    assert stack.mailcrypt("unlock").returncode == 0
    end = time.monotonic() + 60
    while len(caches(stack)) < 2:
        assert time.monotonic() < end, caches(stack)
        time.sleep(0.2)
    with imap(stack) as client:
        client.select("INBOX", readonly=True)
        assert client.search(None, "SEEN")[1] == [b""]


# --- what was left behind


def cache_files(stack):
    return stack.run(f"find {MAIL} -name dovecot.index.cache")


@pytest.mark.long
def test_a_server_with_its_key_on_disk_becomes_one_in_memory(make_stack):
    """By one update; the layer with the key and the index caches on the disk are gone."""
    stack = make_stack("old", image=IMAGES[V2_4], dialect=V2_4, **ON_DISK)
    stack.green()
    stack.save("stored before")
    assert "stored before" in stack.read_all()
    assert cache_files(stack)
    upper = stack.docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", stack.container)
    old = Path(upper.strip())
    assert "PRIVATE KEY" in (old / "certs/k1.pem").read_text()

    stack.green(keyCustody=None, indexCache=None)
    assert not old.exists()
    assert "stored before" in stack.read_all()
    assert not cache_files(stack)

    stack.green(keys=[{"name": "k2"}, {"name": "k1"}])
    stack.green(keys=[{"name": "k2"}], giveUpKeys=[stack.outputs()["keyIds"][1]])
    certs = stack.docker("exec", f"{stack.container}-keeper", "ls", "-A", "/certs").split()
    assert [name for name in certs if name.endswith(".pem")] == ["k2.pem"], certs
    assert len(certs) == 2, certs
