"""The proof's conclusions from logs, mounts, listeners and stored mail, without any server."""

import email
import email.policy

import pytest

from mailcrypt_component.checks.doveconf import judge, services
from mailcrypt_component.checks.health import Listener, listeners
from mailcrypt_component.checks.proof.imap import way_to
from mailcrypt_component.checks.proof.in_clear import Controls, mounts_of
from mailcrypt_component.checks.proof.mail_log import Outcome, fate_of
from mailcrypt_component.checks.proof.probe import new_probe
from mailcrypt_component.checks.proof.stored import count
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.docker_api.run import Result
from mailcrypt_component.model.errors import ProofError, UnreachableError
from mailcrypt_component.store.maildir import Mail
from mailcrypt_component.store.tally import UNKNOWN_CONTENT
from tests.stacks import ROOT

PROBE, ID = "probe@example.test", "m1@probe.invalid"
QUEUED = f"Nov 26 01:00:00 mail postfix/cleanup[5]: A1: message-id=<{ID}>"
SENT = (
    f"Nov 26 01:00:00 mail postfix/lmtp[6]: A1: to=<{PROBE}>, relay=mail[/var/run/dovecot/lmtp],"
    f" delay=0.1, dsn=2.0.0, status=sent (250 2.0.0 <{PROBE}> x Saved)"
)
REJECTED = (
    f"Nov 26 01:00:00 mail postfix/cleanup[5]: A1: reject: header Subject: probe from local;"
    f" from=<> to=<{PROBE}>: 5.7.1 no"
)
BOUNCED = f"Nov 26 01:00:01 mail postfix/qmgr[7]: A1: to=<{PROBE}>, relay=none, status=bounced (no)"
ARCHIVE = (
    "Nov 26 01:00:00 mail postfix/error[6]: A1: to=<archive@example.test>, relay=none,"
    " dsn=5.1.1, status=bounced (unknown user)"
)
GREYLISTED = (
    "Nov 26 01:00:00 mail postfix/cleanup[5]: A1: milter-reject: END-OF-MESSAGE from localhost:"
    f" 4.7.1 Try again later; from=<> to=<{PROBE}>"
)
DEFERRED = (
    f"Nov 26 01:00:00 mail postfix/lmtp[6]: A1: to=<{PROBE}>, relay=mail[/var/run/dovecot/lmtp],"
    " dsn=4.2.2, status=deferred (host mail[/var/run/dovecot/lmtp] said: 452 Quota exceeded)"
)
CONNECTING = (
    f"Nov 26 01:00:00 mail postfix/lmtp[6]: A1: to=<{PROBE}>, relay=none, dsn=4.4.1,"
    " status=deferred (connect to mail[/var/run/dovecot/lmtp]: No such file or directory)"
)
ALIASED = (
    f"Nov 26 01:00:00 mail postfix/lmtp[6]: A1: to=<user@example.test>, orig_to=<{PROBE}>,"
    " relay=mail[/var/run/dovecot/lmtp], dsn=2.0.0, status=sent (250 2.0.0 Saved)"
)
FILTERED = (
    f"Nov 26 01:00:00 mail postfix/smtp[6]: A1: to=<{PROBE}>, relay=127.0.0.1[127.0.0.1]:10024,"
    " dsn=2.0.0, status=sent (250 2.0.0 from MTA: queued as B2)"
)
AGAIN = f"Nov 26 01:00:01 mail postfix/cleanup[5]: B2: message-id=<{ID}>"


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ([], Outcome.UNKNOWN),
        ([QUEUED], Outcome.UNKNOWN),
        ([QUEUED, SENT], Outcome.STORED),
        ([SENT], Outcome.UNKNOWN),
        ([QUEUED, ARCHIVE], Outcome.UNKNOWN),
        ([QUEUED, ARCHIVE, SENT], Outcome.STORED),
        ([QUEUED, SENT, ARCHIVE], Outcome.STORED),
        ([QUEUED, REJECTED, BOUNCED], Outcome.REFUSED),
        ([QUEUED, GREYLISTED], Outcome.PUT_OFF),
        ([QUEUED, GREYLISTED, SENT], Outcome.STORED),
        ([QUEUED, DEFERRED], Outcome.REFUSED),
        ([QUEUED, CONNECTING], Outcome.PUT_OFF),
        ([QUEUED, ALIASED], Outcome.REFUSED),
        ([QUEUED, FILTERED], Outcome.UNKNOWN),
        ([QUEUED, FILTERED, AGAIN, SENT.replace(" A1:", " B2:")], Outcome.STORED),
    ],
)
def test_the_fate_of_a_mail_is_read_from_its_own_lines(lines, outcome):
    """Other recipients, other mails and mails handed to a filter do not decide."""
    assert fate_of("\n".join(lines), ID, PROBE).outcome is outcome


def test_the_line_that_refuses_is_quoted_although_a_bounce_follows():
    """The first refusal is the cause."""
    assert "reject: header" in fate_of(f"{QUEUED}\n{REJECTED}\n{BOUNCED}", ID, PROBE).line


def test_dovecots_lines_about_a_mail_are_kept():
    """They name the folder of the mail, or say that the mail was discarded."""
    said = f"Nov 26 lmtp(x)<1><y>: Info: sieve: msgid=<{ID}>: discard action"
    assert fate_of(f"{QUEUED}\n{said}\n{SENT}", ID, PROBE).dovecot == (said,)


@pytest.mark.parametrize("size", range(0, len(SENT), 7))
def test_a_log_that_ends_anywhere_is_no_fault(size):
    """The last line may be incomplete."""
    fate_of(f"{QUEUED}\n{SENT[:size]}", ID, PROBE)


LISTENERS = """
service imap-login {{
  chroot = login
  inet_listener imap {{
    address =
    {haproxy}
    port = {imap}
    ssl = no
  }}
  inet_listener imaps {{
    {haproxy}
    port = {imaps}
    ssl = yes
  }}
}}
"""


def open_listeners(imap=143, imaps=993, haproxy=""):
    printed = LISTENERS.format(imap=imap, imaps=imaps, haproxy=haproxy)
    return [listener for listener in listeners(printed) if listener.port]


def test_listeners_are_read_from_the_output_of_doveconf():
    """Ports, TLS and proxies are read; garbage gives no listener."""
    assert open_listeners(haproxy="haproxy = yes") == [
        Listener(143, tls=False, haproxy=True),
        Listener(993, tls=True, haproxy=True),
    ]
    assert listeners("doveconf: Fatal: nothing {") == []


@pytest.mark.parametrize(
    ("found", "command", "login"),
    [
        (open_listeners(), "openssl", True),
        (open_listeners(imap=0), "openssl", True),
        (open_listeners(imaps=0), "bash", True),
        (open_listeners(haproxy="haproxy = yes"), "doveadm", False),
    ],
)
def test_imap_is_reached_by_a_way_that_works(found, command, login):
    """The order is TLS, then clear text in the container, then no port at all behind a proxy."""
    way = way_to(found, PROBE)
    assert (way.argv[0], way.needs_login) == (command, login)
    assert "secret" not in " ".join(way.argv)


def answered(**sections):
    printed = "".join(f"@@{name}\n{text}\n" for name, text in sections.items())
    return services(Result(0, printed.encode(), b""))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("protocols = imap lmtp", {"imap", "lmtp"}),
        ("protocols = imap", {"imap"}),
        ("protocols {\n  imap = yes\n  lmtp = yes\n}", {"imap", "lmtp"}),
        ("protocols {\n  imap = yes\n  lmtp = no\n}", {"imap"}),
        ("protocols =", set()),
    ],
)
def test_protocols_are_read_in_both_dialects(printed, expected):
    """A protocol that Dovecot does not run will never answer."""
    assert answered(protocols=printed).protocols == expected


def test_a_locked_server_is_recognised_by_its_login():
    """Dovecot hands each login over to a script while the private keys are missing."""
    assert answered(session="imap mailcrypt-locked-imap").locked
    assert not answered(session="imap").locked


MOUNTS = r"""overlay / overlay rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /certs tmpfs ro,noswap 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vda /tmp/docker-mailserver ext4 rw 0 0
/dev/vda /var/mail ext4 rw 0 0
/dev/vda /srv/with\040space ext4 ro 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw 0 0
"""


def test_only_what_lies_on_a_disk_is_searched():
    """Memory, the kernel's own mounts and read-only mounts are not searched."""
    disks = [mount.path for mount in mounts_of(MOUNTS) if mount.is_disk]
    assert disks == ["/", "/tmp/docker-mailserver", "/var/mail"]
    assert "/srv/with space" in {mount.path for mount in mounts_of(MOUNTS)}


def test_a_probe_mail_is_the_same_each_time_and_has_its_words_in_their_places():
    """The comparison of a fetched mail needs the same bytes again."""
    mail = new_probe().delivered
    sent = mail.to_bytes(PROBE)
    assert sent == mail.to_bytes(PROBE)
    parsed = email.message_from_bytes(sent, policy=email.policy.default)
    assert mail.subject in parsed["Subject"]
    assert [part.get_filename() for part in parsed.iter_attachments()] == [f"{mail.file_name}.txt"]
    assert mail.text in parsed.get_body().get_content()
    assert all(word.isalpha() and word.islower() for word in new_probe().words)
    assert len(set(new_probe().words)) == 6


ENCRYPTED = (ROOT / "tests/vectors/encrypted/2.3-p256-long").read_bytes()[:512]


def stored(user, name, size, prefix=ENCRYPTED):
    return Mail(f"/var/mail/example.test/{user}/cur/{name}".encode(), prefix, size, 0)


def test_stored_mail_is_counted_by_key_and_user_and_the_smallest_is_tried():
    """One mail of each user comes before the second mail of any user."""
    mails = [stored("ann", str(size), size) for size in range(5000, 5010)]
    mails += [stored("ben", "large", 9000), stored("ben", "clear", 10, b"Subject: x\n")]
    mails += [stored("ben", "cut", 20, ENCRYPTED[:20])]
    found = count(iter(mails))
    assert found.number == 13
    assert not found.unseen
    (users,) = found.users.values()
    assert users == {"example.test/ann": 10, "example.test/ben": 1}
    (candidates,) = found.candidates.values()
    assert [mail.size for mail in candidates] == [5000, 9000, 5001, 5002]


@pytest.mark.parametrize("kind", list(UNKNOWN_CONTENT))
def test_a_part_that_could_not_be_looked_at_is_named(kind):
    """No part of the store is skipped silently."""
    path = b"/var/mail/example.test/ann/secret"
    (line,) = count(iter([Mail(path, b"", -1, 0, kind)])).unseen
    assert path.decode() in line


def test_a_mail_that_is_too_large_to_try_is_counted():
    """A key whose mail cannot be tried is still reported."""
    found = count(iter([stored("ann", "huge", 1 << 40)]))
    assert [sum(users.values()) for users in found.users.values()] == [1]
    assert list(found.candidates.values()) == [()]


def test_a_control_is_known_through_a_second_mount_of_its_folder():
    """A folder of the host that is mounted twice holds no word of a mail for that."""
    controls = Controls((), ("/var/log/mail/.mailcrypt-1f",))
    assert controls.include("/srv/shared/.mailcrypt-1f")
    assert not controls.include("/srv/shared/copy.eml")


@pytest.mark.parametrize(
    "printed", [b"", b"@@version\n2.4.1\n@@load\n@@global\nmail_crypt = yes\n"]
)
def test_an_answer_that_was_cut_off_is_no_verdict(printed):
    """A container that is killed meanwhile must not be called one that stores in clear."""
    cut = Result(137, printed, b"")
    with pytest.raises(UnreachableError, match="cut off"):
        judge(cut, Dialect.V2_4, ProofError, where="mail")


def test_the_smallest_mail_of_a_key_is_tried_even_if_it_is_large():
    """Nine MiB are more than is copied of several mails, and may be all that a key has."""
    mails = [stored("ann", "large", 9 << 20), stored("ben", "larger", 10 << 20)]
    (tried,) = count(iter(mails)).candidates.values()
    assert [mail.size for mail in tried] == [9 << 20]
