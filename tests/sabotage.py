"""The faults of a server that stores mail encrypted, and the messages that must report them."""

import base64
import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailcrypt_component.checks.proof.run import verify
from mailcrypt_component.checks.proof.target import target_of
from mailcrypt_component.model import dms
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH
from tests.stacks import ALL, MARK, ROOT, Stack

V2_3, V2_4 = "2.3", "2.4"
CONFIG = "/tmp/docker-mailserver"
CUSTOM = "/etc/dovecot/conf.d/10-custom.conf"
PROBE = "mailcrypt-probe@example.test"


@dataclass(frozen=True)
class Row:
    """One sabotage, and the words that ``up`` has to print."""

    words: str
    dovecot_cf: dict[str, str] = field(default_factory=dict)
    patches: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    applies_to: tuple[str, ...] = (V2_3, V2_4)
    always: bool = False
    """Whether ``make test`` deploys it, on one of the servers; ``make test-all`` deploys all."""


def both(text: str) -> dict[str, str]:
    return {V2_3: text, V2_4: text}


def unloaded(protocol: str) -> dict[str, str]:
    return {
        V2_3: f"protocol {protocol} {{\n  mail_plugins = sieve\n}}\n",
        V2_4: f"protocol {protocol} {{\n  mail_plugins {{\n    mail_crypt = no\n  }}\n}}\n",
    }


def header_check(action: str) -> dict[str, str]:
    return both(
        f"echo '/^Subject: probe/ {action}' > /etc/postfix/checks\n"
        "postconf -e header_checks=regexp:/etc/postfix/checks\n"
        # Of DMS's own, no header check sees what is handed over in the container.
        "postconf -P pickup/fifo/receive_override_options=\n"
    )


def sieve_script(script: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return dovecot.cf and user-patches.sh that run a sieve script on every delivery."""
    folder = "/usr/lib/dovecot/sieve-global"
    return (
        {
            V2_3: f"plugin {{\n  sieve_before = {folder}/probe.sieve\n}}\n",
            V2_4: f"sieve_script probe {{\n  type = before\n  path = {folder}/probe.sieve\n}}\n",
        },
        both(f"printf '{script}' > {folder}/probe.sieve\nsievec {folder}/probe.sieve\n"),
    )


def imap_listeners(imap: str, imaps: str) -> dict[str, str]:
    return both(
        "service imap-login {\n"
        f"  inet_listener imap {{\n    {imap}\n  }}\n"
        f"  inet_listener imaps {{\n    {imaps}\n  }}\n"
        "}\n"
    )


OTHER_DIALECT = {
    V2_3: "mail_plugins {\n  mail_crypt = yes\n}\n",
    V2_4: "plugin {\n  mail_crypt_save_version = 2\n}\n",
}
PROBE_FOLDER = f"{dms.MAIL_DIR}/example.test/mailcrypt-probe"
TWO_RECIPIENTS = base64.b64encode(
    (ROOT / "tests/vectors/faults/another-recipient").read_bytes()
).decode()


SMALL = f"{MARK}-small"


def in_background(script: str) -> str:
    return f"({script}) >/dev/null 2>&1 &\n"


# Where the keys are in memory, the server cannot change them.
KEYS_ON_DISK = {"keyCustody": "disk"}
FOREIGN_PUBLIC = "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout"
ROWS = {
    "lmtp does not load it": Row("mail_crypt is not loaded by lmtp", unloaded("lmtp"), always=True),
    "imap does not load it": Row("mail_crypt is not loaded by imap", unloaded("imap")),
    "only dovecot.cf loads it": Row(
        "mail_crypt is not loaded by lmtp",
        {V2_3: "mail_plugins = $mail_plugins mail_crypt\n"},
        both(f"sed -i /^mail_plugins/d {CUSTOM}\n"),
        applies_to=(V2_3,),
    ),
    "another file switches it off": Row(
        "mail_crypt is not loaded by",
        patches={
            V2_3: "echo 'mail_plugins =' > /etc/dovecot/conf.d/11-off.conf\n",
            V2_4: "printf 'mail_plugins {\\n  mail_crypt = no\\n}\\n'"
            " > /etc/dovecot/conf.d/99-off.conf\n",
        },
        always=True,
    ),
    "it encrypts nothing": Row(
        "was just stored lies in clear",
        {
            V2_3: "plugin {\n  mail_crypt_save_version = 0\n}\n",
            V2_4: "crypt_write_algorithm =\n",
        },
    ),
    "old format": Row(
        "version 1",
        {V2_3: "plugin {\n  mail_crypt_save_version = 1\n}\n"},
        applies_to=(V2_3,),
    ),
    "weak cipher": Row(
        "weakly encrypted: aes-128-gcm",
        {V2_4: "crypt_write_algorithm = aes-128-gcm-sha256\n"},
        applies_to=(V2_4,),
    ),
    "a path in place of the key": Row(
        "Couldn't parse public key",
        patches=both(f"sed -i 's/= </= /' {CUSTOM}\n"),
        applies_to=(V2_3,),
    ),
    "SEC1 key": Row(
        "Couldn't parse private key",
        patches=both("openssl ec -in /certs/k1.pem -out /root/s && cat /root/s > /certs/k1.pem\n"),
        settings=KEYS_ON_DISK,
    ),
    "empty key": Row(
        "Couldn't parse private key", patches=both(": > /certs/k1.pem\n"), settings=KEYS_ON_DISK
    ),
    "missing key": Row("k1.pem", patches=both("rm /certs/k1.pem\n"), settings=KEYS_ON_DISK),
    "unreadable key": Row(
        "k1.pem",
        patches=both("rm /certs/k1.pem; mkdir /certs/k1.pem\n"),
        settings=KEYS_ON_DISK,
    ),
    "public key of another pair": Row(
        "is not the declared ring's", patches=both(f"{FOREIGN_PUBLIC} > {PUBLIC_KEY_PATH}\n")
    ),
    "mail on another volume": Row(
        "stored 2 probe mails, 0 of them in the mail volume",
        {
            V2_3: "mail_location = maildir:/srv/mail/%d/%n\n",
            V2_4: "mail_path = /srv/mail/%{user | domain}/%{user | username}\n",
        },
        both("mkdir /srv/mail && chown docker:docker /srv/mail\n"),
    ),
    "mbox": Row(
        "stored 2 probe mails, 0 of them in the mail volume",
        {
            V2_3: "mail_location = mbox:/var/mail/%d/%n/boxes:INBOX=/var/mail/%d/%n/inbox\n",
            V2_4: "mail_driver = mbox\n"
            "mail_path = /var/mail/%{user | domain}/%{user | username}/boxes\n"
            "mail_inbox_path = /var/mail/%{user | domain}/%{user | username}/inbox\n",
        },
    ),
    "Dovecot dies again and again": Row(
        "does not answer",
        patches=both(
            in_background("while sleep 0.1; do kill -9 $(cat /run/dovecot/master.pid); done")
        ),
        settings={"deadline": 10},
    ),
    "Dovecot hangs": Row(
        "the deadline of 10 s has passed",
        patches=both(in_background("while sleep 0.1; do pkill -STOP dovecot; done")),
        settings={"deadline": 10},
    ),
    "wrong dialect": Row(
        "doveconf",
        patches={
            dialect: f"printf '{OTHER_DIALECT[dialect]}' > {CUSTOM}\n" for dialect in (V2_3, V2_4)
        },
    ),
    "encrypted to one more key": Row(
        "is not the declared ring's",
        patches=both(
            f"echo {TWO_RECIPIENTS} | base64 -d > /root/two\n"
            + in_background(
                f"while sleep 0.01; do for f in {PROBE_FOLDER}/new/* {PROBE_FOLDER}/cur/*; do"
                f" [ ! -f $f ] || {{ cp /root/two {PROBE_FOLDER}/two; mv {PROBE_FOLDER}/two $f; }};"
                " done; done"
            )
        ),
    ),
    "full disk": Row(
        "No space left",
        patches=both(f"chmod 777 {PROBE_FOLDER}; dd if=/dev/zero of={PROBE_FOLDER}/full; :\n"),
        settings={"mounts": [{"source": SMALL, "target": PROBE_FOLDER}]},
    ),
    "LMTP off": Row("LMTP does not answer", both("protocols = imap\n"), settings={"deadline": 10}),
    "IMAP off": Row("IMAP does not answer", both("protocols = lmtp\n"), settings={"deadline": 10}),
    "too slow": Row(
        "the deadline of 5 s has passed", patches=both("sleep 20\n"), settings={"deadline": 5}
    ),
    "discarded": Row("discard: header Subject: probe", patches=header_check("DISCARD")),
    "rejected": Row("reject: header Subject: probe", patches=header_check("REJECT no")),
    "quarantined": Row("hold: header Subject: probe", patches=header_check("HOLD")),
    "an alias takes it": Row(
        "an alias takes it",
        patches=both(
            "echo '@example.test user@example.test' > /etc/postfix/virtual; postfix reload || :\n"
        ),
    ),
    "the host name is the mail's domain": Row(
        "use another host name", patches=both("postconf -e 'mydestination = example.test'\n")
    ),
    "a sieve script discards": Row("stored it in no folder", *sieve_script("discard;\\n")),
    "IMAP's ports are closed": Row(
        "each of its ports is closed", imap_listeners("port = 0", "port = 0")
    ),
    "subjects in the log": Row(
        "mail.log: the content of a probe mail", patches=header_check("INFO")
    ),
    "the search finds nothing": Row(
        "did not find its own control",
        patches=both("printf '#!/bin/sh\\n' > /usr/local/bin/find; chmod +x /usr/local/bin/find\n"),
    ),
    "the search fails": Row(
        "the search in clear failed",
        patches=both(
            "printf '#!/bin/sh\\necho no find >&2; exit 1\\n' > /usr/local/bin/grep;"
            " chmod +x /usr/local/bin/grep\n"
        ),
        always=True,
    ),
    "over quota": Row(
        "Quota exceeded",
        {
            V2_3: "protocol lmtp {\n  mail_plugins = $mail_plugins quota\n}\n"
            "plugin {\n  quota = maildir:all\n  quota_rule = *:bytes=10\n}\n",
            V2_4: "protocol lmtp {\n  mail_plugins {\n    quota = yes\n  }\n}\n"
            'quota "all" {\n  quota_storage_size = 10 B\n}\n',
        },
    ),
}


HARMLESS_ROWS = {
    "an archive's copies bounce": Row(
        "one mail through Postfix and LMTP",
        patches=both("postconf -e 'always_bcc = archive@example.test'\n"),
    ),
    "a sieve script files by sender": Row(
        "the first was filed into Probes",
        *sieve_script(
            'require ["fileinto", "mailbox"];\\n'
            'if header :contains "From" "mailcrypt-probe" { fileinto :create "Probes"; }\\n'
        ),
    ),
    "IMAP in clear is closed": Row("both mails, byte for byte", imap_listeners("port = 0", "")),
    "IMAPS is closed": Row("both mails, byte for byte", imap_listeners("", "port = 0")),
    "IMAP behind a proxy": Row(
        "both mails, byte for byte", imap_listeners("haproxy = yes", "haproxy = yes")
    ),
}
"""What a server may be like: the words have to be in the evidence of a proof that holds."""


def rows_of(dialect: str, rows: Mapping[str, Row] = ROWS) -> list[str]:
    """Return the rows that are deployed on a dialect."""
    if ALL:
        return [name for name, row in rows.items() if dialect in row.applies_to]
    chosen = [name for name, row in rows.items() if row.always or rows is HARMLESS_ROWS]
    return chosen[dialect == V2_4 :: 2]


def in_volume(stack: Stack, volume: str, script: str, stdin: str = "") -> None:
    """Run a shell script with a volume of the stack at /volume, whether the server runs or not."""
    argv = ["docker", "run", "--rm", "-i", "--network=none", "--entrypoint", "sh"]
    argv += ["-v", f"{stack.container}-{volume}:/volume", stack.config["image"], "-euc", script]
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)


def red_red_green(stack: Stack, dialect: str, name: str) -> None:
    """Deploy a row: up fails twice with its words; without it, one up succeeds."""
    row = ROWS[name]
    with deployed(stack, dialect, name, row) as wanted:
        for printed in (stack.red(**wanted), stack.red()):
            assert row.words in printed, printed
    assert "proven" in stack.green() or name in AT_PREFLIGHT


def green(stack: Stack, dialect: str, name: str) -> None:
    """Deploy a harmless row: the proof holds, and its evidence has the row's words."""
    row = HARMLESS_ROWS[name]
    with deployed(stack, dialect, name, row) as wanted:
        printed = stack.green(**wanted)
        assert row.words in printed, printed
    stack.green()


@contextlib.contextmanager
def deployed(stack: Stack, dialect: str, name: str, row: Row) -> Iterator[dict[str, Any]]:
    """Put a row's files into the configuration folder; yield the settings that deploy it."""
    files = {"dovecot.cf": row.dovecot_cf, "user-patches.sh": row.patches}
    for file, text in files.items():
        if dialect in text:
            in_volume(stack, "config", f"cat > /volume/{file}", text[dialect])
    # An unsafe server is stopped by default; then the second up would only find that.
    wanted = {"environment": {"SABOTAGE": name}, "stopUnproven": False, **row.settings}
    if "mounts" in wanted:
        small = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k"]
        stack.docker("volume", "create", *small, SMALL)
    try:
        yield wanted
    finally:
        in_volume(stack, "config", "rm -f /volume/dovecot.cf /volume/user-patches.sh")
        stack.configure(**{setting: stack.base.get(setting) for setting in wanted})


AT_PREFLIGHT = frozenset({"lmtp does not load it", "imap does not load it"})
"""Preflight refuses these, so the server stays as it was proven."""


FOREIGN_MAIL = "/volume/example.test/user/cur/1.a.b:2,S"


@contextlib.contextmanager
def foreign_mail(stack: Stack) -> Iterator[None]:
    """Put a mail into the user's inbox that is encrypted to a key of no ring."""
    encrypted = ROOT / "tests/vectors/encrypted/2.3-p256-long"
    text = base64.b64encode(encrypted.read_bytes()).decode()
    script = f"mkdir -p {FOREIGN_MAIL.rpartition('/')[0]}; base64 -d > {FOREIGN_MAIL}"
    in_volume(stack, "mail", script, text)
    try:
        yield
    finally:
        in_volume(stack, "mail", f"rm {FOREIGN_MAIL}")


def foreign_mail_is_refused(stack: Stack, dialect: str) -> None:
    """Preflight refuses a ring that does not open a mail of the volume; the server stays."""
    before = stack.container_id()
    # Preflight counts stored mail again only if the keys or the store have changed.
    keys = [{"name": "k2"}, {"name": "k1"}]
    wanted = {"environment": {"SABOTAGE": f"foreign {dialect}"}, "keys": keys}
    with foreign_mail(stack):
        for printed in (stack.red(**wanted, mounts=HARMLESS), stack.red()):
            assert re.search("1 mails? (is|are) encrypted to key", printed), printed
            assert stack.container_id() == before
    stack.green(environment=None, mounts=None, keys=None)


def key_that_the_ring_lacks_is_found(stack: Stack) -> None:
    """A running server's volume holds such a mail: verify is red, names key and user."""
    with foreign_mail(stack):
        done = stack.verify()
        assert done.returncode == 1, done.stdout + done.stderr
        assert "1 mail is encrypted to key" in done.stderr
        assert "(example.test/user 1), which the ring lacks" in done.stderr
        assert "giveUpKeys" in done.stderr
    assert stack.verify().returncode == 0


def wrong_retired_key_is_found(stack: Stack) -> None:
    """Another key replaces a retired key in the container, so old mail is unreadable."""
    stack.green(keys=[{"name": "k2"}, {"name": "k1"}], **KEYS_ON_DISK)
    wrong = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /certs/k1.pem"
    in_volume(stack, "config", "cat > /volume/user-patches.sh", f"{wrong}\n")
    try:
        for printed in (stack.red(environment={"SABOTAGE": "wrong retired key"}), stack.red()):
            assert "/certs in container" in printed
            assert "no file holds 1 private key of the ring" in printed
    finally:
        in_volume(stack, "config", "rm -f /volume/user-patches.sh")
    stack.green(environment=None)
    stack.green(keys=None, keyCustody=None)


DAMAGED_MAIL = "/volume/example.test/user/cur/2.a.b:2,S"


def damaged_mail_is_found(stack: Stack) -> None:
    """A stored mail was changed on the disk: red, but the server goes on taking mail."""
    damage = (
        f'cp -p "$(find /volume/example.test/user/cur -type f | head -n 1)" {DAMAGED_MAIL}; '
        f"last=$(($(stat -c %s {DAMAGED_MAIL}) - 1)); "
        f"printf damaged | dd of={DAMAGED_MAIL} conv=notrunc bs=1 seek=$((last - 40))"
    )
    in_volume(stack, "mail", damage)
    try:
        for printed in (stack.red(environment={"SABOTAGE": "damaged mail"}), stack.red()):
            assert "cannot open a stored mail that is encrypted to key" in printed, printed
            assert "so the mail's file is damaged" in printed
        stack.run("true")
    finally:
        in_volume(stack, "mail", f"rm {DAMAGED_MAIL}")
    stack.green(environment=None)


HARMLESS = [{"source": "/srv", "target": "/srv/harmless"}]


def lost_account_is_found(stack: Stack, change: str) -> None:
    """The probe account was changed; the command in the message restores it."""
    stack.run(f"setup email {change}")
    for printed in (stack.red(environment={"SABOTAGE": "account"}), stack.red()):
        assert f"the login of {PROBE} was refused" in printed
        assert "pulumi state taint" in printed
    stack.pulumi("state", "taint", "--yes", "--stack", stack.name, accounts_of(stack), check=True)
    stack.green(environment=None)


def accounts_of(stack: Stack) -> str:
    resources = stack.secrets()
    return next(str(r["urn"]) for r in resources if r["urn"].endswith("::mailcrypt-accounts"))


EVERYTHING = (
    "find /var/mail /tmp /var/tmp /dev/shm -path /var/mail/example.test/mailcrypt-probe -prune"
    " -o -type f -exec md5sum {} + | sort; du -sb /var/mail/example.test/user;"
    f" cut -d'|' -f1 {CONFIG}/postfix-accounts.cf; mailq;"
    " find /var/mail/example.test/mailcrypt-probe -path '*/cur/*' -o -path '*/new/*'"
)


def proofs_in_a_row(stack: Stack) -> None:
    """Every proof holds, and the server is unchanged afterwards."""
    target = target_of(json.loads(stack.outputs()["verifyTarget"]))
    verify(target)
    before = stack.run(EVERYTHING)
    for _ in range(50 if ALL else 10):
        assert [check.name for check in verify(target).checks] == CHECKS
    assert stack.run(EVERYTHING) == before


CHECKS = [
    "server",
    "configuration",
    "delivery",
    "on disk",
    "custody",
    "mail programs",
    "in clear",
    "read back",
    "stored mail",
]
