"""What can go wrong with a server that stores mail encrypted, and what is to be said of it.

Each row is deployed for real: as ``dovecot.cf`` or ``user-patches.sh`` in the configuration
folder, which docker-mailserver reads when it starts, or as a setting of the stack.
"""

import base64
import json
import subprocess
from dataclasses import dataclass, field

from mailcrypt_component.checks.proof.run import verify
from mailcrypt_component.checks.proof.target import target_of
from mailcrypt_component.model import dms
from tests.stacks import ALL, MARK, ROOT

V2_3, V2_4 = "2.3", "2.4"
CONFIG = "/tmp/docker-mailserver"
CUSTOM = "/etc/dovecot/conf.d/10-custom.conf"
PROBE = "mailcrypt-probe@example.test"


@dataclass(frozen=True)
class Row:
    """One sabotage: what it does, and the words that have to be in what ``up`` prints."""

    words: str
    dovecot_cf: dict[str, str] = field(default_factory=dict)
    patches: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    applies_to: tuple[str, ...] = (V2_3, V2_4)
    always: bool = False
    """Whether ``make test`` deploys it, too, on one of the servers; ``make test-all`` does all."""


def both(text):
    return {V2_3: text, V2_4: text}


def unloaded(protocol):
    return {
        V2_3: f"protocol {protocol} {{\n  mail_plugins = sieve\n}}\n",
        V2_4: f"protocol {protocol} {{\n  mail_plugins {{\n    mail_crypt = no\n  }}\n}}\n",
    }


def header_check(action):
    return both(
        f"echo '/^Subject: probe/ {action}' > /etc/postfix/checks\n"
        "postconf -e header_checks=regexp:/etc/postfix/checks\n"
        # Of DMS's own, no header check sees what is handed over in the container.
        "postconf -P pickup/fifo/receive_override_options=\n"
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


def in_background(script):
    return f"({script}) >/dev/null 2>&1 &\n"


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
        "lies there in clear",
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
        always=True,
    ),
    "empty key": Row("Couldn't parse private key", patches=both(": > /certs/k1.pem\n")),
    "missing key": Row("k1.pem", patches=both("rm /certs/k1.pem\n")),
    "unreadable key": Row("k1.pem", patches=both("rm /certs/k1.pem; mkdir /certs/k1.pem\n")),
    "public key of another pair": Row(
        "is not the declared ring's",
        patches=both(f"{FOREIGN_PUBLIC} > /certs/current.pub.pem\n"),
        always=True,
    ),
    "mail on another volume": Row(
        "IMAP shows both probe mails, and",
        {
            V2_3: "mail_location = maildir:/srv/mail/%d/%n\n",
            V2_4: "mail_path = /srv/mail/%{user | domain}/%{user | username}\n",
        },
        both("mkdir /srv/mail && chown docker:docker /srv/mail\n"),
        always=True,
    ),
    "mbox": Row(
        "IMAP shows both probe mails, and",
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
        always=True,
    ),
    "full disk": Row(
        "No space left",
        patches=both(f"chmod 777 {PROBE_FOLDER}; dd if=/dev/zero of={PROBE_FOLDER}/full; :\n"),
        settings={"mounts": [{"source": SMALL, "target": PROBE_FOLDER}]},
        always=True,
    ),
    "LMTP off": Row(
        "LMTP does not answer", both("protocols = imap\n"), settings={"deadline": 10}, always=True
    ),
    "IMAP off": Row("IMAP does not answer", both("protocols = lmtp\n"), settings={"deadline": 10}),
    "too slow": Row(
        "the deadline of 5 s has passed",
        patches=both("sleep 20\n"),
        settings={"deadline": 5},
        always=True,
    ),
    "discarded": Row("discard: header Subject: probe", patches=header_check("DISCARD")),
    "rejected": Row(
        "reject: header Subject: probe", patches=header_check("REJECT no"), always=True
    ),
    "quarantined": Row("hold: header Subject: probe", patches=header_check("HOLD")),
    "an alias takes it": Row(
        "an alias takes it",
        patches=both(
            "echo '@example.test user@example.test' > /etc/postfix/virtual; postfix reload || :\n"
        ),
    ),
    "the host name is the mail's domain": Row(
        "take another host name", patches=both("postconf -e 'mydestination = example.test'\n")
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


def rows_of(dialect):
    """Return the rows that are deployed on a dialect."""
    if ALL:
        return [name for name, row in ROWS.items() if dialect in row.applies_to]
    return [name for name, row in ROWS.items() if row.always][dialect == V2_4 :: 2]


def in_volume(stack, volume, script, stdin=""):
    """Run a shell script with a volume of the stack at /volume, whether the server runs or not."""
    argv = ["docker", "run", "--rm", "-i", "--network=none", "--entrypoint", "sh"]
    argv += ["-v", f"{stack.container}-{volume}:/volume", stack.config["image"], "-euc", script]
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)


def red_red_green(stack, dialect, name):
    """Deploy a row, twice red with its words; take it away, green within one up."""
    row = ROWS[name]
    files = {"dovecot.cf": row.dovecot_cf, "user-patches.sh": row.patches}
    for file, text in files.items():
        if dialect in text:
            in_volume(stack, "config", f"cat > /volume/{file}", text[dialect])
    wanted = {"environment": {"SABOTAGE": name}, **row.settings}
    if "mounts" in wanted:
        small = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k"]
        stack.docker("volume", "create", *small, SMALL)
    try:
        for printed in (stack.red(**wanted), stack.red()):
            assert row.words in printed, printed
    finally:
        in_volume(stack, "config", "rm -f /volume/dovecot.cf /volume/user-patches.sh")
        stack.configure(**{setting: stack.base.get(setting) for setting in wanted})
    assert "proven" in stack.green() or name in AT_PREFLIGHT
    if "mounts" in wanted:
        stack.docker("volume", "rm", SMALL)


AT_PREFLIGHT = frozenset({"lmtp does not load it", "imap does not load it"})
"""These never touch the server, so that there is nothing to prove anew."""


def foreign_mail_is_refused(stack, dialect):
    """A mail in the volume that the ring does not open: the server is not touched."""
    before = stack.container_id()
    encrypted = ROOT / "tests/vectors/encrypted/2.3-p256-long"
    in_volume(
        stack,
        "mail",
        "d=/volume/example.test/user/cur; mkdir -p $d; base64 -d > $d/1.a.b:2,S",
        subprocess.run(
            ["base64", str(encrypted)], capture_output=True, text=True, check=True
        ).stdout,
    )
    wanted = {"environment": {"SABOTAGE": f"foreign {dialect}"}, "keys": [{"name": "k1"}]}
    try:
        for printed in (stack.red(**wanted, mounts=HARMLESS), stack.red()):
            assert "1 mails are encrypted to key" in printed
            assert stack.container_id() == before
    finally:
        in_volume(stack, "mail", "rm /volume/example.test/user/cur/1.a.b:2,S")
    stack.green(environment=None, mounts=None, keys=None)


HARMLESS = [{"source": "/srv", "target": "/srv/harmless"}]


def lost_account_is_found(stack, change):
    """The probe account is not as it was; the command that the message names mends it."""
    stack.run(f"setup email {change}")
    for printed in (stack.red(environment={"SABOTAGE": "account"}), stack.red()):
        assert f"the login of {PROBE} was refused" in printed
        assert "pulumi state taint" in printed
    stack.pulumi("state", "taint", "--yes", "--stack", stack.name, accounts_of(stack), check=True)
    stack.green(environment=None)


def accounts_of(stack):
    resources = stack.secrets()
    return next(r["urn"] for r in resources if r["urn"].endswith("::mailcrypt-accounts"))


EVERYTHING = (
    "find /var/mail /tmp /var/tmp /dev/shm -path /var/mail/example.test/mailcrypt-probe -prune"
    " -o -type f -exec md5sum {} + | sort; du -sb /var/mail/example.test/user;"
    f" cut -d'|' -f1 {CONFIG}/postfix-accounts.cf; mailq;"
    " find /var/mail/example.test/mailcrypt-probe -path '*/cur/*' -o -path '*/new/*'"
)


def proofs_in_a_row(stack):
    """No false alarm, and nothing in the server is different afterwards."""
    target = target_of(json.loads(stack.outputs()["verifyTarget"]))
    verify(target)
    before = stack.run(EVERYTHING)
    for _ in range(50 if ALL else 10):
        assert len(verify(target).checks) == 6
    assert stack.run(EVERYTHING) == before
