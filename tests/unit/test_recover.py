"""Recovery, inspection and the drill on a directory, through the commands."""

import errno
import faulthandler
import gzip
import hashlib
import io
import mailbox
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mailcrypt_component.cli import main
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store import recover_worker
from mailcrypt_component.store.recover import SMALL, Layout, recover
from tests.store import Key, Store, valid

CURRENT, RETIRED, LOST = Key(), Key(), Key()
RING = {**CURRENT.ring, **RETIRED.ring}
MAIL = b"From: ann@example.test\nSubject: x\n\nFrom here on\n>From there\n"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "mail")
    store.encrypt(MAIL, CURRENT, mtime=1_234_567_890)
    store.encrypt(MAIL * 3, RETIRED, folder=".Sent", new=True)
    store.encrypt(gzip.compress(MAIL), CURRENT, user="example.test/bob", name="packed,S=60:2,")
    store.plain["example.test/bob/cur/packed,S=60:2,"] = MAIL
    store.put(b"Subject: in clear\n\nx\n", user="example.test/bob")
    store.encrypt(b"", CURRENT, user="example.test/bob", name=os.fsdecode(b"odd\n\xff,S=0:2,FS"))
    (store.root / "example.test/ann/dovecot-uidlist").write_bytes(b"3 V1 N2 Gx\n")
    (store.root / "example.test/ann/subscriptions").write_bytes(b"Sent\n")
    return store


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.pem"
    path.write_text(CURRENT.pem + RETIRED.pem)
    return str(path)


def run(*argv):
    return CliRunner().invoke(main, [str(word) for word in argv])


def fingerprint(root):
    """Return every path with its content, mode and time."""
    return {
        path: (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
        )
        for path in root.rglob("*")
    }


def test_every_mail_is_recovered_with_its_name_and_time(store, keys, tmp_path):
    """The source is not changed."""
    before = fingerprint(store.root)
    done = run("recover", store.root, "--key", keys, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    found = valid(done.stdout, "recover")
    assert (found["recovered"], found["were_in_clear"]) == (5, 1)
    for relative, plain in store.plain.items():
        copy = tmp_path / "out" / relative
        assert copy.read_bytes() == plain, relative
        assert copy.stat().st_mtime_ns == (store.root / relative).stat().st_mtime_ns
        assert copy.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out/example.test/ann/dovecot-uidlist").exists()
    assert (tmp_path / "out/example.test/ann/subscriptions").read_bytes() == b"Sent\n"
    assert fingerprint(store.root) == before


def test_a_repeated_run_does_only_what_is_missing(store, keys, tmp_path):
    """A mail whose flags have changed since is not written twice."""
    out = tmp_path / "out"
    assert run("recover", store.root, "--key", keys, "--out", out).exit_code == 0
    box = store.root / "example.test/bob/cur"
    (box / "packed,S=60:2,").rename(box / "packed,S=60:2,S")
    store.encrypt(b"late", CURRENT)
    first = out / next(iter(store.plain))
    first.write_bytes(first.read_bytes()[:-1])  # As a power failure may leave it.
    found = valid(
        run("recover", store.root, "--key", keys, "--out", out, "--json").stdout, "recover"
    )
    assert (found["recovered"], found["there_already"]) == (2, 4)
    assert first.read_bytes() == MAIL
    assert [p.name for p in (out / "example.test/bob/cur").glob("packed*")] == ["packed,S=60:2,"]


def flip_last_byte(path):
    """Change a mail's tag, whatever it is."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_mail_that_does_not_open_is_listed_with_the_key_that_it_needs(store, keys, tmp_path):
    """The rest is recovered; a damaged mail leaves no file."""
    wanting = store.encrypt(b"lost", LOST)
    damaged = store.encrypt(b"damaged", CURRENT)
    path = store.root / damaged
    flip_last_byte(path)
    done = run("recover", store.root, "--key", keys, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "recover")
    assert found["missing_keys"] == {LOST.id: 1}
    assert found["failed"] == {"damaged": 1}
    assert {item["file"] for item in found["examples"]} == {wanting, damaged}
    assert not (tmp_path / "out" / damaged).exists()
    assert not list((tmp_path / "out").rglob(".mailcrypt-*"))


def test_a_large_mail_is_streamed_and_a_damaged_one_is_not_released(tmp_path):
    """Its tag is at the end, so everything that was written before the fault is removed."""
    store = Store(tmp_path / "mail")
    good = store.encrypt(b"\n" + os.urandom(SMALL + 12345), CURRENT)
    bad = store.encrypt(bytes(SMALL + 1), CURRENT)
    flip_last_byte(store.root / bad)
    found = recover(str(store.root), str(tmp_path / "out"), RING)
    assert (found.recovered, found.failed) == (1, {"damaged": 1})
    assert (tmp_path / "out" / good).read_bytes() == store.plain[good]
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name not in good]


def test_a_killed_worker_is_one_clear_error(store, tmp_path, monkeypatch):
    """The kernel may kill a worker if memory is short; the next run does the rest."""

    def die(*_):
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("mailcrypt_component.store.recover_worker.decrypt_into", die)
    with pytest.raises(UnreachableError, match="a worker process was killed"):
        recover(str(store.root), str(tmp_path / "out"), RING, workers=2)
    monkeypatch.undo()
    found = recover(str(store.root), str(tmp_path / "out"), RING, workers=2)
    assert found.recovered + found.there_already == len(store.plain)


@pytest.mark.parametrize("size", [100, SMALL + 1])
def test_a_mail_that_the_disk_cannot_read_is_listed_and_the_rest_is_recovered(
    store, tmp_path, monkeypatch, size
):
    """A failing disk does not end the recovery, whether a mail is read at once or streamed."""
    broken = store.put(bytes(size), name="9.broken")

    def readinto(self, buffer, real=io.FileIO.readinto):
        if os.readlink(f"/proc/self/fd/{self.fileno()}").endswith("broken"):
            raise OSError(errno.EIO, "Input/output error")
        return real(self, buffer)

    failing = SimpleNamespace(FileIO=SimpleNamespace(readinto=readinto))
    failing.BufferedReader = io.BufferedReader
    monkeypatch.setattr(recover_worker, "io", failing)
    found = recover(str(store.root), str(tmp_path / "out"), RING, workers=1)
    assert found.recovered == len(store.plain) - 1
    assert found.examples == [(broken, "damaged: Input/output error")]
    assert not (tmp_path / "out" / broken).exists()


def test_eml_and_mbox_by_choice(store, tmp_path):
    """An mbox has its From lines quoted, and a second run writes it again."""
    recover(str(store.root), str(tmp_path / "eml"), RING, layout=Layout.EML)
    assert (tmp_path / "eml/example.test/bob/INBOX/packed,S=60:2,.eml").read_bytes() == MAIL
    for _ in range(2):
        recover(str(store.root), str(tmp_path / "mbox"), RING, layout=Layout.MBOX)
    box = mailbox.mbox(tmp_path / "mbox/example.test/ann/Sent.mbox")
    assert len(box) == 1
    raw = (tmp_path / "mbox/example.test/ann/INBOX.mbox").read_bytes()
    assert b"\n>From here on\n>>From there\n" in raw
    assert raw.startswith(b"From MAILER-DAEMON Fri Feb 13 23:31:30 2009\n")


def test_loops_fifos_and_foreign_formats_are_no_trouble(store, tmp_path):
    """Only regular files are opened, and mdbox is listed as not recovered."""
    os.symlink(store.root, store.root / "example.test/loop")
    os.mkfifo(store.root / "example.test/ann/cur/fifo")
    (store.root / "example.test/ann/storage").mkdir()
    (store.root / "example.test/ann/storage/m.1").write_bytes(b"x")
    found = recover(str(store.root), str(tmp_path / "out"), RING)
    assert found.recovered == 5
    assert found.failed == {"sdbox or mdbox, which mailcrypt does not read": 1}


@pytest.mark.parametrize("out", ["mail", "mail/inside", "."])
def test_an_output_inside_the_store_is_refused(store, keys, tmp_path, out):
    """A recovery does not change its own store."""
    done = run("recover", store.root, "--key", keys, "--out", tmp_path / out)
    assert done.exit_code == 2
    assert "contain one another" in done.stderr


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_written(store, tmp_path):
    """No file under a mail's name holds less than the whole mail."""
    program = (
        "import sys, resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50));"
        "from mailcrypt_component.cli import main; main()"
    )
    pem = tmp_path / "k.pem"
    pem.write_text(CURRENT.pem)
    argv = ["recover", str(store.root), "--key", str(pem), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert [
        p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.stat().st_size >= 50
    ] == []
    assert not list((tmp_path / "out").rglob(".mailcrypt-*"))


def test_a_store_without_any_maildir_cannot_be_recovered(keys, tmp_path):
    """The exit code is 2 without an output folder; an empty Maildir is recovered to nothing."""
    (tmp_path / "mail/example.test/ann").mkdir(parents=True)
    argv = ["recover", tmp_path / "mail", "--key", keys, "--out", tmp_path / "out"]
    done = run(*argv)
    assert done.exit_code == 2
    assert "no Maildir below this path" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "mail/example.test/ann/new").mkdir()
    done = run(*argv)
    assert (done.exit_code, done.stdout) == (0, f"mails recovered to {tmp_path}/out: 0\n")


def test_a_link_out_of_the_store_is_listed_as_not_recovered(store, keys, tmp_path):
    """Dovecot would follow it, so there may be mail behind it."""
    os.symlink("/elsewhere", store.root / "example.test/carol")
    done = run("recover", store.root, "--key", keys, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "recover")
    assert found["failed"] == {"a symbolic link that leads out of the store": 1}
    assert found["examples"][0]["file"] == "example.test/carol"


def test_the_drill_proves_each_key_id_in_use(store, tmp_path):
    """Mail in clear is counted and is no fault."""
    pem = tmp_path / "ring.pem"
    pem.write_text(CURRENT.pem + RETIRED.pem)
    done = run("drill", store.root, "--escrow", pem, "--json")
    assert done.exit_code == 0, done.output
    found = valid(done.stdout, "drill")
    assert found["proven"]
    assert found["keys"][CURRENT.id] == {"mails": 3, "tried": 3, "opened": 3, "faults": []}
    assert (found["not_encrypted"], found["not_looked_at"]) == (1, 0)


def test_the_drill_names_the_key_that_is_missing_in_escrow(store, tmp_path):
    """The exit code is 1; it is 2 for a missing file or argument."""
    pem = tmp_path / "ring.pem"
    pem.write_text(CURRENT.pem)
    done = run("drill", store.root, "--escrow", pem)
    assert done.exit_code == 1
    assert f"NOT PROVEN  {RETIRED.id}: 0 of 1 opened" in done.stdout
    assert run("drill", store.root, "--escrow", tmp_path / "nowhere").exit_code == 2
    assert run("drill", "--escrow", pem).exit_code == 2


@pytest.mark.parametrize(
    ("folder", "said"),
    [("", "no Maildir below this path"), ("cur", "no encrypted mail is stored")],
)
def test_a_drill_without_encrypted_mail_proves_nothing(tmp_path, folder, said):
    """The exit code is 2: no Maildir, or an empty one, does not show that keys are right."""
    pem = tmp_path / "ring.pem"
    pem.write_text(CURRENT.pem)
    (tmp_path / "mail/ann" / folder).mkdir(parents=True)
    done = run("drill", tmp_path / "mail", "--escrow", pem)
    assert done.exit_code == 2
    assert said in done.output


def test_a_drill_that_could_not_look_at_everything_proves_nothing(store, tmp_path):
    """The exit code is 2, because the unread part may hold mail of another key."""
    pem = tmp_path / "ring.pem"
    pem.write_text(CURRENT.pem + RETIRED.pem)
    (store.root / "example.test/ann/m.1").write_bytes(b"x")
    done = run("drill", store.root, "--escrow", pem, "--json")
    assert done.exit_code == 2
    found = valid(done.stdout, "drill")
    assert (found["proven"], found["not_looked_at"]) == (False, 1)


def test_inspect_reports_the_state_of_files(store, keys, tmp_path):
    """It reports state, keys and compression, and whether the given keys open them."""
    names = list(store.plain)
    done = run("inspect", *(store.root / name for name in names), "--key", keys, "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "inspect")
    assert [facts["state"] for facts in found] == ["encrypted"] * 3 + ["clear", "encrypted"]
    assert found[2]["compression"] == "gz"
    assert found[0]["key_ids"] == [CURRENT.id]
    assert all(facts["opens"] for facts in found if facts["state"] == "encrypted")
    assert run("inspect", store.root / names[0]).exit_code == 0
    assert run("inspect", tmp_path).exit_code == 2
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in run("inspect", tmp_path / "fifo").stdout


@pytest.mark.parametrize("command", ["verify", "inspect", "audit", "escrow", "drill", "recover"])
def test_the_help_of_each_command_lists_its_exit_codes(command):
    """Scripts rely on the exit codes."""
    assert "Exit codes: 0" in run(command, "--help").stdout
