"""The takeover of a server that was set up by hand: its settings, its notes and its steps."""

import base64
import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from mailcrypt_component.adopt import compose
from mailcrypt_component.adopt.service_values import is_secret
from mailcrypt_component.adopt.setup import read_setup
from mailcrypt_component.adopt.stored_mail import report
from mailcrypt_component.cli import adopt as command
from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.store.audit import State
from tests.store import Key, Store

KEYS = [Key(), Key()]
CONF = """# ours
mail_plugins = $mail_plugins mail_crypt
plugin {
  mail_crypt_global_private_key = </certs/a.pem
  mail_crypt_global_private_key2 = </certs/b.pem
  mail_crypt_global_public_key = </certs/pub.pem
  mail_crypt_save_version = 2
}
"""
CONF_2_4 = """mail_plugins {
  mail_crypt = yes
}
crypt_global_public_key_file = /certs/pub.pem
crypt_write_algorithm = aes-256-gcm-sha256
crypt_global_private_key old {
  crypt_private_key_file = /certs/a.pem
}
crypt_global_private_key new {
  crypt_private_key_file = /certs/b.pem
}
"""
VOLUMES = {
    "/var/mail": "./mail",
    "/tmp/docker-mailserver": "./config",
    "/etc/dovecot/conf.d/10-custom.conf": "./10-custom.conf",
    "/certs": "./certs",
}
TARGET = "/etc/dovecot/conf.d/10-custom-adopted.conf"
VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two keys, the second of which is current; that is unusual but allowed."""
    monkeypatch.setattr(compose, "_compose_is_installed", lambda: False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    for name in ("certs", "config", "mail"):
        (tmp_path / name).mkdir()
    (tmp_path / "certs/a.pem").write_text(KEYS[0].pem)
    (tmp_path / "certs/b.pem").write_text(KEYS[1].pem)
    (tmp_path / "certs/pub.pem").write_text(KEYS[1].public_pem)
    (tmp_path / "10-custom.conf").write_text(CONF)
    (tmp_path / "config/postfix-accounts.cf").write_text("a@example.test|{SHA512-CRYPT}$6$x\n")
    write(tmp_path)
    return tmp_path


def write(folder, *, volumes=None, more=(), project=None, **changes):
    """Write the compose file; None removes a key of the service, or a mount."""
    mounts = {**VOLUMES, **(volumes or {})}
    service = {
        "image": "mailserver/docker-mailserver:15.1.0",
        "hostname": "mail.example.test",
        "volumes": [*(f"{mounts[each]}:{each}" for each in mounts if mounts[each]), *more],
        **changes,
    }
    service = {key: value for key, value in service.items() if value is not None}
    content = {"name": "dms", "services": {"mailserver": service}, **(project or {})}
    content["services"] = {"mailserver": service, **content["services"]}
    (folder / "compose.yaml").write_text(yaml.safe_dump(content))


def read(folder):
    return read_setup(folder, "new")


def notes(folder):
    return "\n".join(read(folder).notes)


@pytest.mark.parametrize("conf", [CONF, CONF_2_4], ids=["2.3", "2.4"])
def test_everything_is_found_and_the_current_key_comes_first(folder, conf):
    """The public key decides which key is current, not the order in the file."""
    (folder / "10-custom.conf").write_text(conf)
    write(
        folder,
        hostname="mail",
        domainname="example.test",
        environment=["LOG_LEVEL=debug", "SSL_TYPE=letsencrypt"],
        ports=["25:25", "[::1]:25:25", "127.0.0.1:8143:143/tcp", {"target": 4190, "published": 9}],
        more=["/etc/localtime:/etc/localtime:ro"],
        stop_grace_period="1m30s",
    )
    found = read(folder)
    assert [(key.name, key.key_id) for key in found.keys] == [
        ("k2", KEYS[1].id),
        ("k1", KEYS[0].id),
    ]
    assert found.settings == {
        "image": "mailserver/docker-mailserver:15.1.0",
        "hostname": "mail.example.test",
        "probeAddress": "mailcrypt-probe@example.test",
        "binds": {"mail": str(folder / "mail"), "config": str(folder / "config")},
        "ports": {"smtp": [25, "[::1]:25"], "imap": "127.0.0.1:8143", "4190": 9},
        "environment": {"LOG_LEVEL": "debug", "SSL_TYPE": "letsencrypt"},
        "mounts": [{"source": "/etc/localtime", "target": "/etc/localtime", "readOnly": True}],
        "stopGrace": 90,
    }
    assert not found.files


def test_a_server_without_ports_publishes_none(folder):
    """Settings without ports would publish all five ports on every address."""
    assert read(folder).settings["ports"] == {}
    assert "ports" in command._plain(read(folder).settings)


CHANGES = {
    "udp": ({"ports": ["53:53/udp"]}, "port 53/udp: not published"),
    "a random port": ({"ports": ["143"]}, "port 143 on a random port of the host: not published"),
    "a range": ({"ports": ["8000-8010:143"]}, "one of the host's ports 8000-8010"),
    "host network": ({"network_mode": "host"}, "publishes 25, 465, 587, 143, 993"),
    "restart": ({"restart": "always"}, "restart always: not taken over; the server always has"),
    "capabilities": ({"cap_add": ["SYS_PTRACE"]}, "cap_add SYS_PTRACE: not taken over"),
    "labels": ({"labels": {"a.b": "s3cret"}}, "labels a.b: not taken over"),
    "extra hosts": ({"extra_hosts": ["x:1.2.3.4"]}, "extra_hosts x:1.2.3.4: not taken over"),
    "container name": ({"container_name": "mx"}, "container_name mx: not taken over"),
    "logging": ({"logging": {"options": {"t": "s3cret"}}}, "logging: not taken over"),
    "anything unknown": ({"gpus": "all"}, "gpus: not taken over; the stack has no setting"),
    "command": ({"command": ["run", "s3cret"]}, "command: not taken over"),
    "tmpfs": ({"tmpfs": ["/run/x"]}, "tmpfs /run/x: not taken over"),
    "anonymous volume": ({"more": ["/data"]}, "anonymous volume at /data: not taken over"),
    "mount options": ({"more": ["/a:/b:rshared"]}, "without its options propagation=rshared"),
    "empty variables": ({"environment": ["A=", "B="]}, "empty and left out.*: A, B"),
    "unset variables": ({"environment": ["NOT_SET_ADOPT"]}, "not set: NOT_SET_ADOPT"),
    "no state": ({}, "nothing is mounted at /var/mail-state"),
    "no TLS": ({}, "SSL_TYPE is not set"),
    "other services": ({"project": {"services": {"web": {}}}}, "other services.*: web"),
    "depends_on": ({"depends_on": {"db": {}}}, "depends_on db: not taken over"),
    "healthcheck": ({"healthcheck": {"test": "x"}}, "healthcheck: not taken over; replaced"),
    "shared network": (
        {
            "networks": {"proxy": {"aliases": ["mx"]}},
            "project": {"networks": {"proxy": {"external": True}}},
        },
        "network proxy: taken over without aliases: mx",
    ),
    "second network": (
        {
            "networks": ["a", "b"],
            "project": {"networks": {key: {"external": True} for key in "ab"}},
        },
        "docker network connect b mailcrypt-new",
    ),
}


@pytest.mark.parametrize(("changes", "words"), CHANGES.values(), ids=CHANGES)
def test_a_note_names_whatever_is_not_taken_over(folder, changes, words):
    """A note names the part and the consequence, without a value that could be a secret."""
    write(folder, **changes)
    said = notes(folder)
    assert re.search(words, said), said
    assert "s3cret" not in said


def test_a_capability_that_the_component_sets_needs_no_note(folder):
    """NET_ADMIN is not noted, because the component sets it with Fail2ban."""
    write(folder, cap_add=["NET_ADMIN"], environment={"ENABLE_FAIL2BAN": "1"})
    assert "cap_add" not in notes(folder)
    write(folder, cap_add=["NET_ADMIN"])
    assert "cap_add NET_ADMIN" in notes(folder)


def test_a_network_with_other_services_is_kept(folder):
    """The other services would not find the server in a network of its own."""
    services = {"web": {"image": "web"}}
    write(folder, project={"services": services})
    assert read(folder).settings["network"] == "dms_default"
    assert "docker compose down would remove it" in notes(folder)
    write(folder)
    assert "network" not in read(folder).settings


def test_secrets_are_kept_apart_from_the_settings(folder):
    """Secrets are set with pulumi config set --secret and masked on the screen."""
    secret = {"RELAY_PASSWORD": "a", "LDAP_DN_PASS": "b", "X": "ldap://user:pw@host"}
    write(folder, environment={**secret, "LOG_LEVEL": "info"})
    found = read(folder)
    assert found.secrets == secret
    assert found.settings["environment"] == {"LOG_LEVEL": "info"}
    shown = command._shown(found)
    assert "RELAY_PASSWORD: '[secret]'" in shown
    assert "user:pw" not in shown + repr(found)


SECRETS = ["RELAY_PASSWORD", "SASLAUTHD_LDAP_PASSWORD", "LDAP_DN_PASS", "SASL_PASSWD", "API_KEY"]
SECRETS += ["S3_SECRET", "BOT_TOKEN", "smtp_password", "DB_PASS_FILE", "PASSPHRASE"]
PLAIN = ["SSL_KEY_PATH", "LOG_LEVEL", "TZ", "SSL_TYPE", "ENABLE_SASLAUTHD", "OVERRIDE_HOSTNAME"]


def test_the_names_of_secrets_are_known():
    """A name that merely contains a key's path is no secret."""
    assert [name for name in SECRETS if not is_secret(name, "x")] == []
    assert [name for name in PLAIN if is_secret(name, "x")] == []


def test_tls_files_beside_the_keys_are_mounted_one_by_one(folder):
    """The folder with the private keys is no longer mounted, because /certs can hold only keys."""
    for name in ("full.pem", "tls.key", "dh.pem", "other"):
        (folder / "certs" / name).write_text(name)
    cf, main = folder / "config/dovecot.cf", folder / "config/postfix-main.cf"
    cf.write_text("ssl_dh = </certs/dh.pem\n")
    main.write_text("smtpd_tls_dh1024_param_file = /certs/dh.pem\n")
    write(
        folder,
        environment={
            "SSL_TYPE": "manual",
            "SSL_CERT_PATH": "/certs/full.pem",
            "SSL_KEY_PATH": "/certs/tls.key",
        },
    )
    found = read(folder)
    moved = "/etc/mailcrypt-adopted"
    assert found.settings["mounts"] == [
        {"source": str(folder / "certs" / name), "target": f"{moved}/{name}", "readOnly": True}
        for name in ("full.pem", "tls.key", "dh.pem")
    ]
    assert found.settings["environment"]["SSL_KEY_PATH"] == f"{moved}/tls.key"
    rest = folder / "mailcrypt-adopted/dovecot.cf"
    assert found.files == {rest: f"ssl_dh = <{moved}/dh.pem\n"}
    assert [step for step, _ in found.steps][1:4] == [
        f"mv {cf} {cf}.before-adopt",
        f"cp {rest} {cf}",
        f"sed -i 's#/certs/dh.pem#{moved}/dh.pem#g' {main}",
    ]
    said = "\n".join(found.notes)
    assert "left there: a.pem, b.pem, other, pub.pem" in said
    assert "docker restart mailcrypt-new" in said


def test_single_files_mounted_below_certs_move_too(folder):
    """The keys and the certificate are mounted one by one here, and the certificate moves."""
    (folder / "certs/full.pem").write_text("x")
    files = {
        f"/certs/{name}": f"./certs/{name}" for name in ("a.pem", "b.pem", "pub.pem", "full.pem")
    }
    write(
        folder,
        volumes={"/certs": None, **files},
        environment={"SSL_TYPE": "manual", "SSL_CERT_PATH": "/certs/full.pem"},
    )
    assert read(folder).settings["mounts"] == [
        {
            "source": str(folder / "certs/full.pem"),
            "target": "/etc/mailcrypt-adopted/full.pem",
            "readOnly": True,
        }
    ]


def test_another_file_that_names_a_moved_file_is_rewritten(folder):
    """The mount of that file gets a copy with the new path."""
    (folder / "ssl.conf").write_text("ssl_dh = </certs/dh.pem\n")
    write(folder, volumes={"/etc/dovecot/conf.d/10-ssl.conf": "./ssl.conf"})
    found = read(folder)
    rest = folder / "mailcrypt-adopted/10-ssl.conf"
    assert found.files == {rest: "ssl_dh = </etc/mailcrypt-adopted/dh.pem\n"}
    assert str(rest) in [mount["source"] for mount in found.settings["mounts"]]


def test_other_settings_of_the_file_move_to_a_file_of_their_own(folder):
    """Without zlib, mail that was compressed would be unreadable."""
    (folder / "10-custom.conf").write_text(
        "mail_max_userip_connections = 50\n"
        + CONF.replace("mail_plugins mail_crypt", "mail_plugins zlib mail_crypt").replace(
            "plugin {", "plugin {\n  zlib_save = zstd"
        )
    )
    found = read(folder)
    rest = folder / "mailcrypt-adopted/10-custom.conf"
    assert found.files == {
        rest: "mail_max_userip_connections = 50\n# ours\nmail_plugins = $mail_plugins zlib\n"
        "plugin {\n  zlib_save = zstd\n}\n"
    }
    mount = {"source": str(rest), "target": TARGET, "readOnly": True}
    assert mount in found.settings["mounts"]
    assert "mail is compressed (zlib, zlib_save)" in "\n".join(found.notes)


def test_compression_of_2_4_moves_too(folder):
    """Dovecot 2.4 has another plugin with other settings for it."""
    more = "mail_plugins {\n  mail_compress = yes\n}\nmail_compress_write_method = zstd\n"
    (folder / "10-custom.conf").write_text(CONF_2_4 + more)
    assert list(read(folder).files.values()) == [more]


def test_mail_crypt_in_another_file_is_found(folder):
    """10-custom.conf then has other settings, and is mounted under another name."""
    crypt = "/etc/dovecot/conf.d/20-crypt.conf"
    (folder / "crypt.conf").write_text(CONF)
    (folder / "10-custom.conf").write_text("mail_max_userip_connections = 50\n")
    write(folder, volumes={crypt: "./crypt.conf"})
    found = read(folder)
    assert [key.key_id for key in found.keys] == [KEYS[1].id, KEYS[0].id]
    source = str(folder / "10-custom.conf")
    assert found.settings["mounts"] == [{"source": source, "target": TARGET, "readOnly": True}]


@pytest.mark.parametrize("rest", ["", "mail_max_userip_connections = 50\n"], ids=["only", "more"])
def test_mail_crypt_in_dovecot_cf_is_found_and_has_to_be_removed(folder, rest):
    """Dovecot reads that file last, so it would overrule the stack's settings."""
    cf = folder / "config/dovecot.cf"
    cf.write_text(rest + CONF)
    write(folder, volumes={"/etc/dovecot/conf.d/10-custom.conf": None})
    found = read(folder)
    assert [key.key_id for key in found.keys] == [KEYS[1].id, KEYS[0].id]
    steps = [step for step, _ in found.steps]
    assert steps[1] == f"mv {cf} {cf}.before-adopt"
    copy = [step for step in steps if step.startswith("cp ")]
    assert copy == ([f"cp {folder}/mailcrypt-adopted/dovecot.cf {cf}"] if rest else [])
    assert list(found.files.values()) == (
        ["mail_max_userip_connections = 50\n# ours\n"] if rest else []
    )


def test_the_old_container_does_not_come_back(folder):
    """A stopped container with restart: always would start again with the engine."""
    write(folder, restart="always", container_name="mx")
    steps = [step for step, _ in read(folder).steps]
    assert steps == [
        "docker update --restart=no mx && docker stop mx",
        "pulumi up --stack new",
        "docker rm mx",
    ]
    write(folder)
    assert "docker stop dms-mailserver-1" in read(folder).steps[0][0]


def test_keys_in_other_forms_are_read(folder):
    """The forms are base64 in the configuration itself, SEC1, and a key with a password."""
    encrypted = KEYS[1].private.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"pw")
    )
    (folder / "certs/b.pem").write_bytes(encrypted)
    inline = base64.b64encode(KEYS[0].pem.encode()).decode()
    (folder / "10-custom.conf").write_text(
        CONF.replace("</certs/a.pem", inline).replace(
            "plugin {", "plugin {\n  mail_crypt_global_private_key2_password = pw"
        )
    )
    found = read(folder)
    assert [key.key_id for key in found.keys] == [KEYS[1].id, KEYS[0].id]
    assert all("BEGIN PRIVATE KEY" in key.private_pem for key in found.keys)


def test_a_volume_of_the_project_is_taken_over_by_its_real_name(folder, monkeypatch):
    """The mail in it is counted through the Docker engine."""
    asked = []
    monkeypatch.setattr(
        "mailcrypt_component.adopt.setup.stored_mail", lambda *what: asked.append(what)
    )
    monkeypatch.setattr("mailcrypt_component.adopt.setup.in_clear", lambda _: 0)
    write(folder, volumes={"/var/mail": "maildata"}, project={"volumes": {"maildata": {}}})
    assert read(folder).settings["binds"]["mail"] == "dms_maildata"
    assert asked[0][:2] == ("dms_maildata", "mailserver/docker-mailserver:15.1.0")


def without(name):
    return lambda folder: (folder / name).unlink()


def rewritten(name, text):
    return lambda folder: (folder / name).write_text(text)


def changed(**changes):
    return lambda folder: write(folder, **changes)


FAULTS = {
    "no compose file": (without("compose.yaml"), "no compose file"),
    "no mail server": (rewritten("compose.yaml", "services: {}"), "0 services run"),
    "no image": (changed(image=None), "mailserver.image: not stated"),
    "no host name": (changed(hostname=None), "mailserver.hostname: not stated"),
    "no mail_crypt": (rewritten("10-custom.conf", "x = y\n"), "mail_crypt is not configured"),
    "plugin without keys": (
        rewritten("10-custom.conf", "mail_plugins = $mail_plugins mail_crypt\n"),
        "no private key is configured",
    ),
    "no public key at all": (
        rewritten("10-custom.conf", CONF.replace("global_public", "other")),
        "no public key is named",
    ),
    "no key": (without("certs/a.pem"), r"a.pem\): no such file"),
    "key not mounted": (changed(volumes={"/certs": None}), "nothing is mounted there"),
    "not a key": (rewritten("certs/a.pem", "x"), "not a private key"),
    "foreign public key": (rewritten("certs/pub.pem", Key().public_pem), "the public key has"),
    "not a public key": (rewritten("certs/pub.pem", "x"), "not a public key"),
    "binary key": (lambda folder: (folder / "certs/a.pem").write_bytes(b"\xff"), "not a text"),
    "per-user keys": (
        rewritten("10-custom.conf", "plugin {\n  mail_crypt_curve = prime256v1\n}\n"),
        "per-user keys",
    ),
    "per-user keys of 2.4": (
        rewritten("10-custom.conf", CONF_2_4 + "crypt_user_key_curve = prime256v1\n"),
        "per-user keys",
    ),
    "no account": (rewritten("config/postfix-accounts.cf", ""), "no account"),
    "LDAP": (changed(environment={"ACCOUNT_PROVISIONER": "LDAP"}), "ACCOUNT_PROVISIONER: LDAP"),
    "no mail mount": (changed(volumes={"/var/mail": None}), "nothing is mounted at /var/mail"),
    "anonymous mail": (
        changed(volumes={"/var/mail": None}, more=["/var/mail"]),
        "/var/mail lies in an anonymous volume",
    ),
    "config in memory": (
        changed(volumes={"/tmp/docker-mailserver": None}, tmpfs=["/tmp/docker-mailserver"]),
        "it lies in tmpfs",
    ),
    "a whole folder of configuration": (
        changed(more=["./mail:/etc/dovecot/conf.d"]),
        "a whole folder is mounted",
    ),
    "another container's network": (changed(network_mode="service:vpn"), "service:vpn"),
    "no such mail": (changed(volumes={"/var/mail": "./missing"}), "No such file"),
}


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_clear_error(folder, spoil, words):
    """The error names the file or setting and what was expected."""
    spoil(folder)
    with pytest.raises(MailCryptError, match=words) as caught:
        read(folder)
    assert "expected:" in str(caught.value)


def test_another_machine_is_refused(folder, monkeypatch):
    """The folders of another Docker host are not those of this machine."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://root@elsewhere")
    with pytest.raises(MailCryptError, match="another machine"):
        read(folder)


def test_stored_mail_is_counted_by_the_keys_found(folder):
    """Key ids on the disk are compared with the keys found."""
    store, foreign = Store(folder / "mail"), Key()
    for key in (KEYS[1], KEYS[1], KEYS[0], foreign):
        store.encrypt(b"Subject: x\n\nx\n", key)
    store.put(b"Subject: in clear\n\nx\n")
    found = read(folder)
    said = "\n".join(report(found.mail))
    assert "5 mails" in said
    assert f"key id {KEYS[1].id}: 2 mails, key found" in said
    assert f"key id {KEYS[0].id}: 1 mail, key found" in said
    assert f"key id {foreign.id}: 1 mail, NO KEY FOUND" in said
    assert "1 mail in clear: mailcrypt encrypt --stack new --apply" in "\n".join(found.notes)


def test_stored_mail_of_format_version_1_is_counted_by_its_key(folder):
    """Its header has another id for the same key; the id of a foreign key stays unknown."""
    (folder / "certs/old.pem").write_bytes((VECTORS / "keys/p256.pem").read_bytes())
    (folder / "10-custom.conf").write_text(
        CONF.replace("plugin {", "plugin {\n  mail_crypt_global_private_key3 = </certs/old.pem")
    )
    for number, curve in enumerate(("p256", "p384")):
        mail = VECTORS / f"encrypted/2.3-{curve}-version-1-small"
        Store(folder / "mail").put(mail.read_bytes(), name=f"{number}.mail")
    found = read(folder)
    assert found.mail.by_state(found.mail.tally.states()) == {State.RETIRED: 1, State.UNKNOWN: 1}


# The command ------------------------------------------------------------------------------


@pytest.fixture
def project(folder, tmp_path_factory, monkeypatch):
    """A project's folder, and a pulumi that records its arguments and its input."""
    home = tmp_path_factory.mktemp("project")
    programs = home / "bin"
    programs.mkdir()
    script = programs / "pulumi"
    script.write_text(
        '#!/bin/sh\nshift\necho "$@" >> calls\n'
        'case "$*" in *"$(cat fail 2>/dev/null || echo nothing)"*) echo no >&2; exit 1;; esac\n'
        'case "$1" in config) cat >> secrets;; esac\n'
    )
    script.chmod(0o755)
    (home / "Pulumi.yaml").write_text("name: mailcrypt\nstackConfigDir: stacks\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    write(folder, environment={"RELAY_PASSWORD": "s3cret"}, ports=["25:25"])
    return home


def run(folder, *options):
    return CliRunner().invoke(command.adopt, [str(folder), "--stack", "new", *options])


def test_nothing_is_written_without_apply(folder, project):
    """The command prints the settings, the notes and the commands that follow."""
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "nothing was written" in done.output
    assert "docker update --restart=no dms-mailserver-1" in done.output
    assert "s3cret" not in done.output
    assert not (project / "calls").exists()
    assert not (project / "stacks").exists()


def test_keys_and_passwords_become_secrets(folder, project):
    """They go to pulumi's standard input, and nowhere else."""
    (folder / "10-custom.conf").write_text(CONF + "x = y\n")
    done = run(folder, "--apply")
    assert done.exit_code == 0, done.output
    written = (project / "stacks/Pulumi.new.yaml").read_text()
    calls = (project / "calls").read_text()
    assert "s3cret" not in written + calls + done.output
    assert "PRIVATE KEY" not in written + calls + done.output
    secrets = (project / "secrets").read_text()
    assert "s3cret" in secrets
    assert KEYS[0].pem in secrets
    assert "mailcrypt:environment.RELAY_PASSWORD" in calls
    assert "mailcrypt:keys[0].pem" in calls
    assert yaml.safe_load(written)["config"]["mailcrypt:ports"] == {"smtp": 25}
    assert (folder / "mailcrypt-adopted/10-custom.conf").read_text() == "# ours\nx = y\n"


@pytest.mark.parametrize("where", ["keys[1]", "environment.RELAY", "stack init"])
def test_nothing_is_left_after_a_failure(folder, project, where):
    """The stack, its file and the other files are removed again."""
    (folder / "10-custom.conf").write_text(CONF + "x = y\n")
    (project / "fail").write_text(where)
    done = run(folder, "--apply")
    assert done.exit_code == 2
    assert "nothing was written" in done.output
    assert not (project / "stacks/Pulumi.new.yaml").exists()
    assert not (folder / "mailcrypt-adopted").exists()
    removed = "stack rm --yes --stack new" in (project / "calls").read_text()
    assert removed == (where != "stack init")


def test_a_stack_with_settings_is_left_alone(folder, project):
    """The settings of such a stack are not mixed with new ones."""
    (project / "stacks").mkdir()
    path = Path(project / "stacks/Pulumi.new.yaml")
    path.write_text("config: {mailcrypt:image: x}\n")
    done = run(folder, "--apply")
    assert done.exit_code == 2
    assert "it has settings already" in done.output
    assert path.read_text() == "config: {mailcrypt:image: x}\n"


def test_mail_that_no_key_opens_is_exit_1(folder, project):
    """The stack is not made, because preflight would refuse its ring."""
    Store(folder / "mail").encrypt(b"Subject: x\n\nx\n", Key())
    done = run(folder, "--apply")
    assert done.exit_code == 1, done.output
    assert "NO KEY FOUND" in done.output
    assert not (project / "stacks").exists()


def test_settings_that_cannot_work_are_refused_first(folder, project):
    """The check of the settings runs on the values that the stack would get."""
    write(folder, environment={"DOVECOT_MAILBOX_FORMAT": "mdbox", "RELAY_PASSWORD": "s3cret"})
    done = run(folder)
    assert done.exit_code == 2
    assert "DOVECOT_MAILBOX_FORMAT" in done.output
    assert "s3cret" not in done.output
