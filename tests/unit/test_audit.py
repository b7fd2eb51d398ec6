"""The audit of a directory, through the command as users call it."""

import os

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mailcrypt_component.cli import main
from mailcrypt_component.dcrypt.header import Unsupported
from mailcrypt_component.store import tally
from mailcrypt_component.store.local.walk import count
from mailcrypt_component.store.maildir import mailbox_of, shown
from mailcrypt_component.store.tally import Shapes, state_of
from tests.store import Key, Store, valid

CURRENT, RETIRED, LOST = Key(), Key(), Key()


@pytest.fixture
def store(tmp_path):
    """A store of two users with one mail in each state."""
    store = Store(tmp_path / "mail")
    store.encrypt(b"one", CURRENT)
    store.encrypt(b"two", CURRENT, folder=".Sent", new=True)
    store.encrypt(b"three", RETIRED, user="example.test/bob")
    store.encrypt(b"four", LOST, user="example.test/bob")
    store.put(b"Subject: in clear\n\n", user="example.test/bob", folder=".Old.2019")
    store.put(b"", user="example.test/bob")
    store.put((store.root / next(iter(store.plain))).read_bytes()[:-20], user="example.test/bob")
    return store


def audit(*argv):
    return CliRunner().invoke(main, ["audit", *map(str, argv)])


def test_every_state_is_counted_by_user_and_folder(store):
    """The JSON fits the schema in the repository."""
    done = audit(store.root, "--key-id", CURRENT.id, "--key-id", RETIRED.id, "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "audit")
    assert found["states"] == {"current": 2, "retired": 1, "unknown": 1, "clear": 1, "damaged": 2}
    assert found["keys"] == {CURRENT.id: 2, RETIRED.id: 1, LOST.id: 1}
    assert {"user": "example.test/ann", "folder": "Sent", "current": 1} in found["folders"]
    assert {"user": "example.test/bob", "folder": "Old.2019", "clear": 1} in found["folders"]
    assert len(found["examples"]["damaged"]) == 2


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [("clear,unknown,damaged", 1), ("none", 0), ("dbox", 0), ("clear", 1), ("retired", 1)],
)
def test_fail_on_decides_the_exit_code(store, fail_on, code):
    """A cron job can choose which states count as a failure."""
    ring = ("--key-id", CURRENT.id, "--key-id", RETIRED.id)
    assert audit(store.root, *ring, "--fail-on", fail_on).exit_code == code


def test_a_path_that_does_not_exist_is_no_verdict(tmp_path):
    """The exit code is 2, and the message names the path."""
    done = audit(tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
    assert audit(tmp_path, "--fail-on", "cleer").exit_code == 2


def test_a_path_without_any_maildir_is_no_verdict(tmp_path):
    """The exit code is 2, since "nothing in clear" would be the wrong answer to a mistyped path."""
    (tmp_path / "example.test/ann").mkdir(parents=True)
    (tmp_path / "readme.txt").write_text("x")
    done = audit(tmp_path, "--fail-on", "none")
    assert done.exit_code == 2
    assert "no Maildir below this path" in done.stderr
    assert str(tmp_path) in done.stderr


def test_an_empty_maildir_is_a_verdict(tmp_path):
    """The Maildir of a new account has no mail yet."""
    (tmp_path / "example.test/ann/cur").mkdir(parents=True)
    done = audit(tmp_path)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"0 mails in {tmp_path}")


def test_one_mail_is_one_mail(tmp_path):
    """The noun agrees with its number."""
    Store(tmp_path).encrypt(b"x", CURRENT)
    assert audit(tmp_path).stdout.startswith(f"1 mail in {tmp_path}\n")


@pytest.mark.parametrize("what", ["dbox", "link", "unreadable_folder", "unsupported"])
def test_a_part_that_cannot_be_looked_at_is_no_verdict(tmp_path, monkeypatch, what):
    """The exit code is 2, and the message names the path, even if everything else is fine."""
    store = Store(tmp_path / "mail")
    store.encrypt(b"x", CURRENT)
    user = store.root / "example.test/bob"
    user.mkdir()
    if what == "dbox":
        (user / "m.1").write_bytes(b"2 M1e")
    elif what == "link":
        os.symlink("/elsewhere", user / "cur")
    elif what == "unsupported":
        store.put(b"of a format to come", user="example.test/bob")
        real = tally.parse_header

        def parse_header(prefix):
            if b"to come" in prefix:
                raise Unsupported("format version 9")
            return real(prefix)

        monkeypatch.setattr(tally, "parse_header", parse_header)
    else:
        monkeypatch.setattr(os, "scandir", unreadable(os.fsencode(user)))
    done = audit(store.root, "--json")
    assert done.exit_code == 2
    assert "not looked at" in done.stderr
    assert "example.test/bob" in done.stderr
    found = valid(done.stdout, "audit")
    assert found["states"] == {"encrypted": 1, what: 1}
    assert found["total"] == (1 if what in {"link", "unreadable_folder"} else 2)
    assert audit(store.root, "--fail-on", "none").exit_code == 0
    assert "not looked at" in audit(store.root).stdout


def unreadable(directory):
    def scandir(path, real=os.scandir):
        if path == directory:
            raise PermissionError(13, "Permission denied")
        return real(path)

    return scandir


def test_other_formats_are_recognised(tmp_path):
    """Files of sdbox and mdbox are counted, mbox counts as in clear, control files do not count."""
    store = Store(tmp_path)
    for path, data in {
        "example.test/s/mailboxes/INBOX/dbox-Mails/u.1": b"2 M1e",
        "example.test/m/storage/m.7": b"2 M1e",
        "example.test/x/mail": b"From ann Mon\n\nhello",
        "example.test/x/dovecot-uidlist": b"3 V1 N2",
        "example.test/x/subscriptions": b"V\t2\n",
    }.items():
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(data)
    assert count(str(tmp_path)).states() == {"dbox": 2, "mbox": 1}
    assert audit(tmp_path).exit_code == 1


def test_nothing_but_regular_files_is_opened(store):
    """Loops, FIFOs and names that are not UTF-8 neither stop the audit nor count."""
    cur = os.fsencode(store.root) + b"/example.test/ann/cur"
    os.symlink(store.root, cur + b"/loop")
    os.symlink("..", store.root / "example.test/up")
    os.mkfifo(cur + b"/fifo")
    before = sum(count(str(store.root)).states().values())
    store.put(b"x", name=os.fsdecode(b"a\nb\xff\x1b[31m:2,"))
    done = audit(store.root)
    assert sum(count(str(store.root)).states().values()) == before + 1
    assert r"a\nb\xff\x1b[31m:2," in done.stdout
    assert "\x1b" not in done.stdout


def test_any_number_of_workers_counts_the_same(store):
    """Each file is counted once."""
    expected = count(str(store.root), workers=1, years=True)
    for workers in (2, 3, 7):
        found = count(str(store.root), workers=workers, years=True)
        assert found.states() == expected.states()
        assert (found.mailboxes, found.years) == (expected.mailboxes, expected.years)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255), st.booleans())
def test_a_header_met_before_gives_the_same_state_as_the_parser(extra, offset, value, spoil):
    """The regular expression is only a faster way to the same result."""
    shapes = Shapes()
    shapes.learn(ENCRYPTED)
    data = bytearray(ENCRYPTED[:255] + extra)
    if spoil:
        data[offset % len(data)] = value
    found = shapes.match(bytes(data))
    if found:
        assert shapes.state(found) == state_of(bytes(data), len(data))
    elif not spoil and len(extra) >= 16:
        pytest.fail("a whole header of the same key was not met again")


ENCRYPTED = b""


def setup_module():
    global ENCRYPTED  # noqa: PLW0603
    from mailcrypt_component.dcrypt.encrypt import encrypt  # noqa: PLC0415

    ENCRYPTED = encrypt(b"x" * 100, CURRENT.public)


@given(st.binary(max_size=40))
def test_a_name_is_shown_on_one_line_and_nothing_of_it_is_lost(name):
    """Control characters of a name cannot reach a terminal."""
    text = shown(name)
    assert text.isprintable()
    assert shown(b"plain-name:2,S") == "plain-name:2,S"


@pytest.mark.parametrize(
    ("directory", "place"),
    [
        (b"example.test/ann/cur", ("example.test/ann", "INBOX")),
        (b"example.test/ann/.Sent.2024/new", ("example.test/ann", "Sent.2024")),
        (b"cur", (".", "INBOX")),
        (b".Drafts/cur", (".", "Drafts")),
    ],
)
def test_a_mailbox_is_known_by_its_path(directory, place):
    """Maildir++ folders belong to the user whose directory contains them."""
    assert mailbox_of(directory) == place


def test_the_report_is_written_with_its_verdict(store, tmp_path):
    """A page that cannot be written is exit code 2."""
    page = tmp_path / "report.html"
    done = audit(store.root, "--html", page, "--key-id", CURRENT.id)
    assert done.exit_code == 1
    text = page.read_text()
    assert "attention." in text
    assert "By year of arrival" in text
    assert audit(store.root, "--html", tmp_path / "no/such/folder.html").exit_code == 2
