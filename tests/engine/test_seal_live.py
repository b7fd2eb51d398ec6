"""Sealing stored mail below a running Dovecot: clients see no difference."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest

from mailcrypt_component.store.walk import count
from tests.store import valid

pytestmark = pytest.mark.engine

MAILS = 300
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


@pytest.fixture(params=["12", "13"], ids=["2.3", "2.4"])
def stack(request, make_stack, tmp_path_factory):
    """A server with mail in clear, mail under a retired key and mail under the current one."""
    folder = tmp_path_factory.mktemp("mail")
    folder.chmod(0o755)
    stack = make_stack(
        f"seal{request.param}",
        image=f"mailcrypt-dms-dev:{request.param}",
        binds={"mail": str(folder)},
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
    secret = tmp_path / "pass"
    secret.write_text("correct horse battery\n")
    ring = tmp_path / "ring.txt"
    kept = ["--passphrase-file", str(secret)]
    assert stack.mailcrypt("escrow", "--out", str(ring), *kept).returncode == 0
    current = stack.outputs()["keyId"]
    before = listed(stack)
    assert len(before[1]) >= MAILS - 1
    assert len(count(str(stack.mail)).states()) == 3

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
    argv = ["mailcrypt", "seal", str(stack.mail), "--escrow", str(ring), *kept]
    argv += ["--to", current, "--apply", "--json"]
    for _ in range(6):
        running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(0.9)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    stop.set()
    client.join()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    valid(done.stdout, "seal")
    stack.run(IMAP, stdin="a SELECT INBOX\r\nb STORE 1:* -FLAGS (\\Flagged)\r\nc LOGOUT\r\n")
    assert count(str(stack.mail)).states() == {current: len(before[1])}
    assert listed(stack) == before
    log = stack.run("cat /var/log/mail/mail.log")
    assert not re.findall(
        r"(?i)^.*(?:corrupt|panic|cached message size|Error:).*$", log, re.MULTILINE
    )

    # The retired key can be dropped now, and the next up has nothing to do.
    stack.green(keys=[{"name": "k2"}])
    assert listed(stack) == before
    assert "proven" not in stack.green()
