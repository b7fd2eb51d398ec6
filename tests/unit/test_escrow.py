"""The escrow file is written, read back, and opened by openssl alone."""

import subprocess
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailcrypt_component.cli import escrow as command
from mailcrypt_component.cli import main
from mailcrypt_component.dcrypt.escrow import EscrowKey, write_escrow
from mailcrypt_component.dcrypt.keys import load_keys
from mailcrypt_component.model.errors import KeyFault, UnreachableError
from tests.states import deployed
from tests.store import Key, valid

PASSPHRASE = b"correct horse battery"
RING = [Key(), Key(ec.SECP521R1())]
TEXT = write_escrow(
    [EscrowKey(f"k{2 - n}", key.id, key.private) for n, key in enumerate(RING)],
    PASSPHRASE,
    "prod",
    1_800_000_000,
)


def test_openssl_alone_opens_every_key(tmp_path):
    """Each block is copied out of the file, as the text of the file explains."""
    blocks = TEXT.split("-----BEGIN ENCRYPTED PRIVATE KEY-----")[1:]
    for key, block in zip(RING, blocks, strict=True):
        body = block.partition("-----END")[0]
        pem = tmp_path / "key.pem"
        pem.write_text(
            f"-----BEGIN ENCRYPTED PRIVATE KEY-----{body}-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        done = subprocess.run(
            ["openssl", "pkey", "-in", str(pem), "-passin", "stdin"],
            input=PASSPHRASE,
            capture_output=True,
            check=True,
        )
        opened = load_pem_private_key(done.stdout, None)
        assert opened.private_numbers() == key.private.private_numbers()


def test_the_file_names_its_keys_and_the_command_that_opens_it():
    """Names, ids and the openssl command are in clear; the keys are encrypted."""
    assert "key k2 (current)" in TEXT
    assert "key k1 (retired)" in TEXT
    assert "openssl pkey" in TEXT
    assert "stack prod, written 2027-01-15" in TEXT
    assert "BEGIN PRIVATE KEY" not in TEXT
    for key in RING:
        assert key.id in TEXT


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), "".join(k.pem for k in RING)])
def test_keys_are_read_from_escrow_and_from_plain_files(text):
    """The kind of line end does not matter."""
    assert set(load_keys(text, PASSPHRASE)) == {key.id for key in RING}


@pytest.mark.parametrize(
    ("text", "passphrase", "words"),
    [
        (TEXT, b"wrong", "a wrong passphrase"),
        (TEXT, None, "an encrypted private key"),
        ("", None, "no private key"),
        (TEXT[:-200], None, "an encrypted private key"),
        ("-----BEGIN PUBLIC KEY-----\n", None, "no private key"),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_clear_error(text, passphrase, words):
    """The message says whether the passphrase, the key or the file is wrong."""
    with pytest.raises(KeyFault, match=words):
        load_keys(text, passphrase)


def test_a_short_passphrase_and_an_empty_ring_are_refused():
    """Such a file would protect nothing, or contain nothing."""
    key = EscrowKey("k1", RING[0].id, RING[0].private)
    with pytest.raises(KeyFault, match="11 bytes"):
        write_escrow([key], b"x" * 11, "dev", 0)
    with pytest.raises(KeyFault, match="empty ring"):
        write_escrow([], PASSPHRASE, "dev", 0)


class State:
    """The state of a stack with one server, whose key ring holds the given keys."""

    def __init__(self, pems, ids):
        self.kept = [{"name": name, "pem": pem} for name, pem in pems.items()]
        self.ids = ids

    def server(self, name):
        target = SimpleNamespace(key_ids=tuple(self.ids))
        return SimpleNamespace(stack="dev", title="server mail of stack dev", target=target)

    def child(self, server, kind):
        return {"outputs": {"privateKeys": self.kept}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command against a state with these keys and declared key ids."""
    (tmp_path / "pass").write_bytes(PASSPHRASE + b"\n")

    def run(pems, ids, *more):
        kept = [{"name": name, "pem": pem} for name, pem in pems.items()]
        monkeypatch.setattr(command, "read_state", lambda _: deployed(ids, kept))
        argv = ["escrow", "--stack", "dev", "--out", str(tmp_path / "ring.txt")]
        return CliRunner().invoke(main, [*argv, "--passphrase-file", str(tmp_path / "pass"), *more])

    return run


def test_the_command_writes_a_file_for_its_owner_alone(run, tmp_path):
    """It replaces an existing file only with --force, and leaves no other file."""
    key = RING[0]
    done = run({"k1": key.pem}, [key.id], "--json")
    assert done.exit_code == 0, done.stderr
    assert valid(done.stdout, "escrow")["keys"] == [{"name": "k1", "key_id": key.id}]
    path = tmp_path / "ring.txt"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(load_keys(path.read_text(), PASSPHRASE)) == {key.id}
    assert "there is a file already" in run({"k1": key.pem}, [key.id]).stderr
    assert run({"k1": key.pem}, [key.id], "--force").exit_code == 0
    assert sorted(item.name for item in tmp_path.iterdir()) == ["pass", "ring.txt"]


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_an_empty_secret_writes_nothing(run, tmp_path, empty):
    """With a wrong passphrase Pulumi exports nulls and exits with 0."""
    done = run({"k1": empty}, [RING[0].id])
    assert done.exit_code == 2
    assert "key k1 is empty" in done.stderr
    assert not (tmp_path / "ring.txt").exists()


def test_a_ring_that_is_not_the_declared_one_writes_nothing(run, tmp_path):
    """The error names the declared key ids."""
    done = run({"k1": RING[0].pem}, [RING[1].id])
    assert done.exit_code == 2
    assert "those of the key ring" in done.stderr
    assert not (tmp_path / "ring.txt").exists()


def test_no_pulumi_is_one_clear_error(monkeypatch):
    """The command prints the error and writes nothing."""

    def gone(_):
        raise UnreachableError("pulumi is not on PATH")

    monkeypatch.setattr(command, "read_state", gone)
    done = CliRunner().invoke(main, ["escrow", "--stack", "dev", "--out", "x"])
    assert done.exit_code == 2
    assert "pulumi is not on PATH" in done.stderr
