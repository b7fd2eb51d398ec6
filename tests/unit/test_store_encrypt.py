"""The encryption of stored mail in a directory: kept properties, skipped mail, and kills."""

import errno
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailcrypt_component.cli import main
from mailcrypt_component.dcrypt.decrypt import decrypt_bytes
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import KeyFault
from mailcrypt_component.store.agent import writer
from mailcrypt_component.store.encrypt import EncryptionJob, encrypt_store
from mailcrypt_component.store.local.files import local_files
from mailcrypt_component.store.local.walk import count
from tests.store import Key, Store, kill_all, valid

VECTORS = Path(__file__).parents[1] / "vectors"
CURRENT, RETIRED, LOST = Key(), Key(), Key()
RING = {**CURRENT.ring, **RETIRED.ring}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "mail")
    store.put(b"Subject: in clear\n\nx\n", mtime=1_234_567_890)
    store.encrypt(b"retired", RETIRED, folder=".Sent", new=True, mtime=1_300_000_000)
    store.encrypt(b"current", CURRENT)
    (store.root / "example.test/ann/cur").chmod(0o750)
    return store


def facts(store):
    """Return the properties of each mail that clients and Dovecot see."""
    found = {}
    for path in sorted(store.root.rglob("*")):
        if path.parent.name in {"cur", "new"} and path.is_file():
            stat = path.stat()
            data = path.read_bytes()
            plain = decrypt_bytes(data, RING) if data.startswith(b"CRYPTED") else data
            name = str(path.relative_to(store.root))
            found[name] = (plain, stat.st_mtime_ns, stat.st_mode, stat.st_uid, stat.st_gid)
    return found


def run(store, *argv):
    pem = store.root.parent / "ring.pem"
    pem.write_text(CURRENT.pem + RETIRED.pem)
    words = ["encrypt", str(store.root), "--key", str(pem), "--to", CURRENT.id, *argv]
    return CliRunner().invoke(main, words)


def test_a_dry_run_changes_nothing_and_counts_the_mail_to_encrypt(store):
    """The exit code is 1, because there is something to encrypt."""
    before = {path: path.stat().st_ino for path in store.root.rglob("*")}
    done = run(store, "--json")
    assert done.exit_code == 1, done.output
    found = valid(done.stdout, "encrypt")
    assert (found["encrypted"], found["were_in_clear"], found["current"]) == (2, 1, 1)
    assert {path: path.stat().st_ino for path in store.root.rglob("*")} == before


def test_every_mail_is_encrypted_and_keeps_all_that_clients_see(store):
    """Name, time, mode, owner and content stay; a second run finds nothing to do."""
    before = facts(store)
    done = run(store, "--apply", "--json")
    assert done.exit_code == 0, done.output
    assert facts(store) == before
    assert count(str(store.root)).states() == {CURRENT.id: 3}
    assert not list(store.root.rglob("tmp/*"))
    assert valid(run(store, "--apply", "--json").stdout, "encrypt")["current"] == 3


def test_a_mail_that_cannot_be_handled_is_left_alone_and_listed(store):
    """The exit code is 1, and no byte of the mail is changed."""
    lost = store.encrypt(b"lost", LOST)
    empty = store.put(b"")
    kept = {name: (store.root / name).read_bytes() for name in (lost, empty)}
    done = run(store, "--apply", "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "encrypt")
    assert sum(found["left_alone"].values()) == 2
    assert {item["file"] for item in found["examples"]} == {lost, empty}
    assert any(LOST.id in reason for reason in found["left_alone"])
    assert {name: (store.root / name).read_bytes() for name in kept} == kept


def test_a_store_without_any_maildir_cannot_be_encrypted(store, tmp_path):
    """The exit code is 2; an empty Maildir counts as encrypted."""
    store.root = tmp_path / "elsewhere"
    (store.root / "example.test/ann").mkdir(parents=True)
    done = run(store, "--apply")
    assert done.exit_code == 2
    assert "no Maildir below this path" in done.stderr
    (store.root / "example.test/ann/cur").mkdir()
    assert run(store, "--apply").exit_code == 0


def test_a_part_that_cannot_be_looked_at_is_listed(store):
    """The exit code is 1, because mail may be in clear there."""
    os.symlink("/elsewhere", store.root / "example.test/bob")
    (store.root / "example.test/ann/m.1").write_bytes(b"x")
    done = run(store, "--apply", "--json")
    assert done.exit_code == 1
    found = valid(done.stdout, "encrypt")
    assert found["left_alone"] == {
        "a symbolic link that leads out of the store": 1,
        "sdbox or mdbox": 1,
    }


@pytest.mark.parametrize("when", ["look", "read"])
def test_a_mail_that_the_disk_cannot_read_is_left_alone(store, monkeypatch, when):
    """The other mails are encrypted."""
    broken, asked = store.put(b"broken"), []

    def open_broken(self, path, real=writer.Writer.open):
        if os.fsdecode(path) == broken:
            asked.append(path)
            if when == "look" or len(asked) > 1:
                raise OSError(errno.EIO, "Input/output error")
        return real(self, path)

    monkeypatch.setattr(writer.Writer, "open", open_broken)
    with local_files(str(store.root)) as opened:
        found = encrypt_store(opened, EncryptionJob(RING, CURRENT.id, apply=True), workers=1)
    assert found.encrypted == 2
    assert found.left == {"Input/output error": 1}
    assert (store.root / broken).read_bytes() == b"broken"


def test_a_user_can_be_chosen(store):
    """The mail of other users stays unchanged."""
    other = store.put(b"of bob", user="example.test/bob")
    assert run(store, "--apply", "--user", "example.test/bob").exit_code == 0
    assert count(str(store.root)).states() == {CURRENT.id: 2, RETIRED.id: 1, "clear": 1}
    assert (store.root / other).read_bytes().startswith(b"CRYPTED")


def test_copies_that_are_one_file_stay_one_file(store):
    """Hard links, which Dovecot makes for copies, keep sharing their space."""
    first = store.put(b"copied by IMAP")
    names = [store.root / f"example.test/ann/.Sent/new/{n}.copy" for n in range(3)]
    for path in names:
        os.link(store.root / first, path)
    assert run(store, "--apply").exit_code == 0
    inodes = {path.stat().st_ino for path in [store.root / first, *names]}
    assert len(inodes) == 1
    assert decrypt_bytes(names[0].read_bytes(), RING) == b"copied by IMAP"


def test_the_current_keys_private_part_is_needed():
    """Without it, a new file could not be decrypted for the comparison."""
    with pytest.raises(KeyFault, match="no private key"):
        encrypt_store(pytest.fail, EncryptionJob(RETIRED.ring, CURRENT.id, apply=True))


def test_a_mail_that_is_moved_to_a_folder_that_was_looked_at_is_encrypted_there(store, monkeypatch):
    """A client may move it at any time; it is found again, whatever the order of folders."""
    for folder in (".A", ".Z"):
        store.put(b"there", folder=folder)
    box = store.root / "example.test/ann"
    for origin, target in (("", ".A"), ("", ".Z"), (".A", ".Z"), (".Z", ".A")):
        path = store.root / store.put(b"moving", folder=origin, name=f"8{origin}.M{target}P1.mail")
        goal = box / target / "cur" / path.name

        def exchange(one, other, real=writer.exchange, path=path, goal=goal):
            if path.exists():
                path.rename(goal)
            real(one, other)

        monkeypatch.setattr(writer, "exchange", exchange)
    with local_files(str(store.root)) as opened:
        encrypt_store(opened, EncryptionJob(RING, CURRENT.id, apply=True), workers=1)
    assert set(count(str(store.root)).states()) == {CURRENT.id}


@pytest.mark.parametrize("moved", ["flag", "to cur", "expunged"])
def test_a_mail_that_moves_just_before_its_turn_is_neither_lost_nor_doubled(
    store, monkeypatch, moved
):
    """It is found under its new name, or skipped if it is gone."""
    arrived = moved == "to cur"
    name = "77.M1P1.mail,S=6" if arrived else "77.M1P1.mail,S=6:2,"
    path = store.root / store.put(b"moving", name=name, new=arrived)
    real = writer.exchange

    def exchange(one, other):
        if path.exists() and os.path.basename(other).startswith(b"77."):
            if moved == "expunged":
                path.unlink()
            else:
                path.rename(path.parents[1] / "cur/77.M1P1.mail,S=6:2,S")
        real(one, other)

    monkeypatch.setattr(writer, "exchange", exchange)
    with local_files(str(store.root)) as opened:
        found = encrypt_store(opened, EncryptionJob(RING, CURRENT.id, apply=True), workers=1)
    there = list(store.root.rglob("77.*"))
    if moved == "expunged":
        assert there == []
        assert found.gone == 1
    else:
        assert [p.name for p in there] == ["77.M1P1.mail,S=6:2,S"]
        assert decrypt_bytes(there[0].read_bytes(), RING) == b"moving"
    assert not list(store.root.rglob("tmp/*"))


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    """Another thread changes flags, removes and adds mail meanwhile, as Dovecot would."""
    store = Store(tmp_path / "mail")
    for number in range(600):
        body = f"mail {number}".encode()
        if number % 3:
            store.encrypt(body, RETIRED, name=f"{number}.M1P1.mail,S={len(body)}:2,")
        else:
            store.put(body, name=f"{number}.M1P1.mail,S={len(body)}:2,")
    pem = tmp_path / "ring.pem"
    pem.write_text(CURRENT.pem + RETIRED.pem)
    box = store.root / "example.test/ann/cur"
    removed, stop, chance = set(), threading.Event(), random.Random(1)

    def be_dovecot():
        while not stop.is_set():
            path = chance.choice(sorted(box.iterdir()))
            base = path.name.partition(":2,")[0]
            if chance.random() < 0.1 and len(removed) < 50:
                path.unlink()
                removed.add(int(base.partition(".")[0]))
            else:
                path.rename(box / f"{base}:2,{chance.choice(['', 'S', 'FS', 'RS'])}")
            time.sleep(0.001)

    dovecot = threading.Thread(target=be_dovecot)
    dovecot.start()
    argv = ["-m", "mailcrypt_component.cli", "encrypt", str(store.root), "--apply", "--json"]
    argv += ["--key", str(pem), "--to", CURRENT.id]
    for _ in range(8):
        running = subprocess.Popen(
            [sys.executable, *argv], stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.15, 0.5))
        kill_all(running)
    stop.set()
    dovecot.join()
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    plain = [decrypt_bytes(path.read_bytes(), CURRENT.ring) for path in box.iterdir()]
    expected = [f"mail {n}".encode() for n in range(600) if n not in removed]
    assert sorted(plain) == sorted(expected)
    assert not list(store.root.rglob("tmp/*"))


def test_mail_of_format_version_1_is_encrypted_again(store):
    """Its header names a retired key by the id of that version."""
    key = load_private_key((VECTORS / "keys/p256.pem").read_bytes())
    old = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes()
    path = store.root / store.put(old, user="example.test/bob")
    ring = {**RING, key_id(key.public_key()): key}
    with local_files(str(store.root)) as opened:
        found = encrypt_store(opened, EncryptionJob(ring, CURRENT.id, apply=True), workers=1)
    assert found.left == {}
    assert decrypt_bytes(path.read_bytes(), RING) == decrypt_bytes(old, ring)
