"""The agent that walks, reads and replaces mail, run outside of a container."""

import ast
import io
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcrypt_component.dcrypt import header
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.agent import reader, server, writer
from mailcrypt_component.store.agent.reader import (
    LINK,
    MAIL,
    MBOX,
    UNREADABLE_FOLDER,
    Mail,
    NotAMessage,
    Reader,
    packed,
    receive,
)
from mailcrypt_component.store.agent.writer import FileStat, Replacement, Writer
from mailcrypt_component.store.encrypt import EncryptionJob, encrypt_store
from mailcrypt_component.store.local.walk import count
from mailcrypt_component.store.volume.agent import READER, Agent, agent_files
from mailcrypt_component.store.volume.files import VolumeFiles
from tests.store import Key, Store

CURRENT, RETIRED = Key(), Key()
RING = {**CURRENT.ring, **RETIRED.ring}
MODULES = (reader, writer, server)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "mail")


def found(store):
    """Return every entry of a store by its path."""
    batches = Reader(os.fsencode(store.root)).mails()
    return {os.fsdecode(mail.path): mail for batch in batches for mail in batch}


class PipeSession(io.RawIOBase):
    """A program on pipes, in place of a session with a program in a container."""

    def __init__(self, process):
        self._process = process
        self.errors = b""
        self.send = process.stdin.write
        self.kill = process.kill

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._process.stdout.readinto(buffer)


@contextmanager
def agent_on(root, folder):
    """Run the agent from the files that are sent into a container, with no other module."""
    for file in agent_files():
        path = folder / file.path.removeprefix("/mailcrypt/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", server.__name__, str(root), "mailcrypt-encrypt.test."],
        env={"PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield Agent(PipeSession(process), "the test", "try again")
    finally:
        process.stdin.close()
        process.wait()


# ---- What it is made of ----


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_agent_imports_only_the_standard_library_and_itself(module):
    """Any other module would be missing in the container."""
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            known = name.partition(".")[0] in sys.stdlib_module_names
            assert known or name in {each.__name__ for each in MODULES}, name


def test_the_reader_is_one_file_that_fits_into_an_argument():
    """Linux accepts at most 128 KiB for one argument."""
    assert "mailcrypt_component" not in READER
    assert len(READER) < 1 << 17


def test_the_agent_and_the_format_agree_on_the_header():
    """The agent repeats these numbers, because it cannot import them."""
    assert reader.MAGIC == header.MAGIC
    assert reader.LONGEST_HEADER == header.HEADER_LIMIT


# ---- Reading ----


def test_the_reader_prints_what_it_finds(store):
    """It runs as a program of its own, without this package."""
    store.encrypt(b"one", CURRENT, name=os.fsdecode(b"1.odd\n\xff"))
    store.put(b"Subject: a secret\n\n", user="example.test/bob")
    argv = [sys.executable, "-I", "-S", "-c", READER, str(store.root)]
    printed = io.BytesIO(subprocess.run(argv, capture_output=True, check=True).stdout)
    batches = list(iter(lambda: receive(printed), []))
    mails = [Mail(*fields) for batch in batches for fields in batch]
    assert {os.fsdecode(mail.path): mail for mail in mails} == found(store)
    assert printed.read() == b""


def test_only_the_beginning_of_a_mail_in_clear_is_read(store):
    """The text of the mail does not travel over the network."""
    path = store.put(b"Subject: a secret\n\n" + bytes(1000))
    assert found(store)[path].prefix == b"Subject: a secret\n"


@pytest.mark.parametrize("length", [300, 512, 513, 8192, 8193])
def test_a_long_header_is_read_to_its_end(store, length):
    """It is not read past the length that a header may have."""
    data = reader.MAGIC + bytes([2]) + bytes(4) + length.to_bytes(4) + bytes(9000)
    expected = {300: 512, 512: 512, 513: 513, 8192: 8192, 8193: 512}[length]
    path = store.put(data)
    assert len(found(store)[path].prefix) == expected


@pytest.mark.parametrize("account", ["new", "cur", "tmp"])
def test_an_account_may_have_the_name_of_a_mail_folder(store, account):
    """Each of its mails is counted once, for this account; its control files are not."""
    user = f"example.test/{account}"
    store.encrypt(b"one", CURRENT, user=user)
    store.encrypt(b"two", CURRENT, user=user, folder=".Sent", new=True)
    for name in ("dovecot-uidlist", "subscriptions", "maildirsize"):
        (store.root / user / name).write_bytes(b"3 V1 N2\n")
    tally = count(str(store.root))
    assert tally.states() == {CURRENT.id: 2}
    assert tally.by_user(CURRENT.id) == {user: 2}
    assert {path: mail.kind for path, mail in found(store).items()} == dict.fromkeys(
        store.plain, MAIL
    )


def test_a_mail_folder_with_a_folder_in_it_keeps_its_mails(store):
    """A folder called cur inside of cur does not hide the mails next to it."""
    path = store.put(b"Subject: x\n\n")
    (store.root / "example.test/ann/cur/cur").mkdir()
    assert found(store)[path].kind == MAIL
    assert count(str(store.root)).states() == {"clear": 1}


def test_a_folder_that_cannot_be_read_is_counted_as_such(store, monkeypatch):
    """The rest is counted, too."""
    store.put(b"x")
    secret = os.fsencode(store.root) + b"/example.test/bob/cur"
    store.put(b"x", user="example.test/bob")

    def scandir(path, real=os.scandir):
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tally = count(str(store.root), workers=1)
    assert tally.states() == {"clear": 1, UNREADABLE_FOLDER: 1}
    assert tally.not_looked_at() == ["directories that cannot be read: 1 (example.test/bob/cur/)"]
    assert found(store)["example.test/bob/cur/"].kind == UNREADABLE_FOLDER


def test_a_link_out_of_the_store_is_counted_and_not_followed(store, tmp_path):
    """A link inside the store is not counted; a broken one is, since it may lead elsewhere."""
    store.put(b"x")
    other = Store(tmp_path / "elsewhere")
    other.put(b"y")
    os.symlink(other.root / "example.test/ann", store.root / "example.test/bob")
    os.symlink("/nowhere", store.root / "example.test/ann/cur/2.broken")
    os.symlink("..", store.root / "example.test/ann/up")
    os.symlink("ann", store.root / "example.test/alias")
    os.symlink("sieve/gone.sieve", store.root / "example.test/ann/.dovecot.sieve")
    links = {path for path, mail in found(store).items() if mail.kind == LINK}
    assert links == {"example.test/bob", "example.test/ann/cur/2.broken"}
    assert count(str(store.root), workers=2).states() == {"clear": 1, "link": 2}


def test_mbox_in_an_account_called_new_belongs_to_that_account(store):
    """The account's name is not mistaken for a mail folder."""
    store.put(b"x", user="example.test/new")
    (store.root / "example.test/new/mbox").write_bytes(b"From ann Mon\n\nhello")
    assert found(store)["example.test/new/mbox"].kind == MBOX
    assert count(str(store.root)).by_user(MBOX) == {"example.test/new": 1}


def test_a_folder_that_does_not_exist_is_empty(tmp_path):
    """The Maildir of an account without any mail does not exist."""
    assert list(Reader(os.fsencode(tmp_path) + b"/nowhere").mails()) == []


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("example.test/ann/cur/.keep", True),
        ("storage/m.1", True),
        ("ann.mbox", True),
        ("readme.txt", False),
        ("cure/1.mail", False),
    ],
)
def test_a_store_is_recognised_by_its_files(tmp_path, path, holds):
    """A Maildir, even an empty one, or a file of another format makes a store."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"From ann Mon\n" if path.endswith("mbox") else b"x")
    assert Reader(os.fsencode(tmp_path)).holds_mail() is holds


# ---- Messages ----

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_a_message_arrives_as_it_was_sent(value):
    """It may be any nesting of JSON values and bytes."""
    assert receive(io.BytesIO(packed(value))) == value


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_a_message_that_is_cut_off_anywhere_is_the_end_of_the_input(value):
    """Half a message is never taken for a whole one."""
    message = packed(value)
    for size in range(len(message)):
        with pytest.raises(EOFError):
            receive(io.BytesIO(message[:size]))


def test_other_output_of_the_engine_is_reported():
    """An example is the message that the container has no Python."""
    with pytest.raises(NotAMessage, match="OCI runtime exec failed: no python3"):
        receive(io.BytesIO(b"OCI runtime exec failed: no python3\n"))


# ---- Questions ----


def test_an_unknown_question_is_an_error(store, tmp_path):
    """Only listed methods can be called, and the agent goes on."""
    store.put(b"x")
    with agent_on(store.root, tmp_path / "agent") as agent:
        with pytest.raises(OSError, match="unknown question close"):
            agent.ask("close")
        assert agent.ask("holds_mail") is True


def test_a_fault_of_the_file_system_keeps_its_number(store, tmp_path):
    """The agent goes on after it."""
    store.put(b"x")
    with agent_on(store.root, tmp_path / "agent") as agent:
        with pytest.raises(FileNotFoundError):
            agent.ask("write", b"no/such/cur", [[[0] * 8, b"x"]])
        assert [fields[0] for fields in agent.each("listings")] == [b"example.test/ann/cur"]


def test_an_agent_that_dies_is_one_clear_error(store, tmp_path):
    """The error carries the hint of the caller."""
    store.put(b"x")
    with agent_on(store.root, tmp_path / "agent") as agent:
        agent._session.kill()
        with pytest.raises(UnreachableError, match="try again"):
            agent.ask("holds_mail")


def test_a_store_is_encrypted_through_the_agent(store, tmp_path):
    """It runs from the files sent into a container, over pipes, and leaves nothing in tmp."""
    for number in range(30):
        store.put(b"clear %d" % number, name=f"{number}.a.b,S=8:2,S", mtime=1_234_567_890)
    store.encrypt(b"retired", RETIRED, folder=".Sent", new=True)
    linked = store.root / next(iter(store.plain))
    os.link(linked, store.root / "example.test/ann/cur/99.copy")
    store.plain["example.test/ann/cur/99.copy"] = b"clear 0"

    @contextmanager
    def opened():
        with agent_on(store.root, tmp_path / "agent") as agent:
            yield VolumeFiles(agent)

    done = encrypt_store(opened, EncryptionJob(RING, CURRENT.id, apply=True), workers=2)
    assert (done.encrypted, done.left, done.gone) == (32, {}, 0)
    assert count(str(store.root)).states() == {CURRENT.id: 32}
    assert linked.stat().st_mtime == 1_234_567_890
    assert linked.stat().st_ino == (store.root / "example.test/ann/cur/99.copy").stat().st_ino
    assert not list(store.root.rglob("tmp/*"))


# ---- Replacing ----


def replacement(store, path):
    """Write a new file for a mail; return it with its writer."""
    files = Writer(os.fsencode(store.root))
    directory, _, name = os.fsencode(path).rpartition(b"/")
    stat = files.look(directory, [name])[0].stat
    ((temporary, held),) = files.write(directory, [(stat, b"new")])
    assert held == b"new"
    return files, Replacement(temporary, directory, name, stat.identity)


def test_a_file_that_appears_at_the_path_meanwhile_is_kept(store, monkeypatch):
    """A file that came between the check and the exchange is put back."""
    path = store.root / store.put(b"old")
    files, new = replacement(store, path.relative_to(store.root))
    real = writer.exchange

    def exchange(one, other):
        monkeypatch.setattr(writer, "exchange", real)
        path.rename(store.root / "aside")
        path.write_bytes(b"another mail")
        real(one, other)
        path.rename(store.root / "renamed")

    monkeypatch.setattr(writer, "exchange", exchange)
    assert files.settle([new]) == [None]
    assert path.read_bytes() == b"another mail"


def test_new_files_are_removed_when_a_run_ends_early(store):
    """The files of another run and deliveries stay."""
    path = store.put(b"old")
    files, new = replacement(store, path)
    delivery = store.root / "example.test/ann/tmp/1.delivery"
    delivery.write_bytes(b"x")
    files.close()
    assert not (store.root / os.fsdecode(new.temporary)).exists()
    assert delivery.exists()
    assert (store.root / path).read_bytes() == b"old"


def test_a_store_is_locked_by_one_writer(store):
    """A second run is refused until the first one ends."""
    store.put(b"x")
    one, other = (Writer(os.fsencode(store.root)) for _ in range(2))
    assert one.lock()
    assert not other.lock()
    one.close()
    assert other.lock()
    other.close()


def test_a_stat_shows_whether_a_file_was_replaced():
    """Reading a file or changing its mode does not make it another file."""
    stat = FileStat(1, 2, 3, 4, 1, 0, 0, 0o600)
    assert stat._replace(atime=9, mode=0o644).identity == stat.identity
    assert stat._replace(mtime=9).identity != stat.identity
