"""The findings on a disk: each one in its good and its bad state."""

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.exposure import inside
from mailcrypt_component.exposure.declared import declared
from mailcrypt_component.exposure.finding import Exposed, Finding, Grade, grade_of
from mailcrypt_component.exposure.findings import judge
from mailcrypt_component.exposure.pulumi_state import judge_state
from mailcrypt_component.exposure.survey import PLACES, KeyFile, Mount, Survey, digest_of
from mailcrypt_component.model.read_settings import read_settings

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
DOVECOT = """\
mail_cache_path = /run/mailcrypt-cache/%{user}
mail_driver = maildir
mail_plugins {
  mail_crypt = yes
}
mail_temp_dir = /tmp
"""
MEMORY = ("/certs", "/tmp", "/var/tmp", "/run/mailcrypt-cache", "/var/mail-state/spool-postfix")
TMPFS = ("rw", "noswap")
CLOSED = Survey(
    mounts=(
        Mount("/", "overlay", ("rw",)),
        *(Mount(path, "tmpfs", TMPFS) for path in MEMORY),
    ),
    swaps=(),
    core_pattern="core",
    core_limit="0",
    key_files=(),
    certs=frozenset(),
    deleted_with_key=(),
    files=dict.fromkeys(PLACES, (0, True)),
    dovecot=DOVECOT,
    postfix={"always_bcc": ""},
    log_driver="none",
)
ON_DISK = {path: (Mount(path, "ext4", ("rw",)),) for path in MEMORY}


def on_disk(path):
    """Return the survey with a path on a disk."""
    mounts = [mount for mount in CLOSED.mounts if mount.path != path]
    return replace(CLOSED, mounts=(*mounts, *ON_DISK[path]))


def with_files(name):
    return replace(CLOSED, files={**CLOSED.files, name: (3, True)})


def without(line):
    return replace(CLOSED, dovecot=DOVECOT.replace(line, ""))


BAD = {
    "a key file": (
        replace(CLOSED, key_files=(KeyFile("/root/k", (digest_of(PUBLIC),)),)),
        "private key",
        Exposed.KEY,
    ),
    "a deleted file": (
        replace(CLOSED, deleted_with_key=("/tmp/doveconf.x",)),
        "private key",
        Exposed.KEY,
    ),
    "no mail_crypt": (without("  mail_crypt = yes\n"), "mail", Exposed.TEXT),
    "another format": (without("mail_driver = maildir\n"), "mail", Exposed.UNKNOWN),
    "mail_crypt configured and not loaded (2.3)": (
        replace(
            CLOSED,
            dovecot='mail_location = maildir:/var/mail/%d/%n\nmail_plugins = " quota"\n'
            "plugin {\n  mail_crypt_global_public_key = </etc/key\n}\n",
        ),
        "mail",
        Exposed.TEXT,
    ),
    "mail_crypt switched off for one protocol (2.4)": (
        replace(
            CLOSED,
            dovecot="mail_driver = maildir\nmail_plugins {\n  mail_crypt = yes\n}\n"
            "protocol lmtp {\n  mail_plugins {\n    mail_crypt = no\n  }\n}\n",
        ),
        "mail",
        Exposed.TEXT,
    ),
    "no doveconf": (replace(CLOSED, dovecot=None), "mail", Exposed.UNKNOWN),
    "attachments": (
        replace(CLOSED, dovecot=DOVECOT + "mail_attachment_dir = /a\n"),
        "attachments",
        Exposed.TEXT,
    ),
    "cache on a disk": (on_disk("/run/mailcrypt-cache"), "index cache", Exposed.TEXT),
    "cache moved": (
        without("mail_cache_path = /run/mailcrypt-cache/%{user}\n"),
        "index cache",
        Exposed.TEXT,
    ),
    "former caches": (with_files("index cache"), "index cache", Exposed.TEXT),
    "an index": (with_files("full-text index"), "full-text index", Exposed.TEXT),
    "Solr": (
        replace(CLOSED, dovecot=DOVECOT + "fts_solr_url = http://solr\n"),
        "full-text index",
        Exposed.TEXT,
    ),
    "queue on a disk": (
        on_disk("/var/mail-state/spool-postfix"),
        "Postfix's queue",
        Exposed.TEXT,
    ),
    "/tmp on a disk": (on_disk("/tmp"), "temporary files", Exposed.TEXT),
    "/var/tmp on a disk": (on_disk("/var/tmp"), "temporary files", Exposed.TEXT),
    "quarantine": (with_files("amavis quarantine"), "filters", Exposed.TEXT),
    "history": (with_files("redis"), "filters", Exposed.TEXT),
    "archive": (
        replace(CLOSED, postfix={"always_bcc": "all@example.test"}),
        "archive copies",
        Exposed.UNKNOWN,
    ),
    "no postconf": (replace(CLOSED, postfix=None), "archive copies", Exposed.UNKNOWN),
    "swap": (replace(CLOSED, swaps=("/dev/vdb",)), "swap", Exposed.KEY),
    "core dumps": (replace(CLOSED, core_limit="unlimited"), "core dumps", Exposed.KEY),
    "core helper": (
        replace(CLOSED, core_pattern="|/usr/bin/keep"),
        "core dumps",
        Exposed.KEY,
    ),
    "unknown core limit": (replace(CLOSED, core_limit=None), "core dumps", Exposed.UNKNOWN),
    "sieve": (with_files("sieve"), "sieve scripts", Exposed.METADATA),
    "docker logs": (
        replace(CLOSED, log_driver="json-file"),
        "Docker's own logs",
        Exposed.METADATA,
    ),
}


def test_a_server_with_everything_in_memory_is_closed():
    """Only metadata remains readable."""
    found = judge(CLOSED, [PUBLIC])
    assert {one.exposed for one in found} == {Exposed.NOTHING, Exposed.METADATA}
    assert grade_of(found) is Grade.CLOSED


@pytest.mark.parametrize(("survey", "part", "exposed"), BAD.values(), ids=BAD.keys())
def test_each_leak_is_found(survey, part, exposed):
    """The finding says what is readable, and which change helps against text or worse."""
    (found,) = [one for one in judge(survey, [PUBLIC]) if one.part == part]
    assert found.exposed is exposed
    if exposed in {Exposed.TEXT, Exposed.KEY}:
        assert found.change


def test_another_key_on_the_disk_does_not_belong_to_the_ring():
    """The certificate's private key is not one of the ring's keys."""
    survey = replace(CLOSED, key_files=(KeyFile("/etc/tls.pem", ("0" * 64,)),))
    assert judge(survey, [PUBLIC])[0].exposed is Exposed.NOTHING


@pytest.mark.parametrize(
    ("parts", "grade"),
    [
        ([Exposed.NOTHING, Exposed.METADATA], Grade.CLOSED),
        ([Exposed.UNKNOWN, Exposed.METADATA], Grade.UNKNOWN),
        ([Exposed.UNKNOWN, Exposed.TEXT], Grade.LEAKING),
        ([Exposed.TEXT, Exposed.KEY], Grade.OPEN),
        ([], Grade.UNKNOWN),
    ],
)
def test_the_worst_finding_is_the_grade(parts, grade):
    """A server with an unchecked part is never called closed."""
    assert grade_of([Finding("part", exposed, "seen") for exposed in parts]) is grade


ARGS = {
    "image": "mailserver/docker-mailserver:16.0.1",
    "hostname": "mail.example.test",
    "accounts": [{"address": "you@example.test"}],
}


@pytest.mark.parametrize(
    ("settings", "grade"),
    [
        ({}, Grade.LEAKING),
        ({"queue": "memory"}, Grade.CLOSED),
        ({"queue": "memory", "indexCache": "disk"}, Grade.LEAKING),
        ({"keyCustody": "disk"}, Grade.OPEN),
    ],
)
def test_the_settings_alone_decide_the_grade(settings, grade):
    """The output states what will be readable before the first mail arrives."""
    assert grade_of(declared(read_settings({**ARGS, **settings}))) is grade


@pytest.mark.parametrize(
    ("environment", "on_this_host", "public_only", "exposed"),
    [
        ({"PULUMI_BACKEND_URL": "file:///b"}, True, False, Exposed.METADATA),
        ({"PULUMI_BACKEND_URL": "file:///b"}, True, True, Exposed.NOTHING),
        ({"PULUMI_BACKEND_URL": "file:///b"}, False, False, Exposed.NOTHING),
        ({"PULUMI_BACKEND_URL": "s3://b"}, True, False, Exposed.NOTHING),
        ({"PULUMI_HOME": "/nowhere"}, True, False, Exposed.UNKNOWN),
    ],
)
def test_the_state_on_the_host_counts(environment, on_this_host, public_only, exposed):
    """It holds the encrypted ring, whatever the kind of backend."""
    found = judge_state(on_this_host=on_this_host, public_only=public_only, environment=environment)
    assert found.exposed is exposed


def test_a_passphrase_next_to_the_state_opens_it(tmp_path):
    """The dev stack has such a passphrase file, on a machine that keeps nothing."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("secret")
    found = judge_state(
        on_this_host=True,
        public_only=False,
        environment={
            "PULUMI_BACKEND_URL": "file:///b",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
        },
    )
    assert found.exposed is Exposed.KEY
    assert "secret" not in found.seen


def test_the_backend_of_pulumi_login_is_read_if_none_is_named(tmp_path):
    """The test writes the credentials file as pulumi login does."""
    (tmp_path / "credentials.json").write_text(json.dumps({"current": "file://~"}))
    found = judge_state(
        on_this_host=True, public_only=False, environment={"PULUMI_HOME": str(tmp_path)}
    )
    assert "file://~" in found.seen


# --- The program in the container, run here ---------------------------------------------


DISK = [("/", "ext4", "rw"), ("/proc", "proc", "rw")]


def test_a_private_key_is_identified_by_its_public_digest_alone(tmp_path):
    """No part of the key leaves the container."""
    (tmp_path / "key.pem").write_bytes(b"before\n" + PEM)
    (tmp_path / "other").write_bytes(b"no key")
    der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    mounts = [*DISK, (str(tmp_path), "ext4", "rw")]
    found = inside.keys_on_disk([], mounts)
    mine = [one for one in found if one["path"].startswith(str(tmp_path))]
    assert mine == [
        {"path": str(tmp_path / "key.pem"), "digests": [hashlib.sha256(der).hexdigest()]}
    ]


def test_a_key_in_memory_is_not_on_a_disk(tmp_path):
    """The file system of the nearest mount decides."""
    (tmp_path / "key.pem").write_bytes(PEM)
    mounts = [*DISK, (str(tmp_path), "tmpfs", "rw")]
    assert inside.keys_on_disk([str(tmp_path / "key.pem")], mounts) == []


def test_mails_are_not_searched_for_keys(tmp_path):
    """A Maildir may be huge, and a mail may contain a key that someone sent."""
    (tmp_path / "cur").mkdir()
    (tmp_path / "dovecot-uidlist").touch()
    (tmp_path / "cur" / "1").write_bytes(PEM)
    assert inside.keys_on_disk([], [*DISK, (str(tmp_path), "ext4", "rw")]) == []


def test_a_deleted_file_that_is_open_is_found(tmp_path):
    """Doveconf leaves such a file with the contents of every key file."""
    path = tmp_path / "doveconf.x"
    mounts = [*DISK, (str(tmp_path), "ext4", "rw")]
    with path.open("wb+") as held:
        held.write(PEM)
        held.flush()
        path.unlink()
        assert str(path) in inside.deleted_with_key(mounts)
        in_memory = [*DISK, (str(tmp_path), "tmpfs", "rw")]
        assert str(path) not in inside.deleted_with_key(in_memory)


def test_the_nearest_mount_holds_a_path():
    """The mount at the longest matching path counts, and a common prefix of names does not."""
    mounts = [("/", "overlay", ""), ("/tmp", "tmpfs", ""), ("/tmp/config", "ext4", "")]
    assert inside.mount_of("/tmp/config/x", mounts)[1] == "ext4"
    assert inside.mount_of("/tmp/x", mounts)[1] == "tmpfs"
    assert inside.mount_of("/tmpx", mounts)[1] == "overlay"
