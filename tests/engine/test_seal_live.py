"""Sealing stored mail below a running Dovecot: clients see no difference."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from tests.store import valid

pytestmark = pytest.mark.engine

MAILS = 300
DELAYS = (0.6, 0.8, 0.9, 1.0, 1.2, 1.5)
START_UP = 2.5
BOX = "/var/mail/example.test/user"
IMAP = "/usr/lib/dovecot/imap -u user@example.test"


def listed(stack):
    """Return what IMAP says of each mail that has a number: by its UID, all that must stay."""
    asked = (
        "a SELECT INBOX\r\n"
        "b FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])\r\nc LOGOUT\r\n"
    )
    said = stack.run(IMAP, stdin=asked)
    validity = re.search(r"UIDVALIDITY (\d+)", said).group(1)
    found = {}
    for part in re.split(r"^\* \d+ FETCH ", said, flags=re.MULTILINE)[1:]:
        uid = re.search(r"UID (\d+)", part).group(1)
        flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", part).group(1).split()) - {"\\Recent"}
        date = re.search(r'INTERNALDATE "([^"]*)"', part).group(1)
        size = re.search(r"RFC822.SIZE (\d+)", part).group(1)
        number = re.search(r"mail number (\d+)", part).group(1)
        found[uid] = (number, flags, date, size)
    return validity, found


def sealing(stack, folder):
    """Return the command that seals the stack's mail, by folder and escrow, or by stack."""
    if not stack.mail:
        return ["mailcrypt", "seal", "--stack", stack.name, "--apply", "--json"]
    (folder / "pass").write_text("correct horse battery\n")
    kept = ["--passphrase-file", str(folder / "pass")]
    ring = str(folder / "ring.txt")
    assert stack.mailcrypt("escrow", "--out", ring, *kept).returncode == 0
    argv = ["mailcrypt", "seal", str(stack.mail), "--escrow", ring, *kept]
    return [*argv, "--to", stack.outputs()["keyId"], "--apply", "--json"]


def states(stack):
    """Return how many mails there are of each state, as the audit counts them."""
    done = stack.mailcrypt("audit", "--json", "--fail-on", "none")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    clear = {"clear": found["states"]["clear"]} if "clear" in found["states"] else {}
    return found["keys"] | clear


def none_is_left_running(stack):
    """The throw-away container of a killed run ends by itself."""
    for _ in range(50):
        if not stack.docker("ps", "-aq", "--filter", "name=mailcrypt-seal-"):
            return
        time.sleep(0.1)
    raise AssertionError(stack.docker("ps", "-a"))


@pytest.fixture(params=["12", "13"], ids=["2.3", "2.4"])
def stack(request, make_stack, tmp_path_factory):
    """A server with mail in clear, mail under a retired key and mail under the current one.

    That of 2.3 has its mail in a folder, which is sealed as such; that of 2.4 has a
    volume, which is sealed through the Docker API.
    """
    folder = tmp_path_factory.mktemp("mail") if request.param == "12" else None
    if folder:
        folder.chmod(0o755)
    stack = make_stack(
        f"seal{request.param}",
        image=f"mailcrypt-dms-dev:{request.param}",
        binds={"mail": str(folder)} if folder else None,
    )
    stack.mail = folder
    stack.green()
    stack.run(f"mkdir -p {BOX}/cur {BOX}/new {BOX}/tmp && chown -R docker:docker {BOX}")
    stack.run(
        f"cd {BOX}/cur; for i in $(seq {MAILS // 3}); do"
        ' m="Subject: clear\n\nmail number $i"; n=${#m};'
        ' printf "%s" "$m" > "17000$((10000 + i)).M1P1.mail,S=$n:2,S";'
        ' touch -d "2019-03-0$((i % 9 + 1)) 12:00" 17000$((10000 + i)).*; done;'
        " chown docker:docker *"
    )
    for number in range(MAILS // 3, MAILS):
        if number == 2 * MAILS // 3:
            stack.green(keys=[{"name": "k2"}, {"name": "k1"}])
        if number % 20 == 0:
            bodies = range(number, min(number + 20, MAILS))
            save = "doveadm save -u user@example.test -m INBOX"
            stack.run("; ".join(f"echo 'mail number {n}' | {save}" for n in bodies if n >= number))
    return stack


def test_clients_see_no_difference_and_dovecot_no_error(stack, tmp_path):
    """UIDs, flags, dates, sizes and bodies stay, with kills and with flags that change."""
    argv = sealing(stack, tmp_path)
    current = stack.outputs()["keyId"]
    before = listed(stack)
    assert len(before[1]) >= MAILS - 1
    assert len(states(stack)) == 3

    stop = threading.Event()

    def use_imap():
        turn = 0
        while not stop.is_set():
            turn += 1
            sign = "+" if turn % 2 else "-"
            stack.run(
                IMAP, stdin=f"a SELECT INBOX\r\nb STORE 1:* {sign}FLAGS (\\Flagged)\r\nc LOGOUT\r\n"
            )

    client = threading.Thread(target=use_imap)
    client.start()
    for delay in DELAYS if stack.mail else [delay + START_UP for delay in DELAYS]:
        running = subprocess.Popen(
            argv,
            cwd=stack.folder,
            env=stack.environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    stop.set()
    client.join()
    none_is_left_running(stack)
    done = subprocess.run(
        argv, cwd=stack.folder, env=stack.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    valid(done.stdout, "seal")
    stack.run(IMAP, stdin="a SELECT INBOX\r\nb STORE 1:* -FLAGS (\\Flagged)\r\nc LOGOUT\r\n")
    assert states(stack) == {current: len(before[1])}
    assert listed(stack) == before
    log = stack.run("cat /var/log/mail/mail.log")
    assert not re.findall(
        r"(?i)^.*(?:corrupt|panic|cached message size|Error:).*$", log, re.MULTILINE
    )

    # The retired key can be dropped now, and the next up has nothing to do.
    stack.green(keys=[{"name": "k2"}])
    assert listed(stack) == before
    assert "proven" not in stack.green()
