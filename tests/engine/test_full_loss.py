"""A full loss: the server, its volumes and its state are gone, the mail is in a copy.

What is left is the mail directory, the escrow file and its passphrase.
"""

import subprocess

import pytest

from mailcrypt_component.dcrypt.header import parse_header
from tests.store import valid

pytestmark = [pytest.mark.engine, pytest.mark.long]

PASSPHRASE = "correct horse battery"
MAILS = [
    f"mail number {number}\nGr\u00fc\u00dfe\n" + ("x" * 70 + "\n") * number * 40
    for number in range(12)
]


def run(stack, *argv):
    return subprocess.run(
        ["mailcrypt", *map(str, argv)],
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def stack(make_stack):
    """A server with mail that came by IMAP's side door and by Postfix, under two keys."""
    stack = make_stack("loss", image="mailcrypt-dms-dev:13", dialect="2.4")
    stack.green()
    for body in MAILS[:6]:
        stack.save(body)
    stack.green(keys=[{"name": "k2"}, {"name": "k1"}])
    for body in MAILS[6:]:
        mail = f"Subject: test\n\n{body}\n"
        stack.run("sendmail -f user@example.test user@example.test", stdin=mail)
    stack.run(
        "for i in $(seq 100); do [ $(find /var/mail/example.test/user/cur"
        " /var/mail/example.test/user/new -type f | wc -l) = 12 ] && exit; sleep 0.2; done; exit 1"
    )
    return stack


@pytest.fixture(scope="module")
def saved(stack, tmp_path_factory):
    """The escrow file with its passphrase's file, and a copy of the mail; the rest is gone."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    kept = ["--passphrase-file", folder / "passphrase"]
    ids = stack.outputs()["keyIds"]
    done = run(
        stack, "escrow", "--stack", stack.name, "--out", folder / "ring.txt", *kept, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert [key["key_id"] for key in valid(done.stdout, "escrow")["keys"]] == ids
    assert "BEGIN PRIVATE" not in (folder / "ring.txt").read_text() + done.stdout + done.stderr

    audited = run(stack, "audit", "--stack", stack.name, "--json")
    assert audited.returncode == 0, audited.stderr
    assert valid(audited.stdout, "audit")["states"] == {"current": 6, "retired": 6}
    stack.run("cd /var/mail/example.test/user/cur && echo in clear > '1.a.b:2,S'")
    assert run(stack, "audit", "--stack", stack.name).returncode == 1
    stack.run("rm '/var/mail/example.test/user/cur/1.a.b:2,S'")

    escrow = ["--escrow", folder / "ring.txt", *kept]
    drilled = run(stack, "drill", "--stack", stack.name, *escrow, "--json")
    assert drilled.returncode == 0, drilled.stderr
    assert set(valid(drilled.stdout, "drill")["keys"]) == set(ids)

    stack.docker("cp", f"{stack.container}:/var/mail", str(folder / "mail"))
    stack.destroy()
    return folder


def test_everything_comes_back_with_the_escrow_file_alone(saved, stack):
    """Each message once, byte for byte as it was sent."""
    stored = [p for p in (saved / "mail").rglob("*") if p.parent.name in {"cur", "new"}]
    assert len(stored) == len(MAILS)
    for path in stored:
        parse_header(path.read_bytes())
    argv = ["--escrow", saved / "ring.txt", "--passphrase-file", saved / "passphrase"]
    done = run(stack, "recover", saved / "mail", *argv, "--out", saved / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert valid(done.stdout, "recover")["recovered"] == len(MAILS)
    bodies = []
    for path in (saved / "out/example.test/user").glob("*/*"):
        head, _, body = path.read_text().partition("\n\n")
        assert "Subject: test" in head
        bodies.append(body.removesuffix("\n"))
    assert sorted(bodies) == sorted(MAILS)


def test_a_wrong_passphrase_writes_no_escrow(stack, saved):
    """Pulumi says so itself, or exports nothing: either way there is no file."""
    argv = ["--passphrase-file", saved / "passphrase", "--out", saved / "none.txt"]
    done = run(stack, "escrow", "--stack", stack.name, *argv)
    assert done.returncode == 2
    assert not (saved / "none.txt").exists()
