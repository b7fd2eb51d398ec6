"""A ring of public keys, as docs/keys.md has it: the private key never leaves its owner."""

import json
import subprocess

import pytest

from tests.stacks import changed

pytestmark = pytest.mark.engine

BODY = "stored before anybody could read it"
PASSPHRASE = "the owner's own"


def openssl(*argv):
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """The owner's folder with the private key, its passphrase and the public key."""
    folder = tmp_path_factory.mktemp("owner")
    (folder / "passphrase").write_text(PASSPHRASE)
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    word = f"file:{folder}/passphrase"
    openssl("genpkey", *curve, "-aes256", "-pass", word, "-out", f"{folder}/p1.pem")
    openssl(
        "pkey", "-in", f"{folder}/p1.pem", "-passin", word, "-pubout", "-out", f"{folder}/p1.pub"
    )
    return folder


@pytest.fixture(scope="module")
def stack(make_stack, owner):
    """A server whose ring is that public key."""
    keys = [{"name": "p1", "publicPem": (owner / "p1.pub").read_text()}]
    stack = make_stack("public", image="mailcrypt-dms-dev:13", keys=keys)
    printed = stack.green()
    assert "proven, except reading" in printed
    return stack


def test_mail_is_taken_and_nobody_reads_it(stack):
    """The state holds no private key, neither made nor given."""
    resources = stack.secrets()
    assert "BEGIN PUBLIC KEY" in json.dumps(resources)
    rings = [one for one in resources if one["type"] == "mailcrypt:index:KeyRing"]
    assert [json.loads(one["outputs"]["privateKeys"]["plaintext"]) for one in rings] == [[]]
    assert "tls:index/privateKey:PrivateKey" not in {one["type"] for one in resources}
    assert "except reading" in stack.verify().stdout
    assert not changed(stack.green())


def test_an_update_after_the_unlock_proves_reading(stack, owner):
    """Once; and what is left of it once the server is locked again."""
    stack.save(BODY)
    argv = ["--key", str(owner / "p1.pem"), "--passphrase-file", str(owner / "passphrase")]
    done = stack.mailcrypt("unlock", *argv)
    assert done.returncode == 0, done.stderr
    assert BODY in stack.read_all()
    printed = stack.green()
    assert changed(printed) == {"mailcrypt-proof"}
    assert "both mails, byte for byte, over IMAP" in printed
    assert not changed(stack.green())

    assert stack.mailcrypt("lock").returncode == 0
    printed = stack.green()
    assert changed(printed) == {"mailcrypt-proof"}
    assert "proven, except reading" in printed
    assert "locked" in stack.mailcrypt("status").stdout
    assert not changed(stack.green())
